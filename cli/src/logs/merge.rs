//! The records of all chains in one stream, the oldest first.
//!
//! A chain is opened when the stream comes to its first time and closed after its last record, so that only chains that
//! overlap in time are held, one batch each. A batch is read again from its source and must be the leaf that was judged,
//! with a body that leads to its links; otherwise its chain stops there, and that is said.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, Write};

use anyhow::Result;
use indelible_chain::batch::{Batch, Commitment};
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, Seq, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::leaf_hash;
use indelible_chain::record::{Record, Records};
use indelible_chain::stored::{Packer, Stored};
use indelible_chain::verify::{Route, Stretch};

use super::lines::{Printer, Whose};
use super::runs::{Runs, Taken};
use crate::exit::{TAMPERED, UNVERIFIED, worse};
use crate::judging::{Named, Outcome};
use crate::terminal::say;
use crate::text::container;

/// A chain that is being read.
struct Reading<'a> {
    route: &'a Route,
    genesis: &'a Genesis,
    next: usize,
    body: Vec<u8>,
    /// Records of `body` that are still to be shown: position, where it begins.
    records: VecDeque<(Seq, usize)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Printed {
    /// The exit code of what was judged and is not shown: 1 where a log shows something else now, 4 where nothing.
    pub exit: u8,
    /// What was shown of each chain.
    pub runs: HashMap<ChainId, Runs>,
    /// Why nothing more could be written, if so.
    pub broken: Option<io::Error>,
}

/// Why a stretch of a chain is not shown.
struct Unread {
    exit: u8,
    why: String,
}

impl Unread {
    fn lost(why: impl Into<String>) -> Self {
        Self { exit: UNVERIFIED, why: why.into() }
    }

    fn changed(why: String) -> Self {
        Self { exit: TAMPERED, why }
    }
}

/// Prints all that is in scope.
pub fn print<W: Write>(outcome: &Outcome, sources: &mut [Named], printer: &mut Printer<W>) -> Result<Printed> {
    let mut packer = Packer::new()?;
    let mut printed = Printed::default();
    let mut chains: Vec<Reading<'_>> = Vec::new();
    let mut due: BinaryHeap<Reverse<(Time, usize)>> = BinaryHeap::new();
    let summaries = outcome.report.chains.iter().map(|chain| (chain.chain_id, chain.first_time.unwrap_or_default()));
    let firsts: HashMap<ChainId, Time> = summaries.collect();
    for route in &outcome.report.routes {
        let Some(genesis) = outcome.introduced.chains.get(&route.chain_id) else { continue };
        if !printer.wants(genesis) || route.stretches.is_empty() {
            continue;
        }
        let first = firsts.get(&route.chain_id).copied().unwrap_or_default();
        due.push(Reverse((first, chains.len())));
        chains.push(Reading { route, genesis, next: 0, body: Vec::new(), records: VecDeque::new() });
    }
    while let Some(Reverse((_, n))) = due.pop() {
        let chain = &mut chains[n];
        let whose = Whose { chain: chain.route.chain_id, genesis: chain.genesis };
        if let Some((seq, record)) = chain.take() {
            printed.broken = printer.record(whose, seq, &record).err();
            if printed.broken.is_some() {
                break;
            }
        }
        while chain.records.is_empty() && chain.next < chain.route.stretches.len() {
            let stretch = chain.route.stretches[chain.next];
            chain.next += 1;
            match chain.load(outcome, sources, &stretch, &mut packer) {
                Ok(heads) => {
                    let runs = printed.runs.entry(whose.chain).or_insert_with(|| Runs::new(whose.chain));
                    if runs.take(&heads) == Taken::Early {
                        runs.begin(heads[0]);
                        runs.take(&heads);
                    }
                }
                Err(Unread { exit, why }) => {
                    let whose = container(chain.genesis);
                    let from = stretch.from_seq;
                    say(format_args!("fail: {whose} from record {from} on is not shown: {why}"));
                    printed.exit = worse(printed.exit, exit);
                    chain.next = chain.route.stretches.len();
                }
            }
        }
        match chain.time() {
            Some(time) => due.push(Reverse((time, n))),
            // Nothing of it is shown any more: its last body is not held until all others have ended.
            None => chain.body = Vec::new(),
        }
    }
    Ok(printed)
}

impl Reading<'_> {
    /// Reads a stretch; gives the chain's heads before each of its records and after its last one.
    fn load(
        &mut self,
        outcome: &Outcome,
        sources: &mut [Named],
        stretch: &Stretch,
        packer: &mut Packer,
    ) -> Result<Vec<Head>, Unread> {
        let log = outcome.logs.iter().find(|log| log.view == stretch.view);
        let log = log.ok_or_else(|| Unread::lost("its log is not at hand"))?;
        let Named::Open(source) = &mut sources[log.source] else { return Err(Unread::lost("its source is closed")) };
        let label = source.label();
        let what = format!("leaf {} of {label}", stretch.index);
        let frame = source.frame(stretch.index).map_err(|e| Unread::lost(e.to_string()))?;
        let frame = frame.ok_or_else(|| Unread::lost(format!("{what} is not there any more")))?;
        if log.leaf(stretch.index) != Some(leaf_hash(&frame.leaf)) {
            return Err(Unread::changed(format!("{what} is another one than before")));
        }
        let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(&frame.leaf) else {
            return Err(Unread::changed(format!("{what} is no batch")));
        };
        let stored = Stored { codec: frame.codec, bytes: &frame.body };
        let body =
            unpack(&commitment, stored, packer).map_err(|why| Unread::changed(format!("{what} has changed: {why}")))?;
        self.records = positions(&commitment, &body.bytes);
        self.records.retain(|(seq, _)| (stretch.from_seq..stretch.next_seq).contains(seq));
        self.body = body.bytes;
        let mut heads = body.heads;
        heads.retain(|head| (stretch.from_seq..=stretch.next_seq).contains(&head.next_seq));
        Ok(heads)
    }

    fn peek(&self) -> Option<(Seq, Record<'_>)> {
        let (seq, at) = *self.records.front()?;
        Some((seq, Records::new(&self.body[at..]).next()?.ok()?))
    }

    fn take(&mut self) -> Option<(Seq, Record<'_>)> {
        let (seq, at) = self.records.pop_front()?;
        Some((seq, Records::new(&self.body[at..]).next()?.ok()?))
    }

    fn time(&self) -> Option<Time> {
        self.peek().map(|(_, record)| record.time)
    }
}

/// A batch's body that is the one that its commitment is about.
#[derive(Debug)]
pub struct Body {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The chain's heads before each record and after the last one.
    pub heads: Vec<Head>,
}

impl Body {
    /// Bytes that it takes.
    pub fn len(&self) -> usize {
        self.bytes.len() + std::mem::size_of_val(self.heads.as_slice())
    }
}

/// A batch's body, if it is the one that its commitment is about.
pub fn unpack(commitment: &Commitment, stored: Stored<'_>, packer: &mut Packer) -> Result<Body, String> {
    let bytes = packer.unpack(stored, commitment.body_len as usize).map_err(|e| e.to_string())?;
    let mut heads = vec![commitment.head_before()];
    Batch::new(*commitment, bytes).check_body(|_, head| heads.push(head)).map_err(|e| e.to_string())?;
    Ok(Body { bytes: bytes.to_vec(), heads })
}

/// Where each record of a checked body begins.
pub fn positions(commitment: &Commitment, body: &[u8]) -> VecDeque<(Seq, usize)> {
    let mut at = 0;
    let records = Records::new(body).map_while(Result::ok).zip(0..);
    let places = records.map(|(record, n)| {
        let place = (commitment.first_seq.plus(n), at);
        at += record.body_len();
        place
    });
    places.collect()
}
