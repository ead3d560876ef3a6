//! A CA and its leaves: when they are due, and a change of CA that cuts nobody off.
//!
//! One pattern serves the pools (a CA per AuditLog, a leaf per collector) and the webhook (one of each). A [`Keyring`] is
//! what the Secrets hold; [`plan`] says what is due, as a function of time, keyring and what is wanted; [`Keyring::carry_out`]
//! does it. Only making keys draws randomness.
//!
//! A change of CA has three steps, each a state of the keyring:
//!
//! | state | bundle | leaves are by | goes on when |
//! | --- | --- | --- | --- |
//! | settled | the CA | the CA | somebody asks, or two thirds of the CA's life are over |
//! | introduced | the CA and the next one | the CA | everyone has the bundle and [`SETTLE`] is over, or [`MAX_WAIT`] is |
//! | overlapping | the CA that was next, and the old one | the new CA | [`OVERLAP`] is over, so that nobody serves an old leaf |
//!
//! Invariant: a leaf is by a CA that everyone who was asked trusts, and a CA that exists is never overwritten: a keyring
//! that cannot be read is an error for people.

use jiff::{SignedDuration, Timestamp};

use super::issue::{CertificateError, Life};
use super::keyring::Keyring;

/// How long a leaf is valid; it is renewed at two thirds.
pub const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long a CA is valid; another one is introduced at two thirds.
pub const CA_LIFE: SignedDuration = SignedDuration::from_hours(3650 * 24);
/// How long a CA that was introduced waits at least: a pod that was made with the bundle before it is known by then.
pub const SETTLE: SignedDuration = SignedDuration::from_secs(90);
/// How long a CA that is about to take over is kept waiting by those who do not report its bundle.
pub const MAX_WAIT: SignedDuration = SignedDuration::from_hours(24);
/// How long a CA stays in the bundle after the last leaf by it was replaced: kubelets bring the new ones within minutes.
pub const OVERLAP: SignedDuration = SignedDuration::from_mins(15);
/// How long before the end of a certificate that was not renewed people are told.
pub const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a keyring should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The common name of a CA that has to be made.
    pub authority: String,
    /// The leaves.
    pub leaves: Vec<LeafNames>,
    /// What somebody last asked for a new CA with: any value that was not served yet.
    pub rotate: Option<String>,
}

/// A leaf that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafNames {
    /// What its two files in the Secret begin with.
    pub file: String,
    /// Its DNS names.
    pub dns: Vec<String>,
    /// Its URIs: a collector's names its log.
    pub uris: Vec<String>,
}

/// Whether everyone who trusts the bundle has the newest one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// They have.
    All,
    /// These have not said so, by name.
    Not(Vec<String>),
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What happens to the CA, before anything is issued.
    pub ca: CaStep,
    /// Leaves to issue. Those that are not wanted stay: who wants them may not be known yet.
    pub issue: Vec<LeafNames>,
}

/// What happens to the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaStep {
    /// Nothing.
    Keep,
    /// There is none: the first is made.
    Make,
    /// A second one is made and joins the bundle.
    Introduce,
    /// The second one takes over; the first stays in the bundle.
    Switch,
    /// The first one leaves the bundle.
    Retire,
}

impl Plan {
    /// Whether nothing is due.
    pub fn is_empty(&self) -> bool {
        self.ca == CaStep::Keep && self.issue.is_empty()
    }
}

/// What is to be told of a keyring, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The PEM that those who connect should trust.
    pub bundle: String,
    /// Since when a second CA waits to take over.
    pub waiting_since: Option<Timestamp>,
    /// When the first certificate ends that was not renewed although it was due, if that is soon.
    pub expires_soon: Option<Timestamp>,
    /// When something is due although nothing happens.
    pub next: Timestamp,
}

/// What is due now.
pub fn plan(
    now: Timestamp,
    keyring: &Keyring,
    wanted: &Wanted,
    confirmed: &Confirmed,
) -> Result<Plan, CertificateError> {
    let ca = ca_step(now, keyring, wanted, confirmed)?;
    let issuer = match ca {
        CaStep::Make => None,
        CaStep::Switch => keyring.next.as_ref(),
        CaStep::Keep | CaStep::Introduce | CaStep::Retire => keyring.ca.as_ref(),
    };
    let is_due = |names: &&LeafNames| {
        let leaf = keyring.leaves.get(&names.file);
        !leaf.zip(issuer).is_some_and(|(leaf, issuer)| leaf.is_good(issuer, names, now))
    };
    let issue = wanted.leaves.iter().filter(is_due).cloned().collect();
    Ok(Plan { ca, issue })
}

fn ca_step(
    now: Timestamp,
    keyring: &Keyring,
    wanted: &Wanted,
    confirmed: &Confirmed,
) -> Result<CaStep, CertificateError> {
    let Some(ca) = &keyring.ca else { return Ok(CaStep::Make) };
    let life = ca.life()?;
    let passed = |time: SignedDuration| keyring.since.is_none_or(|since| now.duration_since(since) >= time);
    if keyring.next.is_some() {
        let takes_over = (*confirmed == Confirmed::All && passed(SETTLE)) || passed(MAX_WAIT);
        return Ok(if takes_over { CaStep::Switch } else { CaStep::Keep });
    }
    if keyring.is_overlapping() {
        let is_over = passed(OVERLAP) && keyring.leaves.values().all(|leaf| leaf.is_by(ca));
        return Ok(if is_over { CaStep::Retire } else { CaStep::Keep });
    }
    let is_asked_for = wanted.rotate.is_some() && wanted.rotate != keyring.rotated;
    Ok(if is_asked_for || now >= life.renewal() { CaStep::Introduce } else { CaStep::Keep })
}

/// What is to be told of a keyring for which nothing is due.
pub fn outlook(now: Timestamp, keyring: &Keyring) -> Result<Outlook, CertificateError> {
    let mut lives = vec![];
    for ca in [&keyring.ca, &keyring.next].into_iter().flatten() {
        lives.push(ca.life()?);
    }
    for leaf in keyring.leaves.values() {
        lives.push(leaf.life()?);
    }
    let end = lives.iter().map(|life| life.not_after).min();
    let mut due: Vec<Timestamp> = lives.iter().map(Life::renewal).collect();
    if let Some(since) = keyring.since {
        let waits = match keyring.next {
            Some(_) => &[SETTLE, MAX_WAIT][..],
            None if keyring.is_overlapping() => &[OVERLAP],
            None => &[],
        };
        due.extend(waits.iter().filter_map(|wait| since.checked_add(*wait).ok()));
    }
    let tomorrow = now.checked_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
    Ok(Outlook {
        bundle: keyring.bundle(),
        waiting_since: keyring.next.as_ref().and(keyring.since),
        expires_soon: end.filter(|end| end.duration_since(now) < EXPIRES_SOON),
        next: due.into_iter().filter(|due| *due > now).min().unwrap_or(tomorrow).min(tomorrow),
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
