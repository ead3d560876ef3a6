//! Pods that send batches to a collector as fast as it answers, in place of sidecars.
//!
//! Everything that takes time is done beforehand ([`make`]): records, links, signatures, packing. Then each slot of each
//! pod sends its own chain's batches, the next one when the one before is receipted, over one HTTP/2 connection a pod.
//! What counts is what is receipted within a window that begins after a warm-up; every receipt is checked afterwards.

mod connection;
mod made;
mod receipts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::limits::{CASE, MAX_CONNECTIONS, MAX_SENDERS};
use crate::world::{Collector, Pod, World};
use connection::Connection;
pub use made::{Made, Payloads, Plan, checked, make, unpacked};
use receipts::Answered;

/// Connections of one pod, of those that are only held.
const CONNECTIONS_OF_A_POD: usize = 50;
/// How long who was told to come again waits.
const PAUSE: Duration = Duration::from_millis(200);

/// What was receipted within the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipted {
    /// Batches.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Receipts that were checked, those of the warm-up among them.
    pub checked: u64,
    /// How often the collector said that it has too much to do; what it refused is sent again.
    pub refused: u64,
    /// The window.
    pub window: Duration,
}

/// A window and what comes before it.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// How long is sent before it begins.
    pub warm_up: Duration,
    /// How long it is.
    pub length: Duration,
}

/// Introduces all pods and chains to a collector, sends for a while, and checks every receipt.
///
/// `in_window` is called at the window's beginning and at its end.
pub fn send(
    world: &World,
    collector: &Collector,
    made: &Arc<Made>,
    window: Window,
    mut in_window: impl FnMut() -> Result<()>,
) -> Result<Receipted> {
    ensure!(made.pods.len() <= MAX_SENDERS, "{} pods are more than {MAX_SENDERS}", made.pods.len());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let pods = runtime.block_on(introduce(world, collector, made))?;
    let begin = Instant::now() + window.warm_up;
    let end = begin + window.length;
    let mut slots = JoinSet::new();
    for (pod, connection) in pods.into_iter().enumerate() {
        for slot in 0..made.pods[pod].chains.len() {
            let _guard = runtime.enter();
            slots.spawn(of_slot(connection.clone(), Arc::clone(made), (pod, slot), (begin, end)));
        }
    }
    std::thread::sleep(begin.saturating_duration_since(Instant::now()));
    in_window()?;
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    in_window()?;
    let answered = runtime.block_on(async {
        let mut answered = Vec::new();
        while let Some(slot) = tokio::time::timeout(CASE, slots.join_next()).await? {
            answered.push(slot??);
        }
        anyhow::Ok(answered)
    })?;
    drop(runtime);
    let sum = |of: fn(&Answered) -> u64| answered.iter().map(of).sum::<u64>();
    let (batches, refused) = (sum(|slot| slot.within), sum(|slot| slot.refused));
    let checked = receipts::check(made, collector.vkey(), &answered)?;
    Ok(Receipted { batches, records: batches * u64::from(made.plan.records), checked, refused, window: window.length })
}

/// Opens `count` connections, shows a token on each, and then leaves them alone for a while; `idle` is called at its end.
pub fn hold(
    world: &World,
    collector: &Collector,
    count: usize,
    length: Duration,
    idle: impl FnOnce() -> Result<()>,
) -> Result<()> {
    ensure!(count <= MAX_CONNECTIONS, "{count} connections are more than {MAX_CONNECTIONS}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let ca = std::fs::read(world.authority.ca())?;
    let mut held = Vec::new();
    runtime.block_on(async {
        for n in 0..count {
            let token = world.issuer.pod_token(&Pod::numbered(n / CONNECTIONS_OF_A_POD))?;
            let connection = Connection::open(collector.url(), &ca, &token).await?;
            let (status, said) = connection.call("GET", "/v1/log", Bytes::new()).await?;
            ensure!(status == 200, "GET /v1/log: {status}: {}", String::from_utf8_lossy(&said));
            held.push(connection);
        }
        tokio::time::sleep(length).await;
        for connection in &held {
            ensure!(connection.is_open(), "the collector has closed a connection");
        }
        anyhow::Ok(())
    })?;
    idle()
}

/// Connects and introduces every pod.
async fn introduce(world: &World, collector: &Collector, made: &Arc<Made>) -> Result<Vec<Connection>> {
    let ca = std::fs::read(world.authority.ca())?;
    let mut pods = Vec::new();
    for pod in &made.pods {
        let token = world.issuer.pod_token(&pod.pod)?;
        let connection = Connection::open(collector.url(), &ca, &token).await?;
        let put = async |path: String, body: &Bytes| {
            let (status, said) = connection.call("PUT", &path, body.clone()).await?;
            ensure!(status == 201, "PUT {path}: {status}: {}", String::from_utf8_lossy(&said));
            Ok(())
        };
        put(format!("/v1/sessions/{}", pod.session), &pod.introduction).await?;
        for chain in &pod.chains {
            put(format!("/v1/chains/{}", chain.id), &chain.introduction).await?;
        }
        pods.push(connection);
    }
    Ok(pods)
}

/// One slot: a chain's batches one after the other, until the window is over.
async fn of_slot(
    connection: Connection,
    made: Arc<Made>,
    (pod, slot): (usize, usize),
    (begin, end): (Instant, Instant),
) -> Result<Answered> {
    let mut answered = Answered { pod, slot, receipts: Vec::new(), within: 0, refused: 0 };
    let batches = &made.pods[pod].chains[slot].batches;
    while let Some(batch) = batches.get(answered.receipts.len()) {
        let call = tokio::time::timeout_at(end.into(), connection.call("POST", "/v1/batches", batch.clone()));
        // What is not answered when the window is over does not count: all slots end then, and a collector cuts off who
        // takes back a hundred requests at once.
        let (status, body) = match call.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if Instant::now() < end => return Err(error),
            Ok(Err(_)) | Err(_) => return Ok(answered),
        };
        if matches!(status, 429 | 503) {
            answered.refused += 1;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        ensure!(status == 200, "a batch got {status}: {}", String::from_utf8_lossy(&body));
        let now = Instant::now();
        answered.within += u64::from(now >= begin && now < end);
        answered.receipts.push(body[..].try_into().context("a receipt has 145 bytes")?);
    }
    ensure!(
        Instant::now() >= end,
        "all {} batches of a slot were sent before the window was over",
        answered.receipts.len()
    );
    Ok(answered)
}
