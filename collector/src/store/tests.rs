//! Tests of the store as a whole, on the in-memory directory: without threads, so that each step can be made to fail.
//!
//! `pod` makes what sidecars send, `log` drives a store and holds what it promised against what is there.

mod faults;
mod log;
mod model;
mod pod;
mod real;
mod refusals;
mod start;
