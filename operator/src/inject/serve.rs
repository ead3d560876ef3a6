//! The webhook: HTTPS towards the API server.
//!
//! Owns its connections and the bounds on them. The certificate is asked for at each connection's beginning. Only the path [`PATH`] is served. What cannot be read is answered with 400 and a text;
//! the API server then admits the pod without us, and says the text in its log.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming as Body};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::server::ResolvesServerCert;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Answer;
use super::metrics::{Metrics, Outcome};
use super::review::{self, About};
use super::watches::Asker;
use crate::limits::{
    ADMISSION_KEEPALIVE, ADMISSION_PATIENCE, LARGE_REVIEWS, MAX_ADMISSION_CONNECTIONS, MAX_ADMISSION_STREAMS,
    MAX_REVIEW_BYTES, SHUTDOWN_PATIENCE, SMALL_REVIEW_BYTES,
};

/// Where the API server asks.
pub const PATH: &str = "/inject";

/// The webhook's server.
#[derive(Clone)]
pub struct Webhook {
    asker: Asker,
    metrics: Metrics,
    large: Arc<Semaphore>,
}

impl Webhook {
    /// That asks the desk.
    pub fn new(asker: Asker, metrics: Metrics) -> Self {
        Self { asker, metrics, large: Arc::new(Semaphore::new(LARGE_REVIEWS)) }
    }

    /// Serves until `ending`, then answers what has begun.
    pub async fn run(
        self,
        listener: TcpListener,
        certificate: Arc<dyn ResolvesServerCert>,
        ending: impl Future<Output = ()>,
    ) {
        let acceptor = TlsAcceptor::from(Arc::new(tls(certificate)));
        let connections = Arc::new(Semaphore::new(MAX_ADMISSION_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        tokio::pin!(ending);
        loop {
            let accepted = async {
                // Closed never: the semaphore is ours.
                let permit = Arc::clone(&connections).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, stream) = tokio::select! {
                () = &mut ending => break,
                (permit, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (permit, stream),
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept a connection");
                        continue;
                    }
                },
            };
            let (webhook, acceptor, watcher) = (self.clone(), acceptor.clone(), graceful.watcher());
            tokio::spawn(async move {
                webhook.connection(stream, acceptor, watcher).await;
                drop(permit);
            });
        }
        let _ = tokio::time::timeout(SHUTDOWN_PATIENCE, graceful.shutdown()).await;
    }

    async fn connection(
        self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let stream = match tokio::time::timeout(ADMISSION_PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "no TLS"),
            Err(_) => return tracing::debug!("no TLS in time"),
        };
        let service = service_fn(|request| {
            let webhook = self.clone();
            async move { Ok::<_, Infallible>(webhook.respond(request).await) }
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(ADMISSION_PATIENCE);
        // An API server that is gone without a word must not keep its connection.
        server
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_ADMISSION_STREAMS)
            .keep_alive_interval(ADMISSION_KEEPALIVE)
            .keep_alive_timeout(ADMISSION_PATIENCE);
        let connection = server.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%error, "a connection ended");
        }
    }

    async fn respond(&self, request: Request<Body>) -> Response<Full<Bytes>> {
        let begun = tokio::time::Instant::now();
        let (outcome, response) = match self.answer(request).await {
            Ok((outcome, body)) => (outcome, respond(StatusCode::OK, "application/json", body)),
            Err((status, text)) => {
                tracing::warn!(%status, reason = text, "an admission request was refused unread");
                (Outcome::Malformed, respond(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes()))
            }
        };
        self.metrics.answered(outcome, begun.elapsed());
        response
    }

    async fn answer(&self, request: Request<Body>) -> Result<(Outcome, Vec<u8>), (StatusCode, String)> {
        if request.uri().path() != PATH {
            return Err((StatusCode::NOT_FOUND, format!("there is only {PATH}")));
        }
        if request.method() != Method::POST {
            return Err((StatusCode::METHOD_NOT_ALLOWED, format!("{PATH} takes POST")));
        }
        let body = tokio::time::timeout(ADMISSION_PATIENCE, self.body(request.into_body()));
        let body =
            body.await.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned()))??;
        let question = review::read(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        drop(body);
        let (outcome, answer) = match question.about {
            About::Other => (Outcome::Left, Answer::Leave { warning: None }),
            About::Pod { namespace, incoming } => {
                let asked = self.asker.ask(namespace, incoming).await;
                let answer = asked.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
                (Outcome::of(&answer), answer)
            }
        };
        Ok((outcome, review::write(&question.uid, &answer)))
    }

    /// Reads a body. Few large ones are read at once, so that memory stays bounded.
    async fn body(&self, body: Body) -> Result<Bytes, (StatusCode, String)> {
        let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_REVIEW_BYTES);
        let _permit = if is_small { None } else { self.large.acquire().await.ok() };
        let most = usize::try_from(MAX_REVIEW_BYTES).unwrap_or(usize::MAX);
        match Limited::new(body, most).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over the limit of {MAX_REVIEW_BYTES} bytes")))
            }
            Err(error) => Err((StatusCode::BAD_REQUEST, format!("the body could not be read: {error}"))),
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn tls(certificate: Arc<dyn ResolvesServerCert>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default protocol versions")
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

#[cfg(test)]
mod tests;
