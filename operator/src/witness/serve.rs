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
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::cosignature::{Cosigner, UnixSeconds};
use indelible_chain::id::LogId;
use indelible_chain::witness::{self, AddCheckpoint, Call};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::keeper::{Added, Ask};
use super::{Handle, Witnessed};
use crate::clock;
use crate::limits::{
    ACCEPT_RETRY, MAX_WITNESS_BODY_BYTES, MAX_WITNESS_CONNECTIONS, WITNESS_HEAD_TIMEOUT, WITNESS_REQUEST_TIMEOUT,
};

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
        let call = witness::call(request.method().as_str(), request.uri().path());
        let answering = async {
            match call {
                Ok(Call::Add) => match read(request).await {
                    Ok(body) => self.add(&body).await,
                    Err(answer) => answer,
                },
                Ok(Call::Checkpoint(id)) => self.checkpoint(id),
                Err(answer) => whole(answer),
            }
        };
        timeout(WITNESS_REQUEST_TIMEOUT, answering).await.unwrap_or_else(|_| away())
    }

    async fn add(&self, body: &[u8]) -> Answer {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(error) => return whole(witness::Answer::malformed(&error)),
        };
        let origin = match request.origin() {
            Ok(origin) => origin,
            Err(error) => return whole(witness::Answer::malformed(&error)),
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
                Err(error) => whole(witness::Answer::malformed(&error)),
            },
            Ok(Added::Refused(refusal)) => whole(witness::Answer::refused(&refusal)),
            Ok(Added::Unknown) => unknown(&origin),
            Ok(Added::Away) | Err(_) => away(),
        }
    }

    fn checkpoint(&self, id: LogId) -> Answer {
        let Some(cosigner) = self.cosigner.borrow().clone() else { return away() };
        let wanted = |memory: &super::Memory| {
            memory.logs().find(|log| log.seen.origin().log_id() == id).map(|log| log.seen.note().cloned())
        };
        let note = match self.find(wanted) {
            Found::Here(_, Some(note)) => note,
            Found::Here(_, None) | Found::Nowhere => return whole(witness::Answer::checkpoint(None)),
            Found::Away => return away(),
        };
        let (Ok(checkpoint), Some(now)) = (Checkpoint::parse(note.text()), now()) else { return away() };
        let mut note = note;
        match cosigner.cosign(&checkpoint, now).map(|line| note.add(line)) {
            Ok(Ok(())) => whole(witness::Answer::checkpoint(Some(&note))),
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

fn now() -> Option<UnixSeconds> {
    UnixSeconds::new(u64::try_from(clock::now().as_second()).ok()?)
}

fn cosigned(cosigner: &Cosigner, checkpoint: &Checkpoint) -> Answer {
    let Some(now) = now() else { return away() };
    match cosigner.cosign(checkpoint, now) {
        Ok(line) => whole(witness::Answer::cosigned(&line)),
        Err(error) => plain(StatusCode::FORBIDDEN, format!("{error}\n")),
    }
}

fn unknown(origin: &Origin) -> Answer {
    whole(witness::Answer::unknown(origin, "of a pool that this operator serves"))
}

/// Nothing can be decided here and now.
fn away() -> Answer {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "this operator is not the witness now; try again\n");
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn plain(status: StatusCode, text: impl Into<String>) -> Answer {
    whole(witness::Answer::text(status.as_u16(), text))
}

fn whole(answer: witness::Answer) -> Answer {
    let witness::Answer { status, media_type, body } = answer;
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}
