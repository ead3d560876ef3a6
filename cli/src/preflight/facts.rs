//! What is known of a namespace before it opts in, and what a look at it comes to.
//!
//! Core. What a user may not see is a fact too: with why, so that nothing is taken for granted.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, Node, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::storage::v1::CSINode;

use crate::cluster::audit_log::AuditLog;

/// Something that was looked at, or why it could not be.
pub type Seen<T> = Result<T, String>;

/// All of it.
pub struct Facts {
    /// The namespace that is to opt in.
    pub namespace: Namespace,
    /// The AuditLog that it is to opt in to.
    pub log: Seen<AuditLog>,
    /// Whether the webhook that injects is there.
    pub injector: Seen<bool>,
    /// Whether the driver is there that gives a pod's sidecar its logs.
    pub driver: Seen<bool>,
    /// On which nodes drivers run.
    pub csi_nodes: Seen<Vec<CSINode>>,
    pub nodes: Seen<Vec<Node>>,
    pub pods: Seen<Vec<Pod>>,
    pub quotas: Seen<Vec<ResourceQuota>>,
    pub limit_ranges: Seen<Vec<LimitRange>>,
    pub policies: Seen<Vec<NetworkPolicy>>,
    /// The pool's collectors, as targets of egress policies.
    pub collectors: Seen<Vec<Pod>>,
    /// The namespace that they are in.
    pub pool_namespace: Seen<Namespace>,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing to do.
    Fine,
    /// To be known; nothing stands in the way.
    Note,
    /// It could not be looked at.
    Unknown,
    /// Pods would not be audited, or not be created.
    Problem,
}

impl Level {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Problem => "problem",
        }
    }
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at: one word.
    pub of: &'static str,
    /// How it stands.
    pub level: Level,
    /// A sentence.
    pub text: String,
    /// Commands or a manifest that help, as they can be pasted; empty if there are none.
    pub apply: String,
}

impl Check {
    /// Without anything to paste.
    pub fn new(of: &'static str, level: Level, text: impl Into<String>) -> Self {
        Self { of, level, text: text.into(), apply: String::new() }
    }

    /// With something.
    pub fn apply(mut self, text: impl Into<String>) -> Self {
        self.apply = text.into();
        self
    }

    /// What could not be seen.
    pub fn unknown(of: &'static str, why: &str) -> Self {
        Self::new(of, Level::Unknown, why)
    }
}
