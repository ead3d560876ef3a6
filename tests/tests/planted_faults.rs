//! The faults that `make e2e-selftest` plants stay plantable: each still fits the source, and names a case of the core.

use std::path::Path;
use std::process::Command;

#[test]
fn every_planted_fault_still_fits_the_source_and_names_a_case_of_the_core() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = Command::new(root.join("tests/cluster/selftest")).arg("--check").output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", said(&output.stderr));
    let planted = std::fs::read_dir(root.join("tests/e2e/faults")).unwrap().count();
    let out = said(&output.stdout);
    assert!(planted >= 5 && out.lines().count() == planted, "{planted} faults, and looked at were:\n{out}");
}
