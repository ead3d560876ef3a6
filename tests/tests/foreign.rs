//! Logs of ours by what others wrote in Go, and logs of theirs by ours: `golang.org/x/mod/sumdb`, Tessera, a witness.
//!
//! `make foreign` runs this; it needs Go, and the modules that `tests/foreign/go` pins. Nothing of Go's is in a product.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod foreign {
    //! Who runs Go's tools, and one module for each direction.
    mod outsider;
    mod pages;
    mod tessera;
    mod witnesses;
}
