//! `/metrics`, `/livez` and `/readyz` over plain HTTP/1.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Metrics;
use crate::limits::{ACCEPT_PAUSE, MAX_METRICS_CONNECTIONS, METRICS_TIMEOUT};
use crate::services::Driver;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, driver: Arc<Driver>, metrics: Arc<Metrics>) {
    let slots = Arc::new(Semaphore::new(MAX_METRICS_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (driver, metrics) = (Arc::clone(&driver), Arc::clone(&metrics));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &driver, &metrics);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(METRICS_TIMEOUT)
                .keep_alive(false)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // A watcher that goes away or stalls is nobody's error.
            let _ = tokio::time::timeout(METRICS_TIMEOUT, connection).await;
            drop(slot);
        });
    }
}

fn answer(request: &Request<Incoming>, driver: &Driver, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/metrics" => {
            let mut answer = text(StatusCode::OK, metrics.encode());
            answer.headers_mut().insert(header::CONTENT_TYPE, OPENMETRICS);
            answer
        }
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" if driver.is_registered() => text(StatusCode::OK, "ready\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the kubelet has not registered the driver\n"),
        _ => text(StatusCode::NOT_FOUND, "here are /metrics, /livez and /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    answer
}
