use super::faults::faults;
use super::given::{Contract, Given, Variant, canary, cause_of, refresh};
use super::stand_in::{Asked, Reply, Wire};
use collectors::providers::Cause;
use domain::Day;
use serde_json::{Value, json};
use storage::catalog::ProviderUsageRow;

/// Seven buckets a day: 24 days have 168 records, two pages.
const BUCKETS: i64 = 7;
/// Bytes of the first bucket; the others are as much larger as their number says.
const BYTES: i64 = 1_000_000_000_000;

static CONTRACT: Contract = Contract {
    kind: "wasabi",
    keys: || {
        let price = |from: &str, amount: &str| json!({ "from": from, "per_tb_month": amount });
        json!({ "terabyte": "TB", "price": [price("2020-01-01", "6.99"), price("2026-11-11", "7.99")] })
    },
    now: "2026-11-25T12:00:00Z",
    answer,
    needed: "OrphanedStorageSizeBytes",
    is_paged: true,
};

fn answer(asked: &Asked, variant: Variant) -> Reply {
    let key = format!("{}:{}", canary("access_key"), canary("secret_key"));
    if asked.header("authorization") != Some(key.as_str()) {
        return Reply::status(401, "");
    }
    if (asked.method.as_str(), asked.path.as_str()) != ("GET", "/v1/standalone/utilizations/bucket") {
        return Reply::unknown(asked);
    }
    let number = |name: &str| asked.param(name).and_then(|text| text.parse::<usize>().ok()).expect("a number");
    let (page, size) = (number("pageNum"), number("pageSize"));
    let day = |name: &str| asked.param(name).and_then(|text| text.parse::<Day>().ok()).expect("a day");
    let (from, to) = (day("from"), day("to"));
    let days = (from.epoch_days()..=to.epoch_days()).map(Day::from_epoch_days);
    let all: Vec<Value> = days.flat_map(|day| (0..BUCKETS).map(move |bucket| record(day, bucket, variant))).collect();
    let count = all.len().div_ceil(size);
    let rows: Vec<Value> = match variant {
        Variant::EndlessPages => (0..size).map(|row| of_page(&all[row % all.len()], page * size + row)).collect(),
        Variant::SamePage => all.into_iter().take(size).collect(),
        Variant::Usual | Variant::Restated => all.into_iter().skip(page * size).take(size).collect(),
    };
    let told = if page == 0 { count } else { 0 };
    let records = if page == 0 { count * size } else { 0 };
    Reply::json(&json!({
        "PageInfo": { "RecordCount": records, "PageCount": told, "PageNum": page, "PageSize": size },
        "Records": rows,
    }))
}

/// A record that no other page has.
fn of_page(record: &Value, number: usize) -> Value {
    let mut record = record.clone();
    record["BucketUtilizationNum"] = json!(1_000_000 + number);
    record
}

fn record(day: Day, bucket: i64, variant: Variant) -> Value {
    let restated = if variant == Variant::Restated { 1_000 } else { 0 };
    json!({
        "BucketUtilizationNum": i64::from(day.epoch_days()) * 10 + bucket, "AcctNum": 100_123, "AcctPlanNum": 51,
        "BucketNum": 7_700 + bucket, "Bucket": format!("bucket-{bucket}"), "Region": "eu-central-1",
        "StartTime": format!("{day}T00:00:00Z"), "EndTime": format!("{}T00:00:00Z", day.plus(1)),
        "CreateTime": format!("{}T02:11:09Z", day.plus(2)), "NumBillableObjects": 10, "NumBillableDeletedObjects": 1,
        "RawStorageSizeBytes": 1, "PaddedStorageSizeBytes": BYTES * (bucket + 1) + restated,
        "MetadataStorageSizeBytes": 300, "OrphanedStorageSizeBytes": 0,
        "DeletedStorageSizeBytes": if bucket == 0 { 500_000_000_000_i64 } else { 0 },
        "MinStorageChargeBytes": 0, "NumAPICalls": 20 + restated, "NumGETCalls": 5, "NumPUTCalls": 5,
        "NumDELETECalls": 5, "NumLISTCalls": 5, "NumHEADCalls": 0, "UploadBytes": 11, "DownloadBytes": 22,
        "StorageWroteBytes": 11, "StorageReadBytes": 22, "DeleteBytes": 0,
    })
}

#[tokio::test]
async fn s6_faults_of_wasabi() {
    faults(&CONTRACT).await;
}

#[tokio::test]
async fn each_day_of_a_bucket_is_rated_at_its_price() {
    let given = Given::new(&CONTRACT).await;
    let report = refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    let current = &report.periods[0];
    // Seven buckets and one with deleted bytes, on 24 days.
    assert_eq!((current.account.as_str(), current.lines), ("100123", 8 * 24));
    assert_eq!(given.server.asked().len(), 2 + 3, "November has 168 records, October 217");
    let expected = billed_by_hand(7);
    let found = domain::money::parse_atoms(&current.totals[0].billed).expect("an amount").atoms;
    assert_eq!((current.totals[0].currency.as_str(), found), ("USD", expected));
}

/// By hand, in atoms, for 24 days of November: bytes × price ÷ (10¹² × 30), each line rounded by itself.
fn billed_by_hand(buckets: i128) -> i128 {
    let mut expected = 0_i128;
    for day in 1..=24 {
        let price = if day < 11 { 6_990_000_000_000_000_i128 } else { 7_990_000_000_000_000 };
        let sizes = (0..buckets).map(|bucket| i128::from(BYTES) * (bucket + 1) + 300).chain([500_000_000_000]);
        expected += sizes.map(|bytes| half_even(bytes * price, 30 * 10_i128.pow(12))).sum::<i128>();
    }
    expected
}

/// A second opinion: the nearest whole number, by what is left on each side.
fn half_even(numerator: i128, denominator: i128) -> i128 {
    let below = numerator / denominator;
    let (left, right) = (numerator - below * denominator, (below + 1) * denominator - numerator);
    if left < right || (left == right && below % 2 == 0) { below } else { below + 1 }
}

#[tokio::test]
async fn quantities_of_buckets_are_kept_by_day() {
    let given = Given::new(&CONTRACT).await;
    refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    let usage = given.stored().await.usage;
    let of_bucket: Vec<String> = usage
        .iter()
        .filter(|row| row.usage_date == "2026-11-24" && row.labels_key.contains("bucket-0"))
        .map(|row| format!("{} {} {}", row.resource, row.quantity, row.unit))
        .collect();
    let expected = [
        "bucket_bytes 1000000000300 Bytes",
        "deleted_bytes 500000000000 Bytes",
        "download_bytes 22 Bytes",
        "minimum_bytes 0 Bytes",
        "objects 10 Objects",
        "requests 20 Requests",
        "upload_bytes 11 Bytes",
    ];
    assert_eq!(of_bucket, expected);
}

#[tokio::test]
async fn a_bucket_that_was_made_again_on_the_same_day_is_one_bucket() {
    let given = Given::new(&CONTRACT).await;
    given.server.then(|asked| {
        let reply = answer(asked, Variant::Usual);
        let body = String::from_utf8(reply.body.clone()).expect("text").replace("bucket-1", "bucket-0");
        Wire::Whole(Reply { body: body.into_bytes(), ..reply })
    });
    let report = refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    assert_eq!(report.periods[0].lines, 8 * 24, "each record costs");
    let usage = given.stored().await.usage;
    let of_bucket = |row: &&ProviderUsageRow| {
        row.usage_date == "2026-11-24" && row.resource == "bucket_bytes" && row.labels_key.contains("bucket-0")
    };
    let found: Vec<&str> = usage.iter().filter(of_bucket).map(|row| row.quantity.as_str()).collect();
    assert_eq!(found, ["3000000000600"]);
}

#[tokio::test]
async fn throttling_that_comes_as_400_is_tried_again() {
    let given = Given::new(&CONTRACT).await;
    given.server.then(|_| Wire::Whole(Reply::status(400, r#"{"Code":"RequestRateLimitExceeded"}"#)));
    let result = refresh(&given.patient(&CONTRACT), "wasabi").await;
    assert_eq!((cause_of(&result), given.server.asked().len()), (Some(Cause::RateLimited), 3));
}

#[tokio::test]
async fn records_that_are_gone_are_no_zeros() {
    let given = Given::new(&CONTRACT).await;
    refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    let before = given.stored().await;
    for nothing in [json!({ "PageInfo": { "PageCount": 0 }, "Records": [] }), json!([])] {
        given.server.then(move |_| Wire::Whole(Reply::json(&nothing)));
        let result = refresh(&given.patient(&CONTRACT), "wasabi").await;
        assert_eq!(cause_of(&result), Some(Cause::WouldShrink), "{result:?}");
        assert_eq!(given.stored().await, before);
    }
}

#[tokio::test]
async fn a_page_without_records_before_the_last_one_is_no_end() {
    let given = Given::new(&CONTRACT).await;
    let before = given.stored().await;
    given.server.then(|asked| match asked.param("pageNum") {
        Some("1") => Wire::Whole(Reply::json(&json!({ "PageInfo": { "PageCount": 0 }, "Records": [] }))),
        _ => Wire::Whole(answer(asked, Variant::Usual)),
    });
    let result = refresh(&given.patient(&CONTRACT), "wasabi").await;
    assert_eq!(cause_of(&result), Some(Cause::Paging), "{result:?}");
    assert_eq!(given.stored().await, before);
}

/// So many buckets that their month has more records than are in memory at once, and more than 50,000 quantities.
const MANY: i64 = 300;

/// November of an account with many buckets; October is forgotten.
fn many(asked: &Asked) -> Reply {
    let number = |name: &str| asked.param(name).and_then(|text| text.parse::<i64>().ok()).expect("a number");
    let day = |name: &str| asked.param(name).and_then(|text| text.parse::<Day>().ok()).expect("a day");
    let (page, size, from, to) = (number("pageNum"), number("pageSize"), day("from"), day("to"));
    if from.to_string().starts_with("2026-10") {
        return Reply::status(404, "");
    }
    let count = i64::from(to.epoch_days() - from.epoch_days() + 1) * MANY;
    let rows: Vec<Value> = (page * size..count.min((page + 1) * size))
        .map(|at| {
            let day = from.plus(i32::try_from(at / MANY).expect("a few days"));
            let mut record = record(day, at % MANY, Variant::Usual);
            record["BucketUtilizationNum"] = json!(i64::from(day.epoch_days()) * MANY + at % MANY);
            record
        })
        .collect();
    let pages = if page == 0 { (count + size - 1) / size } else { 0 };
    Reply::json(&json!({ "PageInfo": { "PageCount": pages }, "Records": rows }))
}

#[tokio::test]
async fn an_account_larger_than_memory_is_read_in_parts_and_stored_as_a_whole() {
    let given = Given::new(&CONTRACT).await;
    let before = given.stored().await;
    // 7,200 records are 72 pages: of 24 days, 16 are asked for first.
    given.server.then(|asked| match (asked.param("from"), asked.param("pageNum")) {
        (Some("2026-11-17"), Some("23")) => Wire::Whole(Reply::status(403, "")),
        _ => Wire::Whole(many(asked)),
    });
    let result = refresh(&given.patient(&CONTRACT), "wasabi").await;
    assert_eq!(cause_of(&result), Some(Cause::Auth), "{result:?}");
    assert_eq!(given.stored().await, before, "the first part alone is nothing");
    given.server.asked();

    given.server.then(|asked| Wire::Whole(many(asked)));
    let report = refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    let asked = given.server.asked();
    let days = |asked: &&Asked| asked.param("from").is_some_and(|from| from.starts_with("2026-11"));
    // One question finds out that there are too many pages, and after a full page the next one is asked for.
    assert_eq!(asked.iter().filter(days).count(), 1 + (48 + 1) + (24 + 1));
    let current = &report.periods[0];
    assert_eq!((current.lines, current.quantities), (24 * 301, 24 * 300 * 7));
    let found = domain::money::parse_atoms(&current.totals[0].billed).expect("an amount").atoms;
    assert_eq!(found, billed_by_hand(i128::from(MANY)));
    let usage = given.stored().await.usage;
    assert_eq!(usage.len(), 24 * 300 * 7);
    let of_day = |day: &str| usage.iter().filter(|row| row.usage_date == day).count();
    assert!((1..=24).all(|day| of_day(&format!("2026-11-{day:02}")) == 300 * 7));
}

#[tokio::test]
async fn a_record_has_its_number_under_either_name() {
    let given = Given::new(&CONTRACT).await;
    refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    let before = given.stored().await;
    given.server.then(|asked| {
        let reply = answer(asked, Variant::Usual);
        let body =
            String::from_utf8(reply.body.clone()).expect("text").replace("BucketUtilizationNum", "UtilizationNum");
        Wire::Whole(Reply { body: body.into_bytes(), ..reply })
    });
    let report = refresh(&given.patient(&CONTRACT), "wasabi").await.expect("a collection");
    assert!(report.periods.iter().all(|period| period.unchanged), "{report:?}");
    assert_eq!(given.stored().await, before);
}
