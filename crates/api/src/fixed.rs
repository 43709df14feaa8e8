//! Recurring costs as cost lines, up to date before anything reads them.

use crate::app::App;
use crate::problem::ApiError;
use collectors::fixed::{FixedContext, FixedEntry, from_row_fixed_cost, materialize_fixed, policy_entries};
use domain::policy::Policy;

impl App {
    /// Makes the cost lines of fixed costs, entered ones and those of policies, of all periods that began by today,
    /// whatever range is asked for. Doing it again changes nothing. Call it before a run.
    ///
    /// # Errors
    /// When an entry cannot become lines, or a store fails.
    pub async fn prepare(&self) -> Result<(), ApiError> {
        let mut entries: Vec<FixedEntry> = Vec::new();
        for row in self.catalog().fixed_costs_upto(i64::MAX).await? {
            entries.push(from_row_fixed_cost(&row)?);
        }
        let books = self.engine.books_now().await?;
        let policies: Vec<Policy> = books.policies().iter().map(|version| (*version.content).clone()).collect();
        entries.extend(policy_entries(&policies));
        let context = FixedContext {
            lake: self.engine.lake().clone(),
            catalog: self.catalog().clone(),
            zone: self.zone().clone(),
            now: self.now(),
        };
        let report = materialize_fixed(&context, &entries, self.today()).await?;
        if let Some(import) = report.import_id {
            tracing::info!(import.id = %import, lines = report.lines, "fixed costs changed {} months", report.changed_months.len());
        }
        Ok(())
    }
}
