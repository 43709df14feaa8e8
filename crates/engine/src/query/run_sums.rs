//! Rows that repeat the keys of the row before are summed before they are grouped.
//!
//! Metering sorts usage by tenant, meter and hour, so that rows of one group stand together. Comparing a row with its
//! neighbour costs a fraction of finding its group in a hash table. Sums, least and greatest values do not depend on the
//! order, so the answer is the same; where keys do not repeat, rows pass through as they are.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, UInt64Array};
use arrow::compute::{partition, take};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, replace_children_if_necessary};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Runs must be this long on average; shorter ones cost more than they save.
const RUN_ROWS_MIN: usize = 2;

/// Puts [`RunSums`] below the first step of groupings that sum plain columns by plain columns.
#[derive(Debug)]
pub(super) struct SumRuns;

impl PhysicalOptimizerRule for SumRuns {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let below = node.downcast_ref::<AggregateExec>().and_then(|grouping| {
                let uses = uses_of_columns(grouping)?;
                Some(Arc::new(RunSums::new(Arc::clone(grouping.input()), uses)) as Arc<dyn ExecutionPlan>)
            });
            match below {
                Some(below) => Ok(Transformed::yes(replace_children_if_necessary(node, vec![below])?)),
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "sum_runs"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What a grouping does with a column of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Nobody looks at it.
    Nothing,
    /// Rows are grouped by it.
    Key,
    Sum,
    Min,
    Max,
}

/// What the grouping does with each column; none if it does anything else than grouping by and summing columns.
fn uses_of_columns(grouping: &AggregateExec) -> Option<Vec<Use>> {
    let is_first = !matches!(grouping.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
    let by = grouping.group_expr();
    let is_plain = is_first && by.is_single() && !by.is_empty() && grouping.filter_expr().iter().all(Option::is_none);
    if !is_plain {
        return None;
    }
    let mut uses: Vec<Option<Use>> = vec![None; grouping.input().schema().fields().len()];
    let mut note = |at: usize, used: Use| {
        let is_new = uses[at].replace(used).is_none_or(|before| before == used);
        is_new.then_some(())
    };
    for (expression, _) in by.expr() {
        note(column_of(expression)?, Use::Key)?;
    }
    for function in grouping.aggr_expr() {
        let (at, used) = use_by(function)?;
        let is_summable = match grouping.input().schema().field(at).data_type() {
            DataType::Decimal128(_, _) => true,
            DataType::Int64 => used == Use::Sum,
            _ => false,
        };
        note(at, used).filter(|()| is_summable)?;
    }
    Some(uses.into_iter().map(|used| used.unwrap_or(Use::Nothing)).collect())
}

fn use_by(function: &AggregateFunctionExpr) -> Option<(usize, Use)> {
    let used = match function.fun().name() {
        "sum" => Use::Sum,
        "min" => Use::Min,
        "max" => Use::Max,
        _ => return None,
    };
    let arguments = function.expressions();
    let [argument] = arguments.as_slice() else { return None };
    let is_plain = !function.is_distinct() && function.order_bys().is_empty();
    is_plain.then_some((column_of(argument)?, used))
}

fn column_of(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.downcast_ref::<Column>().map(Column::index)
}

/// Makes one row of each run of rows with equal keys, within each batch.
#[derive(Debug)]
struct RunSums {
    input: Arc<dyn ExecutionPlan>,
    uses: Arc<[Use]>,
    properties: Arc<PlanProperties>,
}

impl RunSums {
    fn new(input: Arc<dyn ExecutionPlan>, uses: impl Into<Arc<[Use]>>) -> Self {
        let below = input.properties();
        // Rows change, so nothing that is known of their order or values holds.
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            below.partitioning.clone(),
            below.emission_type,
            below.boundedness,
        );
        Self { input, uses: uses.into(), properties: Arc::new(properties) }
    }
}

impl DisplayAs for RunSums {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RunSums")
    }
}

impl ExecutionPlan for RunSums {
    fn name(&self) -> &'static str {
        "RunSums"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().expect("a plan with one child gets one child");
        Ok(Arc::new(Self::new(input, Arc::clone(&self.uses))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let uses = Arc::clone(&self.uses);
        let summed = self.input.execute(partition, context)?.map(move |batch| sum_runs(batch?, &uses));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), summed)))
    }
}

/// Returns the batch with one row for each run of equal keys, or as it is if that would not save much.
fn sum_runs(batch: RecordBatch, uses: &[Use]) -> Result<RecordBatch> {
    let keys: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .zip(uses)
        .filter(|(_, used)| **used == Use::Key)
        .map(|(column, _)| Arc::clone(column))
        .collect();
    let runs = runs_of(&keys, batch.num_rows())?;
    if batch.num_rows() < runs.len() * RUN_ROWS_MIN {
        return Ok(batch);
    }
    let firsts: UInt64Array = runs.iter().map(|run| run.start as u64).collect();
    let summed = |(column, used): (&ArrayRef, &Use)| match (used, column.data_type()) {
        (Use::Key | Use::Nothing, _) => Ok(take(column, &firsts, None)?),
        (_, DataType::Int64) => Ok(fold::<Int64Type>(column, &runs, i64::wrapping_add)),
        (Use::Sum, _) => Ok(fold::<Decimal128Type>(column, &runs, i128::wrapping_add)),
        (Use::Min, _) => Ok(fold::<Decimal128Type>(column, &runs, i128::min)),
        (Use::Max, _) => Ok(fold::<Decimal128Type>(column, &runs, i128::max)),
    };
    let columns = batch.columns().iter().zip(uses).map(summed).collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// Returns the ranges of rows with equal keys, in order.
fn runs_of(keys: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
    let mut begins = vec![false; rows];
    for key in keys {
        match key.as_string_view_opt().filter(|texts| texts.null_count() == 0) {
            Some(texts) => {
                let views = texts.views();
                for row in 1..rows {
                    // Equal texts of one page have equal views: that is told without looking at the texts.
                    begins[row] |= views[row] != views[row - 1] && texts.value(row) != texts.value(row - 1);
                }
            }
            None => partition(std::slice::from_ref(key))?.ranges().iter().for_each(|run| begins[run.start] = true),
        }
    }
    let firsts: Vec<usize> = (0..rows).filter(|row| *row == 0 || begins[*row]).collect();
    let ends = firsts.iter().skip(1).copied().chain([rows]);
    Ok(firsts.iter().copied().zip(ends).map(|(first, end)| first..end).filter(|run| !run.is_empty()).collect())
}

/// One value for each run; null where all values are. Sums wrap as the engine's own do: the bounds of rows keep them from it.
fn fold<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    runs: &[Range<usize>],
    combine: impl Fn(T::Native, T::Native) -> T::Native,
) -> ArrayRef {
    let values = column.as_primitive::<T>();
    let folded: PrimitiveArray<T> = match values.null_count() {
        0 => PrimitiveArray::from_iter_values(runs.iter().map(|run| {
            let run = &values.values()[run.clone()];
            run[1..].iter().fold(run[0], |sum, value| combine(sum, *value))
        })),
        _ => runs
            .iter()
            .map(|run| run.clone().filter(|row| values.is_valid(*row)).map(|row| values.value(row)).reduce(&combine))
            .collect(),
    };
    Arc::new(folded.with_data_type(column.data_type().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    /// Two keys, a decimal and a count.
    type Row = (u8, Option<u8>, Option<i64>, Option<i64>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let name = |key: u8| format!("a tenant with a long name {key}");
        let schema = Schema::new(vec![
            Field::new("tenant", DataType::Utf8View, false),
            Field::new("user", DataType::Utf8View, true),
            Field::new("sum", DataType::Decimal128(38, 9), true),
            Field::new("least", DataType::Decimal128(38, 9), true),
            Field::new("count", DataType::Int64, true),
        ]);
        let decimals = || {
            let atoms: Decimal128Array = rows.iter().map(|(_, _, atoms, _)| atoms.map(i128::from)).collect();
            Arc::new(atoms.with_precision_and_scale(38, 9).expect("within the precision")) as ArrayRef
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|(tenant, ..)| Some(name(*tenant))).collect::<StringViewArray>()),
            Arc::new(rows.iter().map(|(_, user, ..)| user.map(name)).collect::<StringViewArray>()),
            decimals(),
            decimals(),
            Arc::new(rows.iter().map(|(.., count)| *count).collect::<Int64Array>()),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("columns of the schema")
    }

    fn session(with_rule: bool, batches: Vec<RecordBatch>) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(2);
        let state = SessionStateBuilder::new().with_config(config).with_default_features();
        let state = if with_rule { state.with_physical_optimizer_rule(Arc::new(SumRuns)) } else { state };
        let session = SessionContext::new_with_state(state.build());
        let table = MemTable::try_new(batches[0].schema(), vec![batches]).expect("batches of one schema");
        session.register_table("usage", Arc::new(table)).expect("a new name");
        session
    }

    async fn shown(session: &SessionContext, sql: &str) -> String {
        let batches = session.sql(sql).await.expect("valid SQL").collect().await.expect("an answer");
        arrow::util::pretty::pretty_format_batches(&batches).expect("printable").to_string()
    }

    const SUMS: &str = "SELECT tenant, \"user\", sum(\"sum\") AS s, min(least) AS l, sum(\"count\") AS c FROM usage \
                        GROUP BY tenant, \"user\" ORDER BY tenant, \"user\"";

    #[tokio::test]
    async fn only_plain_groupings_get_it() {
        let check = async |sql: &str, expected: bool| {
            let session = session(true, vec![batch(&[(1, None, Some(1), Some(1))])]);
            let plan = shown(&session, &format!("EXPLAIN {sql}")).await;
            assert_eq!(plan.contains("RunSums"), expected, "{plan}");
        };
        check(SUMS, true).await;
        check("SELECT tenant, max(\"sum\") FROM usage GROUP BY tenant", true).await;
        check("SELECT tenant, sum(\"sum\"), max(\"sum\") FROM usage GROUP BY tenant", false).await;
        check("SELECT tenant, count(*) FROM usage GROUP BY tenant", false).await;
        check("SELECT tenant, sum(\"sum\") FILTER (WHERE \"count\" > 1) FROM usage GROUP BY tenant", false).await;
        check("SELECT sum(\"sum\") FROM usage", false).await;
    }

    #[test]
    fn runs_become_one_row_where_that_saves_much() {
        let uses = [Use::Key, Use::Key, Use::Sum, Use::Min, Use::Sum];
        let rows =
            [(1, None, Some(2), Some(1)), (1, None, None, Some(1)), (1, Some(1), None, None), (1, Some(1), None, None)];
        let summed = sum_runs(batch(&rows), &uses).expect("batches of the schema");
        assert_eq!(summed, batch(&[(1, None, Some(2), Some(2)), (1, Some(1), None, None)]));
        let mixed = batch(&[(1, None, Some(2), Some(1)), (2, None, Some(2), Some(1)), (2, None, Some(2), Some(1))]);
        assert_eq!(sum_runs(mixed.clone(), &uses).expect("batches of the schema"), mixed);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn answers_are_those_of_the_engine_alone(
            rows in proptest::collection::vec(
                (0..3_u8, proptest::option::of(0..2_u8), proptest::option::of(-9..9_i64), proptest::option::of(0..9_i64)), 1..60),
            first in 0..60_usize,
        ) {
            let mut rows = rows;
            let sorted = first.min(rows.len());
            rows[..sorted].sort();
            let batches: Vec<RecordBatch> = rows.chunks(20).map(batch).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let [with, without] = [true, false].map(|rule| runtime.block_on(shown(&session(rule, batches.clone()), SUMS)));
            prop_assert_eq!(with, without);
        }
    }
}
