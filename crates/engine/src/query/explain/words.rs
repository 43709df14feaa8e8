//! What a pool says of itself: the words of the rule that stands, not of one that was taken back.

use super::super::columns::{Row, rows};
use super::{Asked, own_entries};
use crate::EngineError;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::prelude::ident;
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// A pool's own words, the same for all entries of its rule on a day.
pub(super) struct PoolWords {
    pub(super) tier: String,
    pub(super) basis: String,
    pub(super) memo: bool,
    pub(super) method: String,
    pub(super) cost: i128,
    /// The newest.
    pub(super) policy_version: String,
    pub(super) policy_versions: BTreeSet<String>,
    /// The newest; empty without one.
    pub(super) rate_card_version: String,
    pub(super) rate_card_versions: BTreeSet<String>,
}

/// A pool's name and whether it holds estimates.
type PoolId = (String, bool);

/// Tier, basis and method.
type Words = [String; 3];

/// What the entries of one rule add up to.
#[derive(Default)]
struct Said {
    sums: [i128; 4],
    /// Newest first: posting, policy version, rate card version.
    versions: BTreeSet<std::cmp::Reverse<(i64, String, String)>>,
}

impl Said {
    fn add(&mut self, row: &Row<'_>) {
        for (at, sum) in self.sums.iter_mut().enumerate() {
            *sum += row.atoms(8 + at);
        }
        let text = |index| row.text_or_empty(index).to_owned();
        self.versions.insert(std::cmp::Reverse((row.int(7).unwrap_or_default(), text(5), text(6))));
    }

    /// Whether anything of it stands, and the posting that told it last.
    fn order(&self) -> (bool, i64) {
        (self.sums != [0; 4], self.versions.first().map_or(0, |newest| newest.0.0))
    }
}

/// Returns the words of every pool in which the tenant, or the reserved consumer, has entries.
pub(super) async fn of_pools(asked: &Asked<'_>) -> Result<BTreeMap<PoolId, PoolWords>, EngineError> {
    let columns = ["pool", "memo", "tier", "basis", "method", "policy_version", "rate_card_version"].map(ident);
    let sums = ["amount", "billed_amount", "amount_reporting", "quantity"];
    let sums = sums.map(|column| sum(ident(column)).alias(format!("sum_{column}")));
    let batches = asked
        .session
        .table(Table::Ledger.name())
        .await?
        .filter(own_entries(asked.head, asked.query))?
        .aggregate(columns.to_vec(), [vec![max(ident("posting")).alias("newest")], sums.to_vec()].concat())?
        .collect()
        .await?;
    let mut pools: BTreeMap<PoolId, BTreeMap<Words, Said>> = BTreeMap::new();
    for row in rows(&batches) {
        let text = |index| row.text_or_empty(index).to_owned();
        let said = pools.entry((text(0), row.is_true(1))).or_default();
        said.entry([2, 3, 4].map(text)).or_default().add(&row);
    }
    Ok(pools.into_iter().map(|(id, said)| (id.clone(), words_of(id.1, said))).collect())
}

fn words_of(memo: bool, said: BTreeMap<Words, Said>) -> PoolWords {
    let cost = said.values().map(|said| said.sums[2]).sum();
    let stands = said.into_iter().max_by_key(|(_, said)| said.order());
    let ([tier, basis, method], said) = stands.expect("a pool is here because it has entries");
    let newest = said.versions.first().map(|newest| newest.0.clone()).unwrap_or_default();
    let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    PoolWords {
        tier,
        basis,
        memo,
        method,
        cost,
        policy_version: newest.1,
        policy_versions: said.versions.iter().filter_map(|told| named(&told.0.1)).collect(),
        rate_card_version: newest.2,
        rate_card_versions: said.versions.iter().filter_map(|told| named(&told.0.2)).collect(),
    }
}
