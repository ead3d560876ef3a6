//! One chain over all logs: its batches in order, every link computed again, each position once.

use std::collections::VecDeque;

use anyhow::Result;

use super::segments::{Commitment, Genesis, Log};
use super::{CONTROL, Case, Verdict, short};
use crate::tamper::wire::{Digest, Record, link};

/// What a record has beside its payload in a body.
const RECORD_HEADER: u64 = 14;

/// A chain.
#[derive(Debug)]
pub struct Chain {
    /// Its id.
    pub id: Digest,
    /// What it is the chain of.
    pub genesis: Genesis,
    /// Its batches, from all logs.
    pub batches: Vec<Commitment>,
    /// Where another one took over from it, if one did: what is stored from there on is not part of the whole.
    pub until: Option<u64>,
}

/// The links from the first position of the newest batch on. Batches come in the order of their first positions, so no
/// older one is asked for.
struct Links {
    /// The position behind the first of those that are known.
    first: u64,
    known: VecDeque<Digest>,
}

impl Links {
    /// The position after the last one.
    fn next(&self) -> u64 {
        self.first + self.known.len() as u64 - 1
    }

    /// The link before position `seq`.
    fn before(&self, seq: u64) -> Option<Digest> {
        self.known.get(usize::try_from(seq.checked_sub(self.first)?).ok()?).copied()
    }

    /// The link before position `seq`, at which a batch begins. Those before it are forgotten.
    fn begin(&mut self, seq: u64) -> Option<Digest> {
        let link = self.before(seq)?;
        self.known.drain(..usize::try_from(seq - self.first).ok()?);
        self.first = seq;
        Some(link)
    }
}

impl Chain {
    /// A chain without batches.
    pub const fn new(id: Digest, genesis: Genesis) -> Self {
        Self { id, genesis, batches: Vec::new(), until: None }
    }

    /// What it takes over from, if it does: a chain, and the position there.
    pub fn takes_over(&self, logs: &[Log]) -> Result<Option<(String, u64)>> {
        let Some(batch) = self.batches.iter().find(|batch| batch.first == 0) else { return Ok(None) };
        let records = logs[batch.log].records(batch)?;
        let Some(first) = records.first().filter(|record| record.source == CONTROL) else { return Ok(None) };
        let said: serde_json::Value = serde_json::from_slice(&first.payload)?;
        let from = said["chain"].as_str().filter(|chain| said["kind"] == "resumed" && !chain.is_empty());
        let from = from.zip(said["next_seq"].as_u64());
        Ok(from.map(|(chain, next)| (chain.to_owned(), next)))
    }

    /// Shows every record of the chain once, in order.
    pub fn walk(
        &self,
        case: &Case,
        logs: &[Log],
        verdict: &mut Verdict,
        mut show: impl FnMut(&Record, &mut Verdict),
    ) -> Result<()> {
        let name = format!("chain {} of {}", short(&self.id), self.genesis.container());
        let mut batches: Vec<&Commitment> = self.batches.iter().collect();
        // What was sent again on purpose comes last of its kind: it is what is counted as stored before.
        batches.sort_by_key(|b| (b.first, case.repeated.contains(&(b.log, b.digest)), b.count, b.log, b.index));
        let mut links = Links { first: 0, known: VecDeque::from([self.id]) };
        let until = self.until.unwrap_or(u64::MAX);
        for batch in batches {
            let next = links.next();
            // What its sidecar had sent when it died and nobody took over: there may be holes in it.
            if batch.first > next && next >= until {
                verdict.twice_bytes += batch.body_len;
                continue;
            }
            if batch.first > next {
                let last = batch.first - 1;
                verdict.lost += batch.first - next;
                verdict.wrong.push(format!("{name}: positions {next} to {last} are missing"));
                return Ok(());
            }
            if links.begin(batch.first) != Some(batch.prev) {
                verdict.forks += 1;
                verdict.wrong.push(format!("{name}: two links before position {}", batch.first));
                return Ok(());
            }
            let records = logs[batch.log].records(batch)?;
            let is_repeated = case.repeated.contains(&(batch.log, batch.digest));
            let mut at = batch.prev;
            for (seq, record) in (batch.first..).zip(&records) {
                at = link(&self.id, seq, &at, record);
                let bytes = record.payload.len() as u64 + RECORD_HEADER;
                if seq == links.next() {
                    links.known.push_back(at);
                    if seq < until {
                        show(record, verdict);
                    } else {
                        verdict.twice_bytes += bytes;
                    }
                    continue;
                }
                verdict.twice_bytes += bytes;
                verdict.repeated_bytes += if is_repeated { bytes } else { 0 };
                if links.before(seq + 1) != Some(at) {
                    verdict.forks += 1;
                    verdict.wrong.push(format!("{name}: two links after position {seq}"));
                    return Ok(());
                }
            }
            if at != batch.last || records.len() != batch.count as usize {
                verdict.wrong.push(format!("{name}: the batch at {} is not what it says", batch.first));
            }
        }
        Ok(())
    }
}
