//! Decides who pays how much: pure functions from a day's inputs to exact shares.
//!
//! Owns: the split rule, spreading over days, pools, drivers, rating, idle cost, windows, conversion.
//! Never: I/O, async, the clock, floats, access rights. A function here can be checked by hand.
//! Start reading at [`split`], then [`day`]; the formulas and a worked example are in `docs/method.md`.

/// What other pools cost their consumers, as weights.
pub mod by_cost;
/// Who consumes a pool and with which weight, by method.
pub mod cells;
/// One day, all pools.
pub mod day;
/// Exact products and quotients of integers of any size.
pub mod exact;
/// Pools that stand for many: `for_each`.
pub mod expand;
/// Conversion between currencies.
pub mod fx;
/// Prices that depend on the month's quantity.
pub mod graduated;
/// Parts of cost lines that fall on a day, and what conditions see of them.
pub mod line;
/// To which tenant the rules of a policy map a cost line.
pub mod mapping;
/// Amounts in whole minor units that add up.
pub mod minor_units;
/// Which lines each pool takes, by component.
pub mod pool;
/// The method `rated`.
mod rated;
/// Quantity × price.
pub mod rating;
/// Pools whose consumers pay what their usage is rated at.
mod recover;
/// The usage of many days at the prices of one card.
pub mod reprice;
/// Cells and components become shares.
pub mod share;
/// The only place where cost is divided.
pub mod split;
/// A line's amount, day by day.
pub mod spread;
/// A month's charge in whole minor units.
pub mod statement;
/// The lines that no pool takes, by service.
mod unattributed;
/// Quantities of a day, and how they fold into one.
pub mod usage;
/// Costs that events carry, and who used each of them in time.
pub mod window;
