//! `indelible-sidecar`: wiring only.

fn main() {}
