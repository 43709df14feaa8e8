//! Costs, usage and limits of the month as text; made anew only when something they depend on changed.

use super::families::{
    COVERAGE, DIFFERENCE, LIMIT_RESETS, OVERHEAD_COST, PROVIDER_COST, PROVIDER_LIMIT, PROVIDER_USAGE, TENANT_COST,
    UNATTRIBUTED_COST, USED_RATIO,
};
use super::text::{Exposition, Form};
use crate::app::App;
use crate::convert::{money, part, quantity};
use bytes::Bytes;
use collectors::providers::is_level;
use domain::decimal::format_scaled;
use domain::provider_limit::RATIO_SCALE;
use engine::EngineError;
use engine::query::{LimitStatus, MonthToDate, MonthVersion};
use std::sync::PoisonError;
use std::time::Duration;

/// How long a scrape waits for new values before it shows the ones from before: less than the ten seconds after which
/// Prometheus gives up.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// Provider of cost lines that name none.
const NO_PROVIDER: &str = "unknown";

/// The text of the month, and what it was made of.
#[derive(Clone, Debug)]
pub(super) struct KeptMonth {
    version: MonthVersion,
    text: Bytes,
}

impl App {
    /// Returns the costs of the month as they are now; as they were, if they cannot be read or that takes too long. Empty
    /// if they never could be read.
    pub(super) async fn month_text(&self) -> Bytes {
        let app = self.clone();
        // In a task of its own: a scrape that goes away does not end the work for the next one.
        let renewal = tokio::spawn(async move { app.renew_month().await });
        match tokio::time::timeout(WAIT_MAX, renewal).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                self.exporter.count_error();
                tracing::warn!(?error, "the costs of the month cannot be read; metrics show the ones from before");
            }
            Ok(Err(error)) => {
                self.exporter.count_error();
                tracing::error!(%error, "the costs of the month were not made to their end");
            }
            Err(_) => {
                self.exporter.count_error();
                tracing::warn!("the costs of the month take longer than a scrape; metrics show the ones from before")
            }
        }
        let kept = self.exporter.month.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|kept| kept.text.clone()).unwrap_or_default()
    }

    /// Makes the text anew if anything changed since it was made; one at a time.
    async fn renew_month(&self) -> Result<(), EngineError> {
        let _turn = self.exporter.turn.lock().await;
        // The version comes first: what changes meanwhile makes the text new again, never old for ever.
        let version = self.engine.month_version_all_tenants().await?;
        let is_current = |kept: &KeptMonth| kept.version == version;
        if self.exporter.month.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(is_current) {
            return Ok(());
        }
        let (tenants_max, limits) = (self.exporter.tenants_max, &self.exporter.limits);
        let month = self.engine.month_to_date_all_tenants(tenants_max, limits, is_level).await?;
        let text = Bytes::from(text_of(&month));
        *self.exporter.month.lock().unwrap_or_else(PoisonError::into_inner) = Some(KeptMonth { version, text });
        Ok(())
    }
}

/// Returns the metrics of the month. All are gauges, so the text is the same in both formats.
fn text_of(month: &MonthToDate) -> String {
    let mut out = Exposition::new(Form::Text);
    let currency = month.currency.code();
    let tenants = month.tenants.iter();
    out.add(&TENANT_COST, tenants.map(|row| ([row.tenant.as_str(), &row.tier, currency], money(row.cost))));
    out.add(&OVERHEAD_COST, [([currency], money(month.overhead))]);
    out.add(&UNATTRIBUTED_COST, [([currency], money(month.unattributed))]);
    let coverage = month.coverage.map(|coverage| {
        [
            ("measured", coverage.measured),
            ("proxy", coverage.proxy),
            ("idle", coverage.idle),
            ("overhead", coverage.overhead),
            ("variance", coverage.variance),
            ("unattributed", coverage.unattributed),
        ]
    });
    out.add(&COVERAGE, coverage.into_iter().flatten().map(|(kind, share)| ([kind], part(share))));
    out.add(&DIFFERENCE, month.differences.iter().map(|(currency, atoms)| ([currency.as_str()], money(*atoms))));
    let providers = month.providers.iter().flat_map(|cost| {
        let provider = if cost.provider.is_empty() { NO_PROVIDER } else { &*cost.provider };
        let kinds = [("accrued", cost.accrued), ("committed", cost.committed), ("billed", cost.billed)];
        kinds.map(|(kind, atoms)| ([provider, cost.currency.code(), kind], money(atoms)))
    });
    out.add(&PROVIDER_COST, providers);
    let used = month.usage.iter();
    out.add(
        &PROVIDER_USAGE,
        used.map(|row| ([row.provider.as_str(), &row.resource, &row.unit], quantity(row.quantity))),
    );
    add_limits(&mut out, &month.limits);
    out.into_text()
}

fn add_limits(out: &mut Exposition, limits: &[LimitStatus]) {
    let caps = limits.iter().map(|status| {
        let limit = &status.limit;
        ([status.provider.as_str(), &status.resource, &limit.unit], quantity(limit.cap.atoms()))
    });
    out.add(&PROVIDER_LIMIT, caps);
    let ratios = limits.iter().filter_map(|status| {
        let ratio = format_scaled(status.used_ratio?, RATIO_SCALE, 0);
        Some(([status.provider.as_str(), status.resource.as_str()], ratio))
    });
    out.add(&USED_RATIO, ratios);
    let resets = limits.iter().map(|status| {
        ([status.provider.as_str(), status.resource.as_str()], super::seconds_of(status.resets_at.micros()))
    });
    out.add(&LIMIT_RESETS, resets);
}
