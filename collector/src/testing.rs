//! What unit tests share with the tests of the running server.

#[path = "../tests/support/issuer.rs"]
pub mod issuer;

#[path = "../tests/support/sidecar.rs"]
pub mod sidecar;
