//! Leads sources past the judge: checkpoints of all before any frame, frames in log order, tiles, and again what the
//! judge asks for.
//!
//! Reading is in order and alone; what can be judged of a frame by itself is judged on all cores, a chunk of frames at
//! a time, so that memory is bounded by a chunk and each core's part of it. A source that breaks off is said to be
//! unreadable and never left out.

use std::collections::HashMap;
use std::num::NonZero;

use anyhow::{Context, Result};
use indelible_chain::digest::Digest;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, SessionId};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::leaf_hash;
use indelible_chain::session::Session;
use indelible_chain::verify::{Judge, Keys, Prepared, Preparer, Report, SourceId, Terms, ViewId};

use crate::source::{Found, NamedNote, OwnedFrame, Source, SourceError, TileFile};
use crate::terminal::Progress;

/// Bytes of frames that are prepared together.
const CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Frames that are prepared together at the most.
const CHUNK_FRAMES: usize = 4096;

/// A source that was named; one that cannot even be opened is a source too.
#[derive(Debug)]
pub enum Named {
    /// It can be asked.
    Open(Source),
    /// It cannot.
    Closed {
        /// What the user called it.
        label: String,
        /// Why not.
        why: String,
    },
}

/// A log that was judged: what it takes to read its records again, or to go on from there.
#[derive(Debug)]
pub struct Judged {
    /// As the judge calls it.
    pub view: ViewId,
    /// Which of the sources it is in.
    pub source: usize,
    /// Its checkpoints, the newest first.
    pub notes: Vec<NamedNote>,
    /// Hashes of its leaves, in runs: where each run begins, and the hashes from there on.
    pub leaves: Vec<(u64, Vec<Digest>)>,
}

impl Judged {
    /// The hash of a leaf that was judged.
    pub fn leaf(&self, index: LeafIndex) -> Option<Digest> {
        let run = self.leaves.partition_point(|(start, _)| *start <= index.get()).checked_sub(1)?;
        let (start, hashes) = &self.leaves[run];
        hashes.get(usize::try_from(index.get() - start).ok()?).copied()
    }

    fn add(&mut self, index: u64, hash: Digest) {
        match self.leaves.last_mut() {
            Some((start, hashes)) if *start + hashes.len() as u64 == index => hashes.push(hash),
            Some((start, hashes)) if *start + hashes.len() as u64 > index => {} // shown again: the judge says so
            _ => self.leaves.push((index, vec![hash])),
        }
    }
}

/// Sessions and chains that logs introduced.
#[derive(Debug, Default)]
pub struct Introduced {
    /// Who signs.
    pub sessions: HashMap<SessionId, Session>,
    /// Whose records they are.
    pub chains: HashMap<ChainId, Genesis>,
}

impl Introduced {
    /// Looks at a leaf and keeps what it introduces.
    pub fn learn(&mut self, leaf: &[u8]) {
        if !matches!(leaf.get(1), Some(1 | 2)) {
            return;
        }
        match Leaf::decode(leaf) {
            Ok(Leaf::Session { session, attested, .. }) => {
                if let Ok(id) = session.id()
                    && attested.is_of(&session)
                {
                    self.sessions.insert(id, session);
                }
            }
            Ok(Leaf::Genesis { genesis, .. }) => {
                if let Ok(id) = genesis.chain_id() {
                    self.chains.insert(id, genesis);
                }
            }
            _ => {}
        }
    }
}

/// The outcome.
#[derive(Debug)]
pub struct Outcome {
    /// What the judge says.
    pub report: Report,
    /// The logs, in the order of the sources.
    pub logs: Vec<Judged>,
    /// Who and what was introduced.
    pub introduced: Introduced,
}

/// Judges sources under these terms.
pub fn judge(sources: &mut [Named], terms: Terms) -> Result<Outcome> {
    let mut judging = Judging::new(terms)?;
    let opened: Vec<_> = sources.iter_mut().map(|source| judging.open(source)).collect();
    for (n, (source, opened)) in sources.iter_mut().zip(opened).enumerate() {
        if let (Named::Open(source), (id, Some(notes))) = (source, opened) {
            judging.log(n, source, id, notes);
        }
    }
    judging.read_again(sources);
    judging.progress.finish();
    Ok(Outcome { report: judging.judge.report(), logs: judging.logs, introduced: judging.introduced })
}

struct Judging {
    judge: Judge,
    keys: Keys,
    introduced: Introduced,
    preparers: Vec<Preparer>,
    logs: Vec<Judged>,
    progress: Progress,
}

impl Judging {
    fn new(terms: Terms) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let preparers = (0..cores).map(|_| Preparer::new()).collect::<Result<_, _>>();
        Ok(Self {
            judge: Judge::new(terms),
            keys: Keys::default(),
            introduced: Introduced::default(),
            preparers: preparers.context("making room to unpack bodies")?,
            logs: Vec::new(),
            progress: Progress::new("verifying leaves", 0),
        })
    }

    /// Names a source and fetches its checkpoints.
    fn open(&mut self, source: &mut Named) -> (SourceId, Option<Vec<NamedNote>>) {
        match source {
            Named::Closed { label, why } => {
                let id = self.judge.source(label, indelible_chain::verify::SourceKind::Copy);
                self.judge.unreadable(id, None, why);
                (id, None)
            }
            Named::Open(source) => {
                let id = self.judge.source(&source.label(), source.kind());
                match source.checkpoints() {
                    Ok(notes) => (id, Some(notes)),
                    Err(e) => {
                        self.judge.unreadable(id, source.claimed(), &e.to_string());
                        (id, None)
                    }
                }
            }
        }
    }

    /// Reads a source's log from its first leaf to its largest checkpoint, and its tiles.
    fn log(&mut self, n: usize, source: &mut Source, id: SourceId, notes: Vec<NamedNote>) {
        let claimed = source.claimed().map(str::to_owned);
        let Some(view) = self.judge.log(id, claimed.as_deref(), &notes) else { return };
        self.logs.push(Judged { view, source: n, notes, leaves: Vec::new() });
        let size = self.judge.size(view);
        self.progress.more(size);
        let read = self.frames(source, view, size).and_then(|()| self.tiles(source, view, size));
        if let Err(e) = read {
            self.judge.unreadable(id, claimed.as_deref(), &e.to_string());
        }
    }

    fn frames(&mut self, source: &mut Source, view: ViewId, size: u64) -> Result<(), SourceError> {
        let mut chunk: Vec<OwnedFrame> = Vec::new();
        let mut bytes = 0;
        source.frames(0, size, &mut |found| match found {
            Found::Frame(frame) => {
                self.progress.look();
                self.keys.learn(frame.leaf);
                self.introduced.learn(frame.leaf);
                let frame = OwnedFrame::from(frame);
                bytes += frame.len();
                chunk.push(frame);
                if bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_FRAMES {
                    self.take(view, &chunk);
                    chunk.clear();
                    bytes = 0;
                }
            }
            Found::Damage(damage) => {
                self.take(view, &chunk);
                chunk.clear();
                bytes = 0;
                self.judge.damaged(view, damage);
            }
        })?;
        self.take(view, &chunk);
        Ok(())
    }

    /// Prepares a chunk on all cores and takes it in order.
    fn take(&mut self, view: ViewId, chunk: &[OwnedFrame]) {
        let cores = self.preparers.len();
        let keys = &self.keys;
        let prepare = |preparer: &mut Preparer, frames: &[OwnedFrame]| -> Vec<Prepared> {
            frames.iter().map(|frame| preparer.prepare(&frame.view(), keys)).collect()
        };
        let prepared: Vec<Prepared> = if cores == 1 || chunk.len() < 2 * cores {
            self.preparers.first_mut().map(|preparer| prepare(preparer, chunk)).unwrap_or_default()
        } else {
            let parts = chunk.chunks(chunk.len().div_ceil(cores));
            std::thread::scope(|scope| {
                let work = self.preparers.iter_mut().zip(parts);
                let work: Vec<_> = work.map(|(preparer, part)| scope.spawn(|| prepare(preparer, part))).collect();
                let done = work.into_iter().map(|thread| thread.join().expect("preparing a frame does not panic"));
                done.flatten().collect()
            })
        };
        for prepared in prepared {
            self.judge.take(view, prepared);
        }
        let log = self.logs.last_mut().expect("a log is pushed before its frames are taken");
        for frame in chunk {
            log.add(frame.index.get(), leaf_hash(&frame.leaf));
        }
        self.progress.step(chunk.len() as u64);
    }

    fn tiles(&mut self, source: &mut Source, view: ViewId, size: u64) -> Result<(), SourceError> {
        source.tiles(size, &mut |file, bytes| {
            self.progress.look();
            match (file, bytes) {
                (TileFile::Tile(tile), Ok(bytes)) => self.judge.tile(view, tile, bytes),
                (TileFile::Bundle(bundle), Ok(bytes)) => self.judge.bundle(view, bundle, bytes),
                (file, Err(why)) => self.judge.no_tile(view, &file.path(), why),
            }
        })
    }

    /// Gives the judge the frames that it has to see a second time.
    fn read_again(&mut self, sources: &mut [Named]) {
        loop {
            let wanted = self.judge.wanted();
            if wanted.is_empty() {
                return;
            }
            for (view, index) in wanted {
                let log =
                    self.logs.iter().find(|log| log.view == view).expect("the judge asks for views that it was given");
                let frame = match &mut sources[log.source] {
                    Named::Open(source) => source.frame(index).ok().flatten(),
                    Named::Closed { .. } => None,
                };
                // A frame that is not to be had any more is answered by one that cannot be the same.
                let frame = frame.unwrap_or_else(|| absent(index));
                self.judge.take_again(view, &frame.view(), &mut self.preparers[0]);
            }
        }
    }
}

fn absent(index: LeafIndex) -> OwnedFrame {
    let codec = indelible_chain::stored::Codec::Withheld;
    OwnedFrame { index, leaf: Vec::new(), codec, body: Vec::new(), flaw: None }
}

#[cfg(test)]
#[path = "judging_tests.rs"]
mod tests;
