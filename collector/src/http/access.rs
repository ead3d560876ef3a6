//! Who may call what: pods write, readers read, and either may see what names nobody.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, header};

use super::gate::PodPlace;
use super::peer::Peer;
use super::{App, Problem};
use crate::readers::{Readers, Rights};
use crate::token::{PodToken, Use};

/// Where a reader's token stands: a proxy of the API server removes `Authorization`.
const READER_TOKEN: HeaderName = HeaderName::from_static("indelible-token");

/// A pod that may write, and its place among its own requests.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) pod: Arc<PodToken>,
    pub(super) place: PodPlace,
}

/// Who hands in a statement.
#[derive(Debug)]
pub(super) enum Speaker {
    /// A pod.
    Pod(Writer),
    /// Who has a reader's token.
    Reader(PodPlace),
}

impl Speaker {
    /// Its place among the requests in flight; all readers have one pod's.
    pub(super) const fn place(&self) -> &PodPlace {
        match self {
            Self::Pod(writer) => &writer.place,
            Self::Reader(place) => place,
        }
    }
}

/// Knows who hands in a statement: by a reader's token, which the operator has, or by a pod's.
pub(super) async fn speaker<B>(app: &App, request: &Request<B>) -> Result<Speaker, Problem> {
    if !request.headers().contains_key(READER_TOKEN) {
        return Ok(Speaker::Pod(writer(app, request, Use::Other).await?));
    }
    app.store.writable()?;
    reader_token(app, request)?;
    Peer::of(request).admit();
    Ok(Speaker::Reader(app.gate.pod("with a reader's token")?))
}

/// Knows the pod that writes, and whether it may: before a byte of the body is read.
pub(super) async fn writer<B>(app: &App, request: &Request<B>, how: Use) -> Result<Writer, Problem> {
    // On a full volume a batch that is stored already gets its receipt again; of others the store says 507. What is
    // introduced is refused here, before it counts against the pod's quota.
    match how {
        Use::Batch => app.store.taking()?,
        Use::Introduce | Use::Other => app.store.writable()?,
    }
    let now = app.clock.now();
    let pod = app.tokens.pod(bearer(request.headers())?, how, now)?;
    let place = {
        let counts_as = pod.counts_as(now);
        Peer::of(request).admit_pod(&app.gate, &counts_as)?;
        app.gate.pod(&counts_as)?
    };
    let namespaces = Arc::clone(&app.namespaces.borrow());
    if !namespaces.contains(&pod.namespace) {
        app.desk.may_write(namespaces, pod.namespace.clone()).await??;
    }
    Ok(Writer { pod, place })
}

/// What the caller may read of records, and of what names pods and nodes.
pub(super) async fn reader<B>(app: &App, request: &Request<B>) -> Result<Arc<Rights>, Problem> {
    let token = match app.readers {
        Readers::None => None,
        Readers::Jwks | Readers::Reviewed(_) => Some(reader_token(app, request)?),
    };
    let rights = match (&app.readers, token) {
        (Readers::Reviewed(reviews), Some(token)) => {
            let namespaces = Arc::clone(&app.namespaces.borrow());
            reviews.rights(token, &namespaces).await??
        }
        _ => Arc::new(Rights::Everything),
    };
    Peer::of(request).admit();
    Ok(rights)
}

/// The same, for what cannot be shown in part.
pub(super) async fn reader_of_everything<B>(app: &App, request: &Request<B>) -> Result<(), Problem> {
    match *reader(app, request).await? {
        Rights::Everything => Ok(()),
        Rights::Namespaces(_) => {
            let detail = "bundles of leaves name the pods of all namespaces: they need the right to read all records, \
                          `get auditlogs/records`";
            Err(Problem::forbidden("not-everything", detail))
        }
    }
}

/// A reader's token that is good by its issuer's keys; whether the cluster still knows it is not asked.
fn reader_token<'r, B>(app: &App, request: &'r Request<B>) -> Result<&'r str, Problem> {
    let Some(token) = request.headers().get(READER_TOKEN) else {
        let detail = "a reader's token is needed in the header Indelible-Token, with the reader audience";
        return Err(Problem::unauthorized("no-token", detail));
    };
    let token = text(token)?;
    app.tokens.reader(token, app.clock.now())?;
    Ok(token)
}

/// Whether the caller may see what names nobody: any valid token of either kind will do, also while the cluster is away.
pub(super) fn anyone<B>(app: &App, request: &Request<B>) -> Result<(), Problem> {
    let peer = Peer::of(request);
    if matches!(app.readers, Readers::None) {
        peer.admit();
        return Ok(());
    }
    if request.headers().contains_key(READER_TOKEN) {
        reader_token(app, request)?;
        peer.admit();
        return Ok(());
    }
    let now = app.clock.now();
    let pod = app.tokens.pod(bearer(request.headers())?, Use::Other, now)?;
    peer.admit_pod(&app.gate, &pod.counts_as(now))
}

/// The compact JWT of a pod.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized("no-token", "a pod's token is needed: Authorization: Bearer <token>"));
    };
    let value = text(value)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Problem::unauthorized("no-token", "the header must be Authorization: Bearer <token>")),
    }
}

fn text(value: &http::HeaderValue) -> Result<&str, Problem> {
    value.to_str().map_err(|_| Problem::unauthorized("token", "the token has bytes that no token has"))
}
