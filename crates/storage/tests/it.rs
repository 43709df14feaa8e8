//! Behaviour of the stores, in one binary so that it links once.

mod catalog;
mod lake;
