//! How `indelible` ends: what becomes of its exit code when nobody reads its output.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::fs;
use std::process::{Command, Stdio};

use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, SidecarOptions, World, binary};

/// What `indelible` says on stderr, and its exit code.
fn indelible(line: &str, stdout: Stdio) -> (i32, String) {
    let args = line.split_whitespace();
    let child = Command::new(binary("indelible").unwrap()).args(args).stdout(stdout).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    // A pipe that nobody reads.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
}

fn full() -> Stdio {
    fs::File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn output_that_nobody_can_read_does_not_hide_what_verify_has_found() {
    let mut world = World::start(1).unwrap();
    let pod = PodIdentity::new("payments", "api-0", "uid-of-api-0");
    let mut printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
    let mut sidecar = world.sidecar(&pod, &SidecarOptions::default()).unwrap();
    sidecar.armed().unwrap();
    printer.print(20, 100).unwrap();
    sidecar.terminate().unwrap();
    world.seal().unwrap();
    let data = world.collectors[0].data();
    let line = format!("verify {} --policy {}", data.display(), world.policy().unwrap().display());
    assert_eq!(indelible(&line, Stdio::null()).0, 0);
    let (code, said) = indelible(&line, full());
    assert!(code == 4 && said.contains("could not be written"), "what is well was not shown: {code} {said}");

    let segment = data.join("segments/00000000000000000000.seg");
    let file = fs::File::options().write(true).open(&segment).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let found = indelible(&line, Stdio::null()).0;
    assert!(matches!(found, 1 | 2), "{found}");
    for json in ["", "--json"] {
        for (stdout, name) in [(full(), "/dev/full"), (Stdio::piped(), "a closed pipe")] {
            assert_eq!(indelible(&format!("{line} {json}"), stdout).0, found, "{name} {json}");
        }
    }
}
