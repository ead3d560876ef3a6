//! The interface as a client sees it: a real collector process, on loopback, over TLS.
//!
//! Every test has a log of its own. Nothing waits by sleeping: a test asks again until what it waits for is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "support/api.rs"]
mod api;
#[path = "support/client.rs"]
mod client;
#[path = "support/collector.rs"]
mod collector;
#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/sidecar.rs"]
mod sidecar;
#[path = "support/witness.rs"]
mod witness;

mod server {
    mod bounds;
    mod cluster;
    mod end;
    mod read;
    mod read_only;
    mod start;
    mod states;
    mod witness;
    mod write;
}
