//! Bills and usage as the lake holds them, and runs over them.

use super::given::{Store, days};
use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use domain::money::parse_atoms;
use domain::{Day, Instant};
use engine::run::{RunRequest, RunView};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::lake::schemas::map_builder;
use storage::lake::{Commit, Table};

/// Columns by name; every other column of the table is null, maps are empty unless given.
fn batch(table: Table, rows: usize, mut columns: BTreeMap<&str, ArrayRef>) -> RecordBatch {
    let schema = table.schema();
    let arrays = schema.fields().iter().map(|field| {
        columns.remove(field.name().as_str()).unwrap_or_else(|| match field.data_type() {
            arrow::datatypes::DataType::Map(..) => map(&vec![None; rows]),
            kind => new_null_array(kind, rows),
        })
    });
    let arrays = arrays.collect();
    assert!(columns.is_empty(), "unknown columns");
    RecordBatch::try_new(schema, arrays).unwrap()
}

fn map(values: &[Option<(&str, &str)>]) -> ArrayRef {
    let mut builder = map_builder();
    for value in values {
        if let Some((key, value)) = value {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).unwrap();
    }
    Arc::new(builder.finish())
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn money(values: &[&str]) -> ArrayRef {
    let atoms = values.iter().map(|text| Some(parse_atoms(text).unwrap().atoms));
    Arc::new(atoms.collect::<Decimal128Array>().with_precision_and_scale(38, 15).unwrap())
}

fn dates(days: &[Day]) -> ArrayRef {
    Arc::new(Date32Array::from(days.iter().map(|day| day.epoch_days()).collect::<Vec<_>>()))
}

fn instants(texts: &[&str]) -> ArrayRef {
    let micros = texts.iter().map(|text| text.parse::<Instant>().unwrap().micros());
    Arc::new(TimestampMicrosecondArray::from(micros.collect::<Vec<_>>()).with_timezone("UTC"))
}

/// Commits rows as an import or a flush would, naming the days that they touch.
async fn write(store: &Store, table: Table, rows: RecordBatch, touched_days: &[&str]) {
    let lake = store.engine.lake();
    let mut writer = lake.partitioned(table);
    writer.write(&rows).await.unwrap();
    let mut commit = Commit::new(store.engine.clock().now(), "test");
    commit.adds = writer.finish().await.unwrap();
    commit.metadata = serde_json::json!({ "touched_days": touched_days });
    let pinned = lake.pin_table(table).await.unwrap();
    lake.commit(&pinned, commit).await.unwrap();
}

/// One line of a bill, of one day; tests change what matters to them.
#[derive(Clone, Copy, Debug)]
pub struct BillLine {
    pub day: &'static str,
    pub source: &'static str,
    pub provider: &'static str,
    pub cluster: Option<&'static str>,
    pub currency: &'static str,
    pub billed: &'static str,
    pub effective: &'static str,
}

pub fn bill_line(day: &'static str, provider: &'static str, amount: &'static str) -> BillLine {
    BillLine { day, source: "bill", provider, cluster: None, currency: "USD", billed: amount, effective: amount }
}

pub async fn import(store: &Store, lines: &[BillLine]) {
    let rows = lines.len();
    let all = |text: fn(&BillLine) -> &'static str| lines.iter().map(text).collect::<Vec<_>>();
    let day = |line: &BillLine| line.day.parse::<Day>().unwrap();
    let (on, after): (Vec<Day>, Vec<Day>) = lines.iter().map(|line| (day(line), day(line).plus(1))).unzip();
    let midnight = |days: &[Day]| days.iter().map(|day| format!("{day}T00:00:00Z")).collect::<Vec<_>>();
    let (start, end) = (midnight(&on), midnight(&after));
    let first: Vec<Day> = on.iter().map(|day| day.month().first_day()).collect();
    let next: Vec<Day> = on.iter().map(|day| day.month().last_day().plus(1)).collect();
    let (first, next) = (midnight(&first), midnight(&next));
    let at = |texts: &[String]| instants(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let months: Vec<String> = on.iter().map(|day| day.month().to_string()).collect();
    let tags: Vec<Option<(&str, &str)>> = lines.iter().map(|line| line.cluster.map(|name| ("cluster", name))).collect();
    let columns = BTreeMap::from([
        ("source", texts(&all(|line| line.source))),
        ("billing_month", texts(&months.iter().map(String::as_str).collect::<Vec<_>>())),
        ("import_id", texts(&vec!["import-1"; rows])),
        ("line_no", Arc::new((1_i64..).take(rows).collect::<Int64Array>()) as ArrayRef),
        ("charge_date_from", dates(&on)),
        ("charge_date_to", dates(&on)),
        ("billed_cost", money(&all(|line| line.billed))),
        ("effective_cost", money(&all(|line| line.effective))),
        ("billing_currency", texts(&all(|line| line.currency))),
        ("billing_period_start", at(&first)),
        ("billing_period_end", at(&next)),
        ("charge_period_start", at(&start)),
        ("charge_period_end", at(&end)),
        ("charge_category", texts(&vec!["Usage"; rows])),
        ("service_provider_name", texts(&all(|line| line.provider))),
        ("tags", map(&tags)),
    ]);
    write(store, Table::CostLines, batch(Table::CostLines, rows, columns), &all(|line| line.day)).await;
}

/// Usage of a meter by a tenant on a day, in atoms of 10⁻⁹.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub day: &'static str,
    pub tenant: &'static str,
    pub cluster: &'static str,
    pub meter: &'static str,
    pub quantity: i128,
}

pub async fn measure(store: &Store, used: &[Used]) {
    let rows = used.len();
    let all = |text: fn(&Used) -> &'static str| used.iter().map(text).collect::<Vec<_>>();
    let on: Vec<Day> = used.iter().map(|used| used.day.parse().unwrap()).collect();
    let sums = used.iter().map(|used| Some(used.quantity)).collect::<Decimal128Array>();
    let columns = BTreeMap::from([
        ("usage_date", dates(&on)),
        ("tenant", texts(&all(|used| used.tenant))),
        ("cluster", texts(&all(|used| used.cluster))),
        ("labels_key", texts(&vec!["{}"; rows])),
        ("meter", texts(&all(|used| used.meter))),
        ("unit", texts(&vec!["Units"; rows])),
        ("kind", texts(&vec!["counter"; rows])),
        ("origin", texts(&vec!["events"; rows])),
        ("sum", Arc::new(sums.with_precision_and_scale(38, 9).unwrap()) as ArrayRef),
        ("count", Arc::new(Int64Array::from(vec![1_i64; rows])) as ArrayRef),
    ]);
    write(store, Table::Usage, batch(Table::Usage, rows, columns), &all(|used| used.day)).await;
}

/// An event that says something of a workflow; tests change what matters to them.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub at: &'static str,
    pub kind: &'static str,
    pub tenant: &'static str,
    pub workflow: Option<&'static str>,
    pub repo: Option<&'static str>,
    pub task_class: Option<&'static str>,
    pub data: Option<&'static str>,
}

pub fn happened(at: &'static str, kind: &'static str, tenant: &'static str, workflow: &'static str) -> Happened {
    Happened { at, kind, tenant, workflow: Some(workflow), repo: None, task_class: None, data: None }
}

/// Stores events, each received when it happened; the place in the list is the id, from `first_id` on.
pub async fn emit(store: &Store, first_id: usize, events: &[Happened]) {
    let rows = events.len();
    let all = |text: fn(&Happened) -> &'static str| events.iter().map(text).collect::<Vec<_>>();
    let some = |text: fn(&Happened) -> Option<&'static str>| -> ArrayRef {
        Arc::new(StringArray::from(events.iter().map(text).collect::<Vec<_>>()))
    };
    let on: Vec<&str> = events.iter().map(|event| &event.at[..10]).collect();
    let on_days: Vec<Day> = on.iter().map(|day| day.parse().unwrap()).collect();
    let ids: Vec<String> = (first_id..first_id + rows).map(|id| id.to_string()).collect();
    let columns = BTreeMap::from([
        ("event_date", dates(&on_days)),
        ("time", instants(&all(|event| event.at))),
        ("received_at", instants(&all(|event| event.at))),
        ("tenant", texts(&all(|event| event.tenant))),
        ("source", texts(&vec!["/test"; rows])),
        ("id", texts(&ids.iter().map(String::as_str).collect::<Vec<_>>())),
        ("type", texts(&all(|event| event.kind))),
        ("workflow", some(|event| event.workflow)),
        ("repo", some(|event| event.repo)),
        ("task_class", some(|event| event.task_class)),
        ("labels_key", texts(&vec!["{}"; rows])),
        ("data", some(|event| event.data)),
    ]);
    write(store, Table::UsageEvents, batch(Table::UsageEvents, rows, columns), &on).await;
}

pub async fn run(store: &Store, from: &str, to: &str) -> RunView {
    let range = days(from, to);
    let request = RunRequest::of(range, "test");
    store.engine.run_and_wait(request).await.unwrap()
}
