//! Moving cost from one tenant to another by hand.
//!
//! An adjustment is a posting of two entries of opposite sign, so it creates no cost. Runs never look at it, and only
//! another adjustment undoes it. Why it was made stands in its commit to the ledger, whose bytes `verify` checks; the
//! entries do not say it, because a tenant may read its own.

use crate::books::Books;
use crate::query::as_of::hash_text;
use crate::query::history::PostingBody;
use crate::query::params::shorten;
use crate::{Engine, EngineError};
use attribution::fx::{FxRate, convert_half_even};
use domain::decimal::format_scaled;
use domain::dimension::labels_key;
use domain::meter::Category;
use domain::money::{MONEY_SCALE, format_atoms};
use domain::policy::{ADJUSTMENT_POOL, Basis, Tier};
use domain::{Currency, Day, Instant, Month};
use ledger::{Cause, Desired, Difference, EntryKey, Header, Line, Periods, Posting, Status};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::catalog::{MetaKey, PostingRow};
use storage::lake::{LakeError, PinnedTable, Table};

/// How often an adjustment starts again because somebody else posted meanwhile.
const ATTEMPTS_MAX: u32 = 20;
/// FOCUS ChargeCategory of adjustments.
const CHARGE_CATEGORY: &str = "Adjustment";

/// What is to be moved, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAdjustment {
    /// Its id.
    pub id: String,
    /// Whether it may have been posted before: then what was posted under its id is found and not posted again.
    pub may_repeat: bool,
    /// The day whose cost is corrected.
    pub charge_date: Day,
    /// Who pays less: a tenant, or what means one on that day.
    pub from_tenant: String,
    /// Who pays more.
    pub to_tenant: String,
    /// How much, in atoms of 10⁻¹⁵ of the currency; more than 0.
    pub amount: i128,
    /// In which currency.
    pub currency: Currency,
    /// Why.
    pub reason: String,
    /// Where it was decided: a ticket, a letter.
    pub reference: String,
    /// Who enters it.
    pub entered_by: String,
}

/// An adjustment as it was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Its posting.
    pub posting: i64,
    /// When it was booked.
    pub booked_at: Instant,
    /// `sha256:` and the hash of the posting.
    pub hash: String,
    /// What it says.
    pub facts: AdjustmentFacts,
}

/// What the commit of an adjustment says of it. Days, months, amounts and rates are texts as answers print them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdjustmentFacts {
    /// Its id.
    pub id: String,
    /// The day whose cost is corrected.
    pub charge_date: String,
    /// The month on whose statement it stands.
    pub billing_month: String,
    /// Who pays less.
    pub from_tenant: String,
    /// Who pays more.
    pub to_tenant: String,
    /// How much.
    pub amount: String,
    /// In which currency.
    pub currency: String,
    /// The same in the reporting currency.
    pub amount_reporting: String,
    /// The rate that was used; none in the reporting currency itself.
    pub fx_rate: Option<String>,
    /// Day of that rate.
    pub fx_date: Option<String>,
    /// Why.
    pub reason: String,
    /// Where it was decided.
    pub reference: String,
    /// Who entered it.
    pub entered_by: String,
}

/// Who pays less, who pays more, and how much that is in the reporting currency.
struct Settled {
    from: Arc<str>,
    to: Arc<str>,
    amount_reporting: i128,
    fx: Option<FxRate>,
    billing_month: Month,
}

impl Engine {
    /// Moves cost from one tenant to another and returns the posting. A repeat returns the posting of the first time and
    /// writes nothing.
    ///
    /// # Errors
    /// [`EngineError::TenantNotFound`] for a tenant that nobody knows, [`EngineError::FxMissing`] without a rate of that
    /// day, [`EngineError::InvalidParameter`] for an amount that no row can hold or when both tenants are the same on
    /// that day, or when a store fails.
    ///
    /// # Panics
    /// If the amount is not more than 0.
    ///
    /// # Source
    /// Spec 3-attribution, section 4, "Adjustments".
    pub async fn adjust(&self, asked: &NewAdjustment) -> Result<Adjustment, EngineError> {
        assert!(0 < asked.amount, "an adjustment moves more than 0");
        for attempt in 1..=ATTEMPTS_MAX {
            let pinned = self.lake.pin_table(Table::Ledger).await?;
            if let Some(posted) = self.posted_before(&pinned, asked).await? {
                return Ok(posted);
            }
            match self.post_adjustment(&pinned, asked).await {
                Err(EngineError::Lake(LakeError::Conflict { version, .. })) => {
                    tracing::info!(adjustment.id = %asked.id, attempt, version, "somebody else posted meanwhile");
                }
                done => return done,
            }
        }
        Err(EngineError::RunInProgress {
            run: asked.id.clone(),
            range: format!("{ATTEMPTS_MAX} attempts on the same ledger"),
        })
    }

    /// Commits the posting as the version after the pinned one, or not at all.
    async fn post_adjustment(&self, pinned: &PinnedTable, asked: &NewAdjustment) -> Result<Adjustment, EngineError> {
        let end = self.ledger_end(pinned).await?;
        let settled = self.settle_adjustment(&self.books_now().await?, &end.periods, asked)?;
        let lines = lines_of(asked, &settled);
        if lines.iter().any(Line::is_out_of_bound) {
            return Err(EngineError::parameter("amount", "the amount is larger than a row can hold"));
        }
        self.catalog.set_meta_once(MetaKey::ReportingCurrency, self.settings.reporting_currency.code()).await?;
        let posting = Posting::seal_adjustment(Header::after(&end.head, self.clock.now(), None), lines);
        let facts = facts_of(asked, &settled);
        let says = Map::from_iter([("adjustment".to_owned(), serde_json::json!(facts))]);
        self.append_posting(pinned, &posting, end.periods, says).await?;
        let hash = hash_text(&posting.hash.to_string());
        Ok(Adjustment { posting: posting.header.posting, booked_at: posting.header.booked_at, hash, facts })
    }

    fn settle_adjustment(
        &self,
        books: &Books,
        periods: &Periods,
        asked: &NewAdjustment,
    ) -> Result<Settled, EngineError> {
        let day = asked.charge_date;
        let tenant_of = |named: &str| {
            let tenant = books.tenants.resolve(named, day);
            if books.tenants.knows(&tenant) { Ok(tenant) } else { Err(EngineError::TenantNotFound(shorten(named))) }
        };
        let (from, to) = (tenant_of(&asked.from_tenant)?, tenant_of(&asked.to_tenant)?);
        if from == to {
            let detail = format!("both names mean the tenant `{from}` on {day}; name two tenants");
            return Err(EngineError::parameter("to_tenant", detail));
        }
        let (own, reporting) = (asked.currency, self.settings.reporting_currency);
        let missing = EngineError::FxMissing { from: own, to: reporting, day };
        let fx = if own == reporting { None } else { Some(books.fx.rate(own, reporting, day).ok_or(missing)?) };
        let converted = fx.map_or(Some(asked.amount), |fx| convert_half_even(asked.amount, fx.rate));
        let too_large = || EngineError::parameter("amount", "the amount is larger than a row can hold");
        let billing_month = periods.billing_month(day.month());
        Ok(Settled { from, to, amount_reporting: converted.ok_or_else(too_large)?, fx, billing_month })
    }

    /// Returns what was posted under the id, also where the catalog was not told of it.
    async fn posted_before(
        &self,
        pinned: &PinnedTable,
        asked: &NewAdjustment,
    ) -> Result<Option<Adjustment>, EngineError> {
        if !asked.may_repeat {
            return Ok(None);
        }
        self.cache_missing_postings(pinned).await?;
        for row in self.catalog.postings_by_hand_all_tenants(&asked.id).await? {
            let facts = PostingBody::of(&row)?.adjustment;
            if let Some(facts) = facts.filter(|facts| facts.id == asked.id) {
                return Ok(Some(from_row_adjustment(&row, facts)));
            }
        }
        Ok(None)
    }
}

fn from_row_adjustment(row: &PostingRow, facts: AdjustmentFacts) -> Adjustment {
    let booked_at = Instant::from_micros(row.booked_at);
    Adjustment { posting: row.posting, booked_at, hash: hash_text(&row.hash), facts }
}

fn lines_of(asked: &NewAdjustment, settled: &Settled) -> Vec<Line> {
    let line = |tenant: &Arc<str>, sign: i128| {
        let says = Desired {
            amount: sign * asked.amount,
            billed_amount: sign * asked.amount,
            amount_reporting: sign * settled.amount_reporting,
            fx_rate: settled.fx.map(|fx| fx.rate.atoms()),
            fx_date: settled.fx.map(|fx| fx.date),
            ..Desired::default()
        };
        let key = key_of(asked.charge_date, asked.currency, tenant);
        let difference = Difference { key, existed: false, says };
        Line { difference, cause: Cause::Adjustment, billing_month: settled.billing_month }
    };
    vec![line(&settled.from, -1), line(&settled.to, 1)]
}

fn key_of(charge_date: Day, currency: Currency, tenant: &Arc<str>) -> EntryKey {
    EntryKey {
        charge_date,
        tier: Tier::Direct,
        basis: Basis::Adjustment,
        memo: false,
        status: Status::Final,
        charge_category: Some(CHARGE_CATEGORY.into()),
        pool: ADJUSTMENT_POOL.into(),
        method: None,
        consumer: ledger::consumer(&[Some(Arc::clone(tenant))]),
        tenant: Some(Arc::clone(tenant)),
        user: None,
        workflow: None,
        repo: None,
        task_class: None,
        cluster: None,
        labels_key: labels_key(&BTreeMap::<Arc<str>, Arc<str>>::new()).into(),
        provider: None,
        service: None,
        source: None,
        commitment_status: None,
        invoice_id: None,
        category: Some(Category::Other.as_str().into()),
        meter: None,
        currency,
    }
}

fn facts_of(asked: &NewAdjustment, settled: &Settled) -> AdjustmentFacts {
    AdjustmentFacts {
        id: asked.id.clone(),
        charge_date: asked.charge_date.to_string(),
        billing_month: settled.billing_month.to_string(),
        from_tenant: settled.from.to_string(),
        to_tenant: settled.to.to_string(),
        amount: format_atoms(asked.amount),
        currency: asked.currency.to_string(),
        amount_reporting: format_atoms(settled.amount_reporting),
        fx_rate: settled.fx.map(|fx| format_scaled(fx.rate.atoms(), MONEY_SCALE, 0)),
        fx_date: settled.fx.map(|fx| fx.date.to_string()),
        reason: asked.reason.clone(),
        reference: asked.reference.clone(),
        entered_by: asked.entered_by.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::catalog::Catalog;

    fn asked(id: &str, currency: Currency) -> NewAdjustment {
        NewAdjustment {
            id: id.to_owned(),
            may_repeat: true,
            charge_date: "2026-11-18".parse().expect("a day"),
            from_tenant: "acme".to_owned(),
            to_tenant: "globex".to_owned(),
            amount: domain::money::parse_atoms("12.345678901234567").expect("an amount").atoms,
            currency,
            reason: "charged twice".to_owned(),
            reference: "FIN-1".to_owned(),
            entered_by: "test".to_owned(),
        }
    }

    async fn sums(engine: &Engine) -> (usize, i128) {
        let filter = crate::query::EntryFilter::all();
        let page = engine.ledger_entries(&domain::TenantScope::All, &filter).await.expect("entries");
        (page.rows.len(), page.rows.iter().map(|entry| entry.amount).sum())
    }

    #[tokio::test]
    async fn an_id_is_posted_once_also_when_the_catalog_never_heard_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let names = ["acme".to_owned(), "globex".to_owned()];
        engine.catalog.ensure_tenants(&names, engine.clock.now().micros()).await.expect("tenants");

        let first = engine.adjust(&asked("adj-1", Currency::USD)).await.expect("posted");
        assert_eq!((first.posting, first.facts.amount.as_str()), (1, "12.345678901234567"));
        assert_eq!(engine.adjust(&asked("adj-1", Currency::USD)).await.expect("known"), first);
        // As after a crash between the commit and the catalog's copy of it.
        let elsewhere = Catalog::open(&folder.path().join("other.db")).await.expect("a catalog");
        elsewhere.ensure_tenants(&names, engine.clock.now().micros()).await.expect("tenants");
        let restarted = Engine { catalog: Arc::new(elsewhere), ..engine.clone() };
        assert_eq!(restarted.adjust(&asked("adj-1", Currency::USD)).await.expect("found in the log"), first);
        assert_eq!(sums(&restarted).await, (2, 0));

        let second = restarted.adjust(&asked("adj-2", Currency::USD)).await.expect("posted");
        assert_eq!(second.posting, 2);
        assert_eq!(sums(&restarted).await, (4, 0));
        let report = restarted.verify_all_tenants(None).await.expect("the stores answer");
        assert!(report.ok, "{:?}", report.faults);
    }

    #[tokio::test]
    async fn what_cannot_be_posted_leaves_the_ledger_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = crate::sample::engine(folder.path()).await;
        let missing = engine.adjust(&asked("adj-1", Currency::USD)).await.expect_err("nobody knows acme");
        assert!(matches!(missing, EngineError::TenantNotFound(name) if name == "acme"));
        let names = ["acme".to_owned(), "globex".to_owned()];
        engine.catalog.ensure_tenants(&names, engine.clock.now().micros()).await.expect("tenants");

        let no_rate = engine.adjust(&asked("adj-1", Currency::EUR)).await.expect_err("no rate");
        assert!(matches!(no_rate, EngineError::FxMissing { from: Currency::EUR, .. }));
        let same = NewAdjustment { to_tenant: "acme".to_owned(), ..asked("adj-1", Currency::USD) };
        assert!(matches!(engine.adjust(&same).await, Err(EngineError::InvalidParameter { .. })));
        let reserved = NewAdjustment { to_tenant: "__idle__".to_owned(), ..asked("adj-1", Currency::USD) };
        assert!(matches!(engine.adjust(&reserved).await, Err(EngineError::TenantNotFound(_))));
        assert_eq!(sums(&engine).await, (0, 0));
    }
}
