//! The words of Apportion: exact numbers, time, tenants, meters, policies and rate cards.
//!
//! Owns: money, quantities, days, ranges, the configuration languages of policy, meters, rates and limits.
//! Never: async, I/O, tables, HTTP, floats, the wall clock. Everything here is a value.
//! Start reading at [`money`]; the glossary is in `docs/glossary.md`.

/// Where "now" comes from: a parameter, never the wall clock itself.
pub mod clock;
/// Patterns and conditions of policies: strings, lists, globs.
pub mod condition;
/// ISO-4217 currency codes and their minor units.
pub mod currency;
/// Times of day at which something is done once a day.
pub mod daily;
/// Decimal text to scaled integers and back; the only parser and printer of numbers.
pub mod decimal;
/// What cost can be grouped by.
pub mod dimension;
/// How events become quantities.
pub mod meter;
/// Exact amounts in one currency, in atoms of 10⁻¹⁵.
pub mod money;
/// Pools and rules: who pays for what.
pub mod policy;
/// Limits of providers: caps, resets, how much of a cap is used.
pub mod provider_limit;
/// Quantities, unit prices and weights: decimals without a currency.
pub mod quantity;
/// Ranges of days as users write them: `30d`, `mtd`, `2026-10`.
pub mod range;
/// Versioned unit prices.
pub mod rates;
/// The daily measurement of a tenant: fields, kinds, quality.
pub mod snapshot;
/// Who is charged: ids, reserved consumers, dated facts, scopes.
pub mod tenant;
/// Instants, days, months, ranges and the organisation's zone.
pub mod time;
/// TOML with errors that name file, line and the nearest key.
pub mod toml_text;
/// Units and the one table of exact conversions.
pub mod unit;

pub use clock::{Clock, FixedClock};
pub use currency::Currency;
pub use daily::Daily;
pub use money::{Money, MoneyError};
pub use provider_limit::ProviderLimit;
pub use quantity::{Price, Quantity, Weight};
pub use range::RangeError;
pub use tenant::{TenantId, TenantScope};
pub use time::{Day, DayRange, Instant, InstantRange, Month, Zone};
