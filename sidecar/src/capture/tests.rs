//! What a kubelet does to log files, one thing at a time.

use std::time::Duration;

use super::rig::{Rig, line, shown};

#[test]
fn a_line_becomes_a_record_after_its_container_started() {
    let mut rig = Rig::new();
    rig.logs.append("app", "0.log", &line(1, "F", "hello"));
    rig.drain();
    assert_eq!(shown(rig.only()), ["started 0", "hello"]);
    rig.logs.append("app", "0.log", &line(2, "F", "again"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "hello", "again", "end"]);
    assert!(rig.capture().is_closed());
    assert!(rig.chain(0).closed);
}

#[test]
fn a_container_that_prints_nothing_has_a_chain_that_ends() {
    let mut rig = Rig::new();
    rig.logs.make("app");
    rig.pass(Duration::from_secs(1));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["end"]);
    assert!(rig.capture().is_closed());
}
