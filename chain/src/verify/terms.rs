//! On whose word and by which rules is judged: what the caller brings to a verification besides the sources.
//!
//! The judge has no clock and believes nobody of itself: the time, the trusted keys, what was seen earlier and what is
//! expected to be there all come in here. Owns no rule; the defaults are those of `indelible verify`.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::genesis::Genesis;
use crate::id::Time;
use crate::leaf::Attested;
use crate::note::VerifierKey;
use crate::policy::Policy;
use crate::receipt::KeptReceipt;
use crate::session::Session;

/// The terms of a verification.
pub struct Terms {
    /// The logs and witnesses that are trusted.
    pub policy: Policy,
    /// Whose statements count besides the logs' own.
    pub authorities: Vec<VerifierKey>,
    /// The time of the verification.
    pub now: Time,
    /// Evidence older than this is no longer a warning but a failure of freshness.
    pub max_age: Duration,
    /// A log whose witnesses have not seen its newest leaves for this long is stale.
    pub max_unwitnessed: Duration,
    /// Whether declared gaps warn rather than fail.
    pub accept_declared_gaps: bool,
    /// Ids of findings that are shown and not counted.
    pub accepted: BTreeSet<String>,
    /// What should be covered.
    pub expected: Vec<Expected>,
    /// Receipts that were kept, each with the name that a person knows it by (a file's).
    pub receipts: Vec<(String, KeptReceipt)>,
    /// Checkpoints that were seen elsewhere or earlier.
    pub known: Vec<Known>,
    /// Which chains are shown and judged.
    pub scope: Scope,
    /// The keys of those who may attest pods, if they were given.
    pub tokens: Option<Box<dyn TokenCheck>>,
}

impl Terms {
    /// The terms of `indelible verify` without further flags.
    pub fn new(policy: Policy, now: Time) -> Self {
        Self {
            policy,
            authorities: Vec::new(),
            now,
            max_age: Duration::from_hours(24),
            max_unwitnessed: Duration::from_hours(2),
            accept_declared_gaps: false,
            accepted: BTreeSet::new(),
            expected: Vec::new(),
            receipts: Vec::new(),
            known: Vec::new(),
            scope: Scope::default(),
            tokens: None,
        }
    }
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terms").field("policy", &self.policy).field("now", &self.now).finish_non_exhaustive()
    }
}

/// A pod that should be covered.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are those of the coverage list")]
pub struct Expected {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub containers: Vec<String>,
    pub running_since: Time,
}

/// A checkpoint that someone else than the source holds. Its note is judged like any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Who holds it.
    pub by: KnownBy,
    /// What a person knows it by: a file's name, a witness's.
    pub label: String,
    /// The signed note.
    pub note: Vec<u8>,
}

/// Who holds a checkpoint. It must have been fetched before the logs are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KnownBy {
    /// The person who verifies.
    Operator,
    /// An earlier verification.
    State,
    /// A witness.
    Witness,
}

/// Which chains are shown and judged. Logs are always judged whole, whatever the scope: everything that a log stored
/// and signed is recomputed, and what does not hold is reported.
///
/// A chain is in scope if every part that is given agrees; by time, if any of its batches has a time between `since`
/// and `until`, both included, or it has none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of the flags of the same names")]
pub struct Scope {
    pub namespace: Option<String>,
    pub pod: Option<String>,
    pub container: Option<String>,
    pub since: Option<Time>,
    pub until: Option<Time>,
}

impl Scope {
    /// Whether a pod of these names is asked for.
    pub fn names_pod(&self, namespace: &str, pod: &str) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.namespace, namespace) && is(&self.pod, pod)
    }

    /// Whether a chain's pod and container are asked for.
    pub fn names(&self, genesis: &Genesis) -> bool {
        let container = self.container.as_ref();
        self.names_pod(&genesis.namespace, &genesis.pod_name)
            && container.is_none_or(|wanted| *wanted == genesis.container)
    }
}

/// Checks the tokens that introduced sessions, with the keys of those who may attest pods.
///
/// The contract: a pure function of its arguments and the keys; no clock, the token is judged at `received_at`
/// (`iat ≤ received_at ≤ exp`). That the bytes are those whose digest the leaf states was checked before.
pub trait TokenCheck: Send + Sync {
    /// Judges a compact JWT: signature, issuer, audience, pod, service account and times, against session and leaf.
    fn check(&self, jwt: &[u8], session: &Session, attested: &Attested, received_at: Time) -> TokenVerdict;
}

/// What a token is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenVerdict {
    /// It vouches for the session.
    Holds,
    /// It does not, and why, for a person.
    Fails(String),
    /// None of the keys is its issuer's.
    NoKey,
}

/// How a source shows logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SourceKind {
    /// The collector itself, now: it must show at least what was known before it was asked.
    Collector,
    /// A copy, made at some time: what is known beyond it is absent, not taken back.
    Copy,
}
