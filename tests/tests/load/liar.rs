//! A collector that is hostile to sidecars, a witness that is hostile to collectors and verifiers.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Response;
use indelible_tests::crowd::{endless, whole};
use indelible_tests::liar::{Answer, Liar};
use indelible_tests::tamper::wire::{hex, sha256, vkey};
use indelible_tests::world::{World, binary, eventually};

use super::honest::{BOUND, Honest};

/// A log's key that a certificate can name, and a witness'.
const LOG: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

/// A name, and what is answered.
type Case = (&'static str, fn(&str) -> Answer);

fn large(_: &str) -> Answer {
    Answer::Says(Response::new(endless(64 << 10, None)))
}

fn slow(_: &str) -> Answer {
    Answer::Says(Response::new(endless(1, Some(Duration::from_secs(1)))))
}

fn silent(_: &str) -> Answer {
    Answer::Silence
}

fn heads(_: &str) -> Answer {
    let mut answer = Response::new(whole(&b""[..]));
    answer.headers_mut().insert("x-filler", "x".repeat(64 << 10).try_into().unwrap());
    Answer::Says(answer)
}

fn garbage(_: &str) -> Answer {
    Answer::Says(Response::new(whole(vec![0xff; 4096])))
}

/// Says that it is the log that its certificate names, and then signs nothing.
fn impostor(path: &str) -> Answer {
    let id = hex(&sha256(b"example.com/foo"));
    let log = format!(r#"{{"origin":"example.com/foo","vkey":"{LOG}","log_id":"{id}","size":0}}"#);
    Answer::Says(Response::new(if path == "/v1/log" { whole(log) } else { whole(vec![1; 145]) }))
}

#[test]
fn a_sidecar_leaves_a_hostile_collector_for_one_that_is_not_and_stays_small() {
    let cases: [Case; 6] = [
        ("large", large),
        ("slow", slow),
        ("silent", silent),
        ("heads", heads),
        ("garbage", garbage),
        ("impostor", impostor),
    ];
    std::thread::scope(|scope| {
        for (name, answer) in cases {
            scope.spawn(move || {
                let world = World::start(1).unwrap();
                let liar = Liar::start(&world.authority, world.dir(), LOG, answer).unwrap();
                let collectors = vec![liar.url().to_owned(), world.collectors[0].url().to_owned()];
                let mut honest = Honest::start(&world, collectors);
                for _ in 0..3 {
                    honest.print();
                }
                // Whichever it tried first: in the end it has tried the hostile one, and says so.
                let told = eventually("the hostile collector was tried", BOUND, || {
                    let told = honest.sidecar.metrics()?;
                    let failures = told.sum("indelible_sidecar_retries_total", &[]);
                    Ok((liar.heard() > 0 && failures > 0.0).then_some(told))
                });
                let told = told.unwrap_or_else(|error| panic!("{name}: {error}"));
                let log = honest.sidecar.process().unwrap().stderr().unwrap();
                assert!(log.contains(liar.url().strip_prefix("https://").unwrap()), "{name}: {log}");
                let peak = honest.sidecar.process().unwrap().peak_kib().unwrap();
                println!(
                    "{name}: receipts took {:?} at most, {peak} KiB, {:?}",
                    honest.slowest,
                    told.samples("indelible_sidecar_retries_total").iter().filter(|s| s.1 > 0.0).collect::<Vec<_>>()
                );
                if name == "impostor" {
                    let refused = told.sum("indelible_sidecar_receipts_refused_total", &[]);
                    assert!(refused > 0.0 && log.contains("a receipt was refused"), "{log}");
                }
                assert!(peak < 34_000, "{name}: {peak} KiB");
                honest.end(world);
            });
        }
    });
}

const WITNESS_KEY: [u8; 32] = [41; 32];

/// The verifier key of a witness that never signs anything.
fn witness_key() -> String {
    vkey("w.example", 4, ed25519_dalek::SigningKey::from_bytes(&WITNESS_KEY).verifying_key().as_bytes())
}

/// A verifier of the world's collector, with a policy that names the witness.
fn verifier(world: &World, witness: &Liar) -> Child {
    let policy = world.dir().join("policy-with-witness");
    let lines =
        format!("log {}\nwitness w {} {}\nquorum none\n", world.collectors[0].vkey(), witness_key(), witness.url());
    std::fs::write(&policy, lines).unwrap();
    let mut verify = Command::new(binary("indelible").unwrap());
    verify.arg("verify").arg(world.collectors[0].data()).arg("--json").arg("--policy").arg(policy);
    verify.arg("--issuer-keys").arg(world.issuer.jwks()).arg("--ca").arg(world.authority.ca());
    verify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_hostile_witness_holds_up_neither_a_log_nor_a_verifier() {
    let cases: [Case; 4] = [("large", large), ("slow", slow), ("heads", heads), ("garbage", garbage)];
    std::thread::scope(|scope| {
        for (name, answer) in cases {
            scope.spawn(move || {
                let mut world = World::start(0).unwrap();
                let liar = Liar::start(&world.authority, world.dir(), LOG, answer).unwrap();
                let flag = format!("--witness={}={}", witness_key(), liar.url());
                world.add_collector(&[&flag]).unwrap();
                let mut honest = Honest::start(&world, Vec::new());
                honest.print();
                let verifier = verifier(&world, &liar);
                let collector = &mut world.collectors[0];
                let told = eventually("the witness was asked in vain", BOUND, || {
                    let told = collector.metrics()?;
                    Ok((told.sum("indelible_collector_witness_requests_total", &[]) > 0.0).then_some(told))
                });
                let told = told.unwrap_or_else(|error| panic!("{name}: {error}"));
                let asked = |outcome| told.sum("indelible_collector_witness_requests_total", &[outcome]);
                assert!(asked("cosigned") == 0.0 && asked("contradicted") == 0.0, "{name}");
                assert!(told.sum("indelible_collector_uncosigned_seconds", &["witness=\"1\""]) > 0.0, "{name}");
                let said = collector.process().unwrap().stderr().unwrap();
                assert!(said.contains("a witness does not cosign; the log goes on without"), "{name}: {said}");
                honest.print();

                let output = verifier.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                // Of a log that is not closed yet: nothing but that, and what the witness shows, may be amiss.
                let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(report["verdicts"]["integrity"], "pass", "{name}: {report}");
                let authenticity = if name == "garbage" { "warn" } else { "pass" };
                assert_eq!(report["verdicts"]["authenticity"], authenticity, "{name}: {report}");
                let is_named =
                    said.contains("witness w gave nothing") || report["findings"].to_string().contains("witness w");
                assert!(is_named, "{name}: {said}\n{report}");
                honest.end(world);
            });
        }
    });
}
