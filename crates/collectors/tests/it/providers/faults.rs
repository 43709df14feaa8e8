//! S6: every fault that a provider can have, for every collector. Nothing crashes, each fault is counted under its cause,
//! what was collected before stays, and nothing partial is stored.

use super::given::{Contract, Given, Variant, canary, cause_of, refresh, source, status};
use super::stand_in::{Asked, Reply, Wire};
use super::watched::Watched;
use collectors::providers::{Cause, Providers};
use collectors::sources::SourceState;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What becomes of a good answer.
type Spoil = Arc<dyn Fn(Reply, &Asked) -> Wire + Send + Sync>;

/// A fault: what it does to every answer, the cause it has, and after how many attempts at one request it is given up.
struct Fault {
    name: &'static str,
    spoil: Spoil,
    cause: Cause,
    attempts: usize,
}

fn fault(
    name: &'static str,
    cause: Cause,
    attempts: usize,
    spoil: impl Fn(Reply, &Asked) -> Wire + Send + Sync + 'static,
) -> Fault {
    Fault { name, spoil: Arc::new(spoil), cause, attempts }
}

fn instead(status: u16, body: &'static str) -> impl Fn(Reply, &Asked) -> Wire {
    move |_, _| Wire::Whole(Reply::status(status, body))
}

/// Runs every fault against a collector.
pub(crate) async fn faults(contract: &'static Contract) {
    let watched = Watched::start();
    let given = Given::new(contract).await;
    let first = refresh(&given.patient(contract), contract.kind).await.expect("a collection");
    assert!(first.periods.iter().any(|period| period.lines + period.quantities > 0), "{first:?}");
    // The first collection also asks for the billing period before; from now on it is the current one alone.
    given.server.asked();
    refresh(&given.patient(contract), contract.kind).await.expect("a collection");
    let before = given.stored().await;
    let requests = given.server.asked().len();
    for one in statuses().into_iter().chain(bodies(contract.needed)) {
        fails(&given, contract, &one, |_| true).await;
        assert_eq!(given.stored().await, before, "{}: {} changed what is stored", contract.kind, one.name);
    }
    for at in 0..requests {
        breaks_at(&given, contract, at).await;
        assert_eq!(given.stored().await, before, "{}: a failure at request {at} left something", contract.kind);
    }
    if contract.is_paged {
        pages(&given, contract).await;
        assert_eq!(given.stored().await, before, "{}: pages that repeat changed what is stored", contract.kind);
    }
    recovers(&given, contract).await;
    assert_eq!(given.stored().await, before, "{}: the same again is another content", contract.kind);
    restates(&given, contract).await;
    news(&given, contract).await;
    watched.has_seen_no(&contract_canaries(&given));
}

/// Runs every fault against some requests only: those about a billing period that is over and read again, after the current
/// one was read well. What a provider has forgotten of such a period is a warning, see `runner`.
pub(crate) async fn faults_at(contract: &'static Contract, is_spoiled: fn(&Asked) -> bool) {
    let watched = Watched::start();
    let given = Given::new(contract).await;
    refresh(&given.patient(contract), contract.kind).await.expect("a collection");
    assert!(given.server.asked().iter().any(is_spoiled), "{}: nobody asked for it", contract.kind);
    let before = given.stored().await;
    let every = statuses().into_iter().chain(bodies(contract.needed));
    for one in every.filter(|one| one.cause != Cause::NotFound) {
        fails(&given, contract, &one, is_spoiled).await;
        assert_eq!(given.stored().await, before, "{}: {} changed what is stored", contract.kind, one.name);
    }
    recovers(&given, contract).await;
    assert_eq!(given.stored().await, before, "{}: the same again is another content", contract.kind);
    watched.has_seen_no(&contract_canaries(&given));
}

/// Answers that are errors, and answers that do not come.
fn statuses() -> Vec<Fault> {
    vec![
        fault("401", Cause::Auth, 1, instead(401, "no")),
        fault("403", Cause::Auth, 1, instead(403, "{\"error\":{\"code\":\"forbidden\"}}")),
        fault("404", Cause::NotFound, 1, instead(404, "<html>not found</html>")),
        fault("410", Cause::NotFound, 1, instead(410, "")),
        fault("418", Cause::Refused, 1, instead(418, "a teapot")),
        fault("500", Cause::Server, 3, instead(500, "no")),
        fault("503", Cause::Server, 3, instead(503, "")),
        fault("429", Cause::RateLimited, 3, instead(429, "slow down")),
        fault("429 with Retry-After of an hour", Cause::RateLimited, 1, |_, _| {
            Wire::Whole(Reply::status(429, "").header("retry-after", "3600"))
        }),
        fault("redirect", Cause::Redirect, 1, |_, asked: &Asked| {
            Wire::Whole(Reply::status(302, "").header("location", format!("/base{}/else", asked.path)))
        }),
        fault("an error that repeats what was sent", Cause::Auth, 1, |_, asked: &Asked| {
            Wire::Whole(Reply::status(403, format!("{}{}", asked.head, asked.body)))
        }),
        fault("silence", Cause::Timeout, 3, |_, _| Wire::Silence),
        fault("slow body", Cause::Timeout, 3, |reply, _| Wire::Slow(reply)),
    ]
}

/// Answers whose bodies are of no use.
fn bodies(needed: &'static str) -> Vec<Fault> {
    let with = |reply: Reply, body: Vec<u8>| Wire::Whole(Reply { body, ..reply });
    vec![
        fault("body that breaks off", Cause::Truncated, 3, |reply, _| Wire::Half(reply)),
        fault("gzip that breaks off", Cause::Truncated, 3, |reply, _| {
            let packed = reply.gzip();
            let half = packed.body[..packed.body.len() / 2].to_vec();
            Wire::Whole(Reply { body: half, ..packed })
        }),
        fault("gzip of far too much", Cause::TooLarge, 1, |reply, _| {
            Wire::Whole(Reply { body: vec![b' '; 8 << 20], ..reply }.gzip())
        }),
        fault("body of far too much", Cause::TooLarge, 1, move |reply, _| with(reply, vec![b' '; 2 << 20])),
        fault("JSON that ends half way", Cause::Truncated, 1, move |reply, _| {
            let half = without_last_bracket(&reply.body);
            with(reply, half)
        }),
        fault("HTML", Cause::NotJson, 1, move |reply, _| with(reply, b"<html><body>Sign in</body></html>".to_vec())),
        fault("another encoding", Cause::NotJson, 1, |reply, _| Wire::Whole(reply.header("content-encoding", "br"))),
        fault("a missing field", Cause::Schema, 1, move |reply, _| {
            let body = each_object(&reply.body, &|object| drop(object.remove(needed)));
            with(reply, body)
        }),
        fault("a field of another type", Cause::Schema, 1, move |reply, _| {
            let body = each_object(&reply.body, &|object| {
                if let Some(value) = object.get_mut(needed) {
                    *value = json!({ "not": ["this"] });
                }
            });
            with(reply, body)
        }),
    ]
}

/// One fault in the place of every answer to these requests.
async fn fails(given: &Given, contract: &'static Contract, one: &Fault, is_spoiled: fn(&Asked) -> bool) {
    let (answer, spoil) = (contract.answer, Arc::clone(&one.spoil));
    given.server.then(move |asked| match is_spoiled(asked) {
        true => spoil(answer(asked, Variant::Usual), asked),
        false => Wire::Whole(answer(asked, Variant::Usual)),
    });
    let patience = match one.cause {
        Cause::Timeout => Duration::from_millis(150),
        _ => Duration::from_secs(20),
    };
    let providers = given.process(vec![source(contract, &given.server.url, patience)]);
    given.server.asked();
    let result = refresh(&providers, contract.kind).await;
    let place = format!("{}: {}", contract.kind, one.name);
    assert_eq!(cause_of(&result), Some(one.cause), "{place}: {result:?}");
    has_failed(given, &providers, one.cause, &place).await;
    // Requests before the one that fails are answered: a fault of a field may come late.
    let asked = given.server.asked();
    let what = |one: &Asked| (one.path.clone(), one.query.clone(), one.body.clone());
    let last = what(asked.last().expect("a request"));
    let same = asked.iter().rev().take_while(|other| what(other) == last).count();
    assert_eq!(same, one.attempts, "{place}: attempts at {last:?}");
}

/// The status is stale and says why, the error is counted under its cause and no other, and no credential is shown.
pub(crate) async fn has_failed(given: &Given, providers: &Providers, cause: Cause, place: &str) {
    let status = status(providers).await;
    assert_eq!(status.state, SourceState::Stale, "{place}");
    let error = status.last_error.expect("the reason");
    assert!(error.contains(cause.as_str()), "{place}: {error}");
    let figures = providers.figures().await.expect("a catalog");
    let counted: Vec<_> = figures[&status.name].errors.iter().filter(|(_, count)| **count > 0).collect();
    assert_eq!(counted, [(&cause, &1)], "{place}");
    for canary in contract_canaries(given) {
        assert!(!error.contains(&canary), "{place}: {error}");
    }
}

/// The request of this number is refused; all others are answered.
async fn breaks_at(given: &Given, contract: &'static Contract, at: usize) {
    let (answer, count) = (contract.answer, AtomicUsize::new(0));
    given.server.then(move |asked| match count.fetch_add(1, Ordering::SeqCst) == at {
        true => Wire::Whole(Reply::status(403, "no")),
        false => Wire::Whole(answer(asked, Variant::Usual)),
    });
    let providers = given.patient(contract);
    let result = refresh(&providers, contract.kind).await;
    assert_eq!(cause_of(&result), Some(Cause::Auth), "{}: request {at}: {result:?}", contract.kind);
}

/// Pages that repeat and pages that never end.
async fn pages(given: &Given, contract: &'static Contract) {
    for variant in [Variant::SamePage, Variant::EndlessPages] {
        let answer = contract.answer;
        given.server.then(move |asked| Wire::Whole(answer(asked, variant)));
        let providers = given.patient(contract);
        let result = refresh(&providers, contract.kind).await;
        let place = format!("{}: {variant:?}", contract.kind);
        assert_eq!(cause_of(&result), Some(Cause::Paging), "{place}: {result:?}");
        has_failed(given, &providers, Cause::Paging, &place).await;
    }
}

/// A provider that asks to wait a moment, then answers, compressed: nothing is lost, and the status is good again.
async fn recovers(given: &Given, contract: &'static Contract) {
    let (answer, count) = (contract.answer, AtomicUsize::new(0));
    given.server.then(move |asked| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Wire::Whole(Reply::status(429, "").header("retry-after", "0")),
        1 => Wire::Whole(Reply::status(503, "")),
        _ => Wire::Whole(answer(asked, Variant::Usual).gzip()),
    });
    let providers = given.patient(contract);
    let report = refresh(&providers, contract.kind).await.expect("a collection");
    assert!(report.periods.iter().all(|period| period.unchanged), "{report:?}");
    let status = status(&providers).await;
    assert_eq!((status.state, status.last_error), (SourceState::Ok, None), "{}", contract.kind);
}

/// A restated month replaces what is stored: as many lines and quantities, other values.
async fn restates(given: &Given, contract: &'static Contract) {
    let before = given.stored().await;
    let answer = contract.answer;
    given.server.then(move |asked| Wire::Whole(answer(asked, Variant::Restated)));
    refresh(&given.patient(contract), contract.kind).await.expect("a collection");
    let after = given.stored().await;
    let sizes = |stored: &super::given::Stored| (stored.lines.len(), stored.usage.len());
    assert_eq!(sizes(&after), sizes(&before), "{}: a restated month replaces", contract.kind);
    assert_ne!((&after.lines, &after.usage), (&before.lines, &before.usage), "{}: nothing was restated", contract.kind);
}

/// Fields that nobody knows change no amount and no quantity.
async fn news(given: &Given, contract: &'static Contract) {
    let before = given.stored().await;
    let answer = contract.answer;
    given.server.then(move |asked| {
        let reply = answer(asked, Variant::Restated);
        let add =
            |object: &mut Map<String, Value>| drop(object.insert("brandNewField".to_owned(), json!([{ "a": 1 }])));
        Wire::Whole(Reply { body: each_object(&reply.body, &add), ..reply })
    });
    refresh(&given.patient(contract), contract.kind).await.expect("new fields are no fault");
    let after = given.stored().await;
    assert_eq!((after.lines, after.usage), (before.lines, before.usage), "{}", contract.kind);
}

fn contract_canaries(given: &Given) -> Vec<String> {
    given.spec.credentials.iter().map(|spec| canary(spec.key)).collect()
}

/// The text of JSON, or of one JSON object per line, without its last bracket.
fn without_last_bracket(body: &[u8]) -> Vec<u8> {
    let body = body.trim_ascii_end();
    body[..body.len().saturating_sub(1)].to_vec()
}

/// The body with something done to each of its objects, those within others included.
fn each_object(body: &[u8], change: &dyn Fn(&mut Map<String, Value>)) -> Vec<u8> {
    let text = std::str::from_utf8(body).expect("text");
    let changed = |text: &str| {
        let mut value: Value = serde_json::from_str(text).ok()?;
        walk(&mut value, change);
        Some(value.to_string())
    };
    let whole = changed(text);
    let lines = || text.lines().filter_map(changed).map(|line| line + "\n").collect();
    whole.unwrap_or_else(lines).into_bytes()
}

fn walk(value: &mut Value, change: &dyn Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(|value| walk(value, change));
            change(object);
        }
        Value::Array(items) => items.iter_mut().for_each(|value| walk(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
