//! `/metrics`, `/livez` and `/readyz` over plain HTTP/1.1: for the machine's own watchers, never for evidence.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use indelible_chain::id::Time;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::Metrics;
use crate::clock::Clock;
use crate::limits::{HANDSHAKE_TIMEOUT, MAX_METRICS_CONNECTIONS, METRICS_TIMEOUT};
use crate::store::Store;

/// What the page looks at.
#[derive(Clone)]
pub struct Health {
    /// The log, once it is open: recovery may take longer than those who watch are patient.
    store: Arc<OnceLock<Arc<Store>>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    draining: watch::Receiver<bool>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, health: Health) {
    tokio::spawn(observe(health.clone()));
    let slots = Arc::new(Semaphore::new(MAX_METRICS_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = health.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HANDSHAKE_TIMEOUT)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // A watcher that goes away or stalls is nobody's error.
            let _ = tokio::time::timeout(METRICS_TIMEOUT, connection).await;
            drop(slot);
        });
    }
}

/// Looks once a second whether the newest checkpoint is another one, and says for how long it has been the newest.
async fn observe(health: Health) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut size, mut since) = (None, health.clock.now());
    loop {
        ticks.tick().await;
        let Some(store) = health.store.get() else { continue };
        let (newest, now) = (store.checkpoint().size, health.clock.now());
        if size != Some(newest) {
            (size, since) = (Some(newest), now);
        }
        #[expect(clippy::cast_precision_loss, reason = "an age for people")]
        health.metrics.checkpoint_age.set(now.since(since).max(0) as f64 / Time::SECOND as f64);
    }
}

impl Health {
    /// Of a collector whose log is not open yet.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>, draining: watch::Receiver<bool>) -> Self {
        Self { store: Arc::default(), clock, metrics, draining }
    }

    /// The log is open.
    pub fn opened(&self, store: &Arc<Store>) {
        // A log is opened once.
        let _ = self.store.set(Arc::clone(store));
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/metrics" => self.page(),
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.ready() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "here are /metrics, /livez and /readyz\n"),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if *self.draining.borrow() {
            return Err("the collector is ending".into());
        }
        let store = self.store.get().ok_or("the log is being opened")?;
        if store.is_read_only() {
            return Ok(());
        }
        store.writable().map_err(|error| error.to_string())
    }

    fn page(&self) -> Response<Full<Bytes>> {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        if let Some(store) = self.store.get() {
            self.metrics.tree_leaves.set(gauge(store.checkpoint().size));
            self.metrics.durable_leaves.set(gauge(*store.size().borrow()));
            let (requests, bytes) = store.waiting();
            self.metrics.queued_appends.set(gauge(requests as u64));
            self.metrics.queued_bytes.set(gauge(bytes as u64));
            self.metrics.writer_busy.set(store.busy().as_secs_f64());
            self.metrics.stored_bytes.set(gauge(store.stored_bytes()));
            let room = store.space();
            self.metrics.free_bytes.set(gauge(room.free));
            self.metrics.volume_bytes.set(gauge(room.total));
            self.metrics.show_uncosigned(store.checkpoint().size);
        }
        let mut answer = text(StatusCode::OK, self.metrics.encode());
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        answer
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
