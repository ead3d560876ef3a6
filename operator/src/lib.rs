//! Indelible's operator: the AuditLog API, its reconciler, injection, certificates, coverage, witness and authority.
//!
//! `ARCHITECTURE.md`, section Kubernetes, says which module is a pure decision and which an edge, and what the parts
//! expect of each other.

pub mod api;
pub mod certificates;
pub mod check;
pub mod clock;
pub mod config;
pub mod crd;
pub mod inject;
pub mod leader;
pub mod limits;
pub mod metrics;
pub mod names;
pub mod observed;
pub mod quantity;
pub mod reference;
pub mod run;
