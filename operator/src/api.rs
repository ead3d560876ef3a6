//! The API: `AuditLog`, `indelible.dev/v1alpha1`. One storage version, additive changes only, no conversion webhook.

mod spec;
mod status;

pub use spec::{
    AuditLog, AuditLogSpec, Capture, CaptureSource, Collectors, Containers, Delivery, Limits, Sidecar, Storage, Witness,
};
pub use status::{AuditLogStatus, Coverage, KeptVolume, LogState, LogStatus};
