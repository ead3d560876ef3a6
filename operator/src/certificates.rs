//! Certificates of pools and of the webhook: which are due, and a change of CA that cuts nobody off.
//!
//! [`rotation`] decides, as a function of time and of a [`keyring`]; [`issue`] makes and reads certificates. [`pool`] is a
//! pool's: the reconciler reads and writes its Secrets. [`webhook`] is the webhook's, with the Secret that all operators
//! serve from.

pub mod issue;
pub mod keyring;
pub mod pool;
pub mod rotation;
pub mod webhook;

pub use issue::CertificateError;
pub use pool::{CollectorKey, Names, Plan, Secrets, plan};
