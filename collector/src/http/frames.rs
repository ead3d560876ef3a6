//! The rows of the interface that stream leaves with their bodies: `/v1/frames` and a chain's batches.
//!
//! An answer of frames ends after a bounded number of bytes, at the end of what is durable, or at `to`, which is
//! excluded; a client goes on from the index after the last one it got. Memory is bounded whatever the client does: a
//! piece is read when the one before it was taken.
//! A body is given out to who may read what its session sent; to others its codec says that it is not (254).
//! The JWT of a session is given out once it is good for nothing here but late batches, which rest on the session's
//! signature and take no place of the pod's: until then its codec says so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use indelible_chain::frame::WireFrame;
use indelible_chain::id::{ChainId, LeafIndex, Seq, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::stored::{Codec, Stored};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::body::{AnswerBody, StreamError};
use super::peer::Peer;
use super::read::{Query, blocking};
use super::seen::Seen;
use super::{Answer, App, INDELIBLE, Problem, access, held, ok};
use crate::clock::Clock;
use crate::limits::{MAX_STREAM_BYTES, MAX_WAIT, STREAM_PIECE_BYTES, STREAM_TIMEOUT};
use crate::store::{FrameReader, ReadError};
use crate::token::is_spent;

/// `GET /v1/frames?from=<index>&to=<index>&wait=30s`.
pub(super) async fn frames<B>(app: &Arc<App>, request: &Request<B>) -> Answer {
    let rights = access::reader(app, request).await?;
    let query = Query::of(request, &["from", "to", "wait"])?;
    let from: u64 = query.parsed("from", "a leaf's index")?.unwrap_or(0);
    let to: u64 = query.parsed("to", "a leaf's index")?.unwrap_or(u64::MAX);
    let wait = match query.text("wait")? {
        Some(text) => crate::config::duration(text).map_err(|form| Problem::malformed(format!("wait: {form}")))?,
        None => Duration::ZERO,
    };
    if from < to {
        wait_for_leaf(app, from, wait.min(MAX_WAIT)).await?;
    }
    let permit = app.gate.stream()?;
    let reader = app.store.frames(LeafIndex::new(from), LeafIndex::new(to));
    let seen = Seen::new(Arc::clone(&app.store), rights);
    Ok(ok(INDELIBLE, stream(app, request, (reader, seen), permit, MAX_STREAM_BYTES).await?))
}

/// `GET /v1/chains/{chain_id}/batches?from=&to=`: those with a record in `[from, to)`.
pub(super) async fn batches<B>(app: &Arc<App>, id: &str, request: &Request<B>) -> Answer {
    let rights = access::reader(app, request).await?;
    let id: ChainId = id.parse().map_err(|_| Problem::malformed("a chain's id is 64 lower-case hex digits"))?;
    let query = Query::of(request, &["from", "to"])?;
    let from = Seq::new(query.parsed("from", "a position")?.unwrap_or(0));
    let to = Seq::new(query.parsed("to", "a position")?.unwrap_or(u64::MAX));
    let permit = app.gate.stream()?;
    let store = Arc::clone(&app.store);
    let reader = blocking(move || {
        let mut seen = Seen::new(Arc::clone(&store), rights);
        // A chain of others is none for who may not read it.
        let known = match store.chain(id)? {
            Some(chain) => seen.session(chain.session)?,
            None => false,
        };
        Ok::<_, ReadError>(known.then(|| (store.batches(id, from, to), seen)))
    });
    match reader.await?? {
        // All of it: nobody could tell from which position to go on where a chain has holes.
        Some(reading) => Ok(ok(INDELIBLE, stream(app, request, reading, permit, usize::MAX).await?)),
        None => Err(Problem::not_found(format!("chain {id} is not in this log"))),
    }
}

/// Waits until leaf `index` is durable, the time is over, or no more come.
async fn wait_for_leaf(app: &App, index: u64, wait: Duration) -> Result<(), Problem> {
    let mut size = app.store.size();
    if wait.is_zero() || *size.borrow() > index {
        return Ok(());
    }
    let _waiting = app.gate.wait()?;
    let mut closing = app.closing.clone();
    tokio::select! {
        _ = size.wait_for(|size| *size > index) => {}
        _ = closing.wait_for(|closing| *closing) => {}
        () = tokio::time::sleep(wait) => {}
    }
    Ok(())
}

/// Streams what a reader gives. The first piece is read before there is an answer, so that what cannot be read at all
/// is an error and not an answer that breaks off.
async fn stream<B>(
    app: &App,
    request: &Request<B>,
    (reader, seen): (FrameReader, Seen),
    permit: OwnedSemaphorePermit,
    limit: usize,
) -> Result<AnswerBody, Problem> {
    let mut pieces = Pieces { reader, seen, clock: Arc::clone(&app.clock), left: limit, ended: false };
    let first;
    (pieces, first) = next_piece(pieces).await?;
    let first = first?;
    if pieces.ended {
        return Ok(held(app, request, first)?.into());
    }
    let (sender, receiver) = mpsc::channel(1);
    let peer = Peer::of(request);
    tokio::spawn(async move {
        let _permit = permit;
        let mut piece = Ok(first);
        loop {
            let last = is_last(&piece);
            match tokio::time::timeout(STREAM_TIMEOUT, hand_over(&sender, piece)).await {
                Ok(true) if !last => {}
                // All of it is taken, or who asked is gone.
                Ok(_) => return,
                Err(_) => return peer.give_up(),
            }
            if pieces.ended {
                piece = Ok(Bytes::new());
                continue;
            }
            match next_piece(pieces).await {
                Ok((rest, next)) => {
                    pieces = rest;
                    piece = next.map_err(|error| StreamError(error.to_string()));
                }
                Err(_) => return,
            }
        }
    });
    Ok(AnswerBody::streamed(receiver))
}

/// What a stream ends with: an empty piece, or why there are no more.
fn is_last(piece: &Result<Bytes, StreamError>) -> bool {
    piece.as_ref().map_or(true, Bytes::is_empty)
}

/// Ends when there is room for the next piece, or with the last when all are taken: what waits is still in flight. Gives
/// whether who asked is there.
async fn hand_over(to: &mpsc::Sender<Result<Bytes, StreamError>>, piece: Result<Bytes, StreamError>) -> bool {
    let last = is_last(&piece);
    let sent = to.send(piece).await.is_ok();
    if last {
        to.closed().await;
    }
    sent
}

struct Pieces {
    reader: FrameReader,
    seen: Seen,
    clock: Arc<dyn Clock>,
    left: usize,
    ended: bool,
}

async fn next_piece(mut pieces: Pieces) -> Result<(Pieces, Result<Bytes, ReadError>), Problem> {
    blocking(move || {
        let piece = pieces.read();
        (pieces, piece)
    })
    .await
}

impl Pieces {
    fn read(&mut self) -> Result<Bytes, ReadError> {
        let now = self.clock.now();
        let mut piece = Vec::new();
        while piece.len() < STREAM_PIECE_BYTES {
            let Some(frame) = self.reader.next_frame()? else {
                self.ended = true;
                return Ok(piece.into());
            };
            given_out(frame, now, &mut self.seen)?.encode_into(&mut piece);
        }
        self.left = self.left.saturating_sub(piece.len());
        self.ended = self.left == 0;
        Ok(piece.into())
    }
}

/// The frame as a reader gets it: without a JWT that is still good for something, and without a body that is not its own.
fn given_out<'f>(frame: WireFrame<'f>, now: Time, seen: &mut Seen) -> Result<WireFrame<'f>, ReadError> {
    const SESSION: u8 = 1;
    // Of who sees everything only JWTs are withheld, so only their leaves are decoded.
    if seen.is_everything() && frame.leaf.get(1) != Some(&SESSION) {
        return Ok(frame);
    }
    let given = match Leaf::decode(frame.leaf) {
        Ok(Leaf::Session { attested, .. }) if !is_spent(attested.token_expires, now) => false,
        Ok(Leaf::Session { session, .. }) => match session.id() {
            Ok(id) => seen.session(id)?,
            Err(_) => false,
        },
        Ok(Leaf::Batch { commitment, .. }) => seen.session(commitment.session)?,
        // They have no body.
        Ok(Leaf::Genesis { .. } | Leaf::Statement { .. } | Leaf::Authority { .. }) => true,
        // Heartbeats of all pods are in one body.
        Ok(Leaf::Liveness { .. } | Leaf::Unknown { .. }) => seen.is_everything(),
        Err(_) => false,
    };
    if given {
        return Ok(frame);
    }
    Ok(WireFrame { body: Stored { codec: Codec::Withheld, bytes: &[] }, ..frame })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_over_when_its_last_piece_is_taken_and_not_when_it_is_read() {
        let (sender, receiver) = mpsc::channel(1);
        let end = || tokio::time::timeout(STREAM_TIMEOUT, hand_over(&sender, Ok(Bytes::new())));
        assert!(end().await.is_err(), "it is in the channel, and nobody takes it");
        drop(receiver);
        assert_eq!(end().await, Ok(false));
    }
}
