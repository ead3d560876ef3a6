//! `indelible status`: logs, sizes, chains, heads and lag, as the sources say.
//!
//! A quick look, not a verification: nothing is recomputed, nobody's signature is judged, and the output says so. A data
//! directory is read through; a collector is asked for its lists.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::note::Note;
use indelible_chain::statement::Statement;
use indelible_chain::verify::Scope;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::args::StatusArgs;
use crate::clock::{rfc3339, rfc3339_seconds, span};
use crate::exit::{CommandError, UNVERIFIED};
use crate::judging::Named;
use crate::report::people::{count, table};
use crate::source::collector::{Collector, ListedChain};
use crate::source::directory::Directory;
use crate::source::{Found, Source};
use crate::terms::scope;
use crate::text::one_line;
use crate::verify::open;
use crate::{clock, terminal};

/// Most chains of one collector that are asked for.
const MAX_CHAINS: usize = 100_000;
/// Of so many chains the heads are asked for one by one.
const MAX_HEADS: usize = 256;

/// Runs the command; gives the exit code.
pub fn run(args: &StatusArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let now = clock::now();
    let scope = scope(&args.filter, now);
    let (sources, _) = open(&args.source, runtime)?;
    let mut status = Status::default();
    for source in sources {
        let (label, shown) = match source {
            Named::Closed { label, why } => (label, Err(anyhow::anyhow!(why))),
            Named::Open(Source::Collector(mut collector)) => {
                (collector.label().to_owned(), status.collector(&mut collector, &scope, now))
            }
            Named::Open(Source::Directory(mut directory)) => {
                (directory.label(), status.directory(&mut directory, &scope, now))
            }
        };
        if let Err(e) = shown {
            status.unreadable.push(Unreadable { source: label, why: one_line(&format!("{e:#}")) });
        }
    }
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status.json()).map_err(anyhow::Error::from)?)?;
    } else {
        status.tell(&mut out)?;
    }
    Ok(if status.unreadable.is_empty() { 0 } else { UNVERIFIED })
}

#[derive(Debug, Default)]
struct Status {
    logs: Vec<Log>,
    chains: BTreeMap<ChainId, Chain>,
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct Log {
    origin: String,
    source: String,
    size: u64,
    newest_leaf_time: Option<String>,
    lag_ms: Option<i64>,
    sealed: Option<bool>,
}

#[derive(Debug, Clone)]
struct Chain {
    genesis: Genesis,
    next_seq: u64,
    head: Option<String>,
    first: Option<Time>,
    last: Option<Time>,
    closed: bool,
    logs: usize,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    source: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Json<'a> {
    logs: &'a [Log],
    chains: Vec<JsonChain<'a>>,
    unreadable: &'a [Unreadable],
}

#[derive(Debug, Serialize)]
struct JsonChain<'a> {
    chain_id: String,
    namespace: &'a str,
    pod: &'a str,
    pod_uid: &'a str,
    container: &'a str,
    next_seq: u64,
    head: Option<&'a str>,
    first_time: Option<String>,
    last_time: Option<String>,
    closed: bool,
    logs: usize,
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

fn is_in(scope: &Scope, genesis: &Genesis) -> bool {
    let agrees = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
    agrees(&scope.namespace, &genesis.namespace)
        && agrees(&scope.pod, &genesis.pod_name)
        && agrees(&scope.container, &genesis.container)
}

impl Status {
    fn directory(&mut self, directory: &mut Directory, scope: &Scope, now: Time) -> Result<()> {
        let notes = directory.checkpoints()?;
        let newest =
            notes.first().map(|(_, note)| -> Result<Checkpoint> { Ok(Checkpoint::parse(Note::parse(note)?.text())?) });
        let newest = newest.ok_or_else(|| anyhow::anyhow!("there is no checkpoint in it"))??;
        let mut own: BTreeMap<ChainId, Chain> = BTreeMap::new();
        let (mut received, mut sealed) = (None, false);
        directory.frames(0, newest.size(), &mut |found| {
            let Found::Frame(frame) = found else { return };
            let Ok(leaf) = Leaf::decode(frame.leaf) else { return };
            received = received.max(leaf.received_at());
            sealed = matches!(leaf, Leaf::Statement { statement: Statement::Sealed { .. }, .. });
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

    fn collector(&mut self, collector: &mut Collector, scope: &Scope, now: Time) -> Result<()> {
        let about = collector.about()?;
        let mut newest = None;
        if let Some(last) = about.size.checked_sub(1) {
            collector.frames(last, about.size, &mut |frame| {
                newest = Leaf::decode(frame.leaf).ok().map(|leaf| {
                    let sealed = matches!(leaf, Leaf::Statement { statement: Statement::Sealed { .. }, .. });
                    (leaf.received_at(), sealed)
                });
            })?;
        }
        let mut filter = String::new();
        for (name, value) in [("namespace", &scope.namespace), ("pod", &scope.pod), ("container", &scope.container)] {
            if let Some(value) = value {
                let _ = write!(filter, "&{name}={value}"); // a String takes everything
            }
        }
        let listed = collector.chains(&filter, MAX_CHAINS)?;
        let ask_heads = listed.len() <= MAX_HEADS;
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
        if !is_in(scope, &own.genesis) {
            return;
        }
        let chain = self.chains.entry(id).or_insert_with(|| Chain::new(own.genesis.clone()));
        chain.add(own.next_seq, own.head, own.first, own.last, own.closed);
        chain.logs += 1;
    }

    fn sorted(&self) -> Vec<(&ChainId, &Chain)> {
        let mut chains: Vec<_> = self.chains.iter().collect();
        chains.sort_by_key(|(_, chain)| {
            let Genesis { namespace, pod_name, container, incarnation, .. } = &chain.genesis;
            (namespace, pod_name, container, *incarnation)
        });
        chains
    }

    fn json(&self) -> Json<'_> {
        let chains = self.sorted().into_iter().map(|(id, chain)| JsonChain {
            chain_id: id.to_string(),
            namespace: &chain.genesis.namespace,
            pod: &chain.genesis.pod_name,
            pod_uid: &chain.genesis.pod_uid,
            container: &chain.genesis.container,
            next_seq: chain.next_seq,
            head: chain.head.as_deref(),
            first_time: chain.first.map(rfc3339),
            last_time: chain.last.map(rfc3339),
            closed: chain.closed,
            logs: chain.logs,
        });
        Json { logs: &self.logs, chains: chains.collect(), unreadable: &self.unreadable }
    }

    fn tell(&self, out: &mut impl Write) -> std::io::Result<()> {
        let width = terminal::width();
        if !self.logs.is_empty() {
            let mut logs = table(&["log", "source", "size", "newest leaf", "lag", "state"], width);
            for log in &self.logs {
                logs.add_row([
                    one_line(&log.origin),
                    one_line(&log.source),
                    log.size.to_string(),
                    log.newest_leaf_time.clone().unwrap_or_default(),
                    log.lag_ms.map(|ms| span(ms.saturating_mul(1_000_000))).unwrap_or_default(),
                    if log.sealed == Some(true) { "sealed" } else { "open" }.to_owned(),
                ]);
            }
            writeln!(out, "{logs}")?;
        }
        if !self.chains.is_empty() {
            let mut chains = table(&["namespace/pod", "container", "records", "last", "head", "state", "logs"], width);
            for (_, chain) in self.sorted() {
                let Genesis { namespace, pod_name, container, .. } = &chain.genesis;
                chains.add_row([
                    one_line(&format!("{namespace}/{pod_name}")),
                    one_line(container),
                    chain.next_seq.to_string(),
                    chain.last.map(rfc3339_seconds).unwrap_or_default(),
                    chain.head.as_deref().map(|head| head.chars().take(16).collect()).unwrap_or_default(),
                    if chain.closed { "closed" } else { "open" }.to_owned(),
                    chain.logs.to_string(),
                ]);
            }
            writeln!(out, "{chains}")?;
        }
        for Unreadable { source, why } in &self.unreadable {
            writeln!(out, "{source} cannot be read: {why}")?;
        }
        let (logs, chains) = (count(self.logs.len() as u64, "log", "logs"), self.chains.len() as u64);
        writeln!(out, "{logs}, {}, as the sources say; indelible verify judges them", count(chains, "chain", "chains"))
    }
}

/// The link before `next_seq`, from the batch that ends there.
fn head(collector: &mut Collector, chain: &ListedChain) -> Result<Option<String>> {
    let Some(last) = chain.next_seq.checked_sub(1) else { return Ok(None) };
    if chain.chain_id.parse::<ChainId>().is_err() {
        return Ok(None);
    }
    let mut head = None;
    collector.batches(&chain.chain_id, last, chain.next_seq, &mut |_, leaf| {
        if let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(leaf)
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
