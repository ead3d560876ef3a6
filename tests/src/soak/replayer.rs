//! A second client that sends again what others have sent: whole requests, repeated and in the wrong order, to the collector
//! that has them and to others (attack A10, under load).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use anyhow::Result;
use http::Method;

use super::judge::segments::{Commitment, Log};
use crate::peer::Peer;
use crate::tamper::Rng;
use crate::tamper::wire::{Digest, put32};

/// Batches that are sent again in one round.
const BATCHES: usize = 8;
/// Longer bodies are not: what is stored twice on purpose is to stay little.
const MAX_BODY: u64 = 32 << 10;

/// What is to be sent again.
#[derive(Debug)]
pub struct Round {
    /// Where it is taken from: a log's number and data directory.
    pub from: (usize, PathBuf),
    /// Where it is sent to: a log's number and its collector's address.
    pub to: (usize, String),
    /// The authorities that are trusted.
    pub ca: Vec<u8>,
    /// The tokens of pods, by their containers' chains.
    pub tokens: BTreeMap<Digest, String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Repeated {
    /// Batches that another log may have taken in: its number, and the commitment's digest.
    pub elsewhere: BTreeSet<(usize, Digest)>,
    /// How often each answer came; 0: none.
    pub answers: BTreeMap<u16, u64>,
}

/// The client, on a thread of its own.
#[derive(Debug)]
pub struct Replayer {
    rounds: Option<SyncSender<Round>>,
    thread: JoinHandle<Repeated>,
}

impl Replayer {
    /// One that has nothing to do yet.
    pub fn start(seed: u64) -> Self {
        let (rounds, next) = mpsc::sync_channel::<Round>(1);
        let thread = std::thread::spawn(move || {
            let (mut rng, mut repeated) = (Rng::new(seed, 7), Repeated::default());
            while let Ok(round) = next.recv() {
                if play(&round, &mut rng, &mut repeated).is_err() {
                    *repeated.answers.entry(0).or_default() += 1;
                }
            }
            repeated
        });
        Self { rounds: Some(rounds), thread }
    }

    /// Something to do, if it has nothing.
    pub fn offer(&self, round: Round) {
        if let Some(rounds) = &self.rounds {
            let _ = rounds.try_send(round);
        }
    }

    /// It gets nothing more to do.
    pub fn stop(&mut self) {
        self.rounds = None;
    }

    /// Waits until it has done what it was offered. A collector that is stopped keeps it waiting.
    pub fn end(mut self) -> Repeated {
        self.stop();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn play(round: &Round, rng: &mut Rng, repeated: &mut Repeated) -> Result<()> {
    let log = Log::newest(round.from.0, &round.from.1)?;
    let known = |batch: &&Commitment| round.tokens.contains_key(&batch.chain) && batch.body_len <= MAX_BODY;
    let mut batches: Vec<&Commitment> = log.batches.iter().filter(known).collect();
    let begin = rng.below(batches.len().saturating_sub(BATCHES) + 1);
    batches = batches.into_iter().skip(begin).take(BATCHES).collect();
    // The newest first, and some of them once more.
    batches.reverse();
    if let Some(again) = batches.first().copied() {
        batches.push(again);
    }
    let mut peer = Peer::connect_to(&round.to.1, &round.ca)?;
    for batch in batches {
        let (codec, stored) = log.stored(batch)?;
        let mut upload = batch.bytes.to_vec();
        upload.push(codec);
        put32(&mut upload, &stored);
        // Also without an answer it may have been taken in.
        if round.to.0 != round.from.0 {
            repeated.elsewhere.insert((round.to.0, batch.digest));
        }
        let reply = peer.send(Method::POST, "/v1/batches", &round.tokens[&batch.chain], upload)?;
        *repeated.answers.entry(reply.status).or_default() += 1;
    }
    Ok(())
}
