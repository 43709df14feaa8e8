//! Imports end to end, on a lake and a catalog in a temporary folder.

mod it {
    /// Any bytes: an error, never a panic.
    mod any_bytes;
    /// The published sample bills.
    mod bills;
    /// Bad input changes nothing.
    mod broken;
    /// Fixed and manual costs.
    mod fixed;
    /// The same rows in other clothes.
    mod formats;
    /// Collectors against stand-ins of their providers.
    mod providers;
    /// What an import takes out and puts in.
    mod replacing;
    /// What replaces snapshots, and what they keep.
    mod snapshots;
    /// A store, bills and what is read back from it.
    pub(crate) mod support;
}
