//! One log that is followed: its next leaves, each under a checkpoint that extends the last one.
//!
//! A log that cannot be asked is *away*: it is asked again for ever, at growing intervals. A log that shows what its
//! key did not sign, or signed against what it signed before, is *false*, and not followed any more. What cannot be told
//! from an outage, such as leaves that are not given out, is one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::digest::Digest;
use indelible_chain::id::LeafIndex;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::{Tree, leaf_hash};
use indelible_chain::note::{Note, VerifierKey};
use indelible_chain::policy::Policy;
use indelible_chain::verify::Report;

use crate::exit::{TAMPERED, UNVERIFIED};
use crate::judging::Judged;
use crate::limits::{
    CHECKPOINT_POLL, FOLLOW_POLL, FOLLOW_WAIT, MAX_AWAY_WAIT, MAX_UNCOVERED_BYTES, MAX_UNCOVERED_LEAVES,
};
use crate::source::{Found, OwnedFrame, Source, SourceError};
use crate::text::one_line;

/// What a log's thread hands on; `log` is its name for a person.
pub enum News {
    /// A leaf that is under a checkpoint.
    Frame { log: Arc<str>, frame: OwnedFrame },
    /// The log cannot be asked; `sealed` if it has ended in order.
    Away { log: Arc<str>, why: String, sealed: bool },
    /// It can be asked again.
    Back { log: Arc<str> },
    /// It cannot be followed any more.
    Ended { log: Arc<str>, why: String, exit: u8 },
}

/// Why a step did not succeed.
enum Trouble {
    /// It may succeed later.
    Away(String),
    /// It never will.
    Ended { why: String, exit: u8 },
    /// Nobody takes the news: the printer has ended.
    Unheard,
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::Away(error.to_string())
    }
}

fn untrue(why: impl Into<String>) -> Trouble {
    Trouble::Ended { why: why.into(), exit: TAMPERED }
}

/// A log that is being followed.
pub struct Followed {
    source: Source,
    log: Arc<str>,
    key: VerifierKey,
    /// Over all leaves that were under a checkpoint.
    tree: Tree,
    /// The last of them, which were not handed on yet.
    due: VecDeque<Digest>,
    sealed: bool,
}

impl Followed {
    /// Goes on where the judge ended.
    pub fn new(source: Source, log: &Judged, report: &Report, policy: &Policy) -> Result<Self, &'static str> {
        let claimed = source.claimed().ok_or("it does not say which log it is")?;
        let known = policy.logs().iter().find(|log| log.origin().as_str() == claimed);
        let key = known.ok_or("its log is none that is trusted")?.key().clone();
        let name: Arc<str> = one_line(&format!("{claimed} ({})", source.label())).into();
        let mut tree = Tree::new();
        if let Some((0, hashes)) = log.leaves.first() {
            for hash in hashes {
                tree.push(*hash);
            }
        }
        let signed = log.notes.iter().filter_map(|(_, note)| Checkpoint::open(&Note::parse(note).ok()?, &key).ok());
        let largest = signed.max_by_key(Checkpoint::size).ok_or("it has no checkpoint that its log signed")?;
        if largest.size() != tree.size() || largest.root() != tree.root() {
            return Err("what it shows is not what its log signed");
        }
        let mut summaries = report.logs.iter().filter(|of| of.origin == claimed && of.size == tree.size());
        let sealed = summaries.any(|of| of.sealed);
        Ok(Self { source, log: name, key, tree, due: VecDeque::new(), sealed })
    }

    /// Hands on what comes, until the log is false or nobody listens.
    pub fn follow(mut self, send: &SyncSender<News>) {
        let mut wait = None;
        loop {
            let log = Arc::clone(&self.log);
            let news = match (self.step(send), wait) {
                (Ok(()), None) => continue,
                (Ok(()), Some(_)) => {
                    wait = None;
                    News::Back { log }
                }
                (Err(Trouble::Away(_)), Some(waited)) => {
                    std::thread::sleep(waited);
                    wait = Some(MAX_AWAY_WAIT.min(waited * 2));
                    continue;
                }
                (Err(Trouble::Away(why)), None) => {
                    wait = Some(FOLLOW_POLL);
                    News::Away { log, why, sealed: self.sealed }
                }
                (Err(Trouble::Ended { why, exit }), _) => {
                    // If nobody takes it, the printer has ended.
                    let _ = send.send(News::Ended { log, why, exit });
                    return;
                }
                (Err(Trouble::Unheard), _) => return,
            };
            if send.send(news).is_err() {
                return;
            }
        }
    }

    /// Hands on what the next checkpoint covers, or waits for one.
    fn step(&mut self, send: &SyncSender<News>) -> Result<(), Trouble> {
        self.hand_on(Vec::new(), send)?;
        let checkpoint = self.checkpoint()?;
        if checkpoint.size() == self.tree.size() {
            return Ok(self.wait()?);
        }
        let frames = self.cover(&checkpoint)?;
        self.hand_on(frames, send)
    }

    /// The newest checkpoint, which must not go back behind the last one.
    fn checkpoint(&mut self) -> Result<Checkpoint, Trouble> {
        let note = self.source.newest()?;
        let note = Note::parse(&note).map_err(|e| untrue(format!("its checkpoint is none: {e}")))?;
        let checkpoint =
            Checkpoint::open(&note, &self.key).map_err(|e| untrue(format!("its checkpoint does not hold: {e}")))?;
        let (size, known) = (checkpoint.size(), self.tree.size());
        if size < known {
            return Err(untrue(format!("rewritten: it signed {known} leaves, and now shows a checkpoint of {size}")));
        }
        if size == known && checkpoint.root() != self.tree.root() {
            return Err(untrue(format!("rewritten: it signed two different roots for its {size} leaves")));
        }
        Ok(checkpoint)
    }

    /// Reads the leaves up to a checkpoint and holds them against it. Gives the first of them, as far as they may be
    /// held; they are all due then.
    fn cover(&mut self, checkpoint: &Checkpoint) -> Result<Vec<OwnedFrame>, Trouble> {
        let (from, size) = (self.tree.size(), checkpoint.size());
        if size - from > MAX_UNCOVERED_LEAVES {
            let why = format!(
                "{} leaves came under one checkpoint, and {MAX_UNCOVERED_LEAVES} is the limit; start again",
                size - from
            );
            return Err(Trouble::Ended { why, exit: UNVERIFIED });
        }
        let mut tree = self.tree.clone();
        let (mut due, mut frames, mut bytes) = (VecDeque::new(), Vec::new(), 0);
        self.source.frames(from, size, &mut |found| {
            let Found::Frame(frame) = found else { return };
            if frame.index.get() != tree.size() {
                return;
            }
            let hash = leaf_hash(frame.leaf);
            tree.push(hash);
            if bytes < MAX_UNCOVERED_BYTES && frames.len() == due.len() {
                let frame = OwnedFrame::from(frame);
                bytes += frame.len();
                frames.push(frame);
            }
            due.push_back(hash);
        })?;
        if tree.size() < size {
            let leaf = tree.size();
            return Err(untrue(format!("leaf {leaf} is under its checkpoint of {size}, and is not there or damaged")));
        }
        if tree.root() != checkpoint.root() {
            return Err(untrue(format!("rewritten: the leaves {from} to {size} are not those that it signed")));
        }
        (self.tree, self.due) = (tree, due);
        Ok(frames)
    }

    /// Hands on what is due: these frames, and the others once more from the log.
    fn hand_on(&mut self, frames: Vec<OwnedFrame>, send: &SyncSender<News>) -> Result<(), Trouble> {
        for frame in frames {
            self.due.pop_front();
            self.send(frame, send)?;
        }
        while let Some(due) = self.due.front().copied() {
            let next = LeafIndex::new(self.tree.size() - self.due.len() as u64);
            let frame = self.source.frame(next)?;
            let frame = frame.ok_or_else(|| Trouble::Away(format!("it does not show leaf {next} again")))?;
            if leaf_hash(&frame.leaf) != due {
                return Err(untrue(format!("rewritten: it shows another leaf {next} than a moment before")));
            }
            self.due.pop_front();
            self.send(frame, send)?;
        }
        Ok(())
    }

    fn send(&mut self, frame: OwnedFrame, send: &SyncSender<News>) -> Result<(), Trouble> {
        self.sealed = Leaf::decode(&frame.leaf).is_ok_and(|leaf| leaf.is_seal());
        send.send(News::Frame { log: Arc::clone(&self.log), frame }).map_err(|_| Trouble::Unheard)
    }

    /// Waits until there may be a new checkpoint.
    fn wait(&mut self) -> Result<(), SourceError> {
        let began = Instant::now();
        let next = self.tree.size();
        let mut pause = FOLLOW_POLL;
        if let Source::Collector(collector) = &mut self.source {
            let end = collector.some_frames(next, next + 1, FOLLOW_WAIT, &mut |_| ())?;
            // A leaf that is there gets its checkpoint soon; an answer without one is no reason to ask at once again.
            pause = if end > next { CHECKPOINT_POLL } else { FOLLOW_POLL.saturating_sub(began.elapsed()) };
        }
        std::thread::sleep(pause);
        Ok(())
    }
}

#[cfg(test)]
#[path = "followed_tests.rs"]
mod tests;
