//! Who has a log's key and puts into the log what no sidecar sent, or takes out what one did.
//!
//! Every log made here is sound in itself; what is wrong with it follows from the records, sessions and times in it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::stage::{Stage, pod};
use super::{Side, Trial};
use crate::insider::{Leaf, batch, clock, genesis, leaves, liveness, resigned, session};
use crate::peer::Puppet;
use crate::tamper::actor::{MINUTE, Pod, SECOND};
use crate::tamper::log::Log;
use crate::tamper::wire::{from_base64, hex};
use crate::tamper::{Image, Rng};
use crate::world::{Issuer, PodIdentity};

/// The leaves of a directory.
pub(super) fn all(image: &Image) -> Result<Vec<Leaf>> {
    Ok(leaves(image)?.into_iter().map(|(leaf, _)| leaf).collect())
}

/// The victim with these leaves, judged after this time.
fn judged(stage: &Stage, leaves: &[Leaf], after: Duration) -> Result<Trial> {
    let image = resigned(stage.image(), leaves)?;
    let answer = stage.judge()?.instead(stage.victim, &image)?.later(after).run()?;
    Ok(Trial::judged(answer, stage.names()))
}

fn sealed_at(stage: &Stage) -> Result<i64> {
    Ok(i64::try_from(stage.sealed_at.as_nanosecond())?)
}

/// The victim as if a pod's chain had not ended and the log had gone on for half an hour: every five minutes a leaf,
/// with a heartbeat of that pod or what else is given for the moment.
fn living(stage: &Stage, each: impl Fn(i64) -> Leaf) -> Result<Vec<Leaf>> {
    let mut leaves = all(stage.image())?;
    leaves.pop().context("the log is sealed")?;
    let last = stage.last_of(0).context("the first pod has a chain")?;
    leaves.remove(last);
    let from = sealed_at(stage)?;
    leaves.extend((1..=6).map(|n| each(from + n * 5 * MINUTE)));
    Ok(leaves)
}

/// A heartbeat of the first pod, signed at a time: its chain but for the end.
fn heartbeat(stage: &Stage, signed: i64) -> Vec<u8> {
    let Puppet { session, chain, .. } = &stage.puppets[0];
    let next = chain.len() - 1;
    session.heartbeat(signed, &[(chain.id, u64::try_from(next).unwrap_or_default(), chain.link(next))], &[])
}

/// A8: the heartbeats of a living pod are left out of the log.
pub fn without_heartbeats(stage: &Stage, side: Side) -> Result<Trial> {
    let honest = |now: i64| liveness(&[heartbeat(stage, now - SECOND)], now);
    let leaves = if side.is_attack() { living(stage, clock)? } else { living(stage, honest)? };
    judged(stage, &leaves, Duration::from_mins(31))
}

/// A28: the last heartbeat of a pod that has died is appended again and again.
pub fn old_heartbeats(stage: &Stage, side: Side) -> Result<Trial> {
    let first = sealed_at(stage)? + i64::try_from(stage.rng("A28").between(1, 200))? * SECOND;
    let leaves = living(stage, |now| {
        let signed = if side.is_attack() { first } else { now - SECOND };
        liveness(&[heartbeat(stage, signed)], now)
    })?;
    judged(stage, &leaves, Duration::from_mins(31))
}

/// A9: every batch of the victim keeps all but its signature, and the log is signed again.
pub fn strip_batches(stage: &Stage, side: Side) -> Result<Trial> {
    let mut leaves = all(stage.image())?;
    for leaf in leaves.iter_mut().filter(|leaf| leaf.is_batch() && side.is_attack()) {
        // The commitment's last 64 bytes.
        leaf.bytes[2 + 162..2 + 226].fill(0);
    }
    judged(stage, &leaves, Duration::from_secs(5))
}

/// A pod that was not in the stage, and what introduces it in a log.
struct Newcomer {
    puppet: Puppet,
    leaves: Vec<Leaf>,
    time: i64,
}

fn newcomer(stage: &Stage, rng: &mut Rng) -> Result<Newcomer> {
    let identity = pod(7);
    let mut puppet = Puppet::new(&stage.world, &identity, rng.number())?;
    for _ in 0..rng.between(1, 4) {
        puppet.print_sized(rng)?;
    }
    puppet.end()?;
    let time = all(stage.image())?.last().context("a log is not empty")?.time();
    Ok(Newcomer { puppet, leaves: Vec::new(), time })
}

impl Newcomer {
    fn introduce(&mut self) {
        let identity = pod(7);
        let (pod, token) = (actor(&identity), format!("token-of-{}", identity.uid));
        self.leaves.push(session(&self.puppet.session, &pod, &token, self.time));
        self.leaves.push(genesis(&self.puppet.chain, &self.puppet.session, self.time));
        let sealed = self.puppet.seal();
        self.leaves.push(batch(&sealed, self.time));
    }

    /// The victim with these leaves before its seal.
    fn judged(self, stage: &Stage) -> Result<Trial> {
        let mut leaves = all(stage.image())?;
        let at = leaves.len() - 1;
        leaves.splice(at..at, self.leaves);
        judged(stage, &leaves, Duration::from_secs(5))
    }
}

fn actor(identity: &PodIdentity) -> Pod {
    let PodIdentity { namespace, name, uid } = identity.clone();
    Pod { namespace, name, uid }
}

/// A23: a collector invents a session for a pod, and what the pod said. It has no token of the cluster's issuer.
pub fn invented_session(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A23-collector");
    let mut newcomer = newcomer(stage, &mut rng)?;
    if side.is_attack() {
        // Under the name of the issuer's key, by another key.
        newcomer.puppet.session.token = Issuer::named(&stage.work()?, "jwks.json")?.pod_token(&pod(7))?;
    }
    newcomer.introduce();
    newcomer.judged(stage)
}

/// A24: the log stores batches of one pod's chain that another pod's session signed.
pub fn foreign_batches(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A24");
    let mut newcomer = newcomer(stage, &mut rng)?;
    newcomer.introduce();
    if side.is_attack() {
        let of = &stage.puppets[rng.below(stage.puppets.len())].chain;
        let from = rng.below(of.len() - 1);
        let to = rng.between(from + 1, of.len().min(from + 30));
        newcomer.leaves.push(batch(&of.seal(&newcomer.puppet.session, from, to), newcomer.time));
    }
    newcomer.judged(stage)
}

/// A25: the log stores a batch whose signature is S + L in place of S.
pub fn malleable_batch(stage: &Stage, side: Side) -> Result<Trial> {
    let (mut rng, mut leaves) = (stage.rng("A25-stored"), all(stage.image())?);
    let of_victim: Vec<usize> = stage.receipted().collect();
    let at = *rng.pick(&of_victim);
    if side.is_attack() {
        super::pods::add_order(&mut leaves[at].bytes[2 + 162 + 32..2 + 226]);
    }
    judged(stage, &leaves, Duration::from_secs(5))
}

/// A29: a sidecar signs more of a chain that it had ended. The twin's log is only signed again.
pub fn after_the_end(stage: &Stage, side: Side) -> Result<Trial> {
    let (mut rng, mut leaves) = (stage.rng("A29-after"), all(stage.image())?);
    let mut puppet = stage.puppets[rng.below(stage.puppets.len())].clone();
    puppet.print_sized(&mut rng)?;
    let (at, time) = (leaves.len() - 1, leaves.last().context("a log is not empty")?.time());
    if side.is_attack() {
        let more = puppet.seal();
        leaves.insert(at, batch(&more, time));
    }
    judged(stage, &leaves, Duration::from_secs(5))
}

/// A17: a collector's clock is an hour behind for some of its leaves.
pub fn collector_clock(stage: &Stage, side: Side) -> Result<Trial> {
    let (mut rng, mut leaves) = (stage.rng("A17-collector"), all(stage.image())?);
    let of_victim: Vec<usize> = stage.receipted().collect();
    let from = rng.below(of_victim.len() - 10);
    let to = rng.between(from + 1, of_victim.len() - 1);
    for at in of_victim[from..to].iter().filter(|_| side.is_attack()) {
        let length = leaves[*at].bytes.len();
        let behind = leaves[*at].time() - 60 * MINUTE;
        leaves[*at].bytes[length - 8..].copy_from_slice(&behind.to_be_bytes());
    }
    judged(stage, &leaves, Duration::from_secs(5))
}

/// A26: a log's source is not given to the verifier, though the policy names the log.
pub fn left_out(stage: &Stage, side: Side) -> Result<Trial> {
    let judge = stage.judge()?;
    let judge = if side.is_attack() { judge.without(stage.victim) } else { judge };
    Ok(Trial::judged(judge.run()?, stage.names()))
}

/// A26: a collector claims that its volume was lost and begins a new log, which says that the old one was shorter than
/// what a witness has seen. The twin's new log names all of the old one.
pub fn reborn(stage: &Stage, side: Side) -> Result<Trial> {
    let (mut rng, now) = (stage.rng("A26-reborn"), sealed_at(stage)?);
    let old = if side.is_attack() { &stage.older[stage.victim] } else { stage.image() };
    let note = std::str::from_utf8(old.get("checkpoint").context("it has a checkpoint")?)?;
    let mut lines = note.lines().skip(1);
    let size = lines.next().context("a size")?;
    let root = from_base64(lines.next().context("a root")?).context("a root is base64")?;
    let mut log = Log::new(&mut rng, "test/reborn", 1 << 20, now);
    log.say(3, &json_of(stage.origin(), size, &root), now);
    log.seal("shutdown", now);
    let new = stage.work()?.join("data");
    log.directory().write(&new, None)?;
    let (witness, _) = stage.witness()?;
    let judge = stage.judge()?.instead(stage.victim, old)?.trust(&log.vkey).and(new).witness(&witness);
    let mut names = stage.names();
    names.push(("new", log.origin.clone()));
    Ok(Trial::judged(judge.run()?, names))
}

/// Statement 3, in the format's order of keys.
fn json_of(origin: &str, size: &str, root: &[u8]) -> String {
    format!(r#"{{"origin":"{origin}","size":{size},"root":"{}"}}"#, hex(root))
}

/// A16 and A29: what a cluster says should be covered.
fn expecting(stage: &Stage, identity: &PodIdentity, after: Duration) -> Result<Trial> {
    let PodIdentity { namespace, name, uid } = identity;
    let since = (stage.sealed_at - Duration::from_hours(2)).to_string();
    let expected = json!([{
        "namespace": namespace, "pod": name, "pod_uid": uid, "containers": ["app"], "running_since": since,
    }]);
    let file = stage.work()?.join("expect.json");
    std::fs::write(&file, expected.to_string())?;
    let answer = stage.judge()?.flag("--expect", file).later(after).run()?;
    let mut names = stage.names();
    names.push(("pod", format!("{namespace}/{name}")));
    Ok(Trial::judged(answer, names))
}

/// A16: a pod that should be covered runs without a sidecar. The twin has one.
pub fn uncovered(stage: &Stage, side: Side) -> Result<Trial> {
    let identity = pod(if side.is_attack() { 50 + stage.rng("A16").below(40) } else { 0 });
    expecting(stage, &identity, Duration::from_secs(5))
}

/// A29: a sidecar says that its container has ended, and the container runs on. The twin's runs on a minute longer,
/// which may be.
pub fn early_end(stage: &Stage, side: Side) -> Result<Trial> {
    let which = stage.rng("A29-early").below(stage.puppets.len());
    let after = if side.is_attack() { Duration::from_hours(1) } else { Duration::from_mins(1) };
    expecting(stage, &pod(which), after)
}

/// A13: a source is an empty directory.
pub fn empty_source(stage: &Stage, side: Side) -> Result<Trial> {
    let empty = stage.work()?;
    let judge = stage.judge()?;
    let mut names = stage.names();
    names.push(("source", empty.display().to_string()));
    let judge = if side.is_attack() { judge.reading(stage.victim, empty) } else { judge };
    Ok(Trial::judged(judge.run()?, names))
}

/// A13: the policy has another key under the log's name, or does not name it at all.
pub fn wrong_key(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A13-key");
    let judge = stage.judge()?;
    let source = stage.world.collectors[stage.victim].data().display().to_string();
    let mut names = stage.names();
    names.push(("source", source));
    let other = Log::new(&mut rng, "test/other", 1 << 20, 0);
    let judge = if side.is_attack() { judge.distrust(stage.victim, &other.vkey) } else { judge };
    Ok(Trial::judged(judge.run()?, names))
}
