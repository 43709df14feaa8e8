//! The binary: parses arguments and dispatches.
fn main() {}
