//! The lines of bills that went into a pool, at the version of the table that the run read.

use super::super::columns::rows;
use super::policy_of;
use crate::books::{Books, Version};
use crate::inputs::lines::{column, cost_by_day};
use crate::{Engine, EngineError};
use attribution::line::{AttributeSet, Cost, LinePart};
use attribution::pool::pool_of;
use attribution::spread::LineTimes;
use datafusion::prelude::SessionContext;
use domain::policy::Policy;
use domain::rates::RateCard;
use domain::{Currency, Day, Instant};
use futures::TryStreamExt;
use ledger::PoolDay;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::lake::Table;

/// Lines shown of each import.
pub const LINES_SHOWN_MAX: usize = 20;

/// The lines of one import that went into a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillImport {
    /// The import.
    pub import_id: String,
    /// The source that it belongs to.
    pub source: String,
    /// How many of its lines went in.
    pub lines: u64,
    /// The first of them by line number.
    pub shown: Vec<BillLine>,
}

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillLine {
    /// Line in the imported file.
    pub line_no: i64,
    /// Who sent the bill.
    pub provider: Option<String>,
    /// For which service.
    pub service: Option<String>,
    /// FOCUS ChargeCategory.
    pub charge_category: Option<String>,
    /// ChargeDescription.
    pub description: Option<String>,
    /// Currency of the amounts.
    pub currency: Currency,
    /// The day's part of the line by the pool's cost metric, in atoms.
    pub amount: i128,
    /// The day's part of BilledCost, in atoms.
    pub billed_amount: i128,
}

/// What a run notes of its inputs.
#[derive(Deserialize)]
pub(super) struct Inputs {
    pub(super) cost_lines: u64,
    usage: u64,
    /// Runs before there was such a table read none.
    #[serde(default)]
    snapshots: u64,
    pub(super) policy_version: String,
    #[serde(default)]
    policy_sha256: String,
    #[serde(default)]
    rate_card_version: String,
    #[serde(default)]
    rate_card_sha256: String,
}

impl Inputs {
    /// Returns the versions of the tables of bills and usage.
    pub(super) fn versions(&self) -> BTreeMap<Table, u64> {
        BTreeMap::from([
            (Table::CostLines, self.cost_lines),
            (Table::Usage, self.usage),
            (Table::Snapshots, self.snapshots),
        ])
    }

    /// Returns the policy and the card, as far as they are known and say what they said then.
    pub(super) fn versions_in<'b>(
        &self,
        books: &'b Books,
        date: Day,
    ) -> (Option<&'b Version<Policy>>, Option<&'b Version<RateCard>>) {
        let policy = books.policy_named(&self.policy_version, date);
        let card = books.card_named(&self.rate_card_version, date);
        (
            policy.filter(|policy| *policy.sha256 == *self.policy_sha256),
            card.filter(|card| *card.sha256 == *self.rate_card_sha256),
        )
    }

    /// Returns what the run noted that put these amounts into the pool, and the run.
    pub(super) fn of(went_in: &[PoolDay]) -> Option<(Self, Arc<str>)> {
        went_in.iter().find_map(|row| Some((serde_json::from_str(&row.inputs).ok()?, Arc::clone(&row.run))))
    }
}

const FACTS: &str = "import_id, line_no, source, service_provider_name, service_name, charge_category, \
    charge_description, billing_currency, billed_cost, effective_cost, contracted_cost, list_cost, \
    charge_period_start, charge_period_end, billing_period_start, billing_period_end";
/// How many columns [`FACTS`] has.
const FACTS_COUNT: usize = 16;

impl Engine {
    /// The lines that the pool took on the day, by import.
    pub(super) async fn bills_of(
        &self,
        books: &Books,
        date: Day,
        pool: &str,
        went_in: &[PoolDay],
    ) -> Result<Vec<BillImport>, EngineError> {
        let Some((noted, _)) = Inputs::of(went_in) else { return Ok(Vec::new()) };
        let pinned = self.lake.pin_at(&BTreeMap::from([(Table::CostLines, noted.cost_lines)])).await?;
        let session = self.session(&pinned)?;
        let policy = policy_of(&session, books, &noted.policy_version, date).await?;
        let Some(policy) = policy else { return Ok(Vec::new()) };
        self.matching_lines(&session, &policy, pool, date).await
    }

    async fn matching_lines(
        &self,
        session: &SessionContext,
        policy: &Policy,
        pool: &str,
        date: Day,
    ) -> Result<Vec<BillImport>, EngineError> {
        let wanted = policy.pools.iter().position(|known| known.name == pool);
        let metric = wanted.and_then(|at| policy.pools[at].cost_metric).unwrap_or(policy.cost_metric);
        let attributes = AttributeSet::needed_by([policy]);
        let named: Vec<String> =
            attributes.attributes().iter().enumerate().map(|(at, name)| format!("{} AS a{at}", column(name))).collect();
        let sql = format!(
            "SELECT {FACTS}, {} FROM cost_lines WHERE charge_date_from <= DATE '{date}' AND charge_date_to >= DATE '{date}' \
             ORDER BY import_id, line_no",
            named.join(", ")
        );
        let mut found: Vec<BillImport> = Vec::new();
        let mut batches = session.sql(&sql).await?.execute_stream().await?;
        while let Some(batch) = batches.try_next().await? {
            for row in rows(std::slice::from_ref(&batch)) {
                let currency = row.text_or_empty(7).parse().map_err(|_| EngineError::Corrupt {
                    what: "currency of a cost line".to_owned(),
                    detail: row.text_or_empty(7).to_owned(),
                })?;
                let instant = |index| row.micros(index).map(Instant::from_micros);
                let start = instant(12);
                let times = LineTimes {
                    charge_start: start,
                    charge_end: instant(13),
                    billing_start: instant(14).or(start).unwrap_or(Instant::from_micros(0)),
                    billing_end: instant(15),
                };
                let [billed, effective, contracted, list] = [8, 9, 10, 11].map(|index| row.atoms(index));
                let whole = Cost { billed, effective, contracted, list };
                let Some(cost) = cost_by_day(whole, &times, &self.settings.zone).remove(&date) else { continue };
                let count = attributes.attributes().len();
                let values = (0..count).map(|at| row.text(FACTS_COUNT + at).map(Into::into)).collect();
                let line = LinePart { attributes: attributes.clone(), values, currency, cost, lines: 1 };
                if pool_of(policy, &line) != wanted {
                    continue;
                }
                let text = |index| row.text(index).map(str::to_owned);
                let import = import_of(&mut found, row.text_or_empty(0), row.text_or_empty(2));
                import.lines += 1;
                if import.shown.len() < LINES_SHOWN_MAX {
                    import.shown.push(BillLine {
                        line_no: row.int(1).unwrap_or_default(),
                        provider: text(3),
                        service: text(4),
                        charge_category: text(5),
                        description: text(6),
                        currency,
                        amount: cost.by(metric),
                        billed_amount: cost.billed,
                    });
                }
            }
        }
        Ok(found)
    }
}

/// The import of this id; lines come by import, so it is the last one or a new one.
fn import_of<'f>(found: &'f mut Vec<BillImport>, import_id: &str, source: &str) -> &'f mut BillImport {
    if found.last().is_none_or(|last| last.import_id != import_id) {
        let (import_id, source) = (import_id.to_owned(), source.to_owned());
        found.push(BillImport { import_id, source, lines: 0, shown: Vec::new() });
    }
    found.last_mut().expect("one was pushed if there was none")
}
