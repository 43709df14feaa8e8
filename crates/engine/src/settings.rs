//! What the binary decides once.

use domain::money::ATOMS_PER_UNIT;
use domain::{Currency, Price, Weight, Zone};

/// Settings of the organisation and limits of queries.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this process among those that share the catalog; the same after a restart on the same data folder.
    pub node: String,
    /// Decides where a day begins.
    pub zone: Zone,
    /// Into which every amount is converted for totals.
    pub reporting_currency: Currency,
    /// How many days back changed catalog rows make days due.
    pub trailing_days: i32,
    /// Memory that queries may use before they spill or fail.
    pub memory_bytes_max: usize,
    /// Threads of a query.
    pub threads: usize,
    /// Whether tenants may see pool totals and ratios.
    pub disclose_pools: bool,
    /// Whether unknown tenants are refused rather than created.
    pub reject_unknown_tenants: bool,
    /// Longest range of days one query may ask for.
    pub range_days_max: i32,
    /// How long after its end a window waits for late uses, in microseconds.
    pub window_grace_micros: i64,
    /// How long a window is that ends with an event which does not come, in microseconds.
    pub window_micros_max: i64,
    /// Up to this much of a tenant, pool and closed month is not corrected by itself, in units of the reporting currency,
    /// and of the bill's for billed amounts.
    pub materiality: Price,
    /// A month with a larger part of unattributed cost does not close.
    pub unattributed_ratio_max: Weight,
    /// Where the bills were paid from: the other side of the journal.
    pub clearing: ClearingAccount,
}

/// The cost centre and account that providers' bills were booked on; empty text is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClearingAccount {
    /// Cost centre.
    pub cost_center: String,
    /// Account.
    pub gl_account: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node: "local".to_owned(),
            zone: Zone::utc(),
            reporting_currency: Currency::USD,
            trailing_days: 35,
            memory_bytes_max: 2 << 30,
            threads: 2,
            disclose_pools: false,
            reject_unknown_tenants: false,
            range_days_max: 3660,
            window_grace_micros: 3_600_000_000,
            window_micros_max: 24 * 3_600_000_000,
            materiality: Price::from_atoms(ATOMS_PER_UNIT).expect("one unit is a price"),
            unattributed_ratio_max: Weight::from_atoms(50_000).expect("0.05 is a ratio"),
            clearing: ClearingAccount::default(),
        }
    }
}
