//! What a pool says of itself: the words of the rule that stands, not of one that was taken back.

use super::super::columns::{Row, rows};
use super::super::select::all_of;
use super::{Asked, own_entries};
use crate::EngineError;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::prelude::{Expr, ident, lit};
use ledger::{EntryKind, PoolDay};
use std::collections::{BTreeMap, BTreeSet};
use storage::lake::Table;

/// A pool's own words, the same for all entries of its rule on a day.
pub(super) struct PoolWords {
    pub(super) tier: String,
    pub(super) basis: String,
    pub(super) method: String,
    pub(super) cost: i128,
    /// The newest.
    pub(super) policy_version: String,
    pub(super) policy_versions: BTreeSet<String>,
    /// The newest; empty without one.
    pub(super) rate_card_version: String,
    pub(super) rate_card_versions: BTreeSet<String>,
}

/// Which entries of a day belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolId {
    pub(super) pool: String,
    /// Whether it holds estimates.
    pub(super) memo: bool,
    /// Whether a person moved the cost.
    pub(super) is_adjustment: bool,
}

impl PoolId {
    /// Returns whether the row says what went into the pool; nothing goes into one by an adjustment.
    pub(super) fn is_of(&self, row: &PoolDay) -> bool {
        !self.is_adjustment && *row.pool == *self.pool && row.memo == self.memo
    }

    /// Returns the condition that its entries meet.
    pub(super) fn condition(&self) -> Expr {
        let kind = if self.is_adjustment { EntryKind::Adjustment } else { EntryKind::Cost };
        all_of([
            ident("kind").eq(lit(kind.as_str())),
            ident("pool").eq(lit(self.pool.as_str())),
            ident("memo").eq(lit(self.memo)),
        ])
    }
}

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
            *sum += row.atoms(9 + at);
        }
        let text = |index| row.text_or_empty(index).to_owned();
        self.versions.insert(std::cmp::Reverse((row.int(8).unwrap_or_default(), text(6), text(7))));
    }

    /// Whether anything of it stands, and the posting that told it last.
    fn order(&self) -> (bool, i64) {
        (self.sums != [0; 4], self.versions.first().map_or(0, |newest| newest.0.0))
    }
}

/// Returns the words of every pool in which the tenant, or the reserved consumer, has entries.
pub(super) async fn of_pools(asked: &Asked<'_>) -> Result<BTreeMap<PoolId, PoolWords>, EngineError> {
    let columns = ["pool", "memo", "kind", "tier", "basis", "method", "policy_version", "rate_card_version"].map(ident);
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
        let is_adjustment = row.text(2) == Some(EntryKind::Adjustment.as_str());
        let id = PoolId { pool: text(0), memo: row.is_true(1), is_adjustment };
        pools.entry(id).or_default().entry([3, 4, 5].map(text)).or_default().add(&row);
    }
    Ok(pools.into_iter().map(|(id, said)| (id, words_of(said))).collect())
}

fn words_of(said: BTreeMap<Words, Said>) -> PoolWords {
    let cost = said.values().map(|said| said.sums[2]).sum();
    let stands = said.into_iter().max_by_key(|(_, said)| said.order());
    let ([tier, basis, method], said) = stands.expect("a pool is here because it has entries");
    let newest = said.versions.first().map(|newest| newest.0.clone()).unwrap_or_default();
    let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    PoolWords {
        tier,
        basis,
        method,
        cost,
        policy_version: newest.1,
        policy_versions: said.versions.iter().filter_map(|told| named(&told.0.1)).collect(),
        rate_card_version: newest.2,
        rate_card_versions: said.versions.iter().filter_map(|told| named(&told.0.2)).collect(),
    }
}
