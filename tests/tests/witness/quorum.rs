//! A pool with three witnesses, one of which is away, and the verifier that holds the pool to a policy.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use indelible_tests::peer::{Peer, Puppet};
use indelible_tests::world::{Answer, Collector, PodIdentity, Witness, World, eventually, verify};

use super::support::Foreign;

const BOUND: Duration = Duration::from_mins(1);

/// A pool, its witnesses, and a pod that prints.
struct Stage {
    world: World,
    witnesses: Vec<Witness>,
    puppet: Puppet,
    peers: Vec<Peer>,
}

impl Stage {
    /// Collectors whose witnesses are asked, of which the last is away.
    fn new(collectors: usize, witnesses: usize) -> Self {
        let mut world = World::start(0).unwrap();
        // A witness has a key before a log is made that names it: until then it knows another one.
        let foreign = Foreign::new("foreign.example/log", 1).flag();
        let start = |n| Witness::start(&world, &format!("w{n}"), &[&foreign], &[]).unwrap();
        let mut witnesses: Vec<_> = (1..=witnesses).map(start).collect();
        let flags: Vec<String> =
            witnesses.iter().flat_map(|witness| ["--witness".to_owned(), witness.flag()]).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        for witness in &mut witnesses {
            witness.kill().unwrap();
        }
        for _ in 0..collectors {
            world.add_collector(&flags).unwrap();
        }
        let logs: Vec<&str> = world.collectors.iter().map(Collector::vkey).collect();
        let away = witnesses.len() - 1;
        for witness in &mut witnesses[..away] {
            witness.knows(&logs);
            witness.restart().unwrap();
        }
        let pod = PodIdentity::new("payments", "api-0", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c11");
        let puppet = Puppet::new(&world, &pod, 1).unwrap();
        let mut peers: Vec<_> = (0..collectors).map(|at| Peer::connect(&world, at).unwrap()).collect();
        for peer in &mut peers {
            puppet.introduce(peer).unwrap();
        }
        Self { world, witnesses, puppet, peers }
    }

    fn print(&mut self, to: usize) {
        self.puppet.print(3).unwrap();
        self.send(to);
    }

    fn send(&mut self, to: usize) {
        let batch = self.puppet.seal();
        self.peers[to].batch(&self.puppet.session, &batch).unwrap().expect(&[200]).unwrap();
    }

    /// The pod ends, and then the collectors do, which has their last checkpoints cosigned.
    fn end(&mut self) {
        self.puppet.end().unwrap();
        self.send(0);
        self.peers.clear();
        self.world.seal().unwrap();
    }

    fn data(&self) -> Vec<PathBuf> {
        self.world.collectors.iter().map(Collector::data).collect()
    }

    /// Verifies under a policy that names all logs, and these lines.
    fn verify(&self, lines: &str, flags: &[&str]) -> Answer {
        self.verify_sources(&self.data(), lines, flags)
    }

    fn verify_sources(&self, sources: &[PathBuf], lines: &str, flags: &[&str]) -> Answer {
        let logs: Vec<String> =
            self.world.collectors.iter().map(|collector| format!("log {}\n", collector.vkey())).collect();
        let path = self.world.dir().join("policy-with-witnesses");
        std::fs::write(&path, format!("{}{lines}\n", logs.concat())).unwrap();
        let jwks = self.world.issuer.jwks();
        let mut all = vec!["--policy".as_ref(), path.as_os_str(), "--issuer-keys".as_ref(), jwks.as_os_str()];
        all.extend(flags.iter().map(|flag| std::ffi::OsStr::new(*flag)));
        verify(sources, &all).unwrap()
    }

    /// The lines of all witnesses, and of the group `g` that they are in.
    fn group(&self, threshold: &str) -> String {
        let lines: Vec<String> = self.witnesses.iter().map(Witness::line).collect();
        let names: Vec<String> = (1..=self.witnesses.len()).map(|n| format!("w{n}")).collect();
        format!("{}\ngroup g {threshold} {}\nquorum g", lines.join("\n"), names.join(" "))
    }
}

#[track_caller]
fn assert_whole(answer: &Answer) {
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
}

#[track_caller]
fn assert_unwitnessed(answer: &Answer, logs: usize) {
    assert_eq!((answer.code, answer.findings.len()), (4, logs), "{}", answer.texts());
    for finding in &answer.findings {
        assert_eq!((&*finding.class, &*finding.level), ("unreadable", "unknown"));
        assert!(finding.text.contains("cosignatures that the policy asks for"), "{}", finding.text);
    }
}

#[test]
fn a_quorum_is_any_all_or_so_many_and_a_witness_that_is_away_counts_for_nobody() {
    let mut stage = Stage::new(2, 3);
    for n in 0..10 {
        stage.print(n % 2);
    }
    stage.end();
    for collector in &stage.world.collectors {
        for witness in &stage.witnesses[..2] {
            assert!(witness.size(collector.origin()).unwrap() > Some(5));
        }
    }
    for (threshold, is_met) in [("any", true), ("1", true), ("2", true), ("3", false), ("all", false)] {
        for flags in [&[][..], &["--offline"]] {
            let answer = stage.verify(&stage.group(threshold), flags);
            if is_met {
                assert_whole(&answer);
            } else {
                assert_unwitnessed(&answer, 2);
            }
        }
    }
    let lines = |quorum: &str| stage.group("all").replace("quorum g", &format!("quorum {quorum}"));
    assert_whole(&stage.verify(&lines("none"), &[]));
    assert_whole(&stage.verify(&lines("w1"), &[]));
    assert_unwitnessed(&stage.verify(&lines("w3"), &[]), 2);
    // Where one witness listens another does not count.
    let [line, other] = [&stage.witnesses[1], &stage.witnesses[2]].map(Witness::line);
    let swapped = other.replace(stage.witnesses[2].url(), stage.witnesses[1].url());
    assert_whole(&stage.verify(&format!("{line}\nquorum w2"), &[]));
    assert_unwitnessed(&stage.verify(&format!("{swapped}\nquorum w3"), &[]), 2);
}

/// What somebody says who is asked for the checkpoints that a witness holds.
fn liar(says: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let _ = stream.write_all(&says(&String::from_utf8_lossy(&head)));
        }
    });
    url
}

fn whole(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes(), body]
        .concat()
}

#[test]
fn a_witness_that_lies_changes_no_verdict_of_an_honest_pool() {
    let mut stage = Stage::new(1, 2);
    stage.print(0);
    stage.end();
    let origin = stage.world.collectors[0].origin().to_owned();
    let note = stage.witnesses[0].newest(&origin).unwrap().body;
    let size = note.lines().nth(1).unwrap();
    let (resized, endless) = (note.replacen(&format!("\n{size}\n"), "\n5000\n", 1), vec![b'x'; 1 << 20]);
    let stranger = Foreign::new("foreign.example/log", 1).note(9, 9, 0);
    for (what, body) in [
        ("garbage", whole(b"\0\xff\x1b[2Jnonsense")),
        ("nothing", whole(b"")),
        ("another size", whole(resized.as_bytes())),
        ("another log", whole(stranger.as_bytes())),
        ("too much", whole(&endless)),
        ("no http", b"220 ready\r\n".to_vec()),
        ("an error", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()),
    ] {
        let url = liar(move |_| body.clone());
        let line = format!("witness w2 {} {url}", stage.witnesses[1].vkey());
        let lines = format!("{}\n{line}\ngroup g any w1 w2\nquorum g", stage.witnesses[0].line());
        let answer = stage.verify(&lines, &[]);
        assert_eq!(answer.code, 0, "{what}: {}", answer.texts());
        assert!(answer.verdicts.iter().all(|(axis, verdict)| verdict == "pass" || axis == "authenticity"), "{what}");
        // Nor does it stand for a witness.
        let answer = stage.verify(&format!("{line}\nquorum w2"), &[]);
        assert_eq!(answer.code, 4, "{what}: {}", answer.texts());
    }
}

#[test]
fn what_a_witness_alone_has_cosigned_counts_when_it_is_asked() {
    // The log itself asks nobody: somebody else brings its checkpoint to the witness.
    let mut stage = Stage::new(1, 1);
    stage.print(0);
    stage.end();
    let checkpoint = std::fs::read(stage.world.collectors[0].data().join("checkpoint")).unwrap();
    let vkey = stage.world.collectors[0].vkey();
    let outside = Witness::start(&stage.world, "outside", &[vkey], &[]).unwrap();
    outside.cosign(&checkpoint).unwrap();
    let lines = format!("{}\nquorum outside", outside.line());
    assert_whole(&stage.verify(&lines, &[]));
    assert_unwitnessed(&stage.verify(&lines, &["--offline"]), 1);
}

#[test]
fn leaves_that_no_witness_has_seen_are_told_once_they_have_waited_too_long() {
    let mut stage = Stage::new(1, 2);
    let origin = stage.world.collectors[0].origin().to_owned();
    stage.print(0);
    // The collector asks again within a minute.
    eventually("a first checkpoint is cosigned", 2 * BOUND, || stage.witnesses[0].size(&origin)).unwrap();
    stage.witnesses[0].kill().unwrap();
    stage.print(0);
    stage.end();
    let lines = format!("{}\nquorum w1", stage.witnesses[0].line());
    assert_whole(&stage.verify(&lines, &[]));
    let answer = stage.verify(&lines, &["--max-unwitnessed", "1ms"]);
    assert_eq!((answer.code, answer.classes()), (3, vec!["stale"]), "{}", answer.texts());
    let text = &answer.findings[0].text;
    assert!(text.contains("no quorum of witnesses has seen the newest") && text.contains(&origin), "{text}");
}

#[test]
fn what_was_verified_is_remembered_and_held_against_a_log_that_is_set_back() {
    let mut stage = Stage::new(1, 2);
    let state = stage.world.dir().join("state");
    let state = ["--state", state.to_str().unwrap()];
    stage.print(0);
    let collector = &stage.world.collectors[0];
    let early = stage.world.dir().join("early");
    let copied = std::process::Command::new("cp").arg("-r").arg(collector.data()).arg(&early).status().unwrap();
    assert!(copied.success());
    for _ in 0..5 {
        stage.print(0);
    }
    stage.end();
    let lines = stage.group("any");
    assert_whole(&stage.verify(&lines, &state));
    assert_whole(&stage.verify(&lines, &state));
    let answer = stage.verify_sources(
        &[early],
        &stage.group("any").replace("quorum g", "quorum none"),
        &[&state[..], &["--offline"]].concat(),
    );
    assert_eq!(answer.code, 1, "{}", answer.texts());
    assert!(answer.classes().contains(&"rewritten"), "{}", answer.texts());
    assert!(answer.texts().contains("an earlier verification"), "{}", answer.texts());
}
