//! The witness over HTTP/1.1, plain: what it answers is signed.
//!
//! | call | answers |
//! | --- | --- |
//! | `POST /add-checkpoint` | as [`indelible_chain::witness`] says; 503 with `Retry-After` where nothing can be decided |
//! | `GET /<hex log_id>/checkpoint` | the largest checkpoint that was cosigned, with a cosignature of now; 404 |
//!
//! Every operator listens, since a Service knows no leader. The one without the Lease answers 503 and closes the
//! connection, so that the next try comes to another one.
//!
//! Bounded in connections, in the time that a request may take, and in its bytes. Nothing of a request is logged.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::cosignature::{Cosigner, UnixSeconds};
use indelible_chain::id::LogId;
use indelible_chain::witness::{AddCheckpoint, Refusal, SIZE_MEDIA_TYPE};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::keeper::{Added, Ask};
use super::{Handle, Witnessed};
use crate::clock;
use crate::limits::{
    ACCEPT_RETRY, MAX_WITNESS_BODY_BYTES, MAX_WITNESS_CONNECTIONS, WITNESS_HEAD_TIMEOUT, WITNESS_REQUEST_TIMEOUT,
};

const TEXT: &str = "text/plain; charset=utf-8";
/// Seconds after which a client may try again: by then somebody leads.
const RETRY_AFTER: &str = "2";

/// What the witness needs.
#[derive(Debug, Clone)]
pub struct Witness {
    /// The pools' memories, while this process holds the Lease.
    pub board: Witnessed,
    /// The key, once it is known.
    pub cosigner: watch::Receiver<Option<Arc<Cosigner>>>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, witness: Witness) {
    let places = Arc::new(Semaphore::new(MAX_WITNESS_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let witness = witness.clone();
                tokio::spawn(async move {
                    connection(stream, witness).await;
                    drop(place);
                });
            }
            // Too many open files, or a client that is gone already: neither is over at once.
            Err(_) => tokio::time::sleep(ACCEPT_RETRY).await,
        }
    }
}

async fn connection(stream: TcpStream, witness: Witness) {
    let service = service_fn(move |request| {
        let witness = witness.clone();
        async move { Ok::<_, Infallible>(witness.answer(request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WITNESS_HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Clients come and go; what went wrong is theirs to say.
    let _ = serving.await;
}

type Answer = Response<Full<Bytes>>;

impl Witness {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let answering = async {
            match (request.method(), path.as_str()) {
                (&Method::POST, "/add-checkpoint") => match read(request).await {
                    Ok(body) => self.add(&body).await,
                    Err(answer) => answer,
                },
                (&Method::GET, path) => match log_id(path) {
                    Some(id) => self.checkpoint(id),
                    None => plain(StatusCode::NOT_FOUND, "GET /<hex log_id>/checkpoint, POST /add-checkpoint\n"),
                },
                _ => plain(StatusCode::METHOD_NOT_ALLOWED, "GET /<hex log_id>/checkpoint, POST /add-checkpoint\n"),
            }
        };
        timeout(WITNESS_REQUEST_TIMEOUT, answering).await.unwrap_or_else(|_| away())
    }

    async fn add(&self, body: &[u8]) -> Answer {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(error) => return plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let origin = match request.origin() {
            Ok(origin) => origin,
            Err(error) => return plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let Some(cosigner) = self.cosigner.borrow().clone() else { return away() };
        let handle = match self.find(|memory| memory.log(origin.as_str()).is_some().then_some(())) {
            Found::Here(handle, ()) => handle,
            Found::Nowhere => return unknown(&origin),
            Found::Away => return away(),
        };
        let checkpoint = Checkpoint::parse(request.checkpoint.text());
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Add { origin: origin.to_string(), request: Box::new(request), reply };
        if handle.asks.send(ask).await.is_err() {
            return away();
        }
        match answer.await {
            // The checkpoint was judged, so it has been read there, too.
            Ok(Added::Good) => match checkpoint {
                Ok(checkpoint) => cosigned(&cosigner, &checkpoint),
                Err(error) => plain(StatusCode::BAD_REQUEST, format!("{error}\n")),
            },
            Ok(Added::Refused(refusal)) => refused(&refusal),
            Ok(Added::Unknown) => unknown(&origin),
            Ok(Added::Away) | Err(_) => away(),
        }
    }

    fn checkpoint(&self, id: LogId) -> Answer {
        let Some(cosigner) = self.cosigner.borrow().clone() else { return away() };
        let note = match self
            .find(|memory| memory.logs().find(|log| origin(log).log_id() == id).map(|log| log.note.clone()))
        {
            Found::Here(_, Some(note)) => note,
            Found::Here(_, None) | Found::Nowhere => {
                return plain(StatusCode::NOT_FOUND, "no checkpoint of this log was cosigned\n");
            }
            Found::Away => return away(),
        };
        let (Ok(checkpoint), Some(now)) = (Checkpoint::parse(note.text()), now()) else { return away() };
        let mut note = note;
        match cosigner.cosign(&checkpoint, now).map(|line| note.add(line)) {
            Ok(Ok(())) => plain(StatusCode::OK, note.to_string()),
            _ => away(),
        }
    }

    /// The pool whose durable memory has what is wanted.
    fn find<T>(&self, wanted: impl Fn(&super::Memory) -> Option<T>) -> Found<T> {
        let Some(board) = self.board.borrow().clone() else { return Found::Away };
        let mut all_read = true;
        for handle in board.values() {
            let durable = handle.durable.borrow();
            match durable.memory() {
                Some(memory) => {
                    if let Some(found) = wanted(memory) {
                        return Found::Here(handle.clone(), found);
                    }
                }
                None => all_read = false,
            }
        }
        // A memory that was not read may be the one.
        if all_read { Found::Nowhere } else { Found::Away }
    }
}

enum Found<T> {
    Here(Handle, T),
    Nowhere,
    Away,
}

fn origin(log: &super::memory::Log) -> Origin {
    log.key.name().clone().into()
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Answer> {
    let body = Limited::new(request.into_body(), MAX_WITNESS_BODY_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let text = format!("a request is at most {MAX_WITNESS_BODY_BYTES} bytes here\n");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        plain(StatusCode::BAD_REQUEST, "the request broke off\n")
    })
}

/// The log that `/<hex log_id>/checkpoint` names.
fn log_id(path: &str) -> Option<LogId> {
    path.strip_prefix('/')?.strip_suffix("/checkpoint")?.parse().ok()
}

fn now() -> Option<UnixSeconds> {
    UnixSeconds::new(u64::try_from(clock::now().as_second()).ok()?)
}

fn cosigned(cosigner: &Cosigner, checkpoint: &Checkpoint) -> Answer {
    let Some(now) = now() else { return away() };
    match cosigner.cosign(checkpoint, now) {
        Ok(line) => plain(StatusCode::OK, format!("{line}\n")),
        Err(error) => plain(StatusCode::FORBIDDEN, format!("{error}\n")),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal.known_size() {
        Some(size) => {
            let mut answer = plain(status, format!("{size}\n"));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SIZE_MEDIA_TYPE));
            answer
        }
        None => plain(status, format!("{}\n", Chain(refusal))),
    }
}

fn unknown(origin: &Origin) -> Answer {
    plain(StatusCode::NOT_FOUND, format!("{origin} is no log of a pool that this operator serves\n"))
}

/// Nothing can be decided here and now.
fn away() -> Answer {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "this operator is not the witness now; try again\n");
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn plain(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
    answer
}

/// An error with its causes, one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}
