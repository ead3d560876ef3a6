//! `indelible-csi`: wiring only.

fn main() {}
