//! The rows of the interface that write.
//!
//! Each is the same five steps: who speaks, read the body, judge it ([`crate::ingest`]), append it, answer with the
//! receipt of what is durable. A receipt exists only for a [`Durable`], so no answer is earlier than the disk.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use indelible_chain::id::ChainId;
use indelible_chain::stored::Packer;

use super::access::{Speaker, Writer, bearer, speaker, writer};
use super::body::{self, AnswerBody};
use super::{Answer, App, INDELIBLE, Problem, ok};
use crate::ingest::{self, Authority, Introduced, Refusal, Spending};
use crate::limits::{
    MAX_BATCH_BODY_BYTES, MAX_CHAIN_BODY_BYTES, MAX_HEARTBEAT_BYTES, MAX_SESSION_BODY_BYTES, MAX_STATEMENT_BODY_BYTES,
};
use crate::metrics::{BatchOutcome, LeafType};
use crate::store::{Append, Appended, Durable};
use crate::token::Use;

const CONFLICT: HeaderName = HeaderName::from_static("indelible-conflict");

thread_local! {
    // One for each worker thread: unpacking does not allocate anew for each batch.
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
}

/// `PUT /v1/sessions/{session_id}`: 201 new, 200 known.
pub(super) async fn session(app: &Arc<App>, id: &str, request: Request<Incoming>) -> Answer {
    let writer = writer(app, &request, Use::Introduce).await?;
    let id = id.parse().map_err(|_| Problem::malformed("a session's id is 64 lower-case hex digits"))?;
    let token = Bytes::copy_from_slice(bearer(request.headers())?.as_bytes());
    let body = body::read(&writer.place, request, MAX_SESSION_BODY_BYTES).await?;
    let (session, attested) = ingest::session(id, &body.bytes, &writer.pod, &app.cluster_uid)?;
    let new = app.store.session(id)?.is_none().then_some(Introduced::Session);
    let item = Append::Session { session, attested, token };
    Ok(introduced(app, &introduce(app, &writer, new, item, LeafType::Session).await?))
}

/// `PUT /v1/chains/{chain_id}`: 201 new, 200 known.
pub(super) async fn chain(app: &Arc<App>, id: &str, request: Request<Incoming>) -> Answer {
    let writer = writer(app, &request, Use::Other).await?;
    let id = id.parse().map_err(|_| Problem::malformed("a chain's id is 64 lower-case hex digits"))?;
    let body = body::read(&writer.place, request, MAX_CHAIN_BODY_BYTES).await?;
    let (genesis, session) = ingest::chain(id, &body.bytes, &writer.pod, &*app.store)?;
    let new = app.store.chain(id)?.is_none().then_some(Introduced::Chain);
    let item = Append::Genesis { genesis, session };
    Ok(introduced(app, &introduce(app, &writer, new, item, LeafType::Genesis).await?))
}

/// `POST /v1/batches`: 200, also for one that is known or contradicts.
pub(super) async fn batch(app: &Arc<App>, request: Request<Incoming>) -> Answer {
    let answered = try_batch(app, request).await;
    if answered.is_err() {
        app.metrics.batch(BatchOutcome::Refused);
    }
    answered
}

async fn try_batch(app: &Arc<App>, request: Request<Incoming>) -> Answer {
    let writer = writer(app, &request, Use::Batch).await?;
    let body = body::read(&writer.place, request, MAX_BATCH_BODY_BYTES).await?;
    let spending = Spending {
        pod_uid: writer.pod.pod_uid.clone(),
        namespace: writer.pod.namespace.clone(),
        bytes: ingest::announced_bytes(&body.bytes)?,
    };
    // Before the work: who writes too much has no claim to having it checked.
    app.desk.spend(spending.clone()).await??;
    let stored = store_batch(app, &writer, &body).await;
    if !stored.as_ref().is_ok_and(|(durable, ..)| durable.get().fresh) {
        app.desk.refund(spending);
    }
    let (durable, records, chain) = stored?;
    let Appended { fresh, conflict, .. } = *durable.get();
    if fresh {
        app.metrics.appended_records.inc_by(records.into());
        app.metrics.appended_bytes.inc_by(body.bytes.len() as u64);
    }
    app.metrics.batch(match (conflict, fresh) {
        (_, false) => BatchOutcome::Known,
        (Some(_), true) => BatchOutcome::Conflict,
        (None, true) => BatchOutcome::Stored,
    });
    let mut answer = receipt(app, &durable);
    if let Some(other) = conflict {
        let (index, other) = (durable.get().index.get(), other.get());
        tracing::warn!(%chain, index, other, "a batch contradicts another: two histories were signed; verify the pool");
        answer.headers_mut().insert(CONFLICT, HeaderValue::from(other));
    }
    Ok(answer)
}

/// Checks a batch and appends it. Gives how many records it has, and in which chain.
async fn store_batch(
    app: &Arc<App>,
    writer: &Writer,
    body: &body::Received,
) -> Result<(Durable<Appended>, u32, ChainId), Problem> {
    let checked = with_packer(|packer| ingest::batch(&body.bytes, &writer.pod, &*app.store, packer))??;
    let (records, chain) = (checked.commitment().count, checked.commitment().chain);
    Ok((append(app, Append::Batch(checked), LeafType::Batch).await?, records, chain))
}

/// `POST /v1/heartbeats`: 204, noted for coverage and for a later liveness leaf.
pub(super) async fn heartbeat(app: &Arc<App>, request: Request<Incoming>) -> Answer {
    let writer = writer(app, &request, Use::Other).await?;
    let body = body::read(&writer.place, request, MAX_HEARTBEAT_BYTES).await?;
    let heartbeat = ingest::heartbeat(&body.bytes, &writer.pod, &*app.store)?;
    app.desk.note(heartbeat).await??;
    app.metrics.heartbeats.inc();
    let mut answer = Response::new(AnswerBody::from(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

/// `POST /v1/statements`: 200. A pod may hand in whose statement it likes, so many an hour; who has a reader's token only
/// those of an authority that is known.
pub(super) async fn statement(app: &Arc<App>, request: Request<Incoming>) -> Answer {
    let speaker = speaker(app, &request).await?;
    let body = body::read(speaker.place(), request, MAX_STATEMENT_BODY_BYTES).await?;
    let (signed, authority) = ingest::statement(&body.bytes, &app.authorities, app.store.identity().origin())?;
    let item = Append::Authority(signed);
    let durable = match (authority, &speaker) {
        (Authority::Known, _) => append(app, item, LeafType::Authority).await?,
        (Authority::Unknown, Speaker::Pod(writer)) => {
            introduce(app, writer, Some(Introduced::Statement), item, LeafType::Authority).await?
        }
        (Authority::Unknown, Speaker::Reader(_)) => return Err(Refusal::AuthorityUnknown.into()),
    };
    Ok(receipt(app, &durable))
}

/// Appends what a pod introduces. What is new counts against its quota, which gets back what was not stored after all.
async fn introduce(
    app: &Arc<App>,
    writer: &Writer,
    new: Option<Introduced>,
    item: Append,
    leaf: LeafType,
) -> Result<Durable<Appended>, Problem> {
    let Some(what) = new else { return append(app, item, leaf).await };
    app.desk.introduce(writer.pod.pod_uid.clone(), what).await??;
    let appended = append(app, item, leaf).await;
    if !appended.as_ref().is_ok_and(|durable| durable.get().fresh) {
        app.desk.give_back(writer.pod.pod_uid.clone(), what);
    }
    appended
}

/// Appends an item, and waits until it is durable. A client that goes away meanwhile finds its leaf when it asks again.
async fn append(app: &Arc<App>, item: Append, leaf: LeafType) -> Result<Durable<Appended>, Problem> {
    let since = tokio::time::Instant::now();
    let durable = app.store.append(item).await?;
    app.metrics.append_seconds.observe(since.elapsed().as_secs_f64());
    if durable.get().fresh {
        app.metrics.appended(leaf);
    }
    Ok(durable)
}

fn with_packer<T>(work: impl FnOnce(&mut Packer) -> T) -> Result<T, Problem> {
    PACKER.with_borrow_mut(|packer| {
        let packer = match packer {
            Some(packer) => packer,
            None => packer.insert(Packer::new().map_err(|error| {
                let detail = format!("there is no memory to unpack bodies: {error}");
                Problem::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail)
            })?),
        };
        Ok(work(packer))
    })
}

fn receipt(app: &App, durable: &Durable<Appended>) -> Response<AnswerBody> {
    ok(INDELIBLE, durable.receipt(app.store.identity()).encode().to_vec())
}

fn introduced(app: &App, durable: &Durable<Appended>) -> Response<AnswerBody> {
    let mut answer = receipt(app, durable);
    if durable.get().fresh {
        *answer.status_mut() = StatusCode::CREATED;
    }
    answer
}
