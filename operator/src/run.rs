//! An operator's life: what is started in which order, and how it ends.
//!
//! Every process serves metrics, probes and admission. What writes to the cluster on its own runs only while this process
//! holds the Lease: it is started when the Lease is won and dropped, requests in flight included, when it is lost.

#[path = "../../logging.rs"]
mod logging;

use std::sync::Arc;

use indelible_chain::cosignature::Cosigner;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::certificates::webhook;
use crate::config::{Config, LogFormat};
use crate::events::Events;
use crate::inject;
use crate::keys::Keys;
use crate::leader::Election;
use crate::limits::{RETRY_FIRST, SHUTDOWN_PATIENCE};
use crate::metrics::{self, Readiness};
use crate::observe;
use crate::observed::{Injection, Observations, PoolViews};
use crate::reconcile::apply::words;
use crate::reconcile::{self, dereference};
use crate::witness::serve::Witness;
use crate::witness::{self, Board};

/// Why an operator did not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum StartError {
    #[error("--{flag} {address}: {source}; use another address, or port 0 for any that is free")]
    Bind { flag: &'static str, address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot find the API server: {0}; run in a cluster, or set KUBECONFIG")]
    Cluster(#[source] kube::Error),
    #[error("cannot start the threads that serve: {0}")]
    Runtime(#[source] std::io::Error),
}

/// What every task of the process has.
#[derive(Clone)]
pub struct Process {
    /// The API server.
    pub client: Client,
    /// The flags.
    pub config: Arc<Config>,
    /// What readiness waits for.
    pub readiness: Readiness,
    /// Whether this process holds the Lease.
    pub leading: watch::Receiver<bool>,
    /// True once the process is to end.
    pub ending: watch::Receiver<bool>,
}

/// What the leader's parts have from the rest of the process.
#[derive(Clone)]
struct Leader {
    process: Process,
    /// Who tells of what happens.
    events: Arc<Events>,
    /// What holds injection up.
    injection: watch::Receiver<Injection>,
    /// Where the witness finds the memories of pools.
    board: Board,
    /// The witness' key, once it is known.
    cosigner: watch::Sender<Option<Arc<Cosigner>>>,
    /// What the reconciler counts.
    metrics: reconcile::Metrics,
}

/// Serves until it is told to end.
pub fn serve(config: Config) -> Result<(), StartError> {
    start_logging(config.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    let ended = runtime.block_on(live(config));
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    ended
}

async fn live(config: Config) -> Result<(), StartError> {
    let (end, ending) = watch::channel(false);
    tokio::spawn(signals(end).map_err(StartError::Runtime)?);
    let (lead, leading) = watch::channel(false);
    let page = bind("metrics", config.metrics).await?;
    let webhook = bind("webhook-listen", config.webhook_listen).await?;
    let cosigning = bind("witness-listen", config.witness_listen).await?;
    let client = Client::try_default().await.map_err(StartError::Cluster)?;
    let config = Arc::new(config);
    let process = Process {
        client: client.clone(),
        config: Arc::clone(&config),
        readiness: Readiness::default(),
        leading,
        ending,
    };
    let mut registry = metrics::registry();
    let admission = inject::metrics::Metrics::new(&mut registry);
    let (hold_up, injection) = watch::channel(Injection::default());
    let identity = identity();
    let leader = Leader {
        process: process.clone(),
        events: Arc::new(Events::new(client.clone(), identity.clone())),
        injection,
        board: Board::default(),
        cosigner: watch::Sender::default(),
        metrics: reconcile::Metrics::register(&mut registry),
    };
    let witness = Witness { board: leader.board.subscribe(), cosigner: leader.cosigner.subscribe() };

    let mut always = JoinSet::new();
    let admission = tokio::spawn(inject::run(process.clone(), webhook, admission, hold_up));
    always.spawn(witness::serve::serve(cosigning, witness));
    always.spawn(metrics::serve(page, Arc::new(registry), process.readiness.clone()));
    tracing::info!(namespace = config.namespace, audit_logs = ?config.audit_log_namespaces, "serving");

    let election = Election::new(client, &config.namespace, identity, lead);
    let (stop, stopped) = oneshot::channel::<()>();
    let election = tokio::spawn(election.run(async { drop(stopped.await) }));
    while_leading(&leader).await;
    // What led has stopped: only now is the Lease given back, and another may begin.
    drop(stop);
    let _ = election.await;
    let _ = admission.await;
    tracing::info!("ended");
    Ok(())
}

/// Runs what the leader does for as long as this process is it, until the process ends.
async fn while_leading(leader: &Leader) {
    let process = &leader.process;
    let mut leading = process.leading.clone();
    loop {
        tokio::select! {
            won = leading.wait_for(|leading| *leading) => if won.is_err() { return },
            () = told(process.ending.clone()) => return,
        }
        let mut tasks = lead(leader);
        let ends = tokio::select! {
            lost = leading.wait_for(|leading| !*leading) => lost.is_err(),
            () = told(process.ending.clone()) => true,
        };
        // Requests in flight are dropped with the tasks that wait for them.
        tasks.shutdown().await;
        // Another replica knows better from now on.
        leader.metrics.shown.retain(|_| false);
        if ends {
            return;
        }
    }
}

/// Starts what only the leader does. Dropping the set stops all of it at its next await.
fn lead(leader: &Leader) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (client, namespace) = (leader.process.client.clone(), leader.process.config.namespace.clone());
    tasks.spawn(async move { webhook::keep(client, &namespace).await });
    tasks.spawn(lead_pools(leader.clone()));
    tasks
}

/// Reconciles and observes pools. What was observed by an earlier leader is not known to this one.
async fn lead_pools(leader: Leader) {
    let Leader { process, events, injection, board, cosigner, metrics } = leader;
    let (cluster, keys) = loop {
        match beginning(&process).await {
            Ok(found) => break found,
            Err(error) => {
                tracing::warn!(error, "the leader cannot begin; it tries again");
                tokio::time::sleep(5 * RETRY_FIRST).await;
            }
        }
    };
    cosigner.send_replace(Some(Arc::clone(&keys.cosigner)));
    let (views, viewed) = watch::channel(PoolViews::new());
    let (observations, observed) = watch::channel(Observations::new());
    let (client, config) = (process.client, process.config);
    let observing = observe::Seams {
        client: client.clone(),
        config: Arc::clone(&config),
        keys: keys.clone(),
        views: viewed,
        observed: observations,
        board,
        injection: injection.clone(),
    };
    let keys = keys.public();
    let reconciling = reconcile::Seams { client, config, cluster, keys, views, observed, injection, events, metrics };
    tokio::join!(observe::run(observing), reconcile::run(reconciling));
}

/// What is read once, before anything is reconciled.
async fn beginning(process: &Process) -> Result<(reconcile::facts::Cluster, Keys), String> {
    let cluster = dereference::cluster(&process.client)
        .await
        .map_err(|error| format!("reading the cluster: {}", words(&error)))?;
    let keys = Keys::open(process.client.clone(), &process.config.namespace, &cluster.uid).await;
    Ok((cluster, keys.map_err(|error| error.to_string())?))
}

/// Until the process is to end.
pub async fn told(mut ending: watch::Receiver<bool>) {
    // A sender that is gone has nothing more to say: that is the end too.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// The first SIGTERM or SIGINT ends in order, the second at once.
fn signals(end: watch::Sender<bool>) -> Result<impl Future<Output = ()>, std::io::Error> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        for _ in 0..2 {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            if end.send_replace(true) {
                tracing::warn!("told to end a second time: ending at once");
                std::process::exit(1);
            }
            tracing::info!("told to end");
        }
    })
}

/// Unique among operators and in time: a process that comes again under its old name is another one.
fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{}_{}", std::process::id(), crate::clock::now().as_millisecond())
}

async fn bind(flag: &'static str, address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { flag, address, source })
}

/// Logs go to stderr; the client of the API server tells less than the rest.
fn start_logging(format: LogFormat) {
    use std::io::IsTerminal as _;
    let filter = logging::filter(&[("kube_client", LevelFilter::WARN), ("kube_runtime", LevelFilter::WARN)]);
    let logging = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logging.with_ansi(std::io::stderr().is_terminal()).finish().with(filter).init(),
        LogFormat::Json => logging.json().finish().with(filter).init(),
    }
}
