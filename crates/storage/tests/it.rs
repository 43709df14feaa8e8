//! Behaviour of the stores, in one binary so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod catalog;
mod lake;
