//! An older copy of a log's directory: put back under its collector, which goes on with it, or given to a reader.
//!
//! Nothing in such a copy was changed, so nothing in it tells: all of it was signed by the log when it was that long, and
//! cosigned. What convicts is what others have seen since. The twins do the same with the newest copy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::forged::all;
use super::keys::{after, with};
use super::stage::{Judge, Stage, pod, size};
use super::{Kept, Side, Trial};
use crate::peer::{Peer, Puppet};
use crate::tamper::Image;
use crate::tamper::wire::{base64, consistency, leaf_hash};
use crate::world::{Witness, eventually};

/// How long a collector may take to hear of its witness.
const BOUND: Duration = Duration::from_mins(1);

/// A4: the victim's collector is started on an older copy of its volume, and a new pod's batches are stored in the place
/// of those that are gone. A collector that has a witness says at once that something is wrong.
pub fn put_back(stage: &Stage, side: Side, kept: Kept) -> Result<Trial> {
    let mut rng = stage.rng("A4");
    let image = if side.is_attack() { &stage.older[stage.victim] } else { stage.image() };
    let dir = stage.work()?;
    image.write(&dir.join("data"), None)?;
    let witness = (kept == Kept::Witness).then(|| stage.witness()).transpose()?;
    let asks = witness.as_ref().map(|(witness, _)| witness.flag());
    let flags: Vec<&str> = asks.iter().flat_map(|flag| ["--witness", flag]).collect();
    let mut collector = stage.world.collectors[stage.victim].start_on(&dir, &flags)?;
    if witness.is_some() && side.is_attack() {
        let contradicted = "a witness contradicts this log";
        eventually("the collector says that a witness contradicts its log", BOUND, || {
            Ok(collector.process()?.stderr()?.contains(contradicted).then_some(()))
        })?;
    }
    let mut peer = Peer::connect_to(collector.address()?, &std::fs::read(stage.world.authority.ca())?)?;
    let mut puppet = Puppet::new(&stage.world, &pod(7), rng.number())?;
    puppet.introduce(&mut peer)?;
    // So many that its log is longer than it was.
    let lost = all(stage.image())?.len() - all(image)?.len();
    for _ in 0..lost + rng.between(1, 10) {
        puppet.print_sized(&mut rng)?;
        puppet.deliver(&mut peer)?;
    }
    puppet.end()?;
    puppet.deliver(&mut peer)?;
    drop(peer);
    collector.terminate()?;
    let judge = stage.judge()?.reading(stage.victim, collector.data()).later(after(kept));
    match witness {
        Some((witness, name)) => {
            let mut names = stage.names();
            names.push(("witness", name));
            Ok(Trial::judged(judge.witness(&witness).run()?, names))
        }
        None => with(kept, stage, judge),
    }
}

/// The pool as a witness has cosigned it: first the victim's older copy, then all logs as they are.
struct Cosigned {
    witness: Witness,
    name: String,
    older: Image,
    newest: Vec<Image>,
}

impl Cosigned {
    fn new(stage: &Stage) -> Result<Self> {
        let (witness, name) = stage.new_witness()?;
        let hashes: Vec<_> = all(stage.image())?.iter().map(|leaf| leaf_hash(&leaf.bytes)).collect();
        let (mut older, mut newest) = (stage.older[stage.victim].clone(), stage.images.clone());
        let length = size(&older).context("the older copy has a checkpoint")?;
        cosign(&witness, &mut older, 0, &[])?;
        let proof: Vec<String> = consistency(length, &hashes).iter().map(|hash| base64(hash)).collect();
        for (log, image) in newest.iter_mut().enumerate() {
            let (old, proof) = if log == stage.victim { (length, &*proof) } else { (0, &[][..]) };
            cosign(&witness, image, old, proof)?;
        }
        Ok(Self { witness, name, older, newest })
    }

    /// A judgement of the pool that wants the witness's cosignature on each log. The witness is asked for what it has
    /// seen only where that is what is kept.
    fn judge<'a>(&self, stage: &'a Stage, victim: &Image, kept: Kept) -> Result<Judge<'a>> {
        let line = match kept {
            Kept::Witness => self.witness.line(),
            Kept::Receipts | Kept::State | Kept::Nothing => format!("witness {} {}", self.name, self.witness.vkey()),
        };
        let mut judge = stage.judge()?.quorum(&self.name, &line);
        for (log, image) in self.newest.iter().enumerate() {
            judge = judge.instead(log, if log == stage.victim { victim } else { image })?;
        }
        Ok(judge)
    }
}

/// Has a directory's checkpoint cosigned, and keeps the cosignature with it.
fn cosign(witness: &Witness, image: &mut Image, old: usize, proof: &[String]) -> Result<()> {
    let note = std::str::from_utf8(image.get("checkpoint").context("it has a checkpoint")?)?.to_owned();
    let asked = witness.add(u64::try_from(old)?, proof, &note)?;
    ensure!(asked.status == 200, "the witness answers {}: {}", asked.status, asked.body);
    image.put("checkpoint", format!("{note}{}", asked.body).into_bytes());
    Ok(())
}

/// A27: the reader is given the victim as it was, with a checkpoint that was cosigned then.
pub fn shown_again(stage: &Stage, side: Side, kept: Kept) -> Result<Trial> {
    let cosigned = Cosigned::new(stage)?;
    let honest = &cosigned.newest[stage.victim];
    let shown = if side.is_attack() { &cosigned.older } else { honest };
    let judge = cosigned.judge(stage, shown, kept)?;
    let judge = match kept {
        Kept::Witness => judge,
        Kept::State => judge.remembering(cosigned.judge(stage, honest, kept)?)?,
        // An older copy may be a minute old, so only later does it tell that nothing is new in it.
        Kept::Receipts => judge.flag("--receipts", stage.keep(&stage.receipts)?).later(after(Kept::Nothing)),
        Kept::Nothing => judge.later(after(Kept::Nothing)),
    };
    let mut names = stage.names();
    names.push(("witness", cosigned.name.clone()));
    Ok(Trial::judged(judge.run()?, names))
}
