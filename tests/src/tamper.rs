//! Tampering: kept evidence is changed one byte, frame or file at a time, and an independent model of the format says
//! what `indelible verify` must answer.
//!
//! Histories are written here byte by byte ([`story`], [`actor`], [`log`]), changed ([`mutation`]) and judged a second
//! time ([`model`]); [`check`] runs the real verifier as a process and compares. Nothing here uses `indelible-chain`:
//! the format is implemented a second time, from its specification, so that an error of the first implementation is
//! not made twice. Everything follows from a seed.

pub mod actor;
pub mod campaign;
pub mod check;
pub mod image;
pub mod log;
pub mod model;
pub mod mutation;
pub mod rng;
pub mod story;
pub mod wire;

pub use check::{Case, Checker, Outcome};
pub use image::Image;
pub use mutation::Mutation;
pub use rng::Rng;
pub use story::{History, Kind};

#[cfg(test)]
mod tests;
