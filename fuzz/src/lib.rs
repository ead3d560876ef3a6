//! Every parser of bytes from outside as a function of bytes: what fuzzing runs, and each crate's own tests, too.
//!
//! A file here belongs to the crate of its name, whose `tests/corpus.rs` includes it with `corpus` and runs the committed
//! seeds through it. A target panics where a parser is wrong: by itself, or because what it accepts is not what would be written.

pub mod chain;
pub mod collector;
pub mod corpus;
pub mod csi;
pub mod sidecar;

/// All targets, by name.
pub fn all() -> impl Iterator<Item = corpus::Target> {
    [chain::TARGETS, collector::TARGETS, csi::TARGETS, sidecar::TARGETS].into_iter().flatten().copied()
}

/// Their names.
pub fn names() -> Vec<&'static str> {
    all().map(|(name, _)| name).collect()
}
