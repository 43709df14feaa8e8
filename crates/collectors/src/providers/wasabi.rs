//! Wasabi: what each bucket of a standalone account holds, day by day, from the Stats API. It knows no money: with a price,
//! each day of each bucket is rated as lines.

use super::collector::{Collected, Collector, Gigabyte, Kind, ProviderUsage, Spec, Task};
use super::credentials::{CredentialSpec, secret_header};
use super::decimal::{Decimal, rated};
use super::error::{Cause, CollectError};
use super::fetch::{Allowed, Answer, Fetch, Pages, Request};
use super::keys::read_keys;
use super::line::Line;
use super::period::BillingPeriod;
use domain::decimal::format_scaled;
use domain::{Day, DayRange, Instant, InstantRange, Price, money};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const BUCKETS: &str = "/v1/standalone/utilizations/bucket";
/// Records of a page, the most that there may be.
const PAGE_ROWS: usize = 100;
/// Pages of one day: 100,000 buckets.
const PAGES_MAX: usize = 1_000;
/// Pages that are in memory together, unless one day has more.
const PAGES_AT_ONCE: usize = 50;
/// Digits by which a number of bytes becomes one of gigabytes, and digits of a quantity.
const GIGA: u32 = 9;

/// What is the same for every source of this kind.
pub static SPEC: Spec = Spec {
    name: "wasabi",
    provider: "Wasabi",
    bases: &["https://stats.wasabisys.com"],
    allowed: &[Allowed::get(BUCKETS)],
    credentials: &[
        CredentialSpec { key: "access_key", env: "WASABI_ACCESS_KEY", is_required: true },
        CredentialSpec { key: "secret_key", env: "WASABI_SECRET_KEY", is_required: true },
    ],
    gigabyte: Gigabyte::Gb,
    zone: "UTC",
    // Records come up to several days late.
    final_after_days: 10,
    levels: &["bucket_bytes", "deleted_bytes", "minimum_bytes", "objects"],
    reclassify: throttled,
};

/// The kind `wasabi`.
pub const KIND: Kind = Kind { spec: &SPEC, build };

/// Throttling comes as 400.
fn throttled(status: u16, body: &[u8]) -> Option<Cause> {
    let is_throttled = status == 400 && holds(body, b"RequestRateLimitExceeded");
    is_throttled.then_some(Cause::RateLimited)
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

/// Keys of a source of this kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// What a terabyte is on the bill.
    #[serde(default)]
    terabyte: Terabyte,
    /// Currency of the prices.
    #[serde(default = "dollars")]
    currency: String,
    /// Prices and since when each holds; none reads quantities only.
    #[serde(default, rename = "price")]
    prices: Vec<PriceKeys>,
}

/// A price of storage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceKeys {
    from: Day,
    per_tb_month: Decimal,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Terabyte {
    #[serde(rename = "TB")]
    Tb,
    #[default]
    #[serde(rename = "TiB")]
    Tib,
}

impl Terabyte {
    fn bytes(self) -> i128 {
        match self {
            Self::Tb => 1_000_i128.pow(4),
            Self::Tib => 1_024_i128.pow(4),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Tb => "TB-Months",
            Self::Tib => "TiB-Months",
        }
    }
}

fn dollars() -> String {
    "USD".to_owned()
}

fn build(keys: Value) -> Result<Arc<dyn Collector>, String> {
    let mut keys: Keys = read_keys(keys)?;
    keys.currency.parse::<domain::Currency>().map_err(|error| format!("`currency`: {error}"))?;
    keys.prices.sort_by_key(|price| price.from);
    if keys.prices.windows(2).any(|pair| pair[0].from == pair[1].from) {
        return Err("`price`: two prices begin on the same day".to_owned());
    }
    for price in &keys.prices {
        let parsed = Price::parse_rounding(price.per_tb_month.as_str());
        if !parsed.is_ok_and(|(price, _)| price.atoms() >= 0) {
            return Err(format!("`per_tb_month` = {} is no price", price.per_tb_month));
        }
    }
    Ok(Arc::new(Wasabi { keys }))
}

/// Reads one account.
struct Wasabi {
    keys: Keys,
}

/// One bucket on one day. A number that is missing is no zero.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    #[serde(alias = "UtilizationNum")]
    bucket_utilization_num: Decimal,
    acct_num: Decimal,
    bucket_num: Decimal,
    bucket: String,
    #[serde(default)]
    region: Option<String>,
    start_time: String,
    end_time: String,
    padded_storage_size_bytes: Decimal,
    metadata_storage_size_bytes: Decimal,
    deleted_storage_size_bytes: Decimal,
    orphaned_storage_size_bytes: Decimal,
    min_storage_charge_bytes: Decimal,
    #[serde(rename = "NumAPICalls")]
    num_api_calls: Decimal,
    upload_bytes: Decimal,
    download_bytes: Decimal,
    #[serde(default)]
    num_billable_objects: Option<Decimal>,
}

impl Collector for Wasabi {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn collect<'a>(&'a self, fetch: &'a Fetch, task: &'a Task) -> BoxFuture<'a, Result<Collected, CollectError>> {
        self.collect_all(fetch, task).boxed()
    }
}

impl Wasabi {
    async fn collect_all(&self, fetch: &Fetch, task: &Task) -> Result<Collected, CollectError> {
        let period = &task.period;
        let Some(wanted) = period.closed().and_then(|closed| DayRange::new(task.from, closed.to())) else {
            return Ok(Collected::default());
        };
        let (days, records) = some_records(fetch, wanted).await?;
        let account = account_of(&records)?;
        let mut collected = Collected { account, usage_days: Some(days), ..Collected::default() };
        collected.next = Some(days.to().plus(1)).filter(|next| *next <= wanted.to());
        let (mut unpriced, mut sums) = (0, Sums::new());
        for record in &records {
            let day = day_of(record, period, days)?;
            add_usage(&mut sums, record, day)?;
            match self.price_of(day) {
                Some(price) => collected.lines.extend(self.lines_of(record, day, price, period)?),
                None => unpriced += 1,
            }
        }
        collected.usage = sums.into_iter().map(usage).collect();
        if unpriced > 0 && !self.keys.prices.is_empty() {
            let warning =
                format!("{unpriced} records from {} on are older than the first `price` and cost nothing", days.from());
            collected.warnings.push(warning);
        }
        Ok(collected)
    }

    fn price_of(&self, day: Day) -> Option<&PriceKeys> {
        self.keys.prices.iter().rev().find(|price| price.from <= day)
    }

    /// Active, deleted and minimum storage, each of which costs the same.
    fn lines_of(
        &self,
        record: &Record,
        day: Day,
        price: &PriceKeys,
        period: &BillingPeriod,
    ) -> Result<Vec<Line>, CollectError> {
        let parts = [
            ("Active storage", active(record)?),
            ("Deleted storage within its minimum duration", whole(&record.deleted_storage_size_bytes)?),
            ("Minimum storage of the account", whole(&record.min_storage_charge_bytes)?),
        ];
        let stored = parts.into_iter().filter(|(_, bytes)| *bytes != 0);
        stored.map(|(what, bytes)| self.line(record, day, price, period, (what, bytes))).collect()
    }

    fn line(
        &self,
        record: &Record,
        day: Day,
        price: &PriceKeys,
        period: &BillingPeriod,
        (what, bytes): (&str, i128),
    ) -> Result<Line, CollectError> {
        let out_of_bound = || CollectError::schema(format!("bucket {} on {day} is out of bound", record.bucket));
        let month = self.keys.terabyte.bytes() * i128::from(period.days().len());
        let atoms = price.per_tb_month.scaled(money::MONEY_SCALE).ok_or_else(out_of_bound)?;
        let cost = rated(bytes, atoms, month).ok_or_else(out_of_bound)?;
        let months = rated(bytes, 10_i128.pow(GIGA), month).ok_or_else(out_of_bound)?;
        let day: InstantRange = period.zone().day_range(day);
        let component = |size: &Decimal| size.as_str().to_owned();
        Ok(Line::new("Usage", day)
            .cost(money::format_atoms(cost), &self.keys.currency)
            .cell("ListCost", money::format_atoms(cost))
            .cell("ContractedCost", money::format_atoms(cost))
            .cell("ChargeDescription", what)
            .cell("ServiceName", "Wasabi Hot Cloud Storage")
            .cell("ServiceCategory", "Storage")
            .cell("ServiceSubcategory", "Object Storage")
            .cell("HostProviderName", "Wasabi")
            .cell("ResourceId", record.bucket_num.as_str())
            .cell("ResourceName", record.bucket.as_str())
            .cell("ResourceType", "Bucket")
            .cell("SubAccountId", record.acct_num.as_str())
            .maybe("RegionId", record.region.clone())
            .cell("ConsumedQuantity", format_scaled(bytes, GIGA, 0))
            .cell("ConsumedUnit", "GB-Days")
            .cell("PricingQuantity", format_scaled(months, GIGA, 0))
            .cell("PricingUnit", self.keys.terabyte.unit())
            .cell("ListUnitPrice", price.per_tb_month.as_str())
            .cell("x_CostBasis", "rated")
            .cell("x_PaddedStorageSizeBytes", component(&record.padded_storage_size_bytes))
            .cell("x_MetadataStorageSizeBytes", component(&record.metadata_storage_size_bytes))
            .cell("x_OrphanedStorageSizeBytes", component(&record.orphaned_storage_size_bytes))
            .cell("x_DeletedStorageSizeBytes", component(&record.deleted_storage_size_bytes)))
    }
}

/// Every record of the first days, of as many as fit in memory.
async fn some_records(fetch: &Fetch, wanted: DayRange) -> Result<(DayRange, Vec<Record>), CollectError> {
    let mut days = wanted;
    loop {
        match records(fetch, days).await? {
            Found::All(records) => return Ok((days, records)),
            Found::TooMany { pages } => days = fewer(days, pages),
        }
    }
}

/// What a question for records comes to.
enum Found {
    All(Vec<Record>),
    /// About so many pages, too many to be in memory together.
    TooMany {
        pages: usize,
    },
}

/// The first of the days, so few that their pages fit in memory; at least one, and not all.
fn fewer(days: DayRange, pages: usize) -> DayRange {
    let count = usize::try_from(days.len()).unwrap_or(1);
    let fitting = (count * PAGES_AT_ONCE / pages.max(1)).clamp(1, count.saturating_sub(1).max(1));
    let last = days.from().plus(i32::try_from(fitting).unwrap_or(1) - 1);
    DayRange::new(days.from(), last).unwrap_or(days)
}

/// Every record of the days, page by page.
async fn records(fetch: &Fetch, days: DayRange) -> Result<Found, CollectError> {
    let credentials = fetch.credentials();
    let key = format!("{}:{}", credentials.get("access_key")?, credentials.get("secret_key")?);
    let authorization = secret_header(&key)?;
    let mut pages = Pages::new(PAGES_MAX);
    let (mut records, mut seen, mut page_count) = (Vec::new(), BTreeSet::new(), 0);
    for page in 0_usize.. {
        // Both days are included.
        let request = Request::get(BUCKETS)
            .query("from", days.from())
            .query("to", days.to())
            .query("pageNum", page)
            .query("pageSize", PAGE_ROWS);
        let answer = fetch.send(request.header(AUTHORIZATION, authorization.clone())).await?;
        let (rows, count) = page_of(&answer)?;
        // Later pages say 0.
        page_count = page_count.max(count);
        let is_told = 0 < page_count;
        if is_told && page_count < page {
            return Err(CollectError::paging(format!("there are more than the {page_count} pages that were told")));
        }
        let pages_at_least = if is_told { page_count } else { page + 1 };
        if 1 < days.len() && PAGES_AT_ONCE < pages_at_least {
            let pages = if is_told { page_count } else { 2 * PAGES_AT_ONCE };
            return Ok(Found::TooMany { pages });
        }
        let text = serde_json::to_vec(&rows).expect("JSON values are JSON");
        pages.note(&text, rows.is_empty())?;
        let found = rows.len();
        read_page(rows, page, &mut seen, &mut records)?;
        // Where there are several pages, one of them without records is records that are missing.
        if found == 0 && 1 < page_count && page < page_count {
            return Err(CollectError::paging(format!("page {} of {page_count} is empty", page + 1)));
        }
        if found == 0 || (found < PAGE_ROWS && page_count <= page + 1) {
            break;
        }
    }
    Ok(Found::All(records))
}

/// Adds the records of a page, none of which came before.
fn read_page(
    rows: Vec<Value>,
    page: usize,
    seen: &mut BTreeSet<String>,
    records: &mut Vec<Record>,
) -> Result<(), CollectError> {
    for row in rows {
        let record: Record = serde_json::from_value(row)
            .map_err(|error| CollectError::schema(format!("a record of page {page}: {error}")))?;
        if !seen.insert(record.bucket_utilization_num.as_str().to_owned()) {
            let detail = format!("record {} came on two pages", record.bucket_utilization_num);
            return Err(CollectError::paging(detail));
        }
        records.push(record);
    }
    Ok(())
}

/// The records of a page, and how many pages there are if it says so. Some answers are the bare list.
fn page_of(answer: &Answer) -> Result<(Vec<Value>, usize), CollectError> {
    let missing = || CollectError::schema("the answer has no `Records`");
    match answer.json::<Value>()? {
        Value::Array(rows) => Ok((rows, 0)),
        Value::Object(mut page) => {
            let count = page.get("PageInfo").and_then(|info| info.get("PageCount")).and_then(Value::as_u64);
            let Some(Value::Array(rows)) = page.remove("Records") else { return Err(missing()) };
            Ok((rows, count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0)))
        }
        _ => Err(missing()),
    }
}

/// The one account of all records.
fn account_of(records: &[Record]) -> Result<String, CollectError> {
    let accounts: BTreeSet<&str> = records.iter().map(|record| record.acct_num.as_str()).collect();
    match accounts.len() {
        0 | 1 => Ok(accounts.first().map(|account| (*account).to_owned()).unwrap_or_default()),
        count => {
            Err(CollectError::schema(format!("the records are of {count} accounts; only standalone accounts are read")))
        }
    }
}

/// The day of a record: it lasts one day and is one of those that were asked for.
fn day_of(record: &Record, period: &BillingPeriod, asked: DayRange) -> Result<Day, CollectError> {
    let time = |text: &str| {
        Instant::parse_lenient(text).map_err(|error| CollectError::schema(format!("a record's time: {error}")))
    };
    let (start, end) = (time(&record.start_time)?, time(&record.end_time)?);
    let day = period.zone().day_of(start);
    if !asked.contains(day) || end <= start || period.zone().day_range(day).end < end {
        return Err(CollectError::schema(format!("a record of {start} to {end} is of no day that was asked for")));
    }
    Ok(day)
}

/// Units and quantities by day, resource and labels.
type Sums = BTreeMap<SumKey, (&'static str, i128)>;
type SumKey = (Day, &'static str, BTreeMap<String, String>);

/// Adds what a record says. A bucket that was deleted and made again on one day has two records of that day.
fn add_usage(sums: &mut Sums, record: &Record, day: Day) -> Result<(), CollectError> {
    let mut labels = BTreeMap::from([("bucket".to_owned(), record.bucket.clone())]);
    labels.extend(record.region.clone().map(|region| ("region".to_owned(), region)));
    let mut found: Vec<(&'static str, &'static str, i128)> = vec![
        ("bucket_bytes", "Bytes", active(record)?),
        ("deleted_bytes", "Bytes", whole(&record.deleted_storage_size_bytes)?),
        ("minimum_bytes", "Bytes", whole(&record.min_storage_charge_bytes)?),
        ("requests", "Requests", whole(&record.num_api_calls)?),
        ("upload_bytes", "Bytes", whole(&record.upload_bytes)?),
        ("download_bytes", "Bytes", whole(&record.download_bytes)?),
    ];
    if let Some(objects) = &record.num_billable_objects {
        found.push(("objects", "Objects", whole(objects)?));
    }
    for (resource, unit, quantity) in found {
        sums.entry((day, resource, labels.clone())).or_insert((unit, 0)).1 += quantity;
    }
    Ok(())
}

fn usage(((day, resource, labels), (unit, quantity)): (SumKey, (&'static str, i128))) -> ProviderUsage {
    let (resource, unit, quantity) = (resource.to_owned(), unit.to_owned(), quantity.to_string());
    ProviderUsage { resource, unit, day, quantity, labels }
}

/// What is billed as active: each object at its minimum size, with its metadata and what is left of broken uploads.
fn active(record: &Record) -> Result<i128, CollectError> {
    let parts =
        [&record.padded_storage_size_bytes, &record.metadata_storage_size_bytes, &record.orphaned_storage_size_bytes];
    parts.into_iter().map(whole).sum()
}

/// A number of bytes or calls, at most a million million million of them.
fn whole(number: &Decimal) -> Result<i128, CollectError> {
    const MAX: i128 = 10_i128.pow(18);
    let found = number.scaled(0).filter(|found| (0..=MAX).contains(found));
    found.ok_or_else(|| CollectError::schema(format!("`{number}` is no number of bytes or calls")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn throttling_is_told_by_its_word() {
        assert_eq!(throttled(400, b"{\"Code\":\"RequestRateLimitExceeded\"}"), Some(Cause::RateLimited));
        assert_eq!((throttled(400, b"bad date"), throttled(500, b"RequestRateLimitExceeded")), (None, None));
    }

    #[test]
    fn so_many_days_are_asked_for_at_once_as_fit_in_memory() {
        let day = |text: &str| text.parse::<Day>().expect("a day");
        let month = DayRange::new(day("2026-11-01"), day("2026-11-30")).expect("days");
        let last = |days: DayRange, pages: usize| fewer(days, pages).to();
        assert_eq!(last(month, 100), day("2026-11-15"));
        assert_eq!(last(month, 51), day("2026-11-29"), "never all again");
        assert_eq!(last(month, 1_000_000), day("2026-11-01"), "never none");
        let two = DayRange::new(day("2026-11-01"), day("2026-11-02")).expect("days");
        assert_eq!(last(two, 60), day("2026-11-01"));
    }

    #[test]
    fn prices_are_dated_and_never_negative() {
        let refused = |keys: Value| build(keys).err().unwrap_or_default();
        let price = |from: &str, amount: &str| json!({ "from": from, "per_tb_month": amount });
        assert_eq!(refused(json!({})), "");
        assert_eq!(refused(json!({ "price": [price("2026-07-01", "7.99"), price("2020-01-01", "6.99")] })), "");
        assert!(refused(json!({ "price": [price("2026-07-01", "-1")] })).contains("is no price"));
        assert!(refused(json!({ "price": [price("2026-07-01", "1"), price("2026-07-01", "2")] })).contains("same day"));
        assert!(refused(json!({ "terabyte": "PB" })).contains("unknown variant"));
        assert!(refused(json!({ "currency": "dollars" })).contains("`currency`"));
    }
}
