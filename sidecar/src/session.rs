//! Who this sidecar is: its pod's identity, and the key that dies with the process.
//!
//! The key is made from the operating system's randomness, lives in memory only, and signs everything of this
//! session. Before anything is opened the process is made non-dumpable, so that neither a debugger of another container nor a
//! core file gets at it. The identity must agree with the token: collectors compare them too, and would refuse
//! everything.

use std::sync::Arc;

use indelible_chain::bytes::DecodeError;
use indelible_chain::id::{SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::session::Session;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::capture::{Pod, Signer};
use crate::token::Claims;

/// What the configuration says of the pod. `None` is what it leaves to the token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stated {
    /// `--namespace`.
    pub namespace: Option<String>,
    /// `--pod-name`.
    pub pod_name: Option<String>,
    /// `--pod-uid`.
    pub pod_uid: Option<String>,
    /// `--node-name`.
    pub node_name: Option<String>,
    /// `--service-account`.
    pub service_account: Option<String>,
}

/// The pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod_name: String,
    /// Its UID.
    pub pod_uid: String,
    /// Its node; empty if nobody says.
    pub node_name: String,
    /// Its service account; empty if nobody says.
    pub service_account: String,
}

/// Why the identity cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Flag and token differ.
    #[error("{flag} is {stated:?}, but the token says {claimed:?}; give this pod's own values and token")]
    Mismatch {
        /// The flag.
        flag: &'static str,
        /// What it says.
        stated: String,
        /// What the token says.
        claimed: String,
    },
    /// Neither flag nor token.
    #[error("{flag} is not given, and the token does not say it; give it (in a pod: from the downward API)")]
    Missing {
        /// The flag.
        flag: &'static str,
    },
}

impl Identity {
    /// Joins what the configuration states with what the token claims. They may not contradict each other.
    pub fn resolve(stated: Stated, claims: &Claims) -> Result<Self, IdentityError> {
        let Stated { namespace, pod_name, pod_uid, node_name, service_account } = stated;
        Ok(Self {
            namespace: required("--namespace", namespace, claims.namespace.as_ref())?,
            pod_name: required("--pod-name", pod_name, claims.pod_name.as_ref())?,
            pod_uid: required("--pod-uid", pod_uid, claims.pod_uid.as_ref())?,
            node_name: agreed("--node-name", node_name, claims.node_name.as_ref())?.unwrap_or_default(),
            service_account: agreed("--service-account", service_account, claims.service_account.as_ref())?
                .unwrap_or_default(),
        })
    }
}

fn agreed(
    flag: &'static str,
    stated: Option<String>,
    claimed: Option<&String>,
) -> Result<Option<String>, IdentityError> {
    match (stated.filter(|text| !text.is_empty()), claimed) {
        (Some(stated), Some(claimed)) if stated != *claimed => {
            Err(IdentityError::Mismatch { flag, stated, claimed: claimed.clone() })
        }
        (stated, claimed) => Ok(stated.or_else(|| claimed.cloned())),
    }
}

fn required(flag: &'static str, stated: Option<String>, claimed: Option<&String>) -> Result<String, IdentityError> {
    agreed(flag, stated, claimed)?.filter(|text| !text.is_empty()).ok_or(IdentityError::Missing { flag })
}

/// A session that has begun.
#[derive(Debug)]
pub struct Own {
    /// What is introduced to collectors.
    pub encoded: Vec<u8>,
    /// Its id and its key.
    pub signer: Arc<Signer>,
}

/// What a session says beside the pod's identity.
#[derive(Clone, Debug)]
pub struct Beside {
    /// UID of the `kube-system` namespace.
    pub cluster_uid: String,
    /// `<namespace>/<name>` of the `AuditLog`.
    pub audit_log: String,
    /// Containers that are not captured; [`EVERYTHING`] alone where none is.
    pub excluded: Vec<String>,
}

/// Stands for all containers among those that are not captured: the pod's logs cannot be read.
pub const EVERYTHING: &str = "*";

/// Why no session can begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The operating system gives no randomness.
    #[error("cannot make a session key, the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    /// A field is over its limit.
    #[error("the session cannot be stated")]
    Field(#[from] DecodeError),
}

/// Begins a session with a new key.
pub fn begin(identity: &Identity, beside: &Beside, now: Time) -> Result<Own, SessionError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(SessionError::Randomness)?;
    let key = PrivateKey::from_seed(&seed);
    let session = Session {
        public_key: key.public(),
        cluster_uid: beside.cluster_uid.clone(),
        namespace: identity.namespace.clone(),
        pod_name: identity.pod_name.clone(),
        pod_uid: identity.pod_uid.clone(),
        node_name: identity.node_name.clone(),
        service_account: identity.service_account.clone(),
        audit_log: beside.audit_log.clone(),
        software: concat!("indelible-sidecar/", env!("CARGO_PKG_VERSION")).to_owned(),
        excluded: beside.excluded.join(","),
        started_at: now,
    };
    let encoded = session.encode()?;
    let id: SessionId = session.id()?;
    Ok(Own { encoded, signer: Arc::new(Signer { session: id, key }) })
}

impl Identity {
    /// As capture sees it.
    pub fn pod(&self, cluster_uid: &str) -> Pod {
        Pod {
            cluster_uid: cluster_uid.to_owned(),
            namespace: self.namespace.clone(),
            name: self.pod_name.clone(),
            uid: self.pod_uid.clone(),
        }
    }
}

/// Keeps the process's memory to itself: not dumpable, so that `/proc/<pid>` belongs to root and nobody of the same
/// user may attach, and no core files.
pub fn guard_memory() -> std::io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let some = |text: &str| Some(text.to_owned());
        Claims { namespace: some("shop"), pod_name: some("web-0"), pod_uid: some("u-1"), ..Claims::default() }
    }

    #[test]
    fn what_is_not_stated_is_taken_from_the_token() {
        let stated = Stated { node_name: Some("n1".into()), pod_name: Some(String::new()), ..Stated::default() };
        let identity = Identity::resolve(stated, &claims()).unwrap();
        assert_eq!((identity.pod_name.as_str(), identity.node_name.as_str()), ("web-0", "n1"));
        assert_eq!(identity.service_account, "");
    }

    #[test]
    fn a_flag_that_the_token_contradicts_is_named() {
        let stated = Stated { pod_uid: Some("u-2".into()), ..Stated::default() };
        let error = Identity::resolve(stated, &claims()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--pod-uid is \"u-2\", but the token says \"u-1\"; give this pod's own values and token"
        );
    }

    #[test]
    fn a_field_that_nobody_states_is_named() {
        let error = Identity::resolve(Stated::default(), &Claims::default()).unwrap_err();
        assert_eq!(error, IdentityError::Missing { flag: "--namespace" });
    }

    #[test]
    fn two_sessions_of_one_pod_have_different_keys_and_ids() {
        let identity = Identity::resolve(Stated::default(), &claims()).unwrap();
        let beside = Beside { cluster_uid: String::new(), audit_log: "a/b".into(), excluded: vec!["x".into()] };
        let begin = || begin(&identity, &beside, Time::from_nanos(1)).unwrap();
        let (a, b) = (begin(), begin());
        assert_ne!(a.signer.session, b.signer.session);
        let session = Session::decode(&a.encoded).unwrap();
        assert_eq!(session.public_key, a.signer.key.public());
        assert_eq!(session.excluded, "x");
    }

    #[test]
    fn a_guarded_process_is_not_dumpable() {
        guard_memory().unwrap();
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
    }
}
