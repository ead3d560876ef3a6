//! `indelible status` and `indelible prove`, on running collectors and on what they leave behind.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use indelible_tests::printer::Printer;
use indelible_tests::world::{Collector, PodIdentity, Sidecar, SidecarOptions, World, binary, eventually};
use serde_json::Value;

const BOUND: Duration = Duration::from_mins(1);
/// Lines that each pod prints; the record before them says that the container started.
const LINES: u64 = 20;

/// Two pods of the same containers, whose lines are spread over two collectors.
struct Scene {
    world: World,
    pods: [PodIdentity; 2],
    sidecars: Vec<Sidecar>,
}

/// What a run of `indelible` gave.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }
}

fn indelible(args: impl IntoIterator<Item = impl Into<OsString>>) -> Ran {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let output = Command::new(binary("indelible").unwrap()).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Scene {
    fn new() -> Self {
        let world = World::start(2).unwrap();
        let pods = [("api-0", "uid-of-api-0"), ("web-0", "uid-of-web-0")]
            .map(|(name, uid)| PodIdentity::new("payments", name, uid));
        let mut scene = Self { world, pods, sidecars: Vec::new() };
        for pod in &scene.pods {
            let mut printer = Printer::new(&scene.world.logs().join(pod.directory()), "app").unwrap();
            let sidecar = scene.world.sidecar(pod, &SidecarOptions::default()).unwrap();
            sidecar.armed().unwrap();
            scene.sidecars.push(sidecar);
            printer.print(LINES, 100).unwrap();
        }
        scene.world.policy().unwrap();
        scene
    }

    fn urls(&self) -> Vec<OsString> {
        self.world.urls().into_iter().map(Into::into).collect()
    }

    fn data(&self) -> Vec<OsString> {
        self.world.collectors.iter().map(|collector: &Collector| collector.data().into()).collect()
    }

    /// A command on sources, with what URLs need.
    fn run(&self, command: &str, sources: &[OsString], more: &[&str]) -> Ran {
        let mut args: Vec<OsString> = vec![command.into()];
        args.extend(sources.iter().cloned());
        args.extend(more.iter().map(OsString::from));
        args.extend(["--ca".into(), self.world.authority.ca().into()]);
        indelible(args)
    }

    /// Waits until the collectors list all that was printed; gives what they list.
    fn listed(&self) -> Value {
        eventually("all is listed", BOUND, || {
            let listed = self.run("status", &self.urls(), &["--json"]).json();
            let records = |chain: &Value| chain["next_seq"].as_u64().unwrap_or_default();
            let chains = listed["chains"].as_array().cloned().unwrap_or_default();
            let all = chains.len() == 2 && chains.iter().all(|chain| records(chain) > LINES);
            Ok(all.then_some(listed))
        })
        .unwrap()
    }

    fn proof(&self, name: &str) -> PathBuf {
        self.world.dir().join(name)
    }

    fn trust(&self) -> [String; 2] {
        ["--policy".into(), self.world.dir().join("policy").to_str().unwrap().into()]
    }

    /// `prove`, until the record is under a checkpoint.
    fn prove(&self, sources: &[OsString], record: &[&str], name: &str) -> Value {
        let (proof, [policy, path]) = (self.proof(name), self.trust());
        let more = [record, &[&policy, &path, "--json", "-o", proof.to_str().unwrap()]].concat();
        let ran = eventually("the record is proved", BOUND, || {
            let ran = self.run("prove", sources, &more);
            anyhow::ensure!(matches!(ran.code, 0 | 4), "exit {}: {}", ran.code, ran.stderr);
            Ok((ran.code == 0).then_some(ran))
        });
        ran.unwrap().json()
    }

    fn check(&self, name: &str) -> Ran {
        let [policy, path] = self.trust();
        let proof = self.proof(name);
        indelible(["prove", "--check", proof.to_str().unwrap(), &policy, &path, "--json"])
    }
}

fn assert_shows(shown: &Value, pod: &PodIdentity, seq: u64) {
    assert_eq!((&shown["seq"], &shown["pod"]), (&seq.into(), &pod.name.as_str().into()), "{shown}");
    let text = shown["text"].as_str().unwrap();
    assert!(text.starts_with(&format!("line {} ", seq - 1)), "{text}");
    assert_eq!(shown["vouched"]["pod_uid"], pod.uid.as_str(), "{shown}");
}

#[test]
fn a_record_is_proved_from_running_collectors_and_checked_offline() {
    let mut scene = Scene::new();
    let listed = scene.listed();
    let id = |pod: &PodIdentity| {
        let chains = listed["chains"].as_array().unwrap();
        chains.iter().find(|chain| chain["pod"] == *pod.name).unwrap()["chain_id"].as_str().unwrap().to_owned()
    };
    let (urls, [api, web]) = (scene.urls(), scene.pods.clone());

    let by_prefix = format!("{}/3", &id(&api)[..8]);
    assert_shows(&scene.prove(&urls, &[&by_prefix], "by-prefix"), &api, 3);
    let names = ["--namespace", "payments", "--pod", "web-0", "--container", "app"];
    assert_shows(&scene.prove(&urls, &[&["7"], names.as_slice()].concat(), "by-name"), &web, 7);
    // The printer's clock is the number of the line, in milliseconds.
    let at = "2026-11-22T20:00:00.008Z";
    assert_shows(&scene.prove(&urls, &[&[at], names.as_slice()].concat(), "by-time"), &web, 9);
    let whole = format!("{}/{LINES}", id(&web));
    assert_shows(&scene.prove(&urls, &[&whole], "by-id"), &web, LINES);

    // Two chains have such a record: both are named, and nothing is written.
    let [policy, path] = scene.trust();
    let none = scene.proof("none");
    let ambiguous = scene.run("prove", &urls, &["3", &policy, &path, "-o", none.to_str().unwrap()]);
    assert_eq!(ambiguous.code, 5, "{}", ambiguous.stderr);
    for pod in [&api, &web] {
        let said = &ambiguous.stderr;
        assert!(said.contains(&format!("payments/{}/app", pod.name)) && said.contains(&id(pod)[..8]), "{said}");
    }
    assert!(!none.exists());
    let absent = scene.run("prove", &urls, &["99", &policy, &path, "-o", none.to_str().unwrap(), "--pod", "web-0"]);
    assert_eq!(absent.code, 4, "{}", absent.stderr);
    assert!(absent.stderr.contains("records 0 to"), "{}", absent.stderr);

    scene.world.collectors.iter_mut().for_each(|collector| collector.kill().unwrap());
    for (name, pod, seq) in [("by-prefix", &api, 3), ("by-name", &web, 7), ("by-time", &web, 9), ("by-id", &web, LINES)]
    {
        let checked = scene.check(name);
        assert_eq!(checked.code, 0, "{}", checked.stderr);
        assert_shows(&checked.json(), pod, seq);
    }
}

#[test]
fn an_altered_proof_and_another_pods_session_prove_nothing() {
    let scene = Scene::new();
    scene.listed();
    for pod in ["api-0", "web-0"] {
        scene.prove(&scene.urls(), &["3", "--pod", pod], pod);
    }
    let proof = std::fs::read_to_string(scene.proof("api-0")).unwrap();
    let extra = proof.lines().nth(1).unwrap();
    let altered = [
        // A digit of the payload, which is at the end of what is shown of its record; the index; the checkpoint's size.
        proof.replacen(extra, &swap(extra, extra.len() / 2), 1),
        proof.replacen("\nindex ", "\nindex 1", 1),
        proof.replacen("\n\ntest/", "\n\ntesT/", 1),
    ];
    for text in altered {
        assert_ne!(text, proof);
        std::fs::write(scene.proof("api-0"), text).unwrap();
        let checked = scene.check("api-0");
        assert_eq!((checked.code, checked.stdout.as_str()), (1, ""), "{}", checked.stderr);
        assert!(checked.stderr.contains("proves nothing"), "{}", checked.stderr);
    }
    std::fs::write(scene.proof("api-0"), &proof).unwrap();
    assert_eq!(scene.check("api-0").code, 0);
    std::fs::copy(scene.proof("web-0.session"), scene.proof("api-0.session")).unwrap();
    let checked = scene.check("api-0");
    assert_eq!((checked.code, checked.stdout.as_str()), (1, ""), "{}", checked.stderr);
    assert!(checked.stderr.contains("another session"), "{}", checked.stderr);
}

/// The text with another base64 digit at a place.
fn swap(text: &str, at: usize) -> String {
    let digit = if &text[at..=at] == "A" { "B" } else { "A" };
    format!("{}{digit}{}", &text[..at], &text[at + 1..])
}

#[test]
fn what_collectors_leave_behind_is_listed_and_proved_as_well() {
    let mut scene = Scene::new();
    let running = scene.listed();
    assert!(running["logs"].as_array().unwrap().iter().all(|log| log["sealed"] == false), "{running}");
    scene.sidecars.iter_mut().for_each(|sidecar| sidecar.terminate().unwrap());
    scene.world.seal().unwrap();
    let data = scene.data();
    let listed = scene.run("status", &data, &["--json"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let listed = listed.json();
    assert!(listed["logs"].as_array().unwrap().iter().all(|log| log["sealed"] == true), "{listed}");
    let chains = listed["chains"].as_array().unwrap();
    assert_eq!(chains.len(), 2);
    for chain in chains {
        assert_eq!((&chain["next_seq"], &chain["closed"]), (&(LINES + 2).into(), &true.into()), "{chain}");
    }
    let text = scene.run("status", &data, &[]).stdout;
    assert!(chains.iter().all(|chain| text.contains(&chain["chain_id"].as_str().unwrap()[..8])), "{text}");
    for (range, found) in
        [(["--since", "2026-11-22T20:00:00Z"], 2), (["--until", "2026-11-22T20:00:00Z"], 0), (["--pod", "web-0"], 1)]
    {
        let some = scene.run("status", &data, &[range[0], range[1], "--json"]).json();
        assert_eq!(some["chains"].as_array().unwrap().len(), found, "{range:?}: {some}");
    }

    let pod = &scene.pods[0];
    assert_shows(&scene.prove(&data, &["5", "--pod", &pod.name], "from-data"), pod, 5);
    assert_shows(&scene.check("from-data").json(), pod, 5);

    let gone = scene.run("status", &[scene.world.dir().join("nothing").into()], &[]);
    assert_eq!(gone.code, 4, "{}", gone.stdout);
    assert!(gone.stdout.contains("cannot be read") && gone.stdout.contains("https://host:port"), "{}", gone.stdout);
}
