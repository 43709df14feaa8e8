//! Bills from outside become cost lines, replaced whole, never appended; usage of other systems becomes points or snapshots.
//!
//! Owns: reading FOCUS in every shape providers send it, the keys an import replaces, its report; clients of other systems;
//! what replaces snapshots.
//! Never: splitting, posting, serving HTTP, the wall clock, access rights. A failed import or pull changes nothing.
//! Start reading at [`import::import_focus`]; how one cell is read is in [`focus`]. Usage begins at [`sources`].

/// Work that somebody may ask to end early.
pub mod cancel;
/// What can go wrong, in the words of whoever sent the file.
pub mod error;
/// How much an import may use.
pub mod limits;
/// Refreshes and imports that others see and may end.
pub mod under_way;

/// Lines to data files: keys, hashes, columns, the days they touch.
pub mod cost_lines;
/// FOCUS files to lines: formats, columns, cells, and what real exports get wrong.
pub mod focus;

/// Recurring and manual costs as cost lines.
pub mod fixed;
/// A set of files replaces the keys it contains.
pub mod import;

/// Adds bills up again from the text of their files.
pub mod recount;

/// Reads usage from a Prometheus server.
pub mod prometheus;
/// Reads the bills and the usage of providers.
pub mod providers;
/// What a source measured of its tenants on a day.
pub mod snapshots;
/// Sources of usage: when they are read, how far they were read, how they fared.
pub mod sources;
/// Measures the workspaces of applications in their PostgreSQL.
pub mod workspaces;

pub use error::ImportError;
pub use limits::ImportLimits;
