//! The witness over HTTP/1.1 and HTTP/2, plain or over TLS: what it answers is signed.
//!
//! Bounded in connections (see [`places`](super::places)), in what each may hold, in the time that it may be silent and
//! that a request may take. A request that is in hand is judged to its end, also when its client goes away: what is on
//! disk and what is remembered are one.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use indelible_chain::witness::{self, Call, call};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::directory::StoreError;
use super::logs::{Added, Logs};
use super::metrics::{Metrics, Outcome};
use super::places::{Place, Places};
use crate::clock;
use crate::limits::{
    ACCEPT_PAUSE, MAX_HEADER_BYTES, MAX_WITNESS_BODY_BYTES, MAX_WITNESS_HEADERS, MAX_WITNESS_STREAMS, WITNESS_DRAIN,
    WITNESS_HEAD_TIMEOUT, WITNESS_IDLE, WITNESS_JUDGES, WITNESS_REQUEST_TIMEOUT, WITNESS_WINDOW_BYTES,
};

/// Seconds after which a client may try again.
const RETRY_AFTER: &str = "1";
/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The media type of counts.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answered = Response<Full<Bytes>>;

/// What is served.
#[derive(Debug)]
pub enum Site {
    /// The witness.
    Witness(Witness),
    /// Its counts.
    Metrics(Arc<Metrics>),
}

/// What the witness needs.
#[derive(Debug)]
pub struct Witness {
    /// The logs.
    pub logs: Arc<Logs>,
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// How many requests are judged at once.
    pub judges: Arc<Semaphore>,
    /// Why nothing can be judged any more.
    pub fatal: watch::Sender<Option<Arc<StoreError>>>,
}

impl Witness {
    /// Of these logs.
    pub fn new(logs: Arc<Logs>, metrics: Arc<Metrics>) -> Self {
        Self { logs, metrics, judges: Arc::new(Semaphore::new(WITNESS_JUDGES)), fatal: watch::Sender::new(None) }
    }

    async fn answer(&self, request: Request<Incoming>, place: &Arc<Place>) -> Answered {
        match call(request.method().as_str(), request.uri().path()) {
            Ok(Call::Add) => {
                let body = Limited::new(request.into_body(), MAX_WITNESS_BODY_BYTES).collect();
                match timeout(WITNESS_REQUEST_TIMEOUT, body).await {
                    Ok(Ok(body)) => self.add(body.to_bytes(), place).await,
                    Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                        self.metrics.answered(Outcome::Malformed);
                        plain(413, format!("a request is at most {MAX_WITNESS_BODY_BYTES} bytes here\n"))
                    }
                    Ok(Err(_)) => {
                        self.metrics.answered(Outcome::Malformed);
                        plain(400, "the request broke off\n".to_owned())
                    }
                    Err(_) => self.away("the request came too slowly\n"),
                }
            }
            Ok(Call::Checkpoint(id)) => match place.busy() {
                Some(_busy) => whole(self.logs.newest(id)),
                None => self.away("too many connections; try again\n"),
            },
            Err(answer) => {
                self.metrics.answered(Outcome::Malformed);
                whole(answer)
            }
        }
    }

    async fn add(&self, body: Bytes, place: &Arc<Place>) -> Answered {
        let Some(busy) = place.busy() else { return self.away("too many connections; try again\n") };
        let judge = timeout(WITNESS_REQUEST_TIMEOUT, Arc::clone(&self.judges).acquire_owned()).await;
        let Ok(Ok(judge)) = judge else { return self.away("too many requests; try again\n") };
        if self.fatal.borrow().is_some() {
            return self.away("this witness cannot write and ends\n");
        }
        let (logs, fatal) = (Arc::clone(&self.logs), self.fatal.clone());
        let judged = tokio::task::spawn_blocking(move || {
            let added = logs.add(&body, clock::now());
            // Before the next one is let in.
            let answer = match added {
                Added::Answered(answer) => Some(answer),
                Added::Fatal(error) => {
                    fatal.send_replace(Some(Arc::new(error)));
                    None
                }
            };
            drop((judge, busy));
            answer
        });
        match judged.await {
            Ok(Some(answer)) => whole(answer),
            Ok(None) | Err(_) => self.away("this witness cannot write and ends\n"),
        }
    }

    fn away(&self, why: &str) -> Answered {
        self.metrics.answered(Outcome::Away);
        plain(503, why.to_owned())
    }
}

impl Site {
    async fn answer(&self, request: Request<Incoming>, place: &Arc<Place>) -> Answered {
        match self {
            Self::Witness(witness) => witness.answer(request, place).await,
            Self::Metrics(metrics) if request.uri().path() == "/metrics" => {
                let mut answer = plain(200, metrics.text());
                answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
                answer
            }
            Self::Metrics(_) if request.uri().path() == "/livez" => plain(200, "alive\n".to_owned()),
            Self::Metrics(_) => plain(404, "/metrics, /livez\n".to_owned()),
        }
    }
}

fn plain(status: u16, text: String) -> Answered {
    whole(witness::Answer::text(status, text))
}

fn whole(answer: witness::Answer) -> Answered {
    let witness::Answer { status, media_type, body } = answer;
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if matches!(status, 429 | 503) {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    answer
}

/// Serves until `ending`, and then until every request in hand is answered, or for a few seconds.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    (places, metrics): (Arc<Places>, Arc<Metrics>),
    mut ending: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Too many open files, or a client that is gone already: neither is over at once.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(place) = places.take() else {
            metrics.cut_off.inc();
            continue;
        };
        let (tls, site, metrics, ending) = (tls.clone(), Arc::clone(&site), Arc::clone(&metrics), ending.clone());
        tokio::spawn(async move {
            metrics.connections.inc();
            let (end, idle, mut was_cut_off) = (ended(ending, &place), idle(&place), false);
            tokio::select! {
                () = accept(stream, tls, &site, &place) => {}
                () = place.lost() => was_cut_off = true,
                () = idle => was_cut_off = true,
                () = end => {}
            }
            metrics.connections.dec();
            metrics.cut_off.inc_by(was_cut_off.into());
        });
    }
    drop(listener);
    let drained = async {
        while places.taken() > 0 {
            sleep(ACCEPT_PAUSE).await;
        }
    };
    let _ = timeout(WITNESS_DRAIN, drained).await;
}

/// Ends when nothing was in hand for too long.
async fn idle(place: &Place) {
    let mut requests = place.requests();
    loop {
        let _ = requests.wait_for(|count| *count == 0).await;
        if timeout(WITNESS_IDLE, requests.wait_for(|count| *count > 0)).await.is_err() {
            return;
        }
    }
}

/// Ends when the witness does and nothing is in hand: answers that were made have a moment to leave.
async fn ended(mut ending: watch::Receiver<bool>, place: &Place) {
    let _ = ending.wait_for(|ending| *ending).await;
    let _ = place.requests().wait_for(|count| *count == 0).await;
    sleep(ACCEPT_PAUSE).await;
}

async fn accept(stream: TcpStream, tls: Option<TlsAcceptor>, site: &Arc<Site>, place: &Arc<Place>) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(stream, site, place).await,
        // Who does not finish its handshake is idle.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, site, place).await;
            }
        }
    }
}

/// Speaks what the client speaks: an HTTP/2 connection begins with its preface, which is no request of HTTP/1.1.
async fn connection(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    site: &Arc<Site>,
    place: &Arc<Place>,
) {
    let mut begin = Vec::with_capacity(PREFACE.len());
    while begin.len() < PREFACE.len() && PREFACE.starts_with(&begin) {
        match (&mut stream).take((PREFACE.len() - begin.len()) as u64).read_buf(&mut begin).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
    let is_http2 = begin == PREFACE;
    let (read, write) = tokio::io::split(stream);
    let stream = TokioIo::new(tokio::io::join(Cursor::new(begin).chain(read), write));
    let service = service_fn(|request| {
        let (site, place) = (Arc::clone(site), Arc::clone(place));
        async move { Ok::<_, Infallible>(site.answer(request, &place).await) }
    });
    // Clients come and go; what went wrong is theirs to say.
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_WITNESS_STREAMS)
            .initial_stream_window_size(WITNESS_WINDOW_BYTES)
            .initial_connection_window_size(WITNESS_WINDOW_BYTES)
            .max_header_list_size(MAX_HEADER_BYTES)
            .serve_connection(stream, service)
            .await;
    } else {
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(WITNESS_HEAD_TIMEOUT)
            .max_headers(MAX_WITNESS_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES as usize)
            .serve_connection(stream, service)
            .await;
    }
}
