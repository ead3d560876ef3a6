//! A20: an index is a cache. Whatever stands in it, the set of records shown does not change.

use std::path::{Path, PathBuf};
use std::process::Command;

use indelible_tests::peer::{Peer, Puppet};
use indelible_tests::world::{World, binary};

use super::evidence::pod;

/// The records of a pool, as people see them.
fn shown(world: &World, source: &str) -> String {
    let output = Command::new(binary("indelible").unwrap())
        .args(["logs", source, "--timestamps", "--prefix", "--policy"])
        .arg(world.policy().unwrap())
        .arg("--ca")
        .arg(world.authority.ca())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn indexes(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let mut indexes: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "idx")).collect();
    indexes.sort();
    indexes
}

fn emptied(all: &[PathBuf]) {
    for path in all {
        std::fs::write(path, b"").unwrap();
    }
}

fn flipped(all: &[PathBuf]) {
    for path in all {
        let mut bytes = std::fs::read(path).unwrap();
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
}

/// Each in the place of the one after it.
fn moved(all: &[PathBuf]) {
    let old: Vec<_> = all.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (path, bytes) in all[1..].iter().zip(&old) {
        std::fs::write(path, bytes).unwrap();
    }
}

fn removed(all: &[PathBuf]) {
    for path in all {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_forged_index_hides_and_invents_nothing() {
    let mut world = World::start(0).unwrap();
    world.add_collector(&["--segment-bytes", "4Ki"]).unwrap();
    let mut puppet = Puppet::new(&world, &pod(), 1).unwrap();
    let mut peer = Peer::connect(&world, 0).unwrap();
    puppet.introduce(&mut peer).unwrap();
    for n in 0..=40 {
        if n == 40 {
            puppet.end().unwrap();
        } else {
            puppet.print(3).unwrap();
        }
        puppet.deliver(&mut peer).unwrap();
    }
    drop(peer);
    // Sealed, so that a checkpoint covers all of it whatever moment the collector is killed at.
    world.seal().unwrap();
    let data = world.collectors[0].data();
    let directory = data.to_str().unwrap().to_owned();
    let honest = shown(&world, &directory);
    assert_eq!(honest.lines().count(), 120);
    for (what, forge) in
        [("emptied", emptied as fn(&[PathBuf])), ("flipped", flipped), ("moved", moved), ("removed", removed)]
    {
        assert!(indexes(&data).len() > 3, "there are indexes to forge");
        forge(&indexes(&data));
        assert_eq!(shown(&world, &directory), honest, "{what}, read from the directory");
        world.collectors[0].restart(&[]).unwrap();
        assert_eq!(shown(&world, world.collectors[0].url()), honest, "{what}, read from the collector");
        world.seal().unwrap();
    }
    let answer = world.verify(&[]).unwrap();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
}
