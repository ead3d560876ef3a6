//! The API: `AuditLog`, `indelible.dev/v1alpha1`. One storage version, additive changes only, no conversion webhook.

pub mod spec;
mod status;

pub use spec::AuditLog;
