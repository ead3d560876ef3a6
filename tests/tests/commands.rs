//! How `indelible` ends: what it says of mistakes, what becomes of its exit code when nobody reads its output, and what
//! the demo leaves behind when it is ended.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, Process, SidecarOptions, World, binary, eventually};
use rustix::process::Signal;

const BOUND: Duration = Duration::from_mins(1);

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

/// Ids of processes whose command line names this directory.
fn processes_of(dir: &Path) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let names = |id: &u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(dir.to_str().unwrap())
    };
    ids.filter(names).collect()
}

#[test]
fn a_demo_that_is_hung_up_or_terminated_leaves_no_process_and_no_directory_behind() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::TERM, 143), (Signal::INT, 130)] {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let args = [OsString::from("demo")];
        let env = [("TMPDIR", work.to_str().unwrap())];
        let mut demo = Process::start("demo", dir.path(), &binary("indelible").unwrap(), &args, &env).unwrap();
        let acts = || Ok(demo.stdout()?.contains("with a sidecar beside it").then_some(()));
        eventually("the demo's first sidecar runs", BOUND, acts).unwrap();
        assert!(!processes_of(&work).is_empty());
        demo.signal(signal).unwrap();
        assert_eq!(demo.wait(BOUND).unwrap().code(), Some(code), "{}", demo.stderr().unwrap());
        eventually("its processes are gone", BOUND, || Ok(processes_of(&work).is_empty().then_some(()))).unwrap();
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0, "{signal:?}");
    }
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

#[test]
fn a_mistake_of_a_new_user_is_answered_with_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let policy = dir.path().join("policy");
    fs::write(&policy, "quorum none\n").unwrap();
    let vkey = "--log-key example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let (empty, policy) = (empty.to_str().unwrap(), policy.to_str().unwrap());
    for (line, code, expected) in [
        (format!("verify {empty} --policy /nope"), 5, "--policy /nope: No such file"),
        (format!("verify {empty} --policy /nope"), 5, "indelible-collector init"),
        (format!("verify {empty} --policy {empty}"), 5, "expected a tlog-policy"),
        (format!("verify {empty} --policy {policy}"), 5, "names no log"),
        (format!("verify {empty} {vkey} --token /nope"), 5, "--token /nope: No such file"),
        (format!("verify {empty} {vkey} --token /nope"), 5, "kubectl create token"),
        (format!("verify {empty} {vkey} --ca /nope"), 5, "--ca /nope: No such file"),
        (format!("verify {empty} {vkey} --issuer-keys /nope"), 5, "kubectl get --raw"),
        (format!("verify https://127.0.0.1:1 {vkey}"), 5, "--ca is needed"),
        (format!("verify localhost:7443 {vkey}"), 5, "https://localhost:7443"),
        (format!("prove {empty} {vkey} -o /nope/proof"), 5, "RECORD"),
        (format!("prove {empty} 3 {vkey} -o /nope/proof"), 4, "cannot be read"),
        (format!("prove --check /nope {vkey}"), 5, "indelible prove"),
        ("status".to_owned(), 5, "<SOURCE>"),
        (format!("demo --dir {policy}"), 5, "--dir"),
    ] {
        let (found, said) = indelible(&line, Stdio::null());
        assert!(found == code && said.contains(expected), "indelible {line}: exit {found}, {said}");
        assert!(said.starts_with("indelible: "), "{said}");
    }
}
