//! Who has a pod's token and so a session: sidecars that lie, tokens that were taken, and what a network repeats.

use anyhow::{Context as _, Result};
use http::Method;

use super::sentence::Names;
use super::stage::{pod, read, rng_of};
use super::{Side, Trial};
use crate::peer::{Peer, Puppet, Reply, upload};
use crate::tamper::Rng;
use crate::tamper::actor::Batch;
use crate::tamper::wire::{hex, put32};
use crate::world::World;

/// A pool and one pod that is known to all of it.
struct Scene {
    rng: Rng,
    world: World,
    puppet: Puppet,
    peers: Vec<Peer>,
}

impl Scene {
    fn new(seed: u64, attack: &str, collectors: usize) -> Result<Self> {
        let (mut rng, world) = (rng_of(seed, attack), World::start(collectors)?);
        let puppet = Puppet::new(&world, &pod(0), rng.number())?;
        let mut peers = (0..collectors).map(|at| Peer::connect(&world, at)).collect::<Result<Vec<_>>>()?;
        for peer in &mut peers {
            puppet.introduce(peer)?;
        }
        Ok(Self { rng, world, puppet, peers })
    }

    /// The pod prints, and its batch goes to one of the collectors.
    fn send(&mut self) -> Result<(usize, Batch)> {
        self.puppet.print_sized(&mut self.rng)?;
        let (to, batch) = (self.rng.below(self.peers.len()), self.puppet.seal());
        self.peers[to].batch(&self.puppet.session, &batch)?.expect(&[200])?;
        Ok((to, batch))
    }

    /// The pod ends.
    fn end(&mut self) -> Result<()> {
        self.puppet.end()?;
        let batch = self.puppet.seal();
        let to = self.rng.below(self.peers.len());
        self.peers[to].batch(&self.puppet.session, &batch)?.expect(&[200])?;
        Ok(())
    }

    fn names(&self) -> Names {
        let origin = |at: usize| self.world.collectors[at].origin().to_owned();
        vec![("log", origin(0)), ("other", origin(self.world.collectors.len() - 1))]
    }

    /// Everything is sealed and judged; `refused` is what collectors did not take.
    fn judged(self, refused: Vec<Reply>) -> Result<Trial> {
        let names = self.names();
        let Self { mut world, peers, .. } = self;
        drop(peers);
        world.seal()?;
        let said = refused.into_iter().map(|reply| (i32::from(reply.status), detail(&reply))).collect();
        Ok(Trial { answer: world.verify(&[])?, said, names })
    }
}

/// What a person reads of a refusal.
fn detail(reply: &Reply) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    problem["detail"].as_str().map_or_else(|| reply.problem(), str::to_owned)
}

/// A11: one session tells two collectors two stories about the same positions.
pub fn fork(seed: u64, side: Side) -> Result<Trial> {
    let mut scene = Scene::new(seed, "A11", 2 + usize::from(seed.is_multiple_of(2)))?;
    for _ in 0..scene.rng.between(0, 4) {
        scene.send()?;
    }
    let (mut liar, lines) = (scene.puppet.clone(), scene.rng.between(1, 8));
    scene.puppet.print(lines)?;
    scene.puppet.end()?;
    let batch = scene.puppet.seal();
    scene.peers[0].batch(&scene.puppet.session, &batch)?.expect(&[200])?;
    let last = scene.peers.len() - 1;
    // The twin sends the same batch again, since its receipt was late.
    let other = if side.is_attack() {
        liar.print(lines)?;
        liar.end()?;
        liar.seal()
    } else {
        batch
    };
    scene.peers[last].batch(&scene.puppet.session, &other)?.expect(&[200])?;
    scene.judged(Vec::new())
}

/// A7: a newer session of the same pod signs old records again, with one of them changed. The twin signs them as they
/// were, as a sidecar does that was started again.
pub fn sign_again(seed: u64, side: Side) -> Result<Trial> {
    let mut scene = Scene::new(seed, "A7", 2)?;
    let mut heads = vec![0];
    for _ in 0..scene.rng.between(2, 8) {
        scene.send()?;
        heads.push(scene.puppet.chain.len());
    }
    scene.end()?;
    let again = scene.puppet.session_again(&scene.world, &pod(0), &mut scene.rng)?;
    let at = scene.rng.below(heads.len() - 1);
    let (from, to) = (heads[at], heads[at + 1]);
    let changed = scene.rng.between(from, to - 1);
    let chain = if side.is_attack() { scene.puppet.chain.with_another(changed) } else { scene.puppet.chain.clone() };
    let batch = chain.seal(&again, from, to);
    for peer in &mut scene.peers {
        peer.session(&again)?.expect(&[200, 201])?;
        peer.chain(&again, &scene.puppet.chain)?.expect(&[200, 201])?;
    }
    let to = scene.rng.below(2);
    scene.peers[to].batch(&again, &batch)?.expect(&[200])?;
    scene.judged(Vec::new())
}

/// A23: who replays a pod's token at one collector only speaks for it there; the honest sidecar speaks everywhere.
pub fn replayed_token(seed: u64, side: Side) -> Result<Trial> {
    let mut scene = Scene::new(seed, "A23-token", 2)?;
    let from = scene.puppet.chain.len();
    scene.send()?;
    let to = scene.puppet.chain.len();
    scene.end()?;
    let thief = scene.puppet.session_again(&scene.world, &pod(0), &mut scene.rng)?;
    scene.peers[0].session(&thief)?.expect(&[200, 201])?;
    scene.peers[0].chain(&thief, &scene.puppet.chain)?.expect(&[200, 201])?;
    let changed = scene.rng.between(from, to - 1);
    let chain = if side.is_attack() { scene.puppet.chain.with_another(changed) } else { scene.puppet.chain.clone() };
    scene.peers[0].batch(&thief, &chain.seal(&thief, from, to))?.expect(&[200])?;
    scene.judged(Vec::new())
}

/// A10: what a proxy does: batches come again, in another order, at other collectors.
pub fn repeat(seed: u64, side: Side) -> Result<Trial> {
    let mut scene = Scene::new(seed, "A10", 2)?;
    let mut sent = Vec::new();
    for _ in 0..scene.rng.between(5, 30) {
        sent.push(scene.send()?.1);
    }
    if side.is_attack() {
        for _ in 0..scene.rng.between(10, 60) {
            let (to, batch) = (scene.rng.below(2), scene.rng.pick(&sent).clone());
            scene.peers[to].batch(&scene.puppet.session, &batch)?.expect(&[200])?;
        }
    }
    scene.end()?;
    let names = scene.names();
    let records = scene.puppet.chain.len();
    let Scene { mut world, peers, .. } = scene;
    drop(peers);
    world.seal()?;
    let answer = world.verify(&[])?;
    anyhow::ensure!(answer.counts["records"] == u64::try_from(records)?, "{} of {records}", answer.counts["records"]);
    let said = if side.is_attack() { read(&world)? } else { Vec::new() };
    Ok(Trial { answer, said, names })
}

/// A21: a pod with a valid token tries something on another pod, which goes on.
fn trespass(
    seed: u64,
    side: Side,
    attack: &str,
    tries: impl Fn(&mut Scene, &Puppet, &Batch) -> Result<Reply>,
) -> Result<Trial> {
    let mut scene = Scene::new(seed, attack, 1)?;
    scene.puppet.print_sized(&mut scene.rng)?;
    let batch = scene.puppet.seal();
    let mut thief = Puppet::new(&scene.world, &pod(1), scene.rng.number())?;
    thief.introduce(&mut scene.peers[0])?;
    let refused = if side.is_attack() { vec![tries(&mut scene, &thief, &batch)?] } else { Vec::new() };
    scene.peers[0].batch(&scene.puppet.session, &batch)?.expect(&[200])?;
    thief.end()?;
    let last = thief.seal();
    scene.peers[0].batch(&thief.session, &last)?.expect(&[200])?;
    scene.end()?;
    scene.judged(refused)
}

/// A21: it speaks for the other pod's session with its own token.
pub fn foreign_token(seed: u64, side: Side) -> Result<Trial> {
    trespass(seed, side, "A21-token", |scene, thief, batch| {
        let mut borrowed = scene.puppet.session.clone();
        borrowed.token.clone_from(&thief.session.token);
        let peer = &mut scene.peers[0];
        match scene.rng.below(3) {
            0 => peer.session(&borrowed),
            1 => peer.chain(&borrowed, &scene.puppet.chain),
            _ => peer.batch(&borrowed, batch),
        }
    })
}

/// A21: it introduces the other pod's chain, or writes into it, by its own session.
pub fn foreign_session(seed: u64, side: Side) -> Result<Trial> {
    trespass(seed, side, "A21-session", |scene, thief, _| {
        let (chain, peer) = (&scene.puppet.chain, &mut scene.peers[0]);
        if scene.rng.once_in(2) {
            peer.chain(&thief.session, chain)
        } else {
            peer.batch(&thief.session, &chain.seal(&thief.session, 0, chain.len()))
        }
    })
}

/// Sends what no sidecar sends, and then what one does: the collector goes on, and its memory stayed in bounds.
fn malformed(
    seed: u64,
    side: Side,
    attack: &str,
    send: impl Fn(&mut Scene, &Batch) -> Result<Vec<Reply>>,
) -> Result<Trial> {
    let mut scene = Scene::new(seed, attack, 1)?;
    scene.puppet.print_sized(&mut scene.rng)?;
    let batch = scene.puppet.seal();
    let before = scene.world.collectors[0].process()?.peak_kib()?;
    let refused = if side.is_attack() { send(&mut scene, &batch)? } else { Vec::new() };
    let after = scene.world.collectors[0].process()?.peak_kib()?;
    anyhow::ensure!(after < before + (64 << 10), "its memory grew from {before} KiB to {after} KiB");
    scene.peers[0].batch(&scene.puppet.session, &batch)?.expect(&[200])?;
    scene.end()?;
    scene.judged(refused)
}

fn post(scene: &mut Scene, body: Vec<u8>) -> Result<Reply> {
    let token = scene.puppet.session.token.clone();
    scene.peers[0].send(Method::POST, "/v1/batches", &token, body)
}

/// A22: a body that is larger than any may be.
pub fn oversize(seed: u64, side: Side) -> Result<Trial> {
    malformed(seed, side, "A22-oversize", |scene, batch| {
        let more = scene.rng.between(4 << 20, 9 << 20);
        Ok(vec![post(scene, [upload(batch), vec![0; more]].concat())?])
    })
}

/// A22: a packed body that unpacks to more than the commitment says.
pub fn bomb(seed: u64, side: Side) -> Result<Trial> {
    malformed(seed, side, "A22-bomb", |scene, batch| {
        let zeros = vec![0; scene.rng.between(batch.body.len() + 1, 64 << 20)];
        let mut body = batch.commitment.clone();
        body.push(1);
        put32(&mut body, &zstd::bulk::compress(&zeros, 1)?);
        Ok(vec![post(scene, body)?])
    })
}

/// A22: five hundred bodies that are cut short or go on behind their end.
pub fn noise(seed: u64, side: Side) -> Result<Trial> {
    malformed(seed, side, "A22-noise", |scene, batch| {
        let mut refused = Vec::new();
        for n in 0..500 {
            let mut body = upload(batch);
            if n % 2 == 0 {
                body.truncate(scene.rng.below(body.len()));
            } else {
                body.extend((0..scene.rng.between(1, 100)).map(|n| u8::try_from(n).unwrap_or_default()));
            }
            refused.push(post(scene, body)?);
        }
        Ok(refused)
    })
}

/// A19: the bytes of two records are sent as one record's under the links of two.
pub fn shifted(seed: u64, side: Side) -> Result<Trial> {
    malformed(seed, side, "A19", |scene, _| {
        let mut puppet = scene.puppet.clone();
        for _ in 0..3 {
            puppet.print_sized(&mut scene.rng)?;
        }
        let batch = puppet.seal();
        let shifted = merged(&batch).context("a batch has two records")?;
        Ok(vec![scene.peers[0].batch(&puppet.session, &puppet.session.sign_anew(&shifted))?])
    })
}

/// The first record of a batch swallows the second: the same bytes but for a length and a count.
fn merged(batch: &Batch) -> Option<Batch> {
    let length = |at: usize| {
        let bytes = batch.body.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    let (first, mut changed) = (length(10)?, batch.clone());
    let both = first + 14 + length(14 + first + 10)?;
    changed.body[10..14].copy_from_slice(&u32::try_from(both).ok()?.to_be_bytes());
    let count = u32::from_be_bytes(batch.commitment[74..78].try_into().ok()?) - 1;
    changed.commitment[74..78].copy_from_slice(&count.to_be_bytes());
    Some(changed)
}

/// A25: a signature with S + L in place of S: the same to a careless verifier.
pub fn malleable(seed: u64, side: Side) -> Result<Trial> {
    malformed(seed, side, "A25-signature", |scene, batch| {
        let mut other = batch.clone();
        add_order(&mut other.commitment[162 + 32..226]);
        Ok(vec![scene.peers[0].batch(&scene.puppet.session, &other)?])
    })
}

/// S + L, little-endian.
pub(super) fn add_order(s: &mut [u8]) {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0_u16;
    for (byte, l) in s.iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        carry = sum >> 8;
        *byte = sum.to_le_bytes()[0];
    }
}

/// A25: a session whose key is a point of small order, under which many signatures hold.
pub fn weak_key(seed: u64, side: Side) -> Result<Trial> {
    malformed(seed, side, "A25-key", |scene, _| {
        let weak: [[u8; 32]; 3] = [[0; 32], std::array::from_fn(|n| u8::from(n == 0)), {
            let mut point = [0xff; 32];
            (point[0], point[31]) = (0xec, 0x7f);
            point
        }];
        let session = scene.puppet.session.with_key(scene.rng.pick(&weak));
        let path = format!("/v1/sessions/{}", hex(&session.id));
        Ok(vec![scene.peers[0].send(Method::PUT, &path, &session.token, session.bytes.clone())?])
    })
}
