//! From a command line to what can be judged: whom to believe, by which terms, from which sources.
//!
//! The one place where the two worlds meet: what flags name, and what a pool in a cluster offers instead. A flag always
//! wins, and what is believed on somebody's word is said on stderr. What cannot be read at all is said before anything
//! is asked of a server, where it would look like the server's.

use anyhow::anyhow;
use indelible_chain::id::Time;
use indelible_chain::note::VerifierKey;
use indelible_chain::policy::Policy;
use indelible_chain::verify::{Expected, Terms};
use tokio::runtime::Handle;

use crate::args::{ClusterArgs, ConnectionArgs, EvidenceArgs, FilterArgs, SourceArgs, TrustArgs};
use crate::cluster::pins::pins;
use crate::cluster::pool::Pool;
use crate::cluster::{Found, find};
use crate::exit::CommandError;
use crate::judging::Named;
use crate::limits::{MAX_CONFIG_BYTES, MAX_SOURCES};
use crate::remembered::Remembered;
use crate::source::folder::ReadError;
use crate::source::route::Token;
use crate::source::trust;
use crate::source::{OpenError, Opener, SourceError};
use crate::terminal::say;
use crate::terms::{chain_of, issuer_keys, policy, read, terms};
use crate::text::{lines, one_line};
use crate::tokens::IssuerKeys;

/// What is judged, and by what.
pub struct Case {
    /// Whom to believe.
    pub policy: Policy,
    /// Who may attest pods.
    pub tokens: Option<IssuerKeys>,
    /// All terms, and what is remembered.
    pub terms: (Terms, Option<Remembered>),
    /// From where.
    pub sources: Vec<Named>,
    /// For whoever else is asked.
    pub opener: Opener,
}

impl Case {
    /// Reads what the flags name, asks the cluster for the rest, and opens the sources.
    pub fn new(
        source: &SourceArgs,
        trust: &TrustArgs,
        evidence: &EvidenceArgs,
        filter: &FilterArgs,
        now: Time,
        runtime: &Handle,
    ) -> Result<Self, CommandError> {
        let (given, keys) = (policy(trust)?, issuer_keys(evidence)?);
        let found = found(source, given.is_some(), runtime)?;
        let believed = Believed::new(given, &found)?;
        let (sources, opener) = opened(source, &found, runtime)?;
        let tokens = match keys {
            Some(keys) => Some(keys),
            None => published_keys(&found, evidence, runtime),
        };
        let (mut terms, remembered) = terms(believed.policy.clone(), evidence, filter, tokens.clone(), now)?;
        if evidence.authority.is_empty() {
            terms.authorities.extend(believed.authority);
        }
        if evidence.expect.is_none() {
            terms.expected = running(&found, runtime);
        }
        Ok(Self { policy: believed.policy, tokens, terms: (terms, remembered), sources, opener })
    }
}

/// Whose word counts.
pub struct Believed {
    /// Logs and witnesses.
    pub policy: Policy,
    /// Whose statements.
    authority: Option<VerifierKey>,
}

impl Believed {
    /// A policy of the user's own, else the pins of a pool's operator.
    pub fn new(given: Option<Policy>, found: &Found) -> Result<Self, CommandError> {
        match (given, &found.pool) {
            (Some(policy), _) => Ok(Self { policy, authority: None }),
            (None, Some(pool)) => {
                let pins = pins(&pool.log).map_err(|why| anyhow!(why))?;
                say(lines(&pins.words));
                Ok(Self { policy: pins.policy, authority: pins.authority })
            }
            (None, None) => Err(CommandError::Usage(
                "name the logs that you trust: --policy FILE, or --log-key VKEY (only for an AuditLog's name are they \
                 found in the cluster); see --help"
                    .to_owned(),
            )),
        }
    }
}

/// The pool that a source names; without it nothing can be believed unless `trusted` says whom.
pub fn found(source: &SourceArgs, trusted: bool, runtime: &Handle) -> Result<Found, CommandError> {
    let SourceArgs { sources, connection: ConnectionArgs { ca, token }, cluster } = source;
    if sources.len() > MAX_SOURCES {
        return Err(CommandError::Usage(format!("SOURCE: more than {MAX_SOURCES} sources; verify them in parts")));
    }
    for (flag, path) in [("--ca", ca), ("--token", token)] {
        path.as_ref().map(|path| read(flag, path, MAX_CONFIG_BYTES)).transpose()?;
    }
    find(sources, cluster, trusted, runtime)
}

/// The issuer's keys that the API server publishes. Without them a pod is vouched for by two logs.
fn published_keys(found: &Found, evidence: &EvidenceArgs, runtime: &Handle) -> Option<IssuerKeys> {
    let pool = found.pool.as_ref()?;
    let keys = runtime.block_on(pool.issuer_keys()).map_err(|e| e.to_string());
    let keys = keys.and_then(|json| IssuerKeys::parse(json.as_bytes(), &evidence.audience).map_err(|e| chain_of(&e)));
    keys.inspect_err(|why| {
        say(lines(&format!("who attests pods is not known, so that it takes two logs to vouch for one: {why}")));
    })
    .ok()
}

/// What runs now and should be in the evidence.
fn running(found: &Found, runtime: &Handle) -> Vec<Expected> {
    let Some(pool) = &found.pool else { return Vec::new() };
    let (expected, not_seen) = runtime.block_on(pool.expected());
    for why in not_seen {
        say(lines(&format!("whether every pod that runs is covered is not known in full: {why}")));
    }
    expected
}

/// Opens the sources that the user named. One that is not there is the judge's business, a wrong name is the user's.
pub fn opened(args: &SourceArgs, found: &Found, runtime: &Handle) -> Result<(Vec<Named>, Opener), CommandError> {
    let mut opener = Opener::new(runtime.clone(), &args.connection);
    let mut sources = Vec::new();
    for name in &args.sources {
        if found.name.as_ref() == Some(name) {
            match &found.pool {
                Some(pool) => sources.extend(members(pool, &args.connection, &args.cluster, runtime)?),
                None => sources
                    .push(Named::Closed { label: one_line(name), why: found.why_not.clone().unwrap_or_default() }),
            }
            continue;
        }
        match opener.open(name) {
            Ok(source) => sources.push(Named::Open(source)),
            Err(e) if e.is_usage() => return Err(CommandError::Usage(e.to_string())),
            Err(e) if is_address(name) => {
                let text = format!("SOURCE {e}; if a collector is meant, its URL is https://{name}");
                return Err(CommandError::Usage(text));
            }
            Err(e) => sources.push(Named::Closed { label: one_line(name), why: format!("{e}{}", remedy(&e)) }),
        }
    }
    Ok((sources, opener))
}

/// The sources of a pool, under the flags' certificates and token or the pool's own.
pub fn members(
    pool: &Pool,
    ConnectionArgs { ca, token }: &ConnectionArgs,
    cluster: &ClusterArgs,
    runtime: &Handle,
) -> Result<Vec<Named>, CommandError> {
    let tls = match ca {
        Some(ca) => trust::tls(ca).map_err(|e| CommandError::Usage(e.to_string()))?,
        None => runtime.block_on(pool.tls()).map_err(|why| anyhow!(why))?,
    };
    let token = if let Some(file) = token {
        Token::File(file.clone())
    } else {
        let reader = pool.reader(cluster.as_reader.clone());
        // That it is not to be had is told once, and not as each collector's failure.
        runtime.block_on(reader.token()).map_err(|why| anyhow!(why))?;
        Token::Minted(reader)
    };
    Ok(pool.sources(runtime, &tls, &token))
}

/// What to do about a source that is no data directory.
const fn remedy(error: &OpenError) -> &'static str {
    match error {
        OpenError::Source(SourceError::Read(ReadError::Io { .. })) => {
            "; name a collector's URL (https://host:port), or a data directory that you may read"
        }
        _ => "",
    }
}

/// Whether what is no directory looks like a collector's host and port.
fn is_address(name: &str) -> bool {
    let port = name.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    !name.contains('/') && matches!(port, Some(Ok(_)))
}
