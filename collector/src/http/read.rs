//! The rows of the interface that read lists and facts, as JSON.

use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use http::Request;
use indelible_chain::id::{ChainId, SessionId, Time};
use serde::Serialize;

use super::seen::Seen;
use super::{Answer, App, JSON, Problem, TEXT, access, held, json, ok};
use crate::config::SOFTWARE;
use crate::limits::{MAX_LISTED, MAX_QUERY_BYTES};
use crate::reload::Pool;
use crate::store::KnownChain;

/// The parameters of a query: each known, each once.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    /// Reads a query that may have these parameters.
    pub(super) fn of<B>(request: &'a Request<B>, known: &[&str]) -> Result<Self, Problem> {
        let query = request.uri().query().unwrap_or_default();
        if query.len() > MAX_QUERY_BYTES {
            return Err(Problem::malformed(format!("a query is at most {MAX_QUERY_BYTES} bytes")));
        }
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !known.contains(&name) || parameters.iter().any(|(other, _)| *other == name) {
                let list = known.join(", ");
                return Err(Problem::malformed(format!("parameter {name:?}: expected each of {list} at most once")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The text of a parameter: names of Kubernetes need no escapes, and `%` is refused rather than guessed at.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        match self.0.iter().find(|(other, _)| *other == name) {
            Some((_, value)) if value.contains(['%', '+']) => {
                Err(Problem::malformed(format!("parameter {name}: write it without % and +")))
            }
            found => Ok(found.map(|(_, value)| *value).filter(|value| !value.is_empty())),
        }
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str, form: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| text.parse().map_err(|_| Problem::malformed(format!("parameter {name} is {form}")));
        self.text(name)?.map(parse).transpose()
    }

    /// A time: nanoseconds since the epoch, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<Time>, Problem> {
        let parse = |text: &str| {
            let nanos = text.parse::<i64>().ok();
            let stamp = || i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok();
            nanos.or_else(stamp).map(Time::from_nanos).ok_or_else(|| {
                Problem::malformed(format!("parameter {name} is a time: nanoseconds since the epoch, or RFC 3339"))
            })
        };
        self.text(name)?.map(parse).transpose()
    }

    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let limit: Option<usize> = self.parsed("limit", "a number")?;
        Ok(limit.unwrap_or(MAX_LISTED).clamp(1, MAX_LISTED))
    }
}

/// `GET /v1/pool`: the list of collectors, as it was given.
pub(super) fn pool<B>(app: &App, request: &Request<B>) -> Answer {
    access::anyone(app, request)?;
    let json = app.pool.borrow().as_ref().as_ref().map(Pool::json);
    match json {
        Some(json) => Ok(ok(JSON, json)),
        None => {
            Err(Problem::not_found("this collector knows no pool (--pool, --configmap); keep the list that you have"))
        }
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the interface's own names")]
struct Log<'a> {
    origin: &'a str,
    vkey: &'a str,
    log_id: String,
    size: u64,
    software: &'static str,
    sealed: bool,
    newest_leaf_time: i64,
    free_bytes: u64,
    total_bytes: u64,
}

/// `GET /v1/log`: who this log is, its size under the newest checkpoint, whether it has its end, and the room on its volume.
pub(super) fn log<B>(app: &App, request: &Request<B>) -> Answer {
    access::anyone(app, request)?;
    let identity = app.store.identity();
    let log = Log {
        origin: identity.origin(),
        vkey: identity.vkey(),
        log_id: identity.log_id().to_string(),
        size: app.store.checkpoint().size,
        software: SOFTWARE,
        sealed: app.store.is_sealed(),
        newest_leaf_time: app.store.newest_leaf_time().nanos(),
        free_bytes: app.store.space().free,
        total_bytes: app.store.space().total,
    };
    Ok(ok(JSON, json(&log)))
}

/// `GET /v1/checkpoints?after=&limit=`: sizes that are kept, ascending.
pub(super) fn checkpoints<B>(app: &App, request: &Request<B>) -> Answer {
    access::anyone(app, request)?;
    let query = Query::of(request, &["after", "limit"])?;
    let after = query.parsed("after", "a number of leaves")?.unwrap_or(0);
    Ok(ok(JSON, held(app, request, json(&app.store.kept_checkpoints(after, query.limit()?)))?))
}

/// `GET /v1/checkpoints/{size}`: a kept note with the cosignatures it has.
pub(super) async fn checkpoint<B>(app: &Arc<App>, size: &str, request: &Request<B>) -> Answer {
    access::anyone(app, request)?;
    let size = decimal(size).ok_or_else(|| Problem::malformed("a size is a decimal without leading zeros"))?;
    let store = Arc::clone(&app.store);
    match blocking(move || store.kept_checkpoint(size)).await?? {
        Some(note) => Ok(ok(TEXT, held(app, request, note)?)),
        None => Err(Problem::not_found(format!("no checkpoint of size {size} is kept; /v1/checkpoints lists them"))),
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the interface's own names")]
struct Chain {
    chain_id: String,
    genesis: String,
    first_seq: u64,
    next_seq: u64,
    first_time: Option<i64>,
    last_time: Option<i64>,
    closed: bool,
}

impl Chain {
    fn of(known: &KnownChain) -> Option<Self> {
        let extent = known.extent;
        Some(Self {
            chain_id: known.chain.to_string(),
            genesis: hex(&known.genesis.encode().ok()?),
            first_seq: extent.map_or(0, |extent| extent.first_seq.get()),
            next_seq: extent.map_or(0, |extent| extent.next_seq.get()),
            first_time: extent.map(|extent| extent.first_time.nanos()),
            last_time: extent.map(|extent| extent.last_time.nanos()),
            closed: extent.is_some_and(|extent| extent.closed),
        })
    }
}

/// `GET /v1/chains?namespace=&pod=&container=&since=&until=&limit=&after=`: by chain id.
///
/// A chain without records here has no times: it is listed unless times are asked for.
pub(super) async fn chains<B>(app: &Arc<App>, request: &Request<B>) -> Answer {
    let rights = access::reader(app, request).await?;
    let query = Query::of(request, &["namespace", "pod", "container", "since", "until", "limit", "after"])?;
    let own = |name| query.text(name).map(|text| text.map(str::to_owned));
    let (namespace, pod, container) = (own("namespace")?, own("pod")?, own("container")?);
    let (since, until) = (query.time("since")?, query.time("until")?);
    let after: Option<ChainId> = query.parsed("after", "a chain's id")?;
    let limit = query.limit()?;
    let wanted = move |known: &KnownChain| {
        let is = |wanted: &Option<String>, found: &String| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&namespace, &known.genesis.namespace)
            && is(&pod, &known.genesis.pod_name)
            && is(&container, &known.genesis.container)
            && since.is_none_or(|since| known.extent.is_some_and(|extent| extent.last_time >= since))
            && until.is_none_or(|until| known.extent.is_some_and(|extent| extent.first_time < until))
    };
    let _stream = app.gate.stream()?;
    let store = Arc::clone(&app.store);
    let list = blocking(move || {
        let mut seen = Seen::new(Arc::clone(&store), rights);
        let mut list = Ok(Vec::new());
        store.chains(after, &mut |known| {
            if wanted(&known) {
                match (&mut list, seen.session(known.session)) {
                    (Ok(list), Ok(true)) => list.extend(Chain::of(&known)),
                    (_, Ok(_)) => {}
                    (list, Err(error)) => *list = Err(error),
                }
            }
            let more = list.as_ref().is_ok_and(|list| list.len() < limit);
            if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        list
    });
    Ok(ok(JSON, held(app, request, json(&list.await??))?))
}

#[derive(Serialize)]
struct Covered {
    session_id: String,
    namespace: String,
    pod: String,
    pod_uid: String,
    node: String,
    software: String,
    excluded: String,
    ca_digest: String,
    chains: Vec<CoveredChain>,
    last_heartbeat: i64,
}

#[derive(Serialize)]
struct CoveredChain {
    chain_id: String,
    container: String,
    next_seq: u64,
}

/// `GET /v1/coverage?since=&limit=&after=`: who is alive by signed heartbeats, by session id.
///
/// The container of a chain that was not introduced here is empty.
pub(super) async fn coverage<B>(app: &Arc<App>, request: &Request<B>) -> Answer {
    let rights = access::reader(app, request).await?;
    let query = Query::of(request, &["since", "limit", "after"])?;
    let since = query.time("since")?.unwrap_or(Time::from_nanos(i64::MIN));
    let after: Option<SessionId> = query.parsed("after", "a session's id")?;
    let limit = query.limit()?;
    let _stream = app.gate.stream()?;
    let covered = app.desk.coverage(since, after, limit, rights).await?;
    Ok(ok(JSON, held(app, request, json(&list_covered(covered)))?))
}

fn list_covered(covered: Vec<crate::heartbeats::Covered>) -> Vec<Covered> {
    covered
        .into_iter()
        .filter_map(|covered| {
            let session = &covered.session.session;
            let chains = covered.chains.into_iter().map(|head| CoveredChain {
                chain_id: head.chain.to_string(),
                container: head.container.unwrap_or_default(),
                next_seq: head.next_seq.get(),
            });
            Some(Covered {
                session_id: session.id().ok()?.to_string(),
                namespace: session.namespace.clone(),
                pod: session.pod_name.clone(),
                pod_uid: session.pod_uid.clone(),
                node: session.node_name.clone(),
                software: session.software.clone(),
                excluded: session.excluded.clone(),
                ca_digest: covered.ca_digest.to_string(),
                chains: chains.collect(),
                last_heartbeat: covered.last_heartbeat.nanos(),
            })
        })
        .collect()
}

/// Work that may wait for the disk, away from the threads that answer.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a read has failed; if others do too, restart the collector");
        Problem::overloaded(http::StatusCode::SERVICE_UNAVAILABLE, "the read has failed; the collector's log says why")
    })
}

/// A decimal as the format writes it.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let value: u64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
