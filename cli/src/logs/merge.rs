//! The records of all chains in one stream, the oldest first.
//!
//! A chain is opened when the stream comes to its first time and closed after its last record, so that only chains that
//! overlap in time are held, one batch each. A batch is read again from its source and must be the leaf that was judged,
//! with a body that leads to its links; otherwise its chain stops there, and that is said.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::Write;

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
use crate::judging::{Named, Outcome};
use crate::text::one_line;

/// A chain that is being read.
struct Reading<'a> {
    route: &'a Route,
    genesis: &'a Genesis,
    next: usize,
    body: Vec<u8>,
    /// Records of `body` that are still to be shown: position, where it begins.
    records: VecDeque<(Seq, usize)>,
}

/// Prints all that is in scope; gives whether something that was judged could not be read again.
pub fn print<W: Write>(outcome: &Outcome, sources: &mut [Named], printer: &mut Printer<W>) -> Result<bool> {
    let mut packer = Packer::new()?;
    let mut unread = false;
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
            printer.record(whose, seq, &record)?;
        }
        while chain.records.is_empty() && chain.next < chain.route.stretches.len() {
            let stretch = chain.route.stretches[chain.next];
            chain.next += 1;
            if let Err(why) = chain.load(outcome, sources, &stretch, &mut packer) {
                let Genesis { namespace, pod_name, container, .. } = chain.genesis;
                let whose = one_line(&format!("{namespace}/{pod_name}/{container}"));
                anstream::eprintln!("indelible: fail: {whose} from record {} on is not shown: {why}", stretch.from_seq);
                unread = true;
                chain.next = chain.route.stretches.len();
            }
        }
        match chain.time() {
            Some(time) => due.push(Reverse((time, n))),
            None => printer.end_of(whose.chain)?,
        }
    }
    Ok(unread)
}

impl Reading<'_> {
    fn load(
        &mut self,
        outcome: &Outcome,
        sources: &mut [Named],
        stretch: &Stretch,
        packer: &mut Packer,
    ) -> Result<(), String> {
        let log = outcome.logs.iter().find(|log| log.view == stretch.view).ok_or("its log is not at hand")?;
        let Named::Open(source) = &mut sources[log.source] else { return Err("its source is closed".to_owned()) };
        let label = source.label();
        let frame = source.frame(stretch.index).map_err(|e| e.to_string())?;
        let frame = frame.ok_or_else(|| format!("{label} does not show leaf {} again", stretch.index))?;
        if log.leaf(stretch.index) != Some(leaf_hash(&frame.leaf)) {
            return Err(format!("{label} shows another leaf {} than it did before", stretch.index));
        }
        let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(&frame.leaf) else {
            return Err(format!("leaf {} of {label} is no batch", stretch.index));
        };
        let stored = Stored { codec: frame.codec, bytes: &frame.body };
        self.body =
            unpack(&commitment, stored, packer).map_err(|why| format!("leaf {} of {label}: {why}", stretch.index))?;
        self.records = positions(&commitment, &self.body);
        self.records.retain(|(seq, _)| (stretch.from_seq..stretch.next_seq).contains(seq));
        Ok(())
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

/// A batch's body, if it is the one that its commitment is about.
pub fn unpack(commitment: &Commitment, stored: Stored<'_>, packer: &mut Packer) -> Result<Vec<u8>, String> {
    let body = packer.unpack(stored, commitment.body_len as usize).map_err(|e| e.to_string())?;
    Batch::new(*commitment, body).check_body(|_, _: Head| ()).map_err(|e| e.to_string())?;
    Ok(body.to_vec())
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
