//! What unit tests share with the tests of the running server.

#[path = "../tests/support/issuer.rs"]
pub mod issuer;
