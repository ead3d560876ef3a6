//! The driver's life: what is opened in which order, and how it ends.
//!
//! The kubelet registers a driver when it sees its socket, and then calls it at once: so the registration's socket comes last,
//! and goes first.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::limits::{DRAIN_TIMEOUT, SWEEP_INTERVAL};
use crate::metrics::{self, Metrics};
use crate::publish::{PublishError, Publisher};
use crate::services::{Driver, Services, Socket, SocketError};

/// Why the driver cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its directories.
    #[error(
        "{0}; mount the kubelet's directory at --kubelet-dir with bidirectional propagation and the pods' logs at \
         --pod-logs-dir without, and run as root, privileged"
    )]
    Open(#[from] PublishError),
    /// Its sockets.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The port for metrics.
    #[error("--metrics {0} cannot be listened on: {1}; give another address")]
    Metrics(std::net::SocketAddr, std::io::Error),
    /// What every process has.
    #[error("the system gives no signals or timers: {0}")]
    System(#[from] std::io::Error),
}

/// Serves until SIGTERM, and until the calls in flight are answered.
pub async fn run(config: Config) -> Result<(), RunError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let layout = config.layout();
    let metrics = Arc::new(Metrics::new());
    let publisher = Publisher::open(layout.clone())?;
    let driver = Arc::new(Driver::new(config.node_id, layout.clone(), publisher, Arc::clone(&metrics)));
    let listener = TcpListener::bind(config.metrics).await.map_err(|error| RunError::Metrics(config.metrics, error))?;
    let address = listener.local_addr()?;
    driver.sweep().await;

    let (stop_registration, registration_ends) = watch::channel(false);
    let (stop, ends) = watch::channel(false);
    let csi = Socket::bind(&layout.endpoint())?;
    let registration = Socket::bind(&layout.registration())?;
    tracing::info!(endpoint = %layout.endpoint().display(), metrics = %address, "serving");
    tokio::spawn(metrics::serve(listener, Arc::clone(&driver), metrics));
    tokio::spawn(sweep(Arc::clone(&driver)));
    let registering = tokio::spawn(registration.serve(Arc::clone(&driver), Services::Registration, registration_ends));
    let serving = tokio::spawn(csi.serve(driver, Services::Csi, ends));

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending: calls in flight are answered");
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
        stop_registration.send_replace(true);
        let _ = registering.await;
        stop.send_replace(true);
        let _ = serving.await;
    });
    if drained.await.is_err() {
        tracing::warn!("a call was not answered in time; the kubelet tries again");
    }
    Ok(())
}

async fn sweep(driver: Arc<Driver>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        driver.sweep().await;
    }
}
