//! Indelible's collector: an append-only server for evidence.
//!
//! It checks what sidecars send, appends it to its log, makes it durable, and only then answers with a receipt. The
//! modules stand in the order of the data's way; `ARCHITECTURE.md` says which are pure decisions and which are edges.

pub mod clock;
pub mod config;
pub mod desk;
mod failpoint;
pub mod heartbeats;
pub mod http;
pub mod ingest;
pub mod jwks;
pub mod kube;
pub mod limits;
pub mod metrics;
pub mod outbound;
pub mod readers;
pub mod reload;
pub mod run;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;
pub mod token;
mod trouble;
pub mod witness;
