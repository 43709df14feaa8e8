//! Worked examples of windows: who used what somebody paid for once.

use crate::given::{Given, day, money, quantity};
use attribution::cells::Consumer;
use attribution::window::{CostEvent, Ends, Length, Read, Reads, Terms, WindowPool, amortize};
use domain::{Currency, Instant};

const HOUR: i64 = 3_600_000_000;
const POOL: &str = "[[pool]]\nname='gather'\ntier='amortized'\n\
    source={event_type='g',key='$.id',cost='$.usd',currency='USD'}\n\
    split={method='window',by=['tenant','workflow'],event_type='r',key='$.id',window='24h'}\n";

/// An hour of the day that all tests attribute, or of the days after it.
fn at(hour: i64) -> Instant {
    Instant::from_micros(i64::from(day().epoch_days()) * 24 * HOUR + hour * HOUR)
}

fn cost(hour: i64, key: &str, amount: &str) -> CostEvent {
    CostEvent { time: at(hour), key: (!key.is_empty()).then(|| key.into()), amount: money(amount), name: None }
}

/// Hour, key, consumer, weight.
type Use<'u> = (i64, &'u str, &'u str, &'u str);

struct Rule {
    length: Length,
    is_weighted: bool,
    now: i64,
}

const DAY_WINDOW: Rule = Rule { length: Length::For(24 * HOUR), is_weighted: false, now: 1_000 };

/// What the uses make of the costs; consumers are written `tenant/workflow`.
fn windows(rule: &Rule, costs: Vec<CostEvent>, uses: &[Use<'_>], ends: &[(i64, &str)]) -> WindowPool {
    let mut consumers: Vec<Option<Consumer>> = Vec::new();
    let mut read = |(hour, key, who, weight): &Use<'_>| {
        consumers.push(Some(Consumer::Values(who.split('/').map(|part| Some(part.into())).collect())));
        let key = (!key.is_empty()).then(|| (*key).into());
        Read { time: at(*hour), key, who: consumers.len() - 1, weight: quantity(weight) }
    };
    let reads = Reads::new(uses.iter().map(&mut read).collect());
    let mut all_ends = Ends::default();
    for (hour, key) in ends {
        all_ends.insert(Some((*key).into()), at(*hour));
    }
    let terms = Terms {
        has_keys: true,
        length: rule.length,
        grace: HOUR,
        is_weighted: rule.is_weighted,
        reads: &reads,
        ends: &all_ends,
        consumers: &consumers,
    };
    let costs = amortize(costs, &terms, at(rule.now));
    WindowPool { costs, ..WindowPool::nothing(Currency::USD) }
}

fn given(pools: &str, window: WindowPool) -> Given {
    let mut given = Given::policy(pools);
    given.windows.insert("gather".to_owned(), window);
    given
}

/// Tier overhead and pending, as the shares of a pool say them.
fn marks(given: &Given) -> Vec<(bool, bool, Option<&'static str>)> {
    given.attribute().pools[0].shares.iter().map(|share| (share.overhead, share.pending, share.reason)).collect()
}

#[test]
fn a_gather_is_shared_by_the_workflows_that_read_it_in_time() {
    let uses = [
        (1, "g1", "acme/w1", "1"),
        (1, "g1", "acme/w1", "1"),
        (24, "g1", "acme/w2", "1"),
        (25, "g1", "globex/w3", "1"),
        (26, "g1", "acme/too-late", "1"),
        (2, "g2", "acme/other-key", "1"),
        (0, "g1", "acme/too-early", "1"),
    ];
    let given = given(POOL, windows(&DAY_WINDOW, vec![cost(1, "g1", "0.10")], &uses, &[]));
    // The window is [1, 25): what happens at its end is outside.
    assert_eq!(given.shares(), ["gather acme/w1 0.05", "gather acme/w2 0.05"]);
    let outcome = given.attribute();
    let pool = &outcome.pools[0];
    assert_eq!((pool.memo, pool.basis.as_str(), pool.method.as_str()), (true, "event", "window"));
    assert_eq!((pool.components[0].amounts.amount, pool.components[0].amounts.billed), (money("0.10"), 0));
    let seen = pool.window.expect("it has windows");
    assert_eq!((seen.cost_events, seen.pending, seen.unconsumed, seen.reads), (1, 0, 0, 3));
}

#[test]
fn left_over_atoms_go_to_the_first_consumer_of_each_cost() {
    let uses = [(1, "g", "b/w", "1"), (1, "g", "a/w", "1"), (1, "g", "c/w", "1")];
    let two = vec![cost(1, "g", "1.00"), cost(1, "g", "1.00")];
    let third = "0.666666666666666";
    assert_eq!(
        given(POOL, windows(&DAY_WINDOW, two, &uses, &[])).shares(),
        ["gather a/w 0.666666666666668".to_owned(), format!("gather b/w {third}"), format!("gather c/w {third}")]
    );
}

#[test]
fn a_probe_that_fired_for_one_is_paid_by_the_fifty_that_read_it() {
    let names: Vec<String> = (0..50).map(|number| format!("t/w{number:02}")).collect();
    let uses: Vec<Use<'_>> = names.iter().map(|name| (2, "p", name.as_str(), "1")).collect();
    let shares = given(POOL, windows(&DAY_WINDOW, vec![cost(1, "p", "1.00")], &uses, &[])).shares();
    assert_eq!(shares.len(), 50);
    assert!(shares.iter().all(|share| share.ends_with(" 0.02")), "{shares:?}");
}

#[test]
fn a_sandbox_is_paid_by_those_that_used_it_until_it_cooled_by_their_seconds() {
    let rule = |now| Rule { length: Length::Until(24 * HOUR), is_weighted: true, now };
    let uses = [
        (1, "vm", "acme/a", "300"),
        (3, "vm", "acme/b", "90"),
        (3, "vm", "acme/b", "10"),
        (5, "vm", "acme/next-warm-up", "1000"),
    ];
    let warm = || vec![cost(1, "vm", "4.00")];
    let cooled = [(1, "vm"), (4, "vm"), (9, "vm"), (2, "other")];
    let given_until = |now, ends: &[(i64, &str)]| given(POOL, windows(&rule(now), warm(), &uses, ends));
    assert_eq!(given_until(100, &cooled).shares(), ["gather acme/a 3.00", "gather acme/b 1.00"]);
    // It is final an hour after it cooled, and when it never cools, after the longest window.
    let pending = |now, ends| marks(&given_until(now, ends))[0].1;
    assert_eq!([pending(4, &cooled[..]), pending(5, &cooled[..])], [true, false]);
    assert_eq!([pending(25, &[][..]), pending(26, &[][..])], [true, false]);
    assert_eq!(given_until(100, &[]).shares().len(), 3);
}

#[test]
fn what_nobody_used_is_overhead_and_pending_until_the_window_closes() {
    let unread = |now| given(POOL, windows(&Rule { now, ..DAY_WINDOW }, vec![cost(1, "g", "2.00")], &[], &[]));
    assert_eq!(unread(25).shares(), ["gather __unconsumed__ 2.00"]);
    assert_eq!(marks(&unread(25)), [(true, true, Some("no_usage"))]);
    assert_eq!(marks(&unread(26)), [(true, false, Some("no_usage"))]);
    let ripens = unread(25).attribute().pools[0].window.expect("windows").ripens_at;
    assert_eq!(ripens, Some(at(26)));
    // A cost without a key is nobody's, and so is one whose uses weigh nothing.
    let without_key = windows(&DAY_WINDOW, vec![cost(1, "", "2.00")], &[(2, "", "a/w", "1")], &[]);
    assert_eq!(given(POOL, without_key).shares(), ["gather __unconsumed__ 2.00"]);
    let by_seconds = Rule { is_weighted: true, ..DAY_WINDOW };
    let weightless = windows(&by_seconds, vec![cost(1, "g", "2.00")], &[(2, "g", "a/w", "0")], &[]);
    assert_eq!(given(POOL, weightless).shares(), ["gather __unconsumed__ 2.00"]);
}

#[test]
fn pending_and_final_costs_of_a_day_are_apart_and_closing_moves_nothing_else() {
    let uses = [(2, "g", "a/w", "1"), (3, "g", "b/w", "1"), (4, "h", "a/w", "1")];
    let costs = || vec![cost(1, "g", "0.01"), cost(4, "h", "0.05")];
    let at_hour = |now| given(POOL, windows(&Rule { now, ..DAY_WINDOW }, costs(), &uses, &[]));
    let sums = |now| {
        let mut sums = std::collections::BTreeMap::new();
        for share in &at_hour(now).attribute().pools[0].shares {
            let sum = sums.entry(format!("{:?}", share.consumer)).or_insert([0_i128; 2]);
            *sum = [sum[0] + share.amount, sum[1] + share.reporting];
        }
        sums
    };
    let pending = |now| at_hour(now).attribute().pools[0].shares.iter().filter(|share| share.pending).count();
    assert_eq!([pending(20), pending(26), pending(29)], [2, 1, 0]);
    assert!(sums(20) == sums(26) && sums(26) == sums(29));
}

#[test]
fn a_recovering_pool_books_the_rest_of_its_lines_on_variance() {
    let pool = POOL.replace("source=", "recovers={provider='X'}\nsource=");
    let window = windows(&DAY_WINDOW, vec![cost(1, "g", "7.00"), cost(2, "h", "1.00")], &[(2, "g", "a/w", "1")], &[]);
    let given = given(&pool, window).line("10.00", "12.00", &[("provider", "X")]);
    let outcome = given.attribute();
    let shares: Vec<_> = outcome.pools[0].shares.iter().map(|share| (share.amount, share.billed)).collect();
    assert_eq!(given.shares(), ["gather __unconsumed__ 1.00", "gather a/w 7.00", "gather __variance__ 2.00"]);
    assert_eq!(shares, [(money("1"), money("1")), (money("7"), money("7")), (money("2"), money("4"))]);
    assert!(!outcome.pools[0].memo && outcome.pools[0].components[0].lines == 1);
}

#[test]
fn costs_in_another_currency_are_converted_together_and_divided() {
    let pool = POOL.replace("'USD'", "'EUR'");
    let window = || {
        let costs = vec![cost(1, "g", "0.000000000000001"), cost(1, "g", "-0.000000000000001"), cost(2, "g", "3.00")];
        WindowPool { currency: Currency::EUR, ..windows(&DAY_WINDOW, costs, &[(2, "g", "a/w", "1")], &[]) }
    };
    let outcome = given(&pool, window()).attribute();
    assert_eq!(outcome.pools[0].not_run.as_ref().map(|not_run| not_run.code), Some("fx_missing"));
    let outcome = given(&pool, window()).rate("EUR", "USD", "1.10").attribute();
    assert_eq!(outcome.pools[0].shares.iter().map(|share| share.reporting).sum::<i128>(), money("3.30"));
}

#[test]
fn a_pool_that_cannot_be_run_has_no_shares() {
    let not_run = attribution::day::NotRun { code: "inputs_expired", detail: String::new() };
    let window = WindowPool { not_run: Some(not_run.clone()), ..WindowPool::nothing(Currency::USD) };
    let outcome = given(POOL, window).attribute();
    assert_eq!((outcome.pools[0].not_run.as_ref(), outcome.pools[0].shares.len()), (Some(&not_run), 0));
    assert_eq!(outcome.pools[0].window, None);
}
