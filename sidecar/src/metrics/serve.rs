//! `/metrics` and `/livez` over plain HTTP/1, if asked for.
//!
//! Knows no state: a scrape is a question to the owner, with a place for its answer. Connections and questions are
//! bounded; a port that is in use is a warning, because the application's port comes first.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::limits::MAX_SCRAPES;

/// A scrape: where its text goes.
pub type Scrape = oneshot::Sender<String>;

/// How long a client may take over its request, and the owner over its answer.
const PATIENCE: Duration = Duration::from_secs(5);
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends. Where it cannot listen, that is said and nothing is served.
pub async fn serve(address: SocketAddr, scrapes: mpsc::Sender<Scrape>) {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%address, %error, "no metrics: --metrics cannot be listened on; give another address");
            return;
        }
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics are served");
    }
    let connections = Arc::new(Semaphore::new(MAX_SCRAPES));
    loop {
        // Closed never: the semaphore is ours.
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let scrapes = scrapes.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, scrapes.clone()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(2 * PATIENCE, connection).await;
            drop(permit);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    scrapes: mpsc::Sender<Scrape>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/metrics" => match scrape(&scrapes).await {
            Some(text) => (StatusCode::OK, text),
            None => (StatusCode::SERVICE_UNAVAILABLE, "busy\n".to_owned()),
        },
        // Whoever answers is alive: it is the thread that does everything else.
        "/livez" => (StatusCode::OK, "ok\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "there are /metrics and /livez\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
}

async fn scrape(scrapes: &mpsc::Sender<Scrape>) -> Option<String> {
    let (question, answer) = oneshot::channel();
    scrapes.try_send(question).ok()?;
    tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_scrape_is_answered_by_the_owner_and_a_taken_port_is_no_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let (scrapes, mut questions) = mpsc::channel(MAX_SCRAPES);
        serve(address, scrapes.clone()).await;
        drop(taken);

        tokio::spawn(serve(address, scrapes));
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                let _ = question.send("the numbers\n".to_owned());
            }
        });
        let get = async |path: &str| {
            let mut stream = loop {
                match TcpStream::connect(address).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let text = get("/metrics").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("the numbers\n"), "{text}");
        assert!(get("/livez").await.ends_with("ok\n"));
        assert!(get("/elsewhere").await.starts_with("HTTP/1.1 404"));
    }
}
