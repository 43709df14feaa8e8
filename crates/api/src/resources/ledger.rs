//! Entries, postings, proof, verification.

use super::adjustments::{AdjustmentBody, adjustment_body};
use super::costs::RangeBody;
use crate::access::{AdminReader, PlatformAdminOnly};
use crate::app::App;
use crate::convert::{day, factor, inputs, money, owned, quantity};
use crate::list::{ListAsked, columns_of, json};
use crate::problem::ApiError;
use crate::query::{QueryPairs, flag};
use axum::extract::State;
use axum::response::Response;
use collectors::recount::{BillCount, BillSums, StoredBill, recount};
use domain::{DayRange, TenantScope};
use engine::query::bill_sums::BillSum;
use engine::query::postings::PostingSummary;
use engine::query::proof::ProofTotal;
use engine::query::{EntryFilter, ProofFilter};
use ledger::{ChainHash, Entry, ProofRow};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Which entries or proofs; all days when none are named.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerParams {
    /// `30d`, `2026-10`, `2026-10-01..2026-10-31` …
    pub range: Option<String>,
    /// First day, with `to` instead of `range`.
    pub from: Option<String>,
    /// Last day, included.
    pub to: Option<String>,
    /// One day instead of a range.
    pub charge_date: Option<String>,
    /// Only this pool.
    pub pool: Option<String>,
    /// Only this tenant.
    pub tenant: Option<String>,
    /// Only this posting.
    pub posting: Option<i64>,
    /// `posting:12`, a day or an instant.
    pub as_of: Option<String>,
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// Which entries, beside that.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntryParams {
    /// Terms as in `/costs`, of keys that are columns of an entry: not plan, parent and labels.
    pub filter: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Rows of a page, 1 to 1000.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

/// One immutable line of the ledger, its columns by name.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the columns are described in docs/ledger-format.md and in `ledger::Entry`")]
pub struct EntryBody {
    pub posting: i64,
    pub line: i32,
    pub kind: String,
    pub booked_at: String,
    pub billing_month: String,
    pub charge_month: Option<String>,
    pub charge_date: Option<String>,
    pub tier: Option<String>,
    pub basis: Option<String>,
    pub memo: Option<bool>,
    pub status: Option<String>,
    pub reason: Option<String>,
    pub cause: Option<String>,
    pub charge_category: Option<String>,
    pub charge_class: Option<String>,
    pub pool: Option<String>,
    pub method: Option<String>,
    pub consumer: Option<String>,
    pub tenant: Option<String>,
    pub user: Option<String>,
    pub workflow: Option<String>,
    pub repo: Option<String>,
    pub task_class: Option<String>,
    pub cluster: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub labels_key: Option<String>,
    pub provider: Option<String>,
    pub service: Option<String>,
    pub source: Option<String>,
    pub commitment_status: Option<String>,
    pub invoice_id: Option<String>,
    pub category: Option<String>,
    pub meter: Option<String>,
    pub unit: Option<String>,
    pub quantity: Option<String>,
    pub unit_price: Option<String>,
    pub weight: Option<String>,
    pub pool_amount: Option<String>,
    pub amount: String,
    pub billed_amount: String,
    pub currency: Option<String>,
    pub amount_reporting: String,
    pub fx_rate: Option<String>,
    pub fx_date: Option<String>,
    pub policy_version: Option<String>,
    pub rate_card_version: Option<String>,
    pub run: Option<String>,
    pub prev_hash: String,
    pub hash: String,
}

/// Entries of the ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntriesBody {
    /// The rows, by posting and line.
    pub rows: Vec<EntryBody>,
    /// The days that were asked for; null for all.
    pub range: Option<RangeBody>,
    /// The last posting that all pages show.
    pub posting: Option<i64>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns entries of the ledger as they are.
#[utoipa::path(get, path = "/api/v1/ledger/entries", tag = "ledger", params(LedgerParams, EntryParams),
    responses((status = 200, body = EntriesBody)))]
pub async fn list_entries(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let filter = EntryFilter::parse(&query.0, &app.list_limits())?;
    let page = app.engine.ledger_entries(&TenantScope::All, &filter).await?;
    let body = EntriesBody {
        rows: page.rows.iter().map(to_api_entry).collect(),
        range: filter.range.map(|range| RangeBody::of(range, &app)),
        posting: page.posting,
        next_cursor: page.next_cursor,
    };
    asked.answer(&body, columns_of::<EntryBody>, body.next_cursor.as_deref())
}

fn hash_text(hash: ChainHash) -> String {
    format!("sha256:{hash}")
}

fn to_api_entry(entry: &Entry) -> EntryBody {
    EntryBody {
        posting: entry.posting,
        line: entry.line,
        kind: entry.kind.as_str().to_owned(),
        booked_at: entry.booked_at.to_string(),
        billing_month: entry.billing_month.to_string(),
        charge_month: entry.charge_month.map(|month| month.to_string()),
        charge_date: entry.charge_date.map(day),
        tier: entry.tier.map(|tier| tier.as_str().to_owned()),
        basis: entry.basis.map(|basis| basis.as_str().to_owned()),
        memo: entry.memo,
        status: entry.status.map(|status| status.as_str().to_owned()),
        reason: owned(&entry.reason),
        cause: entry.cause.map(|cause| cause.as_str().to_owned()),
        charge_category: owned(&entry.charge_category),
        charge_class: entry.charge_class.map(|class| class.as_str().to_owned()),
        pool: owned(&entry.pool),
        method: entry.method.map(|method| method.as_str().to_owned()),
        consumer: owned(&entry.consumer),
        tenant: owned(&entry.tenant),
        user: owned(&entry.user),
        workflow: owned(&entry.workflow),
        repo: owned(&entry.repo),
        task_class: owned(&entry.task_class),
        cluster: owned(&entry.cluster),
        labels: entry.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        labels_key: owned(&entry.labels_key),
        provider: owned(&entry.provider),
        service: owned(&entry.service),
        source: owned(&entry.source),
        commitment_status: owned(&entry.commitment_status),
        invoice_id: owned(&entry.invoice_id),
        category: owned(&entry.category),
        meter: owned(&entry.meter),
        unit: owned(&entry.unit),
        quantity: entry.quantity.map(quantity),
        unit_price: entry.unit_price.map(factor),
        weight: entry.weight.map(factor),
        pool_amount: entry.pool_amount.map(money),
        amount: money(entry.amount),
        billed_amount: money(entry.billed_amount),
        currency: entry.currency.map(|currency| currency.to_string()),
        amount_reporting: money(entry.amount_reporting),
        fx_rate: entry.fx_rate.map(factor),
        fx_date: entry.fx_date.map(day),
        policy_version: owned(&entry.policy_version),
        rate_card_version: owned(&entry.rate_card_version),
        run: owned(&entry.run),
        prev_hash: hash_text(entry.prev_hash),
        hash: hash_text(entry.hash),
    }
}

/// What all entries of a posting have in common.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PostingBody {
    /// Number, from 1, without gaps.
    pub posting: i64,
    /// The run that made it.
    pub run: Option<String>,
    /// When it was booked.
    pub booked_at: String,
    /// How many entries it has.
    pub entries: i64,
    /// The days that the run posted.
    pub days: Vec<String>,
    /// Versions of policies that applied.
    pub policy_versions: Vec<String>,
    /// Versions of rate cards that applied.
    pub rate_card_versions: Vec<String>,
    /// What was adjusted, and why; null unless the posting is an adjustment.
    pub adjustment: Option<AdjustmentBody>,
    /// The hash before.
    pub prev_hash: String,
    /// Its hash.
    pub hash: String,
}

/// Postings, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PostingsBody {
    /// The rows.
    pub rows: Vec<PostingBody>,
    /// The newest posting that all pages show.
    pub posting: Option<i64>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns the headers of postings, newest first.
#[utoipa::path(get, path = "/api/v1/ledger/postings", tag = "ledger", params(PageParams), responses((status = 200, body = PostingsBody)))]
pub async fn list_postings(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let page = query.page(&app.list_limits())?;
    let found = app.engine.postings_all_tenants(page.limit, page.cursor.as_deref()).await?;
    let body = PostingsBody {
        rows: found.rows.into_iter().map(to_api_posting).collect(),
        posting: found.posting,
        next_cursor: found.next_cursor,
    };
    asked.answer(&body, columns_of::<PostingBody>, body.next_cursor.as_deref())
}

fn to_api_posting(posting: PostingSummary) -> PostingBody {
    let booked_at = posting.booked_at.to_string();
    let adjustment = posting
        .adjustment
        .map(|facts| adjustment_body(facts, posting.posting, booked_at.clone(), posting.hash.clone()));
    PostingBody {
        posting: posting.posting,
        run: posting.run,
        booked_at,
        entries: posting.entries,
        days: posting.days,
        policy_versions: posting.policy_versions,
        rate_card_versions: posting.rate_card_versions,
        adjustment,
        prev_hash: posting.prev_hash,
        hash: posting.hash,
    }
}

/// What went into a pool on a day, and what came out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProofRowBody {
    /// The day.
    pub charge_date: String,
    /// The pool.
    pub pool: String,
    /// Currency of the amounts.
    pub currency: String,
    /// `amount` or `billed_amount`.
    pub measure: String,
    /// Whether these are estimates beside the money.
    pub memo: bool,
    /// `proved`, `not_run`, or `failed` if the ledger is broken.
    pub state: String,
    /// What went in.
    pub amount_in: String,
    /// Of tenants.
    pub shares: String,
    /// Of `__idle__`.
    pub idle: String,
    /// Of `__unattributed__`.
    pub unattributed: String,
    /// Of `__unconsumed__`.
    pub unconsumed: String,
    /// Of `__variance__`.
    pub variance: String,
    /// Of `__overhead__`.
    pub overhead: String,
    /// What went in less all others: 0.
    pub difference: String,
    /// What the amount was made of: imports and versions, with the hashes of their contents.
    #[schema(value_type = Vec<Object>)]
    pub inputs: Vec<serde_json::Value>,
    /// Postings that hold the entries.
    pub postings: Vec<i64>,
}

/// What the rows of a currency and measure add up to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProofTotalBody {
    /// The currency.
    pub currency: String,
    /// `amount` or `billed_amount`.
    pub measure: String,
    /// Whether these are estimates beside the money.
    pub memo: bool,
    /// What went in.
    pub amount_in: String,
    /// What came out.
    pub amount_out: String,
    /// In less out: 0.
    pub difference: String,
    /// Rows that are proved.
    pub proved: usize,
    /// Rows of pools that could not be run.
    pub not_run: usize,
    /// Rows that do not add up.
    pub failed: usize,
}

/// What a proof says beyond what went into pools and came out of them.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IndependentParams {
    /// Whether every bill around the days is added up again, from the text of the files that were imported.
    pub independent: Option<bool>,
}

/// A bill in one currency, added up by its cost lines and, by code of its own, from the text of its files.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BillCountBody {
    /// Who sent it.
    pub source: String,
    /// BillingAccountId.
    pub billing_account: String,
    /// `YYYY-MM`, or the first day of the billing period.
    pub billing_period: String,
    /// The import that brought it.
    pub import_id: String,
    /// Currency of the amounts.
    pub currency: String,
    /// `proved`, `failed`, `no_files` of costs that were entered, `not_counted`.
    pub state: String,
    /// Why the files could not be added up.
    pub reason: Option<String>,
    /// Cost lines.
    pub lines: u64,
    /// Rows of the files.
    pub lines_in_files: Option<u64>,
    /// BilledCost of the cost lines.
    pub billed: String,
    /// BilledCost by the files less that.
    pub billed_difference: Option<String>,
    /// EffectiveCost of the cost lines.
    pub effective: String,
    /// EffectiveCost by the files less that.
    pub effective_difference: Option<String>,
}

/// The proof.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProofBody {
    /// The rows of this page.
    pub rows: Vec<ProofRowBody>,
    /// The days that were asked for; null for all.
    pub range: Option<RangeBody>,
    /// Totals over all pages.
    pub totals: Vec<ProofTotalBody>,
    /// The last posting that counts.
    pub posting: Option<i64>,
    /// With `independent=true`, the bills around the days, of all pages; else null.
    pub bills: Option<Vec<BillCountBody>>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Returns the proof that what went into pools is what came out, and on request that cost lines are what the bills said.
#[utoipa::path(get, path = "/api/v1/ledger/proof", tag = "ledger", params(LedgerParams, IndependentParams),
    responses((status = 200, body = ProofBody)))]
pub async fn show_proof(
    _reader: AdminReader,
    State(app): State<App>,
    query: QueryPairs,
    asked: ListAsked,
) -> Result<Response, ApiError> {
    let (own, rest): (Vec<_>, Vec<_>) = query.0.into_iter().partition(|(name, _)| name == "independent");
    let is_independent = flag(&mut QueryPairs(own).params()?, "independent")?;
    let filter = ProofFilter::parse(&rest, &app.list_limits())?;
    let bills = match is_independent {
        true => Some(app.recount(filter.range).await?.iter().map(to_api_bill_count).collect()),
        false => None,
    };
    let answer = app.engine.proof_all_tenants(&filter).await?;
    let body = ProofBody {
        rows: answer.rows.iter().map(to_api_proof_row).collect(),
        range: filter.range.map(|range| RangeBody::of(range, &app)),
        totals: answer.totals.iter().map(to_api_proof_total).collect(),
        posting: answer.posting,
        bills,
        next_cursor: answer.next_cursor,
    };
    asked.answer(&body, columns_of::<ProofRowBody>, body.next_cursor.as_deref())
}

impl App {
    /// Adds every bill up again whose lines lie around the days; all of them without days.
    async fn recount(&self, range: Option<DayRange>) -> Result<Vec<BillCount>, ApiError> {
        let stored = self.engine.bill_sums_all_tenants(range).await?;
        Ok(recount(self.catalog(), &self.imports, stored.into_iter().map(to_stored_bill).collect()).await?)
    }
}

fn to_stored_bill(sum: BillSum) -> StoredBill {
    StoredBill {
        source: sum.source,
        import_id: sum.import_id,
        billing_account: sum.billing_account,
        billing_period_start: sum.billing_period_start,
        currency: sum.currency,
        sums: BillSums { lines: sum.lines, billed: sum.billed, effective: sum.effective },
    }
}

fn to_api_bill_count(bill: &BillCount) -> BillCountBody {
    BillCountBody {
        source: bill.key.source.clone(),
        billing_account: bill.key.billing_account.clone(),
        billing_period: bill.key.billing_period.clone(),
        import_id: bill.import_id.clone(),
        currency: bill.currency.clone(),
        state: bill.state.as_str().to_owned(),
        reason: bill.reason.clone(),
        lines: bill.stored.lines,
        lines_in_files: bill.in_files.map(|in_files| in_files.lines),
        billed: money(bill.stored.billed),
        billed_difference: bill.billed_difference().map(money),
        effective: money(bill.stored.effective),
        effective_difference: bill.effective_difference().map(money),
    }
}

fn to_api_proof_row(row: &ProofRow) -> ProofRowBody {
    ProofRowBody {
        charge_date: day(row.charge_date),
        pool: row.pool.to_string(),
        currency: row.currency.to_string(),
        measure: row.measure.as_str().to_owned(),
        memo: row.memo,
        state: row.state.as_str().to_owned(),
        amount_in: money(row.amount_in),
        shares: money(row.shares),
        idle: money(row.idle),
        unattributed: money(row.unattributed),
        unconsumed: money(row.unconsumed),
        variance: money(row.variance),
        overhead: money(row.overhead),
        difference: money(row.difference),
        inputs: inputs(&row.inputs),
        postings: row.postings.clone(),
    }
}

fn to_api_proof_total(total: &ProofTotal) -> ProofTotalBody {
    ProofTotalBody {
        currency: total.currency.to_string(),
        measure: total.measure.as_str().to_owned(),
        memo: total.memo,
        amount_in: money(total.amount_in),
        amount_out: money(total.amount_out),
        difference: money(total.difference),
        proved: total.proved,
        not_run: total.not_run,
        failed: total.failed,
    }
}

/// The head that a verification must find.
#[derive(Clone, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VerifyParams {
    /// Newest head known from outside the store: `sha256:…` of `meta.ledger_head`.
    pub expect_head: Option<String>,
}

/// One thing that is wrong with the stored ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FaultBody {
    /// The posting that fails, if one can be named.
    pub posting: Option<i64>,
    /// What is wrong.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerifyBody {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// The newest head whose chain holds.
    pub head: Option<String>,
    /// Postings whose hash was recomputed.
    pub postings: i64,
    /// Their entries.
    pub entries: u64,
    /// Data files whose hash was recomputed.
    pub files: u64,
    /// Proof rows that were checked.
    pub proofs_checked: usize,
    /// What is wrong; the first posting that fails comes first.
    pub faults: Vec<FaultBody>,
    /// What such a check cannot find.
    pub note: String,
}

/// Returns whether the stored ledger is what was posted.
#[utoipa::path(get, path = "/api/v1/ledger/verify", tag = "ledger", params(VerifyParams), responses((status = 200, body = VerifyBody)))]
pub async fn verify(
    _admin: PlatformAdminOnly,
    State(app): State<App>,
    query: QueryPairs,
) -> Result<Response, ApiError> {
    let mut params = query.params()?;
    let expect_head = params.text("expect_head");
    params.finish()?;
    let report = app.engine.verify_all_tenants(expect_head.as_deref()).await?;
    json(&VerifyBody {
        ok: report.ok,
        head: report.head,
        postings: report.postings,
        entries: report.entries,
        files: report.files,
        proofs_checked: report.proofs_checked,
        faults: report.faults.into_iter().map(|fault| FaultBody { posting: fault.posting, what: fault.what }).collect(),
        note: report.note.to_owned(),
    })
}
