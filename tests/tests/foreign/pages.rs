//! `docs/outsider.md`: its commands, to the byte, on what the demo leaves and on a running pool.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, SidecarOptions, World, binary, eventually};

use super::outsider::{Outsider, blocks};

const BOUND: Duration = Duration::from_mins(1);

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// Changes one byte of a file.
fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// A pool of one, whose log has full tiles and a right edge: of a pod that prints much in small batches.
fn pool() -> World {
    let world = World::start(1).unwrap();
    let pod = PodIdentity::new("shop", "checkout-0", "9b2d8f0e-4c6e-4b7c-8d4e-0c9d7a1f2b3c");
    let mut printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
    let small = ["--max-batch-bytes", "4Ki"].map(str::to_owned).to_vec();
    let mut sidecar = world.sidecar(&pod, &SidecarOptions { flags: small, ..SidecarOptions::default() }).unwrap();
    printer.print(12_000, 100).unwrap();
    eventually("full tiles", BOUND, || {
        let full = |name: &str| world.collectors[0].data().join(name).is_file();
        Ok((full("tile/0/000") && full("tile/entries/000")).then_some(()))
    })
    .unwrap();
    sidecar.terminate().unwrap();
    world
}

#[test]
#[ignore = "needs Go: make foreign"]
fn what_the_demo_leaves_is_verified_by_the_pages_commands_and_what_it_tampered_with_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = dir.path().join("evidence");
    let demo = Command::new(binary("indelible").unwrap()).args(["demo", "--dir"]).arg(&evidence).output().unwrap();
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let outsider = Outsider::new();
    let page = blocks("docs/outsider.md");
    let given = [("EVIDENCE", evidence.to_str().unwrap())];
    outsider.paste(&page[0], &given).verified();

    let (data, kept) = (evidence.join("data"), evidence.join("kept"));
    copy(&data, &kept);
    for (tampered, why) in [("one-byte", ": leaf "), ("one-batch", "data/")] {
        // The demo's copies are of one log each: in its place.
        let copied = evidence.join("tampered").join(tampered);
        let vkey = std::fs::read(copied.join("vkey")).unwrap();
        let names = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
        let original = names.into_iter().find(|dir| std::fs::read(dir.join("vkey")).unwrap() == vkey).unwrap();
        std::fs::remove_dir_all(&original).unwrap();
        copy(&copied, &original);
        outsider.paste(&page[0], &given).refused(why);
        std::fs::remove_dir_all(&data).unwrap();
        copy(&kept, &data);
    }
    std::fs::remove_dir_all(data.join("c1")).unwrap();
    outsider.paste(&page[0], &given).refused("not among the sources: demo/c1-");
}

#[test]
#[ignore = "needs Go: make foreign"]
fn running_collectors_are_verified_by_the_pages_commands_and_their_directories_by_the_same_program() {
    let world = pool();
    let outsider = Outsider::new();
    let page = blocks("docs/outsider.md");
    let policy = world.policy().unwrap();
    let urls = world.urls().join(" ");
    let given =
        [("POLICY", policy.to_str().unwrap()), ("CA", world.authority.ca().to_str().unwrap()), ("COLLECTORS", &urls)];
    outsider.paste(&page[1], &given).verified();
    let fsck = outsider.paste(&page[2], &given);
    assert!(fsck.ok && fsck.err.contains("Successfully fsck'd log"), "{}", fsck.err);
    assert!(!fsck.err.contains("fsck failed"), "{}", fsck.err);

    let data = world.collectors[0].data();
    let check = |data: &Path| {
        let (policy, data) = (policy.display(), data.display());
        outsider.paste(&format!("cd tests/foreign/go; go run ./outsider -policy {policy} {data}"), &[])
    };
    check(&data).verified();
    for (file, why) in [
        ("tile/0/000", "inconsistent tile"),
        ("tile/entries/000", "its leaves are not those of the segments"),
        ("checkpoint", "its checkpoint"),
        ("segments/00000000000000000000.seg", ""),
    ] {
        let changed = world.dir().join("changed");
        copy(&data, &changed);
        let length = std::fs::metadata(changed.join(file)).unwrap().len();
        flip(&changed.join(file), usize::try_from(length / 2).unwrap());
        check(&changed).refused(why);
        std::fs::remove_dir_all(&changed).unwrap();
    }
}
