//! A pool's certificates: what of them is due.
//!
//! Pure but for new keys: Secrets, keys and what sidecars confirmed in; the Secrets' new content and the next due time
//! out. The reconciler reads and applies the Secrets `A-ca` (never deleted) and `A-tls`.

use std::collections::BTreeMap;

use indelible_chain::note::VerifierKey;
use jiff::Timestamp;

/// The data of the two Secrets, as they are in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// `A-ca`: `ca.crt`, `ca.key`, `bundle.crt`; none when there is no such Secret.
    pub ca: Option<BTreeMap<String, Vec<u8>>>,
    /// `A-tls`: `A-<ordinal>.crt`, `.key`.
    pub tls: Option<BTreeMap<String, Vec<u8>>>,
}

/// The names that every certificate of a pool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The AuditLog, as the CA's common name has it: `N/A`.
    pub pool: String,
    /// `A.N.svc`.
    pub service: String,
    /// `A-pods.N.svc`: a collector's own name stands before it.
    pub pods: String,
}

/// A collector that shall have a certificate: its key is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorKey {
    /// `A-<ordinal>`.
    pub pod: String,
    /// Its log's verifier key.
    pub vkey: VerifierKey,
}

/// What the Secrets shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The whole data of `A-ca`.
    pub ca: BTreeMap<String, Vec<u8>>,
    /// The whole data of `A-tls`.
    pub tls: BTreeMap<String, Vec<u8>>,
    /// The bundle, PEM, as collectors hand it out.
    pub bundle: String,
    /// When to plan again although nothing has changed.
    pub due: Option<Timestamp>,
    /// A rotation that waits for sidecars: its sentence names how many and some of them.
    pub waiting: Option<String>,
}
