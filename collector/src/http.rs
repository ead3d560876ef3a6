//! The interface of section 5 of the format, over HTTP/2.
//!
//! Owns routes and their limits: which call is which function, what may be in flight, and how an answer looks. One
//! function stands for one row of the interface's table: rows that write are in [`mod@write`], rows that read in [`read`],
//! [`frames`] and [`tiles`]. There is no row that changes or removes what is stored, and no other method on any path.

mod access;
mod body;
mod frames;
mod gate;
mod idle;
mod peer;
mod problem;
mod read;
mod seen;
mod server;
mod strangers;
mod tiles;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use hyper::body::{Body, Incoming};
use indelible_chain::note::VerifierKey;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::desk::Desk;
use crate::ingest::Namespaces;
use crate::metrics::Metrics;
use crate::readers::Readers;
use crate::reload::Pool;
use crate::settings::Changing;
use crate::store::Store;
use crate::token::Tokens;
use body::AnswerBody;
pub use gate::Gate;
use peer::Peer;
use problem::Problem;
pub use server::{Drained, Server, quiet};

/// Everything that a request may need.
pub struct App {
    /// The log.
    pub store: Arc<Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who speaks.
    pub tokens: Tokens,
    /// The authorities whose keys are known.
    pub authorities: Vec<VerifierKey>,
    /// How readers are known.
    pub readers: Readers,
    /// The cluster that is served.
    pub cluster_uid: String,
    /// The opted-in namespaces.
    pub namespaces: Changing<Namespaces>,
    /// What `/v1/pool` answers.
    pub pool: Changing<Option<Pool>>,
    /// What is remembered of pods.
    pub desk: Desk,
    /// What may be in flight.
    pub gate: Gate,
    /// Whether the collector is ending: no new connections.
    pub draining: watch::Receiver<bool>,
    /// Whether its log has its end: who waits for news stops waiting, and connections are closed.
    pub closing: watch::Receiver<bool>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("origin", &self.store.identity().origin()).finish_non_exhaustive()
    }
}

/// An answer, or why there is none.
type Answer = Result<Response<AnswerBody>, Problem>;

/// The media type of the format's own bytes.
const INDELIBLE: HeaderValue = HeaderValue::from_static("application/vnd.indelible.v1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const POOL_EPOCH: HeaderName = HeaderName::from_static("indelible-pool");

/// Answers a request. Whatever it is, there is an answer, and every answer carries the pool's epoch.
async fn answer(app: Arc<App>, request: Request<Incoming>) -> Response<AnswerBody> {
    let (in_flight, peer) = (app.gate.request(), Peer::of(&request));
    let answer = route(&app, request).await.unwrap_or_else(|problem| {
        app.metrics.rejected(problem.status(), problem.reason());
        problem.into_response()
    });
    let mut answer = answer.map(|body| body.of(in_flight, peer));
    let epoch = app.pool.borrow().as_ref().as_ref().map(Pool::epoch);
    if let Some(epoch) = epoch {
        answer.headers_mut().insert(POOL_EPOCH, HeaderValue::from(epoch));
    }
    answer
}

/// The table of section 5: a line for each row.
async fn route(app: &Arc<App>, request: Request<Incoming>) -> Answer {
    // Paths are the format's own hex digits, decimals and words: none of them is ever percent-encoded.
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let method = request.method().clone();
    if method == Method::GET && !request.body().is_end_stream() {
        // Nobody would read it, and it would fill the connection's window for as long as the answer takes.
        return Err(Problem::malformed("a GET has no body"));
    }
    match (&method, &*segments) {
        (&Method::PUT, ["v1", "sessions", id]) => write::session(app, id, request).await,
        (&Method::POST, ["v1", "heartbeats"]) => write::heartbeat(app, request).await,
        (&Method::GET, ["v1", "pool"]) => read::pool(app, &request),
        (&Method::PUT, ["v1", "chains", id]) => write::chain(app, id, request).await,
        (&Method::POST, ["v1", "batches"]) => write::batch(app, request).await,
        (&Method::POST, ["v1", "statements"]) => write::statement(app, request).await,
        (&Method::GET, ["v1", "log"]) => read::log(app, &request),
        (&Method::GET, ["v1", "checkpoints"]) => read::checkpoints(app, &request),
        (&Method::GET, ["v1", "checkpoints", size]) => read::checkpoint(app, size, &request).await,
        (&Method::GET, ["v1", "chains"]) => read::chains(app, &request).await,
        (&Method::GET, ["v1", "chains", id, "batches"]) => frames::batches(app, id, &request).await,
        (&Method::GET, ["v1", "frames"]) => frames::frames(app, &request).await,
        (&Method::GET, ["v1", "coverage"]) => read::coverage(app, &request).await,
        (&Method::GET, ["logs", log, "checkpoint"]) => tiles::checkpoint(app, log, &request),
        (&Method::GET, ["logs", log, "tile", "entries", ..]) => tiles::entries(app, log, &request).await,
        (&Method::GET, ["logs", log, "tile", ..]) => tiles::tile(app, log, &request).await,
        (_, other) => Err(match allowed(other) {
            Some(allow) => Problem::method(&method, &path, allow),
            None => Problem::not_found(format!("there is no {path} here; section 5 of the format has the list")),
        }),
    }
}

/// The method of a path that exists; there is exactly one of each.
fn allowed(segments: &[&str]) -> Option<&'static str> {
    match segments {
        ["v1", "sessions" | "chains", _] => Some("PUT"),
        ["v1", "heartbeats" | "batches" | "statements"] => Some("POST"),
        ["v1", "pool" | "log" | "checkpoints" | "chains" | "frames" | "coverage"]
        | ["v1", "checkpoints", _]
        | ["v1", "chains", _, "batches"]
        | ["logs", _, "checkpoint"]
        | ["logs", _, "tile", ..] => Some("GET"),
        _ => None,
    }
}

/// Bytes for who asks, within the memory for answers until they are sent.
fn held<B>(app: &App, request: &Request<B>, bytes: impl Into<Bytes>) -> Result<Bytes, Problem> {
    app.gate.answer(bytes.into(), Peer::of(request).pod())
}

fn ok(kind: HeaderValue, body: impl Into<AnswerBody>) -> Response<AnswerBody> {
    let mut answer = Response::new(body.into());
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are maps with string keys")
}

#[cfg(test)]
mod tests;
