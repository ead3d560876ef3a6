//! Bodies: requests are read with a bound, a deadline and a share of the memory for all; answers are whole or streamed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

use super::gate::{BodyShare, InFlight, PodPlace};
use super::peer::Peer;
use super::{INDELIBLE, Problem};
use crate::limits::BODY_TIMEOUT;

/// The body of an answer, which is in flight until the last of it was taken.
#[derive(Debug)]
pub(super) struct AnswerBody {
    content: Content,
    _in_flight: Option<InFlight>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    /// Ends with an empty piece. A sender that fails, or is gone before the end, resets the stream: what was cut off
    /// never looks whole.
    Streamed(mpsc::Receiver<Result<Bytes, StreamError>>),
}

/// What was being streamed cannot be read to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the answer cannot be completed: {0}")]
pub(super) struct StreamError(pub(super) String);

impl AnswerBody {
    /// One that comes in pieces, with an empty one at its end.
    pub(super) fn streamed(pieces: mpsc::Receiver<Result<Bytes, StreamError>>) -> Self {
        Self { content: Content::Streamed(pieces), _in_flight: None }
    }

    /// Its request is in flight until its last byte is sent, and a peer that does not take it is given up. Who streams
    /// sees to that piece by piece.
    pub(super) fn of(self, request: InFlight, peer: Peer) -> Self {
        match self.content {
            Content::Whole(Some(bytes)) => {
                let (sender, sent) = oneshot::channel();
                peer.must_take(sent);
                Bytes::from_owner(Unsent { bytes, _request: request, _sent: sender }).into()
            }
            content => Self { content, _in_flight: Some(request) },
        }
    }
}

/// A whole answer that is not sent yet: HTTP/2 takes it from its body long before the peer does.
struct Unsent {
    bytes: Bytes,
    _request: InFlight,
    _sent: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self { content: Content::Whole((!bytes.is_empty()).then_some(bytes)), _in_flight: None }
    }
}

impl From<Vec<u8>> for AnswerBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut self.get_mut().content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Streamed(pieces) => pieces.poll_recv(cx).map(|piece| match piece {
                Some(Ok(piece)) if piece.is_empty() => None,
                Some(piece) => Some(piece.map(Frame::data)),
                None => Some(Err(StreamError("it was not taken, or reading it has failed".into()))),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Streamed(_) => SizeHint::default(),
        }
    }
}

// An answer that cannot fail is also one.
impl From<Infallible> for StreamError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A request's body with the share of memory that it takes, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _share: BodyShare,
}

/// Reads a body of at most `limit` bytes, out of what the pod that sends it may have in flight.
pub(super) async fn read<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(
    place: &PodPlace,
    request: Request<B>,
    limit: usize,
) -> Result<Received, Problem> {
    let (parts, body) = request.into_parts();
    check_kind(&parts.headers)?;
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(place.body_share(), body, limit)).await {
        Ok(received) => received,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            format!("the body was not complete within {} s, which is the limit", BODY_TIMEOUT.as_secs()),
        )),
    }
}

async fn collect<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(
    mut share: BodyShare,
    mut body: B,
    limit: usize,
) -> Result<Received, Problem> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit).min(limit);
    let mut whole: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::malformed(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let before = whole.as_ref().map_or(0, Bytes::len) + joined.len();
        if before + data.len() > limit {
            return Err(too_large(limit));
        }
        // Memory is taken for bytes that are there, never for bytes that were only announced.
        share.grow(data.len())?;
        if before == 0 && data.len() >= expected {
            // The usual case, a body that came in one frame, is not copied.
            whole = Some(data);
            continue;
        }
        if let Some(first) = whole.take() {
            joined.extend_from_slice(&first);
        }
        joined.extend_from_slice(&data);
    }
    Ok(Received { bytes: whole.unwrap_or_else(|| joined.freeze()), _share: share })
}

fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_TYPE) {
        None => Ok(()),
        Some(kind) if *kind == INDELIBLE => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "bodies are application/vnd.indelible.v1",
        )),
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is over the limit of {limit} bytes for this call");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::gate::Gate;
    use super::*;
    use crate::metrics::Metrics;

    fn place() -> (PodPlace, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        (Gate::new(Arc::clone(&metrics)).pod("a").unwrap(), metrics)
    }

    /// A body of unknown length in these pieces; an empty one ends it.
    fn body(pieces: &[&'static [u8]]) -> (mpsc::Sender<Result<Bytes, StreamError>>, Request<AnswerBody>) {
        let (sender, receiver) = mpsc::channel(10);
        for piece in pieces {
            sender.try_send(Ok(Bytes::from_static(piece))).unwrap();
        }
        (sender, Request::new(AnswerBody::streamed(receiver)))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_and_counted_while_it_is_held() {
        let (place, metrics) = place();
        let (_sender, request) = body(&[b"one", b" two", b" three", b""]);
        let received = read(&place, request, 100).await.unwrap();
        assert_eq!(received.bytes, "one two three");
        assert_eq!(metrics.body_bytes.get(), 13);
        drop(received);
        assert_eq!(metrics.body_bytes.get(), 0);
    }

    #[tokio::test]
    async fn a_body_that_did_not_say_its_length_is_cut_at_the_limit() {
        let (place, metrics) = place();
        let (_sender, request) = body(&[b"12345", b"6"]);
        assert_eq!(read(&place, request, 5).await.unwrap_err().status(), 413);
        assert_eq!(metrics.body_bytes.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let (place, metrics) = place();
        let (_sender, request) = body(&[b"12345"]);
        assert_eq!(read(&place, request, 100).await.unwrap_err().status(), 408);
        assert_eq!(metrics.body_bytes.get(), 0);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_malformed() {
        let (place, _) = place();
        let (sender, request) = body(&[b"12345"]);
        sender.try_send(Err(StreamError("cut".into()))).unwrap();
        assert_eq!(read(&place, request, 100).await.unwrap_err().status(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_in_flight_until_its_last_byte_is_sent_and_who_does_not_take_it_is_given_up() {
        let (gate, peer) = (Gate::new(Arc::new(Metrics::new())), Peer::default());
        peer.admit();
        let mut answer = AnswerBody::from(b"12345".to_vec()).of(gate.request(), peer.clone());
        let mut bytes = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(answer);
        let rest = bytes.split_off(1);
        drop(bytes);
        assert_eq!(*gate.requests().borrow(), 1, "a part of it is not sent yet");
        assert_eq!(peer.cut_off(None).await, crate::metrics::Unserved::Untaken);
        drop(rest);
        assert_eq!(*gate.requests().borrow(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_does_not_look_whole() {
        let (sender, request) = body(&[b"12345"]);
        drop(sender);
        let mut answer = request.into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "12345");
        assert!(answer.frame().await.unwrap().is_err());
    }
}
