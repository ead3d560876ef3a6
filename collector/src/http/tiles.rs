//! tlog-tiles under `/logs/<hex log_id>`: the newest checkpoint, hash tiles, and bundles of leaves.
//!
//! A collector answers only for its own log. A full tile never changes, so it may be kept for ever; a partial one is
//! served while its size was published, and then the client falls back to the full tile's own path.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use indelible_chain::tile::{BundleId, TileId};

use super::read::blocking;
use super::{Answer, App, OCTETS, Problem, TEXT, access, held, ok};

/// Not `public`: what needs a token does not go into a shared cache.
const FOR_EVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// `GET …/checkpoint`.
pub(super) fn checkpoint<B>(app: &App, log: &str, request: &Request<B>) -> Answer {
    access::anyone(app, request)?;
    own_log(app, log)?;
    Ok(ok(TEXT, app.store.checkpoint().note.clone()))
}

/// `GET …/tile/<L>/<N>[.p/<W>]`.
pub(super) async fn tile<B>(app: &Arc<App>, log: &str, request: &Request<B>) -> Answer {
    access::anyone(app, request)?;
    own_log(app, log)?;
    let id = TileId::parse_path(under_log(request)).map_err(|error| Problem::not_found(error.to_string()))?;
    let store = Arc::clone(&app.store);
    let bytes = blocking(move || store.tile(id)).await??;
    served(app, request, bytes, id.is_full(), || id.path())
}

/// `GET …/tile/entries/<N>[.p/<W>]`: names pods and nodes.
pub(super) async fn entries<B>(app: &Arc<App>, log: &str, request: &Request<B>) -> Answer {
    access::reader_of_everything(app, request).await?;
    own_log(app, log)?;
    let id = BundleId::parse_path(under_log(request)).map_err(|error| Problem::not_found(error.to_string()))?;
    let _stream = app.gate.stream()?;
    let store = Arc::clone(&app.store);
    let bytes = blocking(move || store.entries(id)).await??;
    served(app, request, bytes, id.is_full(), || id.path())
}

fn served<B>(app: &App, request: &Request<B>, bytes: Option<Bytes>, full: bool, path: impl Fn() -> String) -> Answer {
    let Some(bytes) = bytes else {
        let detail = format!("{} is not in the published tree; for a partial tile ask for the full one", path());
        return Err(Problem::not_found(detail));
    };
    let mut answer = ok(OCTETS, held(app, request, bytes)?);
    if full {
        answer.headers_mut().insert(header::CACHE_CONTROL, FOR_EVER);
    }
    Ok(answer)
}

fn own_log(app: &App, log: &str) -> Result<(), Problem> {
    let own = app.store.identity().log_id();
    if log.parse() == Ok(own) {
        return Ok(());
    }
    Err(Problem::not_found(format!("this collector's log is {own}, and it answers for no other")))
}

/// The path under `/logs/<log>/`.
fn under_log<B>(request: &Request<B>) -> &str {
    request.uri().path().splitn(4, '/').nth(3).unwrap_or_default()
}
