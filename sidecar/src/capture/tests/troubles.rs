//! What lasts is logged when it begins and when it is over.

use std::time::Duration;

use super::APP;
use crate::capture::rig::{Rig, line, logged};
use crate::limits::MAX_CONTAINERS;

fn some_polls(rig: &mut Rig) {
    for _ in 0..5 {
        rig.pass(Duration::from_secs(1));
        rig.work();
        rig.work();
    }
}

#[test]
fn a_directory_that_cannot_be_listed_is_logged_once_and_once_that_it_can_again() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.logs.refuse_listing(true);
    let refused = logged(|| some_polls(&mut rig));
    rig.logs.refuse_listing(false);
    let over = logged(|| some_polls(&mut rig));
    for (lines, level, ends) in [(refused, "WARN", ["listed", "listed"]), (over, "INFO", ["again", "again"])] {
        assert_eq!(lines.len(), 2, "{lines:?}");
        for ((line, dir), end) in lines.iter().zip(["--logs", "the log directory"]).zip(ends) {
            let said = line.split_once(level).map(|(_, said)| said.trim_start());
            assert!(said.is_some_and(|said| said.starts_with(dir) && said.contains(end)), "{line}");
        }
    }
}

#[test]
fn a_container_that_is_not_captured_is_logged_once() {
    let mut rig = Rig::new();
    let nameless = "n".repeat(1 << 16);
    let lines = logged(|| {
        rig.logs.make(&nameless);
        some_polls(&mut rig);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("a container cannot be captured"), "{lines:?}");
    let lines = logged(|| {
        for n in 0..=MAX_CONTAINERS {
            rig.logs.make(&format!("c{n:03}"));
        }
        some_polls(&mut rig);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("too many containers") && lines[0].contains("\"c512\""), "{lines:?}");
}
