//! Every `sh` block of docs/operations.md runs as it stands, with the real programs, and comes to what the page says.
//!
//! Each section has a pool of its own: two sealed logs with the records of one pod each.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indelible_tests::peer::{Peer, Puppet};
use indelible_tests::world::{PodIdentity, World, binary, eventually};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md")).unwrap()
}

/// The page's sections that have commands: the heading, and the blocks as one script.
fn sections(page: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        match line {
            "```sh" => in_block = true,
            "```" => in_block = false,
            _ if in_block => {
                let (_, script) = sections.last_mut().unwrap();
                script.push_str(line);
                script.push('\n');
            }
            _ => {
                if let Some(heading) = line.strip_prefix("## ") {
                    sections.push((heading.to_owned(), String::new()));
                }
            }
        }
    }
    sections.retain(|(_, script)| !script.is_empty());
    sections
}

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// A pod's batches, introduced and stored by one collector.
fn store(world: &World, collector: usize, lines: usize, puppet: &mut Puppet, end: bool) {
    let mut peer = Peer::connect(world, collector).unwrap();
    puppet.introduce(&mut peer).unwrap();
    puppet.print(lines).unwrap();
    if end {
        puppet.end().unwrap();
    }
    puppet.deliver(&mut peer).unwrap();
}

/// Two collectors that have ended, and a copy of the first one's directory that is older than its newest records.
fn pool() -> (World, PathBuf) {
    let mut world = World::start(2).unwrap();
    let pod =
        |n: usize| PodIdentity::new("shop", &format!("cart-{n}"), &format!("6b2e1f0a-8a44-4a55-b8f6-5b1d0f8f2c2{n}"));
    let mut puppets = [Puppet::new(&world, &pod(0), 1).unwrap(), Puppet::new(&world, &pod(1), 2).unwrap()];
    store(&world, 0, 200, &mut puppets[0], false);
    // An older copy is one of a log that had a checkpoint over these records.
    let older = world.dir().join("older");
    let told = eventually("the first records are under a checkpoint", Duration::from_mins(1), || {
        let told = world.collectors[0].metrics()?;
        let (tree, durable) =
            (told.sum("indelible_collector_tree_leaves", &[]), told.sum("indelible_collector_durable_leaves", &[]));
        Ok((tree >= durable).then_some(told))
    })
    .unwrap();
    assert!(told.sum("indelible_collector_tree_leaves", &[]) >= 4.0);
    copy(&world.collectors[0].data(), &older);
    store(&world, 0, 200, &mut puppets[0], true);
    store(&world, 1, 200, &mut puppets[1], true);
    world.seal().unwrap();
    (world, older)
}

/// Runs a section's commands in a pool of its own.
fn run(heading: &str, script: &str) {
    let (world, older) = pool();
    let work = world.dir().join("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::create_dir(work.join("spare")).unwrap();
    let programs = binary("indelible").unwrap().parent().unwrap().to_owned();
    let path =
        std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", script]).current_dir(&work).stdin(Stdio::null());
    shell.env("PATH", path.unwrap()).env("HOME", &work);
    let collectors = &world.collectors;
    shell.env("DATA", collectors[0].data()).env("OTHER", collectors[1].data()).env("OLDER", older);
    shell
        .env("POLICY", world.policy().unwrap())
        .env("ISSUER_KEYS", world.issuer.jwks())
        .env("SPARE", work.join("spare"));
    for (name, value) in collectors[0].environment() {
        shell.env(name, value);
    }
    let output = shell.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{heading}: {}\n{}\n{}\n{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr),
        std::fs::read_to_string(work.join("collector.err")).unwrap_or_default()
    );
}

#[test]
fn the_commands_of_the_operations_page_do_what_it_says() {
    let sections = sections(&page());
    assert!(sections.len() >= 7, "{sections:?}");
    std::thread::scope(|scope| {
        for (heading, script) in &sections {
            scope.spawn(move || run(heading, script));
        }
    });
}

#[test]
fn a_command_that_fails_fails_the_page() {
    let broken = "## One\n\n```sh\ntrue\n```\n\ntext\n\n```sh\nfalse\n```\n\n```text\nnot run\n```\n";
    assert_eq!(sections(broken), [("One".to_owned(), "true\nfalse\n".to_owned())]);
    assert!(std::panic::catch_unwind(|| run("One", "false\ntrue")).is_err());
}
