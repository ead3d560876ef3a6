//! A20: an index is a cache. Whatever stands in it, the set of records shown does not change.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::stage::{pod, read, rng_of};
use super::{Side, Trial};
use crate::peer::{Peer, Puppet};
use crate::tamper::Rng;
use crate::world::{World, binary};

/// An index's header, its filter and signature included; rows follow.
const HEADER_BYTES: usize = 4252;

/// What is written into all indexes of a log.
type Forge = fn(&mut Rng, &[PathBuf]) -> std::io::Result<()>;

const WAYS: [(&str, Forge); 5] = [
    ("emptied", emptied),
    ("flipped", flipped),
    ("exchanged", exchanged),
    ("filled with noise", noisy),
    ("removed", removed),
];

/// All indexes of a collector are forged in each way, and read before and after it has started on them.
pub fn forged(seed: u64, side: Side) -> Result<Trial> {
    let mut rng = rng_of(seed, "A20");
    let mut world = World::start(0)?;
    world.add_collector(&["--segment-bytes", &format!("{}Ki", rng.between(4, 12))])?;
    let mut puppet = Puppet::new(&world, &pod(0), rng.number())?;
    let mut peer = Peer::connect(&world, 0)?;
    puppet.introduce(&mut peer)?;
    let batches = rng.between(40, 80);
    for _ in 0..batches {
        puppet.print_sized(&mut rng)?;
        puppet.deliver(&mut peer)?;
    }
    puppet.end()?;
    puppet.deliver(&mut peer)?;
    drop(peer);
    // Sealed, so that a checkpoint covers all of it.
    world.seal()?;
    let data = world.collectors[0].data();
    let directory = data.to_str().context("a path of text")?.to_owned();
    let honest = shown(&world, &directory)?;
    ensure!(honest.lines().count() >= batches, "each batch has a line at least");
    for (way, forge) in WAYS {
        let indexes = indexes(&data)?;
        ensure!(indexes.len() > 1, "there are indexes to forge");
        if side.is_attack() {
            forge(&mut rng, &indexes)?;
        }
        ensure!(shown(&world, &directory)? == honest, "{way}: the directory shows something else");
        world.collectors[0].restart(&[])?;
        ensure!(shown(&world, world.collectors[0].url())? == honest, "{way}: the collector shows something else");
        world.seal()?;
    }
    let answer = world.verify(&[])?;
    let said = if side.is_attack() { read(&world)? } else { Vec::new() };
    Ok(Trial { answer, said, names: vec![("log", world.collectors[0].origin().to_owned())] })
}

/// The records of a pool, as people see them.
fn shown(world: &World, source: &str) -> Result<String> {
    let output = Command::new(binary("indelible")?)
        .args(["logs", source, "--timestamps", "--prefix", "--policy"])
        .arg(world.policy()?)
        .arg("--ca")
        .arg(world.authority.ca())
        .output()?;
    ensure!(output.status.success(), "logs {source}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn indexes(data: &Path) -> Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(data.join("segments"))?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|kind| kind == "idx"));
    files.sort();
    Ok(files)
}

fn emptied(_: &mut Rng, all: &[PathBuf]) -> std::io::Result<()> {
    all.iter().try_for_each(|path| std::fs::write(path, b""))
}

fn flipped(rng: &mut Rng, all: &[PathBuf]) -> std::io::Result<()> {
    all.iter().try_for_each(|path| {
        let mut bytes = std::fs::read(path)?;
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        std::fs::write(path, bytes)
    })
}

/// Each in the place of another.
fn exchanged(_: &mut Rng, all: &[PathBuf]) -> std::io::Result<()> {
    let mut old = all.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    old.rotate_left(1);
    all.iter().zip(old).try_for_each(|(path, bytes)| std::fs::write(path, bytes))
}

/// The header stays, which is signed: only the rows that answer lookups change.
fn noisy(rng: &mut Rng, all: &[PathBuf]) -> std::io::Result<()> {
    all.iter().try_for_each(|path| {
        let mut bytes = std::fs::read(path)?;
        bytes[HEADER_BYTES..].fill_with(|| rng.number().to_be_bytes()[0]);
        std::fs::write(path, bytes)
    })
}

fn removed(_: &mut Rng, all: &[PathBuf]) -> std::io::Result<()> {
    all.iter().try_for_each(std::fs::remove_file)
}
