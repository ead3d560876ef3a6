//! A witness that others wrote cosigns our logs, and both verifiers hold a log to the quorum; and ours cosigns theirs.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, SidecarOptions, Witness, World, eventually, verify};

use super::outsider::{Outsider, root};
use super::tessera::{TesseraLog, unknown};

const BOUND: Duration = Duration::from_mins(1);

/// A witness made of transparency-dev/witness, for the logs of a policy that may grow while it runs.
struct Foreign {
    process: Child,
    /// Its line for a policy.
    line: String,
}

impl Foreign {
    fn start(world: &World) -> Self {
        let program = world.dir().join("foreign-witness");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg("./witness").current_dir(root().join("tests/foreign/go"));
        assert!(build.status().unwrap().success());
        let policy = world.dir().join("policy");
        let mut process = Command::new(program).arg("-policy").arg(policy).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("listening http://127.0.0.1:"));
        let line = lines.next().unwrap().unwrap();
        Self { process, line }
    }

    /// As a collector's flag has it.
    fn flag(&self) -> String {
        let words: Vec<&str> = self.line.split(' ').collect();
        format!("{}={}", words[2], words[3])
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs Go: make foreign"]
fn a_foreign_witness_cosigns_our_log_as_it_grows_and_both_verifiers_hold_the_log_to_the_quorum() {
    let mut world = World::start(0).unwrap();
    let witness = Foreign::start(&world);
    world.add_collector(&["--witness", &witness.flag()]).unwrap();
    let policy = world.policy().unwrap();
    let pod = PodIdentity::new("shop", "checkout-0", "9b2d8f0e-4c6e-4b7c-8d4e-0c9d7a1f2b3c");
    let mut printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
    let mut sidecar = world.sidecar(&pod, &SidecarOptions::default()).unwrap();
    sidecar.armed().unwrap();
    let data = world.collectors[0].data();
    let cosigned = || {
        let notes = std::fs::read_dir(data.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
        notes.filter(|note| std::fs::read_to_string(note).is_ok_and(|note| note.contains("— foreign.example/"))).count()
    };
    // Of the second one the witness is told what it extends.
    for round in 1..=2 {
        printer.print(50, 100).unwrap();
        eventually("a checkpoint is cosigned", BOUND, || Ok((cosigned() >= round).then_some(()))).unwrap();
    }
    sidecar.terminate().unwrap();
    world.seal().unwrap();

    let logs = std::fs::read_to_string(&policy).unwrap().replace("quorum none\n", "");
    let quorum = |line: &str| format!("{logs}{line}\nquorum {}\n", line.split(' ').nth(1).unwrap());
    let check = |policy_text: &str| {
        let strict = world.dir().join("strict");
        std::fs::write(&strict, policy_text).unwrap();
        let flags = ["--policy".as_ref(), strict.as_os_str(), "--offline".as_ref()];
        let ours = verify(std::slice::from_ref(&data), &flags).unwrap();
        let command = format!("cd tests/foreign/go; go run ./outsider -policy {} {}", strict.display(), data.display());
        (ours, Outsider::new().paste(&command, &[]))
    };
    let (ours, theirs) = check(&quorum(&witness.line));
    assert!(ours.verdicts["integrity"] == "pass" && !ours.classes().contains(&"stale"), "{}", ours.texts());
    theirs.verified();

    // Somebody else's witness has not seen it.
    let other = Foreign::start(&world);
    let (ours, theirs) = check(&quorum(&other.line));
    assert_ne!(ours.code, 0, "{}", ours.texts());
    theirs.refused("has the cosignatures that the policy asks for");
}

#[test]
#[ignore = "needs Go: make foreign"]
fn our_witness_cosigns_a_log_of_tesseras_as_it_grows_and_refuses_another_past_of_it() {
    let world = World::start(0).unwrap();
    let mut log = TesseraLog::new(9);
    let witness = Witness::start(&world, "witness.example", &[&log.vkey()], &[]).unwrap();
    let policy = world.dir().join("quorum");
    let quorum = format!("{}\nquorum witness.example\n", witness.line());
    std::fs::write(&policy, &quorum).unwrap();
    // Tessera makes no checkpoint public that the quorum has not cosigned.
    let asks = format!("-witness_policy_file={}", policy.display());
    log.add(&unknown(0..300), &asks);
    log.add(&unknown(300..700), &asks);
    let note = std::fs::read_to_string(log.path().join("checkpoint")).unwrap();
    assert!(note.contains("\n700\n") && note.contains("— witness.example "), "{note}");

    std::fs::write(&policy, format!("log {}\n{quorum}", log.vkey())).unwrap();
    let flags = ["--policy".as_ref(), policy.as_os_str()];
    let answer = verify(&[log.path()], &flags).unwrap();
    assert_eq!((&*answer.verdicts["integrity"], answer.classes()), ("warn", vec!["bad-leaf"]), "{}", answer.texts());

    let mut other = TesseraLog::new(9);
    let said = other.try_add(&unknown(1..901), &asks);
    assert!(!said.ok && said.err.contains("witness policy was not satisfied"), "{}", said.err);
    assert!(!other.path().join("checkpoint").exists());
}
