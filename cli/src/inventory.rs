//! What sources say that there is: their logs, and the chains in them.
//!
//! A look, not a verification: nothing is recomputed, nobody's signature is judged. A data directory is read through; a
//! collector is asked for its lists. Chains are joined over all sources before the range of times is applied: a part of
//! a chain says nothing about when all of it was printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, anyhow, ensure};
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::note::Note;
use indelible_chain::verify::Scope;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::judging::Named;
use crate::limits::MAX_LISTED_CHAINS;
use crate::source::collector::{Collector, ListedChain};
use crate::source::directory::Directory;
use crate::source::{Found, Source};
use crate::text::one_line;

/// Fewest digits of a chain's id that are shown.
const MIN_PREFIX: usize = 8;

/// Logs and chains, as the sources say.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The logs, in the order of the sources.
    pub logs: Vec<Log>,
    /// The chains of all of them that are in scope.
    pub chains: BTreeMap<ChainId, Chain>,
    /// What cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// A log.
#[derive(Debug, Serialize)]
pub struct Log {
    /// What it calls itself.
    pub origin: String,
    /// Where it was read.
    pub source: String,
    /// Leaves under its newest checkpoint.
    pub size: u64,
    /// When its newest leaf was taken.
    pub newest_leaf_time: Option<String>,
    /// How long ago that was.
    pub lag_ms: Option<i64>,
    /// Whether it has ended.
    pub sealed: Option<bool>,
}

/// A chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Whose it is.
    pub genesis: Genesis,
    /// The position after its last record.
    pub next_seq: u64,
    /// The link there, if it was asked for.
    pub head: Option<String>,
    /// When its first record was printed.
    pub first: Option<Time>,
    /// When its last one was.
    pub last: Option<Time>,
    /// Whether it has ended.
    pub closed: bool,
    /// How many logs hold some of it.
    pub logs: usize,
}

/// A source that could not be read.
#[derive(Debug, Serialize)]
pub struct Unreadable {
    /// Which.
    pub source: String,
    /// Why.
    pub why: String,
}

impl Chain {
    fn new(genesis: Genesis) -> Self {
        Self { genesis, next_seq: 0, head: None, first: None, last: None, closed: false, logs: 0 }
    }

    /// What another log, or another batch, has of the chain.
    fn add(&mut self, next_seq: u64, head: Option<String>, first: Option<Time>, last: Option<Time>, closed: bool) {
        if next_seq >= self.next_seq {
            (self.next_seq, self.head) = (next_seq, head);
        }
        self.first = self.first.into_iter().chain(first).min();
        self.last = self.last.into_iter().chain(last).max();
        self.closed |= closed;
    }
}

/// Whether a chain has records in the range that is asked for; one without records is in the range without ends.
fn is_in_range(scope: &Scope, chain: &Chain) -> bool {
    scope.since.is_none_or(|since| chain.last.is_some_and(|last| last >= since))
        && scope.until.is_none_or(|until| chain.first.is_some_and(|first| first < until))
}

impl Inventory {
    /// Asks all sources. Of up to so many chains a collector is asked for the heads, one by one.
    pub fn of(sources: &mut [Named], scope: &Scope, now: Time, most_heads: usize) -> Self {
        let mut inventory = Self::default();
        for source in sources {
            let (label, shown) = match source {
                Named::Closed { label, why } => (label.clone(), Err(anyhow!(why.clone()))),
                Named::Open(Source::Collector(collector)) => {
                    (collector.label().to_owned(), inventory.collector(collector, scope, now, most_heads))
                }
                Named::Open(Source::Directory(directory)) => {
                    (directory.label(), inventory.directory(directory, scope, now))
                }
            };
            if let Err(e) = shown {
                inventory.unreadable.push(Unreadable { source: label, why: one_line(&format!("{e:#}")) });
            }
        }
        inventory.chains.retain(|_, chain| is_in_range(scope, chain));
        inventory
    }

    /// The chains by namespace, pod, container and incarnation.
    pub fn sorted(&self) -> Vec<(&ChainId, &Chain)> {
        let mut chains: Vec<_> = self.chains.iter().collect();
        chains.sort_by_key(|(_, chain)| {
            let Genesis { namespace, pod_name, container, incarnation, .. } = &chain.genesis;
            (namespace, pod_name, container, *incarnation)
        });
        chains
    }

    /// How many digits tell the ids of all these chains apart.
    pub fn prefix_len(&self) -> usize {
        let ids: Vec<String> = self.chains.keys().map(ToString::to_string).collect();
        let common = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
        // In order, those that are most alike are neighbours.
        ids.windows(2).map(|pair| common(pair) + 1).max().unwrap_or(0).max(MIN_PREFIX)
    }

    fn directory(&mut self, directory: &mut Directory, scope: &Scope, now: Time) -> Result<()> {
        let notes = directory.checkpoints()?;
        let newest =
            notes.first().map(|(_, note)| -> Result<Checkpoint> { Ok(Checkpoint::parse(Note::parse(note)?.text())?) });
        let newest = newest.ok_or_else(|| anyhow!("there is no checkpoint in it"))??;
        let mut own: BTreeMap<ChainId, Chain> = BTreeMap::new();
        let (mut received, mut sealed) = (None, false);
        directory.frames(0, newest.size(), &mut |found| {
            let Found::Frame(frame) = found else { return };
            let Ok(leaf) = Leaf::decode(frame.leaf) else { return };
            received = received.max(leaf.received_at());
            sealed = leaf.is_seal();
            match leaf {
                Leaf::Genesis { genesis, .. } => {
                    if let Ok(id) = genesis.chain_id() {
                        own.entry(id).or_insert_with(|| Chain::new(genesis));
                    }
                }
                Leaf::Batch { commitment: c, .. } => {
                    if let Some(chain) = own.get_mut(&c.chain) {
                        let (first, last) = (c.first_time.min(c.last_time), c.first_time.max(c.last_time));
                        let head = Some(c.last_link.to_string());
                        chain.add(c.next_seq().get(), head, Some(first), Some(last), c.is_final);
                    }
                }
                _ => {}
            }
        })?;
        for (id, chain) in own {
            self.chain(id, chain, scope);
        }
        self.logs.push(Log {
            origin: newest.origin().to_string(),
            source: directory.label(),
            size: newest.size(),
            newest_leaf_time: received.map(rfc3339),
            lag_ms: received.map(|received| now.since(received) / 1_000_000),
            sealed: Some(sealed),
        });
        Ok(())
    }

    fn collector(&mut self, collector: &mut Collector, scope: &Scope, now: Time, most_heads: usize) -> Result<()> {
        let about = collector.about()?;
        let mut newest = None;
        if let Some(last) = about.size.checked_sub(1) {
            collector.frames(last, about.size, &mut |frame| {
                newest = Leaf::decode(frame.leaf).ok().map(|leaf| (leaf.received_at(), leaf.is_seal()));
            })?;
        }
        let mut filter = String::new();
        for (name, value) in [("namespace", &scope.namespace), ("pod", &scope.pod), ("container", &scope.container)] {
            if let Some(value) = value {
                let _ = write!(filter, "&{name}={value}"); // a String takes everything
            }
        }
        let listed = collector.chains(&filter, MAX_LISTED_CHAINS + 1)?;
        ensure!(
            listed.len() <= MAX_LISTED_CHAINS,
            "it lists more than {MAX_LISTED_CHAINS} chains; narrow them with --namespace, --pod or --container"
        );
        let ask_heads = listed.len() <= most_heads;
        for chain in listed {
            let head = if ask_heads { head(collector, &chain)? } else { None };
            let Some(genesis) = genesis(&chain.genesis) else { continue };
            let Ok(id) = genesis.chain_id() else { continue };
            let time = |nanos: Option<i64>| nanos.map(Time::from_nanos);
            let mut own = Chain::new(genesis);
            own.add(chain.next_seq, head, time(chain.first_time), time(chain.last_time), chain.closed);
            self.chain(id, own, scope);
        }
        let received = newest.and_then(|(received, _)| received);
        self.logs.push(Log {
            origin: about.origin,
            source: collector.label().to_owned(),
            size: about.size,
            newest_leaf_time: received.map(rfc3339),
            lag_ms: received.map(|received| now.since(received) / 1_000_000),
            sealed: newest.map(|(_, sealed)| sealed),
        });
        Ok(())
    }

    fn chain(&mut self, id: ChainId, own: Chain, scope: &Scope) {
        if !scope.names(&own.genesis) {
            return;
        }
        let chain = self.chains.entry(id).or_insert_with(|| Chain::new(own.genesis.clone()));
        chain.add(own.next_seq, own.head, own.first, own.last, own.closed);
        chain.logs += 1;
    }
}

/// The link before `next_seq`, from the batch that ends there.
fn head(collector: &mut Collector, chain: &ListedChain) -> Result<Option<String>> {
    let Some(last) = chain.next_seq.checked_sub(1) else { return Ok(None) };
    if chain.chain_id.parse::<ChainId>().is_err() {
        return Ok(None);
    }
    let mut head = None;
    collector.batches(&chain.chain_id, last, chain.next_seq, &mut |frame| {
        if let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(frame.leaf)
            && commitment.next_seq().get() == chain.next_seq
        {
            head = Some(commitment.last_link.to_string());
        }
    })?;
    Ok(head)
}

fn genesis(hex: &str) -> Option<Genesis> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?)).collect();
    bytes.filter(|_| rest.is_empty()).and_then(|bytes| Genesis::decode(&bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::issuer::Issuer;
    use crate::testlog::{NOW, TestLog};

    fn of(log: &TestLog, scope: &Scope) -> Inventory {
        let directory = Directory::open(log.path()).unwrap();
        Inventory::of(&mut [Named::Open(Source::Directory(Box::new(directory)))], scope, NOW, 0)
    }

    #[test]
    fn a_data_directory_is_listed_with_its_chains_and_their_extent() {
        let log = TestLog::new(2, &Issuer::new().unwrap());
        let inventory = of(&log, &Scope::default());
        assert!(inventory.unreadable.is_empty(), "{inventory:?}");
        assert_eq!((inventory.logs[0].size, inventory.logs[0].sealed), (log.size(), Some(true)));
        let chain = &inventory.chains[&log.chain];
        assert_eq!((chain.next_seq, chain.first, chain.last, chain.closed), (7, Some(NOW), Some(NOW), true));
    }

    #[test]
    fn only_chains_with_records_in_the_range_of_times_are_listed() {
        let log = TestLog::new(2, &Issuer::new().unwrap());
        let listed = |since: Option<i64>, until: Option<i64>| {
            let time = |nanos: i64| NOW.plus_nanos(nanos);
            let scope = Scope { since: since.map(time), until: until.map(time), ..Scope::default() };
            of(&log, &scope).chains.len()
        };
        assert_eq!((listed(Some(0), None), listed(Some(1), None)), (1, 0));
        assert_eq!((listed(None, Some(1)), listed(None, Some(0))), (1, 0));
    }

    #[test]
    fn ids_are_shown_as_long_as_it_takes_to_tell_them_apart() {
        let log = TestLog::new(1, &Issuer::new().unwrap());
        let mut inventory = of(&log, &Scope::default());
        assert_eq!(inventory.prefix_len(), MIN_PREFIX);
        let mut id = log.chain.to_string();
        let digit = if id.ends_with('0') { "1" } else { "0" };
        id.replace_range(63.., digit);
        let chain = inventory.chains[&log.chain].clone();
        inventory.chains.insert(id.parse().unwrap(), chain);
        assert_eq!(inventory.prefix_len(), 64);
    }
}
