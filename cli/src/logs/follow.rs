//! `logs --follow`: new records, as they come under checkpoints that extend what was judged.
//!
//! Each source has a thread that waits for frames, holds them until a checkpoint signed by the log covers them and its
//! root is the one over all leaves so far, and hands them on. One printer joins chains over all sources: a batch is
//! shown when its session signed it, its links lead to its end, and it begins where its chain is. What does not hold is
//! said on stderr, changes the exit code, and is not shown; what comes too early waits, up to a bound.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use indelible_chain::batch::{Batch, Commitment};
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::id::{ChainId, Head};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::{Tree, leaf_hash};
use indelible_chain::note::{Note, VerifierKey};
use indelible_chain::policy::Policy;
use indelible_chain::record::Records;
use indelible_chain::stored::{Packer, Stored};
use tokio::runtime::Handle;

use super::lines::{Printer, Whose};
use super::merge::{positions, unpack};
use crate::exit::{CommandError, TAMPERED};
use crate::judging::{Introduced, Judged, Named, Outcome};
use crate::limits::{FOLLOW_POLL, FOLLOW_QUEUE, FOLLOW_WAIT, MAX_HELD_BATCHES};
use crate::source::{Found, OwnedFrame, Source, SourceError};
use crate::text::one_line;

/// What a source's thread hands on.
enum News {
    /// A leaf that is under a checkpoint.
    Frame(OwnedFrame),
    /// The source shows something that cannot be true; its thread has ended.
    Broken { source: String, why: String },
}

/// Follows the sources until interrupted; gives the exit code.
pub fn run<W: Write>(
    sources: Vec<Named>,
    outcome: Outcome,
    policy: &Policy,
    printer: &mut Printer<W>,
    exit: u8,
    runtime: &Handle,
) -> Result<u8, CommandError> {
    let (send, news) = sync_channel(FOLLOW_QUEUE);
    let mut sources: Vec<Option<Named>> = sources.into_iter().map(Some).collect();
    for log in &outcome.logs {
        let Some(Named::Open(source)) = sources.get_mut(log.source).and_then(Option::take) else { continue };
        let Some(mut followed) = Followed::new(source, log, policy) else { continue };
        let send = send.clone();
        std::thread::spawn(move || {
            if let Err(why) = followed.follow(&send) {
                // The printer has ended if nobody takes it.
                let _ = send.send(News::Broken { source: followed.source.label(), why });
            }
        });
    }
    drop(send);
    let mut joined = Joined::new(outcome, exit)?;
    let interrupted = interrupted(runtime);
    joined.print(&news, &interrupted, printer)?;
    Ok(joined.exit)
}

/// Says when the user has had enough.
fn interrupted(runtime: &Handle) -> Receiver<()> {
    let (send, interrupted) = sync_channel(1);
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = send.try_send(());
        }
    });
    interrupted
}

/// A source that is being followed.
struct Followed {
    source: Source,
    key: VerifierKey,
    /// Over all leaves that were handed on.
    tree: Tree,
    /// Leaves that no checkpoint covers yet.
    waiting: Vec<OwnedFrame>,
}

impl Followed {
    /// Goes on where the judge ended; `None` if it did not get to the end.
    fn new(source: Source, log: &Judged, policy: &Policy) -> Option<Self> {
        let claimed = source.claimed()?;
        let key = policy.logs().iter().find(|log| log.origin().as_str() == claimed)?.key().clone();
        let mut tree = Tree::new();
        match log.leaves.as_slice() {
            [] => {}
            [(0, hashes)] => hashes.iter().for_each(|hash| tree.push(*hash)),
            _ => return None,
        }
        Some(Self { source, key, tree, waiting: Vec::new() })
    }

    fn follow(&mut self, send: &SyncSender<News>) -> Result<(), String> {
        loop {
            self.wait().map_err(|e| e.to_string())?;
            let Some(checkpoint) = self.checkpoint()? else { continue };
            while self.tree.size() < checkpoint.size() {
                if self.waiting.is_empty() {
                    return Err(format!(
                        "its checkpoint covers {} leaves, and it does not show them",
                        checkpoint.size()
                    ));
                }
                let frame = self.waiting.remove(0);
                self.tree.push(leaf_hash(&frame.leaf));
                if send.send(News::Frame(frame)).is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Waits for frames beyond those that are known.
    fn wait(&mut self) -> Result<(), SourceError> {
        let from = self.tree.size() + self.waiting.len() as u64;
        let waiting = &mut self.waiting;
        match &mut self.source {
            Source::Collector(collector) => {
                // Where some wait for their checkpoint, it is due within a second.
                let wait = if waiting.is_empty() { FOLLOW_WAIT } else { FOLLOW_POLL };
                collector.some_frames(from, u64::MAX, wait, &mut |frame| waiting.push(frame.into()))?;
            }
            Source::Directory(directory) => {
                std::thread::sleep(FOLLOW_POLL);
                let newest = directory.checkpoints()?.into_iter().next();
                let size =
                    newest.and_then(|(_, note)| Some(Checkpoint::parse(Note::parse(&note).ok()?.text()).ok()?.size()));
                let Some(size) = size.filter(|size| *size > from) else { return Ok(()) };
                let mut next = from;
                directory.frames(from, size, &mut |found| {
                    if let Found::Frame(frame) = found
                        && frame.index.get() == next
                    {
                        waiting.push(frame.into());
                        next += 1;
                    }
                })?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint, if it covers more than is known and leads from there to the leaves that wait.
    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, String> {
        let notes = self.source.checkpoints().map_err(|e| e.to_string())?;
        let Some((_, note)) = notes.first() else { return Err("it has no checkpoint any more".to_owned()) };
        let note = Note::parse(note).map_err(|e| e.to_string())?;
        let checkpoint = Checkpoint::open(&note, &self.key).map_err(|e| e.to_string())?;
        let known = self.tree.size() + self.waiting.len() as u64;
        if checkpoint.size() <= self.tree.size() || checkpoint.size() > known {
            return Ok(None);
        }
        let mut tree = self.tree.clone();
        for frame in self.waiting.iter().take_while(|frame| frame.index.get() < checkpoint.size()) {
            tree.push(leaf_hash(&frame.leaf));
        }
        if tree.root() == checkpoint.root() {
            return Ok(Some(checkpoint));
        }
        Err(format!("the leaves that it shows are not those that it signed, up to {}", checkpoint.size()))
    }
}

/// Chains, joined over all sources.
struct Joined {
    introduced: Introduced,
    heads: HashMap<ChainId, Head>,
    held: HashMap<ChainId, BTreeMap<u64, (Commitment, Vec<u8>)>>,
    packer: Packer,
    exit: u8,
}

impl Joined {
    fn new(outcome: Outcome, exit: u8) -> Result<Self> {
        let head = |chain: &indelible_chain::verify::ChainSummary| Head { next_seq: chain.next_seq, link: chain.head };
        let heads = outcome.report.chains.iter().map(|chain| (chain.chain_id, head(chain))).collect();
        Ok(Self { introduced: outcome.introduced, heads, held: HashMap::new(), packer: Packer::new()?, exit })
    }

    fn print<W: Write>(
        &mut self,
        news: &Receiver<News>,
        interrupted: &Receiver<()>,
        printer: &mut Printer<W>,
    ) -> Result<()> {
        let mut flushed = Instant::now();
        while interrupted.try_recv().is_err() {
            match news.recv_timeout(Duration::from_millis(100)) {
                Ok(News::Frame(frame)) => self.frame(&frame, printer)?,
                Ok(News::Broken { source, why }) => self.complain(&format!("{source} is not followed any more: {why}")),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if flushed.elapsed() > Duration::from_millis(100) {
                printer.flush()?;
                flushed = Instant::now();
            }
        }
        Ok(printer.flush()?)
    }

    fn complain(&mut self, text: &str) {
        anstream::eprintln!("indelible: fail: {}", one_line(text));
        self.exit = TAMPERED;
    }

    fn frame<W: Write>(&mut self, frame: &OwnedFrame, printer: &mut Printer<W>) -> Result<()> {
        self.introduced.learn(&frame.leaf);
        let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(&frame.leaf) else { return Ok(()) };
        let chain = commitment.chain;
        let Some(genesis) = self.introduced.chains.get(&chain) else {
            self.complain(&format!("leaf {}: a batch of chain {chain}, which nothing introduced", frame.index));
            return Ok(());
        };
        if !printer.wants(genesis) {
            return Ok(());
        }
        let session = self.introduced.sessions.get(&commitment.session);
        let signed = session.is_some_and(|s| s.owns(genesis) && commitment.is_signed_by(&s.public_key));
        let stored = Stored { codec: frame.codec, bytes: &frame.body };
        let body = match unpack(&commitment, stored, &mut self.packer) {
            Ok(body) if signed => body,
            Ok(_) => {
                self.complain(&format!("leaf {}: not signed by a session of the pod", frame.index));
                return Ok(());
            }
            Err(why) => {
                self.complain(&format!("leaf {}: {why}", frame.index));
                return Ok(());
            }
        };
        let held = self.held.entry(chain).or_default();
        held.insert(commitment.first_seq.get(), (commitment, body));
        if held.len() > MAX_HELD_BATCHES {
            held.pop_last();
            self.complain(&format!("chain {chain}: too many batches wait for records that do not come"));
        }
        self.show(chain, printer)
    }

    /// Shows the batches that begin where the chain is, or before.
    fn show<W: Write>(&mut self, chain: ChainId, printer: &mut Printer<W>) -> Result<()> {
        let mut head = self.heads.get(&chain).copied().unwrap_or_else(|| Head::start_of(chain));
        let Some(genesis) = self.introduced.chains.get(&chain).cloned() else { return Ok(()) };
        while let Some(entry) = self.held.get_mut(&chain).and_then(BTreeMap::first_entry) {
            if *entry.key() > head.next_seq.get() {
                break;
            }
            let (commitment, body) = entry.remove();
            if !joins(&commitment, &body, head) {
                self.complain(&format!("chain {chain}: two links for the position before {}", head.next_seq));
                continue;
            }
            for (seq, at) in positions(&commitment, &body) {
                if seq < head.next_seq {
                    continue;
                }
                if let Some(Ok(record)) = Records::new(&body[at..]).next() {
                    printer.record(Whose { chain, genesis: &genesis }, seq, &record)?;
                }
            }
            if commitment.next_seq() > head.next_seq {
                head = commitment.head_after();
            }
        }
        self.heads.insert(chain, head);
        Ok(())
    }
}

/// Whether a checked batch states the link that the chain has at its head, as far as it reaches there.
fn joins(commitment: &Commitment, body: &[u8], head: Head) -> bool {
    if commitment.first_seq == head.next_seq {
        return commitment.prev_link == head.link;
    }
    if commitment.next_seq() < head.next_seq {
        return true; // all of it was shown before, and its end is not the chain's
    }
    let mut joins = false;
    let checked = Batch::new(*commitment, body).check_body(|_, after| joins |= after == head);
    checked.is_ok() && joins
}
