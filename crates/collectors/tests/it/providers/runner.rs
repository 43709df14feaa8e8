//! What the runner does for every collector, shown with one of them.

use super::given::{Contract, Given, cause_of, refresh, source, status};
use super::stand_in::{Asked, Reply, Wire};
use collectors::prometheus::Secret;
use collectors::providers::fetch::{Fetch, FetchOptions, Request, Verb, parse_base};
use collectors::providers::{
    Cause, CollectAsked, CollectReport, CredentialSet, Credentials, KINDS, PeriodReport, ProviderSource, is_level,
    vercel,
};
use collectors::sources::{SourceError, SourceState};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Vercel with three lines, whose amounts a test chooses.
pub(super) static CONTRACT: Contract = Contract {
    kind: "vercel",
    keys: || json!({ "team": "team_1" }),
    now: "2026-11-25T12:00:00Z",
    answer: |asked, _| charges(asked, &[10, 20, 30]),
    needed: "EffectiveCost",
    is_paged: false,
};

pub(super) fn charges(asked: &Asked, amounts: &[i32]) -> Reply {
    let from = asked.param("from").expect("a time");
    let line = |amount: &i32| {
        json!({
            "BilledCost": amount, "EffectiveCost": amount, "BillingCurrency": "USD", "ChargeCategory": "Usage",
            "ChargePeriodStart": from, "ConsumedQuantity": amount, "ConsumedUnit": "requests",
            "ServiceName": format!("Service {amount}"), "Tags": {},
        })
    };
    Reply::json_lines(&amounts.iter().map(line).collect::<Vec<Value>>())
}

fn wire(amounts: &'static [i32]) -> impl Fn(&Asked) -> Wire + Send + Sync {
    move |asked| Wire::Whole(charges(asked, amounts))
}

async fn billed(given: &Given) -> i128 {
    given.store.sums("billed_cost").await["USD"] / domain::money::ATOMS_PER_UNIT
}

#[test]
fn every_kind_has_a_name_of_its_own_and_a_zone_that_exists() {
    let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.spec.name).collect();
    assert_eq!(names.len(), KINDS.len());
    for kind in KINDS {
        assert!(kind.spec.zone.parse::<domain::Zone>().is_ok(), "{}", kind.spec.name);
        for base in kind.spec.bases {
            assert!(parse_base(base, false).is_ok(), "{base}");
        }
        let mut keys: BTreeSet<&str> = BTreeSet::new();
        assert!(kind.spec.credentials.iter().all(|spec| keys.insert(spec.key)), "{}", kind.spec.name);
        // Costs stand under the provider, usage and limits under the kind: one label of metrics for both.
        if !kind.spec.allowed.is_empty() {
            assert!(kind.spec.provider.eq_ignore_ascii_case(kind.spec.name), "{}", kind.spec.provider);
        }
    }
}

#[test]
fn levels_are_resources_of_a_kind_that_the_page_names() {
    let page = include_str!("../../../../../docs/collectors.md");
    for kind in KINDS {
        for level in kind.spec.levels {
            assert!(page.contains(&format!("`{level}`")), "docs/collectors.md lacks `{level}` of {}", kind.spec.name);
        }
    }
    assert!(is_level("wasabi", "bucket_bytes") && is_level("supabase", "database_rows"));
    assert!(!is_level("wasabi", "requests") && !is_level("vercel", "bucket_bytes") && !is_level("aws", "objects"));
}

#[test]
fn s6_every_kind_has_its_faults_tested() {
    let files = [
        include_str!("anthropic.rs"),
        include_str!("bucket_faults.rs"),
        include_str!("cloudflare.rs"),
        include_str!("ionos.rs"),
        include_str!("openai.rs"),
        include_str!("ovhcloud.rs"),
        include_str!("supabase.rs"),
        include_str!("vercel.rs"),
        include_str!("wasabi.rs"),
    ];
    let tested: Vec<&str> = files.into_iter().filter(|text| text.contains("async fn s6_faults_of_")).collect();
    for kind in KINDS {
        let name = kind.spec.name;
        // Files of anybody have their contract where folders are tested.
        let ways = match name {
            "files" => vec!["contract: &FILES".to_owned()],
            name => vec![format!("kind: \"{name}\""), format!("contract(\"{name}\")")],
        };
        assert!(tested.iter().any(|text| ways.iter().any(|way| text.contains(way.as_str()))), "{name}");
    }
}

#[test]
fn the_page_about_collectors_names_every_kind_and_everything_that_it_may_ask_for() {
    let page = include_str!("../../../../../docs/collectors.md");
    for kind in KINDS {
        assert!(page.contains(&format!("kind = \"{}\"", kind.spec.name)), "{}", kind.spec.name);
        for allowed in kind.spec.allowed {
            assert!(page.contains(&format!("`{allowed}`")), "docs/collectors.md lacks `{allowed}`");
        }
        for credential in kind.spec.credentials {
            assert!(page.contains(&format!("`{}`", credential.env)), "docs/collectors.md lacks `{}`", credential.env);
        }
    }
}

#[tokio::test]
async fn s6_a_path_or_method_off_the_list_is_refused_before_connecting() {
    let given = Given::new(&CONTRACT).await;
    let options = source(&CONTRACT, &given.server.url, Duration::from_secs(20)).options;
    let fetch = Fetch::new(&vercel::SPEC, options, Credentials::default(), given.clock.clone()).expect("a client");
    let buy = || json!({ "amount": 1 });
    for request in [
        Request::get("/v1/billing/buy"),
        Request::post("/v1/billing/buy", &buy()),
        Request::post("/v1/billing/charges", &buy()),
        Request::get("/v1/billing/charges/../buy"),
        Request::get("/v1/billing/charges").argument("buy"),
    ] {
        let shown = format!("{request:?}");
        let refused = fetch.send(request).await.map(|answer| answer.status).map_err(|error| error.cause);
        assert_eq!(refused, Err(Cause::NotAllowed), "{shown}");
    }
    assert_eq!(given.server.asked().len(), 0, "nothing was sent");
}

#[tokio::test]
async fn s6_no_kind_asks_for_what_is_not_on_its_own_list() {
    let given = Given::new(&CONTRACT).await;
    let everywhere: BTreeSet<&str> = KINDS
        .iter()
        .flat_map(|kind| kind.spec.allowed)
        .map(|allowed| allowed.path)
        .chain(["/", "/v1/tokens"])
        .collect();
    let mut refused = 0;
    for kind in KINDS {
        let options = source(&CONTRACT, &given.server.url, Duration::from_secs(20)).options;
        let fetch = Fetch::new(kind.spec, options, Credentials::default(), given.clock.clone()).expect("a client");
        for path in everywhere.iter().copied() {
            let places = path.matches("{}").count();
            for verb in [Verb::Get, Verb::Post] {
                if kind.spec.allowed.iter().any(|allowed| (allowed.verb, allowed.path) == (verb, path)) {
                    continue;
                }
                let request = match verb {
                    Verb::Get => Request::get(path),
                    Verb::Post => Request::post(path, &json!({})),
                };
                let request = (0..places).fold(request, |request, _| request.argument("x"));
                let answer = fetch.send(request).await.map(|answer| answer.status).map_err(|error| error.cause);
                assert_eq!(answer, Err(Cause::NotAllowed), "{}: {verb:?} {path}", kind.spec.name);
                refused += 1;
            }
        }
    }
    assert!(KINDS.len() * everywhere.len() < refused, "{refused}");
    assert_eq!(given.server.asked().len(), 0, "nothing was sent");
}

#[tokio::test]
async fn s6_addresses_of_this_machine_are_never_connected_to() {
    let given = Given::new(&CONTRACT).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let options = source(&CONTRACT, &given.server.url, Duration::from_secs(20)).options;
    for host in ["localhost", "LOCALHOST", "localhost."] {
        let base = parse_base(&format!("https://{host}:{port}/"), false).expect("a name is an address");
        let options = FetchOptions { base, is_stand_in: false, ..options.clone() };
        let fetch = Fetch::new(&vercel::SPEC, options, Credentials::default(), given.clock.clone());
        let answer = fetch.expect("a client").send(Request::get("/v1/billing/charges")).await;
        assert!(answer.is_err_and(|error| matches!(error.cause, Cause::NotAllowed | Cause::Unreachable)), "{host}");
    }
    let connects = std::iter::from_fn(|| listener.accept().ok()).count();
    assert_eq!(connects, 0);
}

#[tokio::test]
async fn a_period_that_would_lose_more_than_a_fifth_stays_until_somebody_confirms() {
    let given = Given::new(&CONTRACT).await;
    let providers = given.patient(&CONTRACT);
    refresh(&providers, "vercel").await.expect("a collection");
    assert_eq!(billed(&given).await, 120, "October and November");
    given.server.then(wire(&[10, 20, 5]));
    let refused = refresh(&providers, "vercel").await;
    assert_eq!(cause_of(&refused), Some(Cause::WouldShrink), "{refused:?}");
    assert_eq!((billed(&given).await, status(&providers).await.state), (120, SourceState::Stale));
    let asked = CollectAsked { confirm: true, ..CollectAsked::default() };
    providers.refresh("vercel", &asked).await.expect("confirmed");
    assert_eq!((billed(&given).await, status(&providers).await.state), (95, SourceState::Ok));
    // No lines at all is not the same as no cost, whoever confirms.
    given.server.then(wire(&[]));
    let refused = providers.refresh("vercel", &asked).await;
    assert_eq!((cause_of(&refused), billed(&given).await), (Some(Cause::WouldShrink), 95));
}

#[tokio::test]
async fn nothing_is_asked_on_the_first_day_of_a_period_once_the_one_before_is_final() {
    let given = Given::new(&CONTRACT).await;
    let providers = given.patient(&CONTRACT);
    let asked_at = async |time: &str| {
        given.clock.set(time.parse().expect("an instant"));
        refresh(&providers, "vercel").await.expect("a collection");
        let asked = given.server.asked();
        asked.iter().map(|asked| asked.param("from").unwrap_or_default()[..10].to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(asked_at("2026-11-25T12:00:00Z").await, ["2026-11-01", "2026-10-01"]);
    assert_eq!(asked_at("2026-11-26T12:00:00Z").await, ["2026-11-01"]);
    assert_eq!(asked_at("2026-12-01T12:00:00Z").await, ["2026-11-01"], "December has no day that is over");
    assert_eq!(asked_at("2026-12-05T12:00:00Z").await, ["2026-12-01", "2026-11-01"], "November may be corrected");
    assert_eq!(asked_at("2026-12-09T12:00:00Z").await, ["2026-12-01", "2026-11-01"], "once after it became final");
    assert_eq!(asked_at("2026-12-10T12:00:00Z").await, ["2026-12-01"]);
    // A server that was away for long catches up with what was not final when it went.
    assert_eq!(asked_at("2027-02-20T12:00:00Z").await, ["2027-02-01", "2027-01-01", "2026-12-01"]);
}

#[tokio::test]
async fn final_periods_are_read_again_when_somebody_asks_for_them() {
    let given = Given::new(&CONTRACT).await;
    let providers = given.patient(&CONTRACT);
    let from = |time: &str| CollectAsked { from: Some(time.parse().expect("an instant")), ..CollectAsked::default() };
    let report = providers.refresh("vercel", &from("2026-08-15T00:00:00Z")).await.expect("a collection");
    let names: Vec<&str> = report.periods.iter().map(|period| period.period.as_str()).collect();
    assert_eq!(names, ["2026-11", "2026-10", "2026-09", "2026-08"]);
    let refused = providers.refresh("vercel", &from("2020-01-01T00:00:00Z")).await;
    assert!(matches!(refused, Err(SourceError::TooFarBack { .. })), "{refused:?}");
    let refused = providers.refresh("other", &CollectAsked::default()).await;
    assert!(matches!(refused, Err(SourceError::NotFound(_))), "{refused:?}");
}

#[tokio::test]
async fn a_past_period_that_the_provider_has_forgotten_is_a_warning_and_counted() {
    let given = Given::new(&CONTRACT).await;
    given.server.then(|asked| match asked.param("from") {
        Some("2026-10-01T07:00:00Z") => Wire::Whole(Reply::status(404, r#"{"error":{"code":"costs_not_found"}}"#)),
        _ => Wire::Whole(charges(asked, &[10, 20, 30])),
    });
    let providers = given.patient(&CONTRACT);
    let report = refresh(&providers, "vercel").await.expect("a collection");
    assert_eq!((report.periods.len(), billed(&given).await), (1, 60));
    assert!(
        report.warnings[0].starts_with("2026-10: GET /v1/billing/charges: the provider answered 404"),
        "{report:?}"
    );
    assert_eq!(status(&providers).await.notes.warnings, report.warnings);
    let figures = providers.figures().await.expect("a catalog");
    assert_eq!(figures["vercel"].errors[&Cause::NotFound], 1);
}

#[tokio::test]
async fn another_billing_day_is_refused_where_periods_would_overlap() {
    let given = Given::new(&CONTRACT).await;
    let with_day = |day| ProviderSource {
        billing_day: Some(day),
        ..source(&CONTRACT, &given.server.url, Duration::from_secs(20))
    };
    let report = refresh(&given.process(vec![with_day(5)]), "vercel").await.expect("a collection");
    assert_eq!(report.periods[0].period, "2026-11-05");
    let before = given.stored().await;
    let refused = refresh(&given.process(vec![with_day(1)]), "vercel").await;
    assert_eq!(cause_of(&refused), Some(Cause::Overlap), "{refused:?}");
    assert_eq!(given.stored().await, before);
}

#[tokio::test]
async fn quantities_with_a_meter_become_usage_once_the_provider_corrects_them_no_more() {
    let given = Given::new(&CONTRACT).await;
    let meters = BTreeMap::from([("service_10".to_owned(), "vercel_requests".to_owned())]);
    let of_source = ProviderSource { meters, ..source(&CONTRACT, &given.server.url, Duration::from_secs(20)) };
    let providers = given.process(vec![of_source]);
    let report = refresh(&providers, "vercel").await.expect("a collection");
    let points = std::mem::take(&mut *given.points.0.lock().expect("no thread died"));
    let shown: Vec<String> =
        points.iter().map(|point| format!("{} {} {} {}", point.series, point.meter, point.hour, point.value)).collect();
    let series = r#"collector:vercel/service_10{"unit":"requests"} vercel_requests"#;
    let expected = [format!("{series} 2026-11-01T07:00:00Z 10"), format!("{series} 2026-10-01T07:00:00Z 10")];
    assert_eq!((shown, report.taken.accepted), (expected.to_vec(), 2));
    given.clock.set("2026-11-05T12:00:00Z".parse().expect("an instant"));
    refresh(&providers, "vercel").await.expect("a collection");
    assert!(given.points.0.lock().expect("no thread died").is_empty(), "the first of November may be corrected yet");
}

#[tokio::test]
async fn lines_that_were_stored_before_the_quantities_failed_are_told_and_the_period_is_read_again() {
    let given = Given::new(&CONTRACT).await;
    let meters = BTreeMap::from([("service_10".to_owned(), "vercel_requests".to_owned())]);
    let of_source = ProviderSource { meters, ..source(&CONTRACT, &given.server.url, Duration::from_secs(20)) };
    let providers = given.process(vec![of_source]);
    given.points.refuse(true);
    let (report, refused) = providers.refresh_as_far("vercel", &CollectAsked::default()).await;
    assert!(matches!(&refused, Err(SourceError::Collect { error, .. }) if error.cause == Cause::Store), "{refused:?}");
    let shown = |report: &CollectReport| -> Vec<(String, u64, bool, bool)> {
        let one = |one: &PeriodReport| (one.period.clone(), one.lines, one.unchanged, one.is_final);
        report.periods.iter().map(one).collect()
    };
    assert_eq!(shown(&report), [("2026-11".to_owned(), 3, false, false)]);
    assert_eq!((billed(&given).await, status(&providers).await.through), (60, None));
    assert!(given.store.context.catalog.source_periods().await.expect("a catalog").is_empty());

    given.points.refuse(false);
    let report = refresh(&providers, "vercel").await.expect("a collection");
    let expected = [("2026-11".to_owned(), 3, true, false), ("2026-10".to_owned(), 3, false, true)];
    assert_eq!((shown(&report), report.taken.accepted), (expected.to_vec(), 2));
}

#[tokio::test]
async fn a_credential_is_read_from_its_file_each_time_and_its_absence_has_a_cause() {
    let given = Given::new(&CONTRACT).await;
    let file = given.store.folder.path().join("token");
    let of_file = CredentialSet::new(BTreeMap::from([("token", Secret::File(file.clone()))]));
    let patient = source(&CONTRACT, &given.server.url, Duration::from_secs(20));
    let providers = given.process(vec![ProviderSource { credentials: of_file, ..patient.clone() }]);
    let refused = refresh(&providers, "vercel").await;
    assert_eq!(cause_of(&refused), Some(Cause::Secret), "{refused:?}");
    for token in ["first-token", "second-token"] {
        std::fs::write(&file, format!("{token}\n")).expect("a written file");
        refresh(&providers, "vercel").await.expect("a collection");
        let asked = given.server.asked();
        assert_eq!(asked[0].header("authorization"), Some(format!("Bearer {token}").as_str()));
    }
    let providers = given.process(vec![ProviderSource { credentials: CredentialSet::default(), ..patient }]);
    let refused = refresh(&providers, "vercel").await;
    assert_eq!(cause_of(&refused), Some(Cause::Secret), "{refused:?}");
    assert_eq!(given.server.asked().len(), 0, "nothing was sent");
}

#[tokio::test]
async fn a_success_of_an_earlier_process_is_known_and_every_cause_begins_at_nothing() {
    let given = Given::new(&CONTRACT).await;
    refresh(&given.patient(&CONTRACT), "vercel").await.expect("a collection");
    let providers = given.patient(&CONTRACT);
    let figures = providers.figures().await.expect("a catalog");
    let figures = &figures["vercel"];
    assert_eq!(figures.last_success_at.map(|at| at.to_string()).as_deref(), Some("2026-11-25T12:00:00Z"));
    assert_eq!((figures.errors.len(), figures.errors.values().sum::<u64>()), (Cause::ALL.len(), 0));
    given.clock.set("2026-11-27T12:00:01Z".parse().expect("an instant"));
    let status = status(&providers).await;
    assert_eq!(
        (status.state, status.through.map(|at| at.to_string())),
        (SourceState::Stale, Some("2026-11-25T08:00:00Z".to_owned()))
    );
}

#[tokio::test]
async fn all_collectors_are_read_at_once_and_one_that_fails_holds_no_other_up() {
    let given = Given::new(&CONTRACT).await;
    let patient = source(&CONTRACT, &given.server.url, Duration::from_secs(20));
    let broken = ProviderSource { name: "broken".to_owned(), credentials: CredentialSet::default(), ..patient.clone() };
    let providers = given.process(vec![broken, patient]);
    let results = providers.refresh_all().await;
    let shown: Vec<(&str, bool)> = results.iter().map(|(report, done)| (report.name.as_str(), done.is_ok())).collect();
    assert_eq!(shown, [("broken", false), ("vercel", true)]);
}

#[tokio::test]
async fn the_last_days_of_a_period_that_the_provider_has_forgotten_become_usage_yet() {
    let given = Given::new(&CONTRACT).await;
    let meters = BTreeMap::from([("service_10".to_owned(), "vercel_requests".to_owned())]);
    let of_source = ProviderSource { meters, ..source(&CONTRACT, &given.server.url, Duration::from_secs(20)) };
    let providers = given.process(vec![of_source]);
    given.clock.set("2026-11-05T12:00:00Z".parse().expect("an instant"));
    refresh(&providers, "vercel").await.expect("a collection");
    let of_november = || {
        let points = std::mem::take(&mut *given.points.0.lock().expect("no thread died"));
        points.iter().filter(|point| point.hour.to_string().starts_with("2026-11")).count()
    };
    assert_eq!(of_november(), 0, "it may be corrected yet");
    given.server.then(|asked| match asked.param("from") {
        Some("2026-11-01T07:00:00Z") => Wire::Whole(Reply::status(404, r#"{"error":{"code":"costs_not_found"}}"#)),
        _ => Wire::Whole(charges(asked, &[10, 20, 30])),
    });
    given.clock.set("2026-12-09T12:00:00Z".parse().expect("an instant"));
    refresh(&providers, "vercel").await.expect("a collection");
    assert_eq!(of_november(), 1);
}

#[tokio::test]
async fn two_sources_of_one_account_are_warned_about() {
    let given = Given::new(&CONTRACT).await;
    let one = source(&CONTRACT, &given.server.url, Duration::from_secs(20));
    let again = ProviderSource { name: "vercel-again".to_owned(), ..one.clone() };
    let providers = given.process(vec![one, again]);
    let report = refresh(&providers, "vercel").await.expect("a collection");
    assert_eq!(report.warnings, Vec::<String>::new());
    let report = refresh(&providers, "vercel-again").await.expect("a collection");
    let about = |period: &str| {
        format!(
            "sources \"vercel-again\" and \"vercel\" both have costs of account team_1 in {period}; check that none is \
             counted twice"
        )
    };
    assert_eq!(report.warnings, ["2026-11", "2026-10"].map(about));
}

#[tokio::test]
async fn s6_the_answers_of_a_collection_are_bounded_together() {
    let given = Given::new(&CONTRACT).await;
    given.server.then(|_| Wire::Whole(Reply::status(200, vec![b' '; 1_000])));
    let usual = source(&CONTRACT, &given.server.url, Duration::from_secs(20)).options;
    let options = FetchOptions { response_bytes_max: 1_000, ..usual };
    let fetch = Fetch::new(&vercel::SPEC, options, Credentials::default(), given.clock.clone()).expect("a client");
    for _ in 0..16 {
        fetch.send(Request::get("/v1/billing/charges")).await.expect("an answer");
    }
    let refused = fetch.send(Request::get("/v1/billing/charges")).await.map(|answer| answer.status);
    assert_eq!(refused.map_err(|error| error.cause), Err(Cause::TooLarge));
}

#[tokio::test]
async fn what_a_provider_says_of_a_period_has_a_bounded_room_on_disk() {
    let mut given = Given::new(&CONTRACT).await;
    given.store.context.limits.set_bytes_max = 100;
    let providers = given.patient(&CONTRACT);
    let refused = refresh(&providers, "vercel").await;
    assert_eq!(cause_of(&refused), Some(Cause::TooLarge), "{refused:?}");
    let error = status(&providers).await.last_error.expect("a reason");
    let expected = "what `vercel` says of 2026-11 is too large: more than 100 bytes in all files of a billing period; split \
                    it, or raise limits.upload_body";
    assert!(error.contains(expected), "{error}");
    assert_eq!(given.store.version().await, 0);
}
