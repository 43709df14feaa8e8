//! The same inputs give the same ledger, in whatever order and pieces they were written and by however many threads they
//! are read.

use super::given::{Store, days};
use super::lake::{BillLine, Used, bill_line, import, measure, run};
use domain::{Day, TenantScope};
use engine::Settings;
use engine::query::EntryFilter;
use engine::run::RunStatus;
use ledger::{ChainHash, Entry};

/// Days of the gate, and lines and quantities of each.
const DAYS: i32 = 200;
const LINES: usize = 6;
const POLICY: &str = "version = 'v1'
valid_from = 2020-01-01
[[tenant_rule]]
when = { tags.cluster = 'a*' }
tenant = '{tags.cluster}'
[[pool]]
name = 'west'
kind = 'cluster'
select = { tags.cluster = 'west' }
split = { method = 'weighted', weights = { cpu_core_hours = '0.7', memory_gib_hours = '0.31' } }
capacity = { cpu_core_hours = '3' }
[[pool]]
name = 'own'
select = { provider = 'AWS' }
split = { method = 'direct' }
[[pool]]
name = 'rest'
select = { provider = 'GCP' }
split = { method = 'by_cost', of = ['west', 'own'] }
";

/// Small whole numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

fn inputs(numbers: &mut Numbers, first: Day) -> (Vec<BillLine>, Vec<Used>) {
    let (mut lines, mut used) = (Vec::new(), Vec::new());
    for day in (0..DAYS).map(|offset| first.plus(offset)) {
        let day: &'static str = day.to_string().leak();
        for _ in 0..LINES {
            let amount: &'static str =
                format!("{}{}.{:015}", ["", "", "-"][numbers.below(3)], numbers.below(90), numbers.below(1 << 30))
                    .leak();
            let cluster = [Some("west"), Some("acme"), Some("abacus"), Some("none"), None][numbers.below(5)];
            lines.push(BillLine { cluster, ..bill_line(day, ["AWS", "AWS", "GCP"][numbers.below(3)], amount) });
            used.push(Used {
                day,
                tenant: ["acme", "abacus", "globex"][numbers.below(3)],
                cluster: ["west", "east"][numbers.below(2)],
                meter: ["cpu_core_hours", "memory_gib_hours"][numbers.below(2)],
                quantity: i128::try_from(numbers.below(1 << 31)).unwrap() - 1_000_000,
            });
        }
    }
    (lines, used)
}

/// The ledger that one run makes of these inputs, without what tells runs apart.
async fn ledger_of(lines: &[BillLine], used: &[Used], piece: usize, threads: usize) -> Vec<Entry> {
    let store = Store::with(Settings { threads, ..Settings::default() }).await;
    store.engine.publish_policy(POLICY, "policy.toml").await.unwrap();
    for part in lines.chunks(piece) {
        import(&store, part).await;
    }
    for part in used.chunks(piece) {
        measure(&store, part).await;
    }
    let (first, last) = (lines.iter().map(|line| line.day).min(), lines.iter().map(|line| line.day).max());
    let done = run(&store, first.unwrap(), last.unwrap()).await;
    assert_eq!((done.status, done.posting), (RunStatus::Succeeded, Some(1)), "{:?}", done.warnings);
    let filter =
        EntryFilter { range: Some(days(first.unwrap(), last.unwrap())), limit: 1_000_000, ..EntryFilter::all() };
    let entries = store.engine.ledger_entries(&TenantScope::All, &filter).await.unwrap().rows;
    let same = |entry: Entry| Entry { run: None, hash: ChainHash::ZERO, prev_hash: ChainHash::ZERO, ..entry };
    entries.into_iter().map(same).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_the_ledger_is_the_same_whatever_the_order_the_pieces_and_the_threads() {
    let mut numbers = Numbers(20_261_128);
    let first: Day = "2026-04-01".parse().unwrap();
    let (mut lines, mut used) = inputs(&mut numbers, first);
    let expected = ledger_of(&lines, &used, lines.len(), 1).await;
    assert!(expected.len() > 1_000, "{}", expected.len());
    for (pieces, threads) in [(1, 2), (7, 16), (40, 2), (13, 1)] {
        numbers.shuffle(&mut lines);
        numbers.shuffle(&mut used);
        let found = ledger_of(&lines, &used, lines.len().div_ceil(pieces), threads).await;
        let differing = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        assert!(
            found.len() == expected.len() && differing.is_none(),
            "{pieces} pieces, {threads} threads: {differing:?}"
        );
    }
    println!("C7: {DAYS} days, {} entries, by 1, 2 and 16 threads, from 1 to 40 pieces", expected.len());
}
