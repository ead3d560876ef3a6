//! `/metrics`, `/livez` and `/readyz`, plain HTTP/1.
//!
//! Owns the page and what readiness waits for. Each part registers its own metrics before the registry is served, with
//! the prefix `indelible_operator`; labels are closed sets. Connections are bounded.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::limits::{MAX_SCRAPES, SCRAPE_PATIENCE};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A registry with the operator's prefix.
pub fn registry() -> Registry {
    Registry::with_prefix("indelible_operator")
}

/// What the process still waits for before it is ready: parts say so by name, and take it back.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<BTreeSet<&'static str>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeSet::new()))
    }
}

impl Readiness {
    /// Not ready until `part` is.
    pub fn wait_for(&self, part: &'static str) {
        self.0.send_if_modified(|parts| parts.insert(part));
    }

    /// `part` is ready.
    pub fn is_ready(&self, part: &'static str) {
        self.0.send_if_modified(|parts| parts.remove(part));
    }

    fn answer(&self) -> (StatusCode, String) {
        let parts = self.0.borrow();
        if parts.is_empty() {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let parts = parts.iter().copied().collect::<Vec<_>>().join(", ");
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {parts}\n"))
    }
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, readiness: Readiness) {
    let connections = Arc::new(Semaphore::new(MAX_SCRAPES));
    loop {
        // Closed never: the semaphore is ours.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (registry, readiness) = (Arc::clone(&registry), readiness.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &registry, &readiness);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SCRAPE_PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(2 * SCRAPE_PATIENCE, connection).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, registry: &Registry, readiness: &Readiness) -> Response<Full<Bytes>> {
    let (status, kind, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, OPEN_METRICS, page(registry)),
        // Whoever answers is alive.
        "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let (status, text) = readiness.answer();
            (status, TEXT, text)
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "there are /metrics, /livez and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn page(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn probes_and_metrics_are_answered_and_readiness_names_what_it_waits_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::default();
        readiness.wait_for("webhook");
        tokio::spawn(serve(listener, Arc::new(registry()), readiness.clone()));
        let get = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let text = get("/readyz").await;
        assert!(text.starts_with("HTTP/1.1 503") && text.ends_with("not ready: webhook\n"), "{text}");
        readiness.is_ready("webhook");
        assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
        let text = get("/metrics").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("# EOF\n"), "{text}");
        assert!(get("/").await.starts_with("HTTP/1.1 404"));
    }
}
