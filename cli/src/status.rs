//! `indelible status`: logs, sizes, chains, heads and lag, as the sources say.
//!
//! A quick look, not a verification, and the output says so ([`crate::inventory`]).

use std::io::Write;

use indelible_chain::genesis::Genesis;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::args::StatusArgs;
use crate::case::{found, opened};
use crate::clock::{rfc3339, rfc3339_seconds, span};
use crate::exit::{CommandError, UNVERIFIED};
use crate::inventory::{Inventory, Log, Unreadable};
use crate::limits::MAX_ASKED_HEADS;
use crate::report::people::{count, table};
use crate::terms::scope;
use crate::text::one_line;
use crate::{clock, terminal};

/// Digits of a head that are shown.
const HEAD_DIGITS: usize = 12;

/// Runs the command; gives the exit code.
pub fn run(args: &StatusArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let now = clock::now();
    let found = found(&args.source, true, runtime)?;
    let (mut sources, _) = opened(&args.source, &found, runtime)?;
    let inventory = Inventory::of(&mut sources, &scope(&args.filter, now), now, MAX_ASKED_HEADS);
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&json(&inventory)).map_err(anyhow::Error::from)?)?;
    } else {
        tell(&inventory, &mut out)?;
    }
    Ok(if inventory.unreadable.is_empty() { 0 } else { UNVERIFIED })
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

fn json(inventory: &Inventory) -> Json<'_> {
    let chains = inventory.sorted().into_iter().map(|(id, chain)| JsonChain {
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
    Json { logs: &inventory.logs, chains: chains.collect(), unreadable: &inventory.unreadable }
}

fn tell(inventory: &Inventory, out: &mut impl Write) -> std::io::Result<()> {
    let width = terminal::width();
    if !inventory.logs.is_empty() {
        let mut logs = table(&["log", "source", "size", "newest leaf", "lag", "state"], width);
        for log in &inventory.logs {
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
    if !inventory.chains.is_empty() {
        let mut chains =
            table(&["chain", "namespace/pod", "container", "records", "last", "head", "state", "logs"], width);
        let digits = inventory.prefix_len();
        for (id, chain) in inventory.sorted() {
            let Genesis { namespace, pod_name, container, .. } = &chain.genesis;
            chains.add_row([
                id.to_string().chars().take(digits).collect(),
                one_line(&format!("{namespace}/{pod_name}")),
                one_line(container),
                chain.next_seq.to_string(),
                chain.last.map(rfc3339_seconds).unwrap_or_default(),
                chain.head.as_deref().map(|head| head.chars().take(HEAD_DIGITS).collect()).unwrap_or_default(),
                if chain.closed { "closed" } else { "open" }.to_owned(),
                chain.logs.to_string(),
            ]);
        }
        writeln!(out, "{chains}")?;
    }
    for Unreadable { source, why } in &inventory.unreadable {
        writeln!(out, "{source} cannot be read: {why}")?;
    }
    let (logs, chains) = (count(inventory.logs.len() as u64, "log", "logs"), inventory.chains.len() as u64);
    writeln!(out, "{logs}, {}, as the sources say; indelible verify judges them", count(chains, "chain", "chains"))
}
