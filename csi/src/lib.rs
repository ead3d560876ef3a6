//! Indelible's node driver: gives a pod's sidecar that pod's log directory, read-only, and a place for its state.
//!
//! The modules in the order of a call's way: a [`messages`] message comes over a socket of [`services`], becomes a validated
//! [`request`], and is done by [`publish`] through [`mounts`]. Nothing is remembered between calls: what is there says all.

pub mod config;
pub mod layout;
pub mod limits;
pub mod messages;
pub mod metrics;
pub mod mounts;
pub mod publish;
pub mod request;
pub mod run;
pub mod services;
