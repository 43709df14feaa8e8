//! The catalog's conformance suite: every test opens an empty catalog through its parent's `open`, and each database is
//! a folder that says how to open one and repeats the list of the suite's files.

/// The suite on a PostgreSQL server that the test starts.
mod postgres;
/// The suite on SQLite files.
mod sqlite;
