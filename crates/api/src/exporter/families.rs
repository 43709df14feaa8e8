//! The metrics of the exporter: names, labels, what each says. `docs/exporter.md` lists the same, and a test compares.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// A value that goes up and down.
    Gauge,
    /// A number that only grows while the process lives. Its name ends with `_total`.
    Counter,
}

/// A metric with all its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: FamilyKind,
    /// Names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! families {
    ($($name:ident $kind:ident $text:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $name: Family =
                Family { name: $text, kind: FamilyKind::$kind, labels: &[$($label),*], help: $help };
        )*
        /// Every metric, in the order of the answer.
        pub const FAMILIES: &[Family] = &[$($name),*];
    };
}

families! {
    TENANT_COST Gauge "apportion_tenant_cost_month_to_date" ["tenant", "tier", "currency"]
        "Cost of a tenant this month, up to the last complete day; reserved consumers and __other__ are tenants here, so that the sum is the total.";
    OVERHEAD_COST Gauge "apportion_overhead_cost_month_to_date" ["currency"]
        "Cost of this month, up to the last complete day, that is nobody's because it is never divided.";
    UNATTRIBUTED_COST Gauge "apportion_unattributed_cost_month_to_date" ["currency"]
        "Cost of this month, up to the last complete day, without a rule or a driver.";
    COVERAGE Gauge "apportion_coverage_ratio" ["kind"]
        "Part of the cost of this month that was attributed in this way.";
    DIFFERENCE Gauge "apportion_reconciliation_difference" ["currency"]
        "Cost lines of this month, up to the last complete day, less what the ledger holds of them, and what invoices of this month and the one before differ from their lines.";
    PROVIDER_COST Gauge "apportion_provider_cost_month_to_date" ["provider", "currency", "kind"]
        "Cost of a provider this month: accrued on the days that are over, committed for the whole month, or as billed.";
    PROVIDER_USAGE Gauge "apportion_provider_usage_month_to_date" ["provider", "resource", "unit"]
        "What was used of a provider's resource this month.";
    PROVIDER_LIMIT Gauge "apportion_provider_limit" ["provider", "resource", "unit"]
        "How much of a provider's resource may be used between two resets.";
    USED_RATIO Gauge "apportion_provider_used_ratio" ["provider", "resource"]
        "Part of the whole limit that was used since the last reset; absent while nothing is known of it.";
    LIMIT_RESETS Gauge "apportion_provider_limit_resets_timestamp_seconds" ["provider", "resource"]
        "When the count of a limit starts anew.";
    COLLECTOR_SUCCESS Gauge "apportion_collector_last_success_timestamp_seconds" ["collector"]
        "When a source was read to its end last; 0 if it never was.";
    COLLECTOR_INTERVAL Gauge "apportion_collector_interval_seconds" ["collector"]
        "How often a source is read.";
    COLLECTOR_DURATION Gauge "apportion_collector_duration_seconds" ["collector"]
        "How long the last reading of a source took; absent before the first of this process.";
    COLLECTOR_ERRORS Counter "cost_collector_errors_total" ["collector", "cause"]
        "Readings of a source that failed, by cause.";
    SNAPSHOT_SUCCESS Gauge "apportion_snapshot_last_success_timestamp_seconds" ["source"]
        "When an application's snapshots were taken or received last; 0 if they never were.";
    RUN_SUCCESS Gauge "apportion_run_last_success_timestamp_seconds" []
        "When a run of attribution succeeded last; 0 if none ever did.";
    EVENTS_ACCEPTED Counter "apportion_events_accepted_total" []
        "Events that were accepted.";
    EVENTS_DUPLICATES Counter "apportion_events_duplicates_total" []
        "Events that came before with the same content.";
    EVENTS_REJECTED Counter "apportion_events_rejected_total" ["code"]
        "Events that were refused, by code.";
    EXPORTER_ERRORS Counter "apportion_exporter_errors_total" []
        "Scrapes whose costs or sources could not be read; what was known before is shown instead.";
    BUILD_INFO Gauge "apportion_build_info" ["version"]
        "1, with the version of the program.";
}
