//! Indelible's operator: the AuditLog API, its reconciler, injection, certificates, coverage, witness and authority.
//!
//! `ARCHITECTURE.md`, section Kubernetes, says which module is a pure decision and which an edge, and what the parts
//! expect of each other.

pub mod api;
pub mod authority;
pub mod certificates;
pub mod check;
pub mod clock;
pub mod collectors;
pub mod conditions;
pub mod config;
pub mod coverage;
pub mod crd;
pub mod events;
pub mod inject;
pub mod keys;
pub mod leader;
pub mod limits;
pub mod metrics;
pub mod names;
pub mod observe;
pub mod observed;
pub mod pods;
pub mod quantity;
pub mod reconcile;
pub mod reference;
pub mod run;
#[cfg(test)]
mod testing;
pub mod witness;
