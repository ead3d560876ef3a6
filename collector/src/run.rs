//! A collector's life: what is opened in which order, and how it ends.
//!
//! Files are read and addresses bound before the log is opened, so that a wrong flag changes nothing on the volume.
//! The end is: not ready, no new connection, the log sealed behind what waits for it, its last checkpoint signed, readers
//! given the last of it, connections closed.

mod asked;
#[path = "../../logging.rs"]
mod logging;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, SOFTWARE, Witness};
use crate::desk::Desk;
use crate::http::{App, Drained, Gate, Server, quiet};
use crate::kube::NoCluster;
use crate::limits::{AWAIT_TICK, AWAIT_TIMEOUT, LAST_WRITES, MAX_PEM_BYTES, NO_MORE_WRITES, SEAL_TIMEOUT};
use crate::metrics::{self, Health, Metrics};
use crate::reload::{self, Certificate, ReloadError, Reloader};
use crate::settings::Changing;
use crate::store::{OnTime, OpenError, Options, SealReason, Store};
use crate::token::Tokens;
use crate::witness::{self, Asking};
use asked::Asked;

/// Why a collector did not start. The text names the flag and says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum StartError {
    #[error("--{flag}: {source}")]
    File { flag: &'static str, source: ReloadError },
    #[error("--{flag} {address}: {source}; use another address, or port 0 for any that is free")]
    Bind { flag: &'static str, address: std::net::SocketAddr, source: std::io::Error },
    #[error("--{flag}: {source}")]
    Cluster { flag: &'static str, source: NoCluster },
    #[error("--termination-message {}: {source}", path.display())]
    Message { path: PathBuf, source: std::io::Error },
    #[error("--data {}: {source}", path.display())]
    Open { path: PathBuf, source: OpenError },
    #[error("cannot start the threads that serve: {0}")]
    Runtime(#[source] std::io::Error),
}

/// Makes the log's key if it has none. Gives the verifier key and the URI that the TLS certificate must carry; the verifier
/// key is also left where the kubelet takes a container's last words from.
pub fn init(data: &Path, origin: String, message: Option<&Path>) -> Result<(String, String), StartError> {
    let options = Options { origin: Some(origin), ..Options::new(SOFTWARE) };
    let identity = Store::init(data, &options).map_err(|source| StartError::Open { path: data.to_owned(), source })?;
    if let Some(path) = message {
        std::fs::write(path, identity.vkey())
            .map_err(|source| StartError::Message { path: path.to_owned(), source })?;
    }
    Ok((identity.vkey().to_owned(), reload::vkey_uri(identity.vkey())))
}

/// Waits for a certificate that names this log, for a few seconds; the error says why there is none.
///
/// Not longer: the kubelet looks at a mounted Secret when a container has ended, not while one waits.
pub fn await_certificate(data: &Path, chain: &Path, key: &Path) -> Result<(), StartError> {
    // Read, no more: an init container may have the volume read-only.
    let identity = Store::identity_at(data, &Options::new(SOFTWARE));
    let identity = identity.map_err(|source| StartError::Open { path: data.to_owned(), source })?;
    let until = std::time::Instant::now() + AWAIT_TIMEOUT;
    loop {
        match reload::read_certificate(chain, key, identity.vkey()) {
            Ok(_) => return Ok(()),
            Err(source) if std::time::Instant::now() >= until => {
                return Err(StartError::File { flag: "tls-cert", source });
            }
            Err(_) => std::thread::sleep(AWAIT_TICK),
        }
    }
}

/// Serves until it is told to end, and ends in order; where it cannot, it exits with 1.
pub fn serve(config: Config) -> Result<(), StartError> {
    start_logging();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    let ended = runtime.block_on(live(config));
    // What still runs is nobody's any more: readers that were cut off, files that are looked at.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn live(config: Config) -> Result<(), StartError> {
    let mut signals = Signals::new().map_err(StartError::Runtime)?;
    let metrics = Arc::new(Metrics::new());
    let server = bind("listen", config.listen).await?;
    let page = bind("metrics", config.metrics).await?;
    let (drain, draining) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let health = Health::new(Arc::new(SystemClock), Arc::clone(&metrics), draining.clone());
    let page_address = page.address();
    tokio::spawn(metrics::serve(page.into_listener(), health.clone()));

    let mut reloader = Reloader::default();
    let asked = Asked::new(&config, &metrics)?;
    let issuers = asked.issuers(&mut reloader, &config)?;
    let (view, watcher) = asked.settings(&mut reloader, &config)?;
    let readers = asked.readers(&config);
    let (store, certificate) = open(&mut reloader, &config, &metrics)?;
    health.opened(&store);
    tokio::spawn(reloader.run(Arc::clone(&metrics)));
    watcher.map(|watcher| tokio::spawn(watcher.run()));
    let asking = asked.witnesses(&store);
    tokio::spawn(witness::run(asking.clone(), view.witnesses.clone()));

    let address = server.address();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let desk = Desk::start(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&metrics), config.cluster.limits);
    let app = Arc::new(App {
        desk: desk.clone(),
        gate: Gate::new(Arc::clone(&metrics)),
        tokens: Tokens::new(issuers, config.audience, config.reader_audience),
        authorities: config.cluster.authorities,
        readers,
        cluster_uid: config.cluster_uid,
        namespaces: view.namespaces,
        pool: view.pool,
        store: Arc::clone(&store),
        clock,
        draining,
        closing,
        metrics,
    });
    let writes = app.gate.writes();
    let serving = tokio::spawn(server.serve(app, reload::server_config(certificate)));
    announce(address);
    tracing::info!(origin = store.identity().origin(), %address, metrics = %page_address, "serving");

    tokio::select! {
        failed = store.failed() => stopped(&failed).await,
        () = signals.next() => {}
    }
    tokio::select! {
        failed = store.failed() => stopped(&failed).await,
        () = signals.next() => {
            tracing::warn!("told to end a second time: ending at once, the log is not sealed");
            std::process::exit(1);
        }
        () = end((drain, close), serving, writes, &desk, (&asking, &view.witnesses)) => Ok(()),
    }
}

/// The one line on stdout. Whoever started the collector may not care to read it.
fn announce(address: std::net::SocketAddr) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "listening https://{address}");
}

/// The end in order. A crash at any point of it leaves a log that is not sealed, which the next start goes on with.
async fn end(
    (drain, close): (watch::Sender<bool>, watch::Sender<bool>),
    serving: tokio::task::JoinHandle<Drained>,
    writes: watch::Receiver<usize>,
    desk: &Desk,
    (asking, witnesses): (&Asking, &Changing<Vec<Witness>>),
) {
    let store = &asking.store;
    tracing::info!("ending: no new connections, requests in flight are answered");
    drain.send_replace(true);
    // What is on its way gets its receipt. What still comes after that goes to another collector, as after a kill.
    let _ = tokio::time::timeout(LAST_WRITES, quiet(writes, NO_MORE_WRITES)).await;
    match seal(store, desk).await {
        Ok(()) if store.is_read_only() => {}
        Ok(()) => tracing::info!(size = store.checkpoint().size, "sealed"),
        Err(error) => {
            tracing::error!(error, "the log is not sealed; ending, the next start goes on with it");
            // Not by returning, as below.
            std::process::exit(1);
        }
    }
    // Only now, so that readers get the last leaves with the checkpoint over them.
    close.send_replace(true);
    let witnesses = Arc::clone(&witnesses.borrow());
    let (served, ()) = tokio::join!(serving, witness::ask_once(asking, &witnesses));
    if let Ok(Drained::CutOff) = served {
        tracing::warn!("some connections were cut off at the deadline; their clients ask again, or elsewhere");
    }
}

/// Writes what is held only in memory, then seals the log. An error says what is left.
async fn seal(store: &Store, desk: &Desk) -> Result<(), String> {
    let sealed = async {
        // Heartbeats that were answered 204.
        desk.write_all().await;
        store.seal(SealReason::Shutdown).await
    };
    if let Ok(sealed) = tokio::time::timeout(SEAL_TIMEOUT, sealed).await {
        return sealed.map_err(|fatal| fatal.to_string());
    }
    let (durable, covered) = (*store.size().borrow(), store.checkpoint().size);
    let (requests, bytes) = store.waiting();
    Err(format!(
        "the volume did not take the seal within {} s: {durable} leaves are durable, the newest checkpoint covers \
         {covered} of them, {requests} requests of {bytes} bytes wait; look at the volume",
        SEAL_TIMEOUT.as_secs()
    ))
}

/// The store has stopped: those who wait are answered 503 in the moment that is left.
async fn stopped(failed: &crate::store::Fatal) -> ! {
    tracing::error!(error = %failed, "the store has stopped; ending, the next start recovers; look at the volume");
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Not by returning: nothing that is dropped on the way may wait for a disk that does not answer.
    std::process::exit(1);
}

async fn bind(flag: &'static str, address: std::net::SocketAddr) -> Result<Server, StartError> {
    Server::bind(address).await.map_err(|source| StartError::Bind { flag, address, source })
}

/// Opens the log. Its key comes first, since the certificate must name it: a crash, or a certificate that does not,
/// leaves a directory with a key and an empty log, and the message says what the certificate must carry.
fn open(
    reloader: &mut Reloader,
    config: &Config,
    metrics: &Metrics,
) -> Result<(Arc<Store>, watch::Receiver<Arc<Certificate>>), StartError> {
    let seconds = |histogram: &Histogram| {
        let histogram = histogram.clone();
        OnTime::call(move |time| histogram.observe(time.as_secs_f64()))
    };
    let options = Options {
        origin: config.origin.clone(),
        on_sync: seconds(&metrics.fsync_seconds),
        on_publish: seconds(&metrics.checkpoint_seconds),
        segment_bytes: config.segment_bytes,
        checkpoint_interval: config.checkpoint_interval,
        ..Options::new(SOFTWARE)
    };
    let path = config.data.clone();
    let failed = |source| StartError::Open { path: path.clone(), source };
    if config.cluster.read_only {
        let store = tokio::task::block_in_place(|| Store::open_read_only(&config.data, options)).map_err(failed)?;
        if !store.is_sealed() {
            tracing::warn!(
                "the log that is served read-only is not sealed: its last records may never have been receipted"
            );
        }
        let certificate = certificate(reloader, config, store.identity().vkey())?;
        return Ok((Arc::new(store), certificate));
    }
    let identity = tokio::task::block_in_place(|| Store::init(&config.data, &options)).map_err(failed)?;
    let certificate = certificate(reloader, config, identity.vkey())?;
    let store = tokio::task::block_in_place(|| Store::open(&config.data, options)).map_err(failed)?;
    Ok((Arc::new(store), certificate))
}

/// The certificate, which must name the log with this verifier key, now and whenever it changes.
fn certificate(
    reloader: &mut Reloader,
    config: &Config,
    vkey: &str,
) -> Result<watch::Receiver<Arc<Certificate>>, StartError> {
    let vkey = vkey.to_owned();
    let paths = [config.tls_cert.clone(), config.tls_key.clone()];
    let followed =
        reloader.follow(paths, MAX_PEM_BYTES, move |[chain, key]| reload::certified_key(&chain, &key, &vkey));
    followed.map_err(|source| StartError::File { flag: "tls-cert", source })
}

/// SIGTERM and SIGINT.
struct Signals(Signal, Signal);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Logs go to stderr.
fn start_logging() {
    use std::io::IsTerminal;
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    // In tests of one process another may have been there first.
    let _ = subscriber.with_ansi(std::io::stderr().is_terminal()).finish().with(logging::filter(&[])).try_init();
}

/// Connections and segment files each need a descriptor; what the machine allows is used.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "cannot raise the number of files that may be open (ulimit -n), each connection is one");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::ingest::ByteLimits;

    /// A log whose writer hangs as soon as it has synced once more than `go` was told.
    fn hanging(dir: &Path) -> (Sender<()>, Arc<Store>) {
        let (go, told) = channel();
        let told = Mutex::new(told);
        let on_sync = OnTime::call(move |_| {
            let _ = told.lock().unwrap().recv();
        });
        // The start syncs once.
        go.send(()).unwrap();
        let options = Options { origin: Some("test/c0".into()), on_sync, ..Options::new("test/1") };
        (go, Arc::new(Store::open(dir, options).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_seal_that_the_volume_does_not_take_is_given_up_and_what_is_left_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (go, store) = hanging(dir.path());
        let desk =
            Desk::start(Arc::clone(&store), Arc::new(SystemClock), Arc::new(Metrics::new()), ByteLimits::default());
        let why = seal(&store, &desk).await.unwrap_err();
        drop(go);
        assert!(why.contains("1 leaves are durable, the newest checkpoint covers 1 of them"), "{why}");
    }
}
