//! What the ledger says of a tenant's pools in one range: amounts, weights and quantities, of the tenant and of the others.

use super::super::as_of::Head;
use super::terms::{OfMeter, Side};
use crate::EngineError;
use crate::inputs::rows::{Rows, literal};
use datafusion::prelude::SessionContext;
use domain::DayRange;
use domain::tenant::{IDLE, RESERVED};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whose costs are read, in which state of the ledger.
#[derive(Clone, Copy)]
pub(super) struct Reader<'r> {
    pub(super) session: &'r SessionContext,
    pub(super) head: &'r Head,
    pub(super) tenant: &'r str,
    /// Whether the entries of the others in its pools are read at all.
    pub(super) reads_others: bool,
}

/// A pool in one range.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolFacts {
    /// Method and basis of its entries; several when the rule changed within the range.
    pub(super) rules: BTreeSet<(String, String)>,
    pub(super) sides: BTreeMap<String, Side>,
    /// Versions of the policy and of the rate card that the tenant's entries name.
    pub(super) policies: BTreeSet<String>,
    pub(super) cards: BTreeSet<String>,
    /// How many tenants had a share on the day and in the currency with the fewest, where any had; none when the others
    /// are not read.
    pub(super) tenants_min: Option<usize>,
    /// Corrections of closed months and adjustments, in the reporting currency.
    pub(super) corrections: i128,
}

impl PoolFacts {
    /// Returns whether anybody that is read has a share by a rule.
    pub(super) fn is_there(&self) -> bool {
        !self.sides.is_empty()
    }

    /// Returns the tenant's own meters.
    pub(super) fn meters(&self) -> impl Iterator<Item = &String> {
        self.sides.values().flat_map(|side| side.meters.keys()).filter(|meter| !meter.is_empty())
    }
}

/// By pool.
pub(super) type Facts = BTreeMap<String, PoolFacts>;

impl Reader<'_> {
    /// Returns the pools in which the tenant has entries in the range.
    pub(super) async fn pools(&self, range: DayRange) -> Result<BTreeSet<String>, EngineError> {
        let sql = format!(
            "SELECT DISTINCT pool FROM ledger WHERE kind IN ('cost', 'adjustment') AND {} AND {}",
            self.own(),
            self.within(range)
        );
        let mut pools = BTreeSet::new();
        for batch in self.session.sql(&sql).await?.collect().await? {
            pools.extend(Rows(&batch).texts("pool")?.into_iter().flatten().map(|pool| pool.to_string()));
        }
        Ok(pools)
    }

    /// Returns what the ledger says of these pools in the range.
    pub(super) async fn facts(&self, range: DayRange, pools: &BTreeSet<String>) -> Result<Facts, EngineError> {
        let mut facts = Facts::new();
        if pools.is_empty() {
            return Ok(facts);
        }
        self.add_sides(&mut facts, range, pools).await?;
        self.add_versions(&mut facts, range, pools).await?;
        self.add_corrections(&mut facts, range).await?;
        if self.reads_others {
            self.add_tenants(&mut facts, range, pools).await?;
        }
        Ok(facts)
    }

    /// The condition on the tenant's own entries; a reserved consumer is known by its word.
    fn own(&self) -> String {
        let column = if RESERVED.contains(&self.tenant) { "consumer" } else { "tenant" };
        format!("coalesce({column}, '') = {}", literal(self.tenant))
    }

    /// Money of the range in the state that is asked; the month bounds let whole partitions be skipped.
    fn within(&self, range: DayRange) -> String {
        format!(
            "memo IS NOT TRUE AND posting <= {} AND charge_month >= '{}' AND charge_month <= '{}' \
             AND charge_date >= DATE '{}' AND charge_date <= DATE '{}'",
            self.head.number(),
            range.from().month(),
            range.to().month(),
            range.from(),
            range.to()
        )
    }

    /// What stands of each key, as a subquery; what was taken back adds up to nothing and says nothing.
    fn standing(&self, range: DayRange, pools: &BTreeSet<String>) -> String {
        let names: Vec<String> = pools.iter().map(|pool| literal(pool)).collect();
        let whose = if self.reads_others { "true".to_owned() } else { self.own() };
        let consumer = "charge_date, pool, method, basis, currency, consumer, tenant, meter";
        let detail =
            "tier, status, category, charge_category, service, provider, source, commitment_status, invoice_id";
        let newest = |column: &str| format!("last_value({column} ORDER BY posting, \"line\") AS last_{column}");
        format!(
            "(SELECT {consumer}, sum(amount) AS cost, sum(amount_reporting) AS reporting, sum(quantity) AS measured, \
             {}, {}, {} FROM ledger WHERE kind = 'cost' AND charge_class IS NULL AND {whose} AND pool IN ({}) AND {} \
             GROUP BY {consumer}, {detail} \
             HAVING sum(amount) <> 0 OR sum(amount_reporting) <> 0 OR sum(quantity) <> 0)",
            newest("weight"),
            newest("policy_version"),
            newest("rate_card_version"),
            names.join(", "),
            self.within(range)
        )
    }

    /// Cells are parts of one consumer and meter: their weight is the same in every component, and counts once a day.
    async fn add_sides(&self, facts: &mut Facts, range: DayRange, pools: &BTreeSet<String>) -> Result<(), EngineError> {
        let cells = format!(
            "(SELECT pool, method, basis, currency, consumer, tenant, meter, sum(cost) AS cell_cost, \
             sum(reporting) AS cell_reporting, sum(measured) AS cell_measured, max(last_weight) AS cell_weight \
             FROM {} AS standing GROUP BY charge_date, pool, method, basis, currency, consumer, tenant, meter)",
            self.standing(range, pools)
        );
        let own = self.own();
        let told = format!(
            "(SELECT pool, method, basis, currency, cell_cost, cell_reporting, cell_measured, cell_weight, \
             CASE WHEN {own} THEN 'own' WHEN consumer = {} THEN 'idle' ELSE 'others' END AS who, \
             CASE WHEN {own} THEN coalesce(meter, '') ELSE '' END AS of_meter FROM {cells} AS cells)",
            literal(IDLE)
        );
        let sql = format!(
            "SELECT pool, method, basis, currency, who, of_meter, sum(cell_cost) AS amount, \
             sum(cell_reporting) AS reporting, sum(cell_measured) AS quantity, sum(cell_weight) AS weight \
             FROM {told} AS told GROUP BY pool, method, basis, currency, who, of_meter"
        );
        for batch in self.session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            let names = ["pool", "method", "basis", "currency", "who", "of_meter"];
            let texts = names.map(|name| rows.texts(name)).into_iter().collect::<Result<Vec<_>, _>>()?;
            let sums = ["amount", "reporting", "quantity", "weight"].map(|name| rows.decimals(name));
            let sums = sums.into_iter().collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                let text = |at: usize| texts[at][row].as_deref().unwrap_or_default().to_owned();
                let pool = facts.entry(text(0)).or_default();
                pool.rules.insert((text(1), text(2)));
                let sum = |at: usize| sums[at][row].unwrap_or(0);
                let side = pool.sides.entry(text(3)).or_default();
                side.whole += sum(0);
                match texts[4][row].as_deref() {
                    Some("own") => {
                        side.amount += sum(0);
                        side.reporting += sum(1);
                        side.weights.own += sum(3);
                        let of = side.meters.entry(text(5)).or_default();
                        *of = OfMeter { amount: of.amount + sum(0), quantity: add(of.quantity, sums[2][row]) };
                    }
                    Some("idle") => side.weights.idle += sum(3),
                    _ => side.weights.others += sum(3),
                }
            }
        }
        Ok(())
    }

    async fn add_versions(
        &self,
        facts: &mut Facts,
        range: DayRange,
        pools: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let sql = format!(
            "SELECT DISTINCT pool, last_policy_version, last_rate_card_version FROM {} AS standing WHERE {}",
            self.standing(range, pools),
            self.own()
        );
        let named = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        for batch in self.session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            let (pools, policies) = (rows.texts("pool")?, rows.texts("last_policy_version")?);
            let cards = rows.texts("last_rate_card_version")?;
            for row in 0..batch.num_rows() {
                let pool = facts.entry(named(&pools[row]).unwrap_or_default()).or_default();
                pool.policies.extend(named(&policies[row]));
                pool.cards.extend(named(&cards[row]));
            }
        }
        Ok(())
    }

    async fn add_corrections(&self, facts: &mut Facts, range: DayRange) -> Result<(), EngineError> {
        let sql = format!(
            "SELECT pool, sum(amount_reporting) AS reporting FROM ledger \
             WHERE (kind = 'adjustment' OR (kind = 'cost' AND charge_class IS NOT NULL)) AND {} AND {} GROUP BY pool",
            self.own(),
            self.within(range)
        );
        for batch in self.session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            for (pool, reporting) in rows.texts("pool")?.into_iter().zip(rows.decimals("reporting")?) {
                let pool = facts.entry(pool.unwrap_or_default().to_string()).or_default();
                pool.corrections += reporting.unwrap_or(0);
            }
        }
        Ok(())
    }

    async fn add_tenants(
        &self,
        facts: &mut Facts,
        range: DayRange,
        pools: &BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let sql = format!(
            "SELECT pool, min(tenants) AS tenants FROM (SELECT charge_date, pool, currency, \
             count(DISTINCT tenant) AS tenants FROM {} AS standing WHERE tenant IS NOT NULL \
             GROUP BY charge_date, pool, currency) AS days GROUP BY pool",
            self.standing(range, pools)
        );
        for batch in self.session.sql(&sql).await?.collect().await? {
            let rows = Rows(&batch);
            for (pool, tenants) in rows.texts("pool")?.into_iter().zip(rows.integers("tenants")?) {
                let pool = facts.entry(pool.unwrap_or_default().to_string()).or_default();
                pool.tenants_min = Some(usize::try_from(tenants).unwrap_or(0));
            }
        }
        Ok(())
    }
}

/// Both quantities; none only where there is neither.
fn add(known: Option<i128>, more: Option<i128>) -> Option<i128> {
    match (known, more) {
        (Some(known), Some(more)) => Some(known + more),
        (known, more) => known.or(more),
    }
}
