//! The authority's word: which audited pods are gone, and which findings somebody accepted.
//!
//! Pure. [`Lives`] follows the audited pods of a pool: those that are alive, and those that are gone and about which no log
//! holds a statement 11 yet. Which were alive is kept with the witness' memory, so that a pod that went while no operator
//! looked is known to be gone by the next one; what started and went between two writes is found in what collectors
//! report. A statement is repeated rather than left out: after a crash between the log and the memory it stands twice.
//!
//! | reason | what was seen |
//! | --- | --- |
//! | Evicted | the pod's status says so |
//! | Deleted | it was deleted, and the kubelet had ended its containers |
//! | NodeLost | it was deleted without that, and its node is gone or not ready |
//! | Forced | it was deleted without that, and its node is there |

use std::collections::{BTreeMap, BTreeSet};

use indelible_chain::id::Time;
use indelible_chain::statement::{EndReason, Statement};
use jiff::Timestamp;
use serde::Deserialize;

use crate::collectors::Session;
use crate::limits::{MAX_ACKNOWLEDGE_BYTES, MAX_ENDED_PODS, MAX_LIVE_PODS, MAX_REASON_BYTES};
use crate::pods::{Phase, Pod};

/// The audited pods of a pool.
#[derive(Debug, Clone, Default)]
pub struct Lives {
    alive: BTreeMap<String, Life>,
    /// From the memory of an earlier operator: not seen by this one yet.
    remembered: BTreeSet<String>,
    gone: BTreeMap<String, Gone>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    node: Option<String>,
    /// Whether the kubelet has ended its containers.
    has_ended: bool,
}

/// A pod that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Why, or whose node has to be looked at to know.
    pub why: Why,
    /// When that was seen.
    pub at: Timestamp,
}

/// Why a pod is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// This is why.
    Known(EndReason),
    /// Lost with its node or forced: its node tells.
    AskNode(Option<String>),
}

impl Lives {
    /// What an earlier operator knew to be alive.
    pub fn remember(&mut self, live: &BTreeSet<String>) {
        self.remembered = live.iter().filter(|uid| !self.alive.contains_key(*uid)).cloned().collect();
    }

    /// A pod is there, or has changed.
    pub fn seen(&mut self, pod: &Pod, now: Timestamp) {
        let is_remembered = self.remembered.remove(&pod.uid);
        if self.gone.contains_key(&pod.uid) {
            return;
        }
        if pod.phase == Phase::Evicted {
            // The object stays for people to see; its containers are gone.
            if self.alive.remove(&pod.uid).is_some() || is_remembered {
                self.end(pod.uid.clone(), Why::Known(EndReason::Evicted), now);
            }
            return;
        }
        let is_known = self.alive.contains_key(&pod.uid);
        if is_known || self.alive.len() < MAX_LIVE_PODS {
            let life = Life { node: pod.node.clone(), has_ended: pod.phase == Phase::Ended };
            self.alive.insert(pod.uid.clone(), life);
        }
    }

    /// A pod is no longer there.
    pub fn deleted(&mut self, uid: &str, now: Timestamp) {
        self.remembered.remove(uid);
        if let Some(life) = self.alive.remove(uid) {
            let why = if life.has_ended { Why::Known(EndReason::Deleted) } else { Why::AskNode(life.node) };
            self.end(uid.to_owned(), why, now);
        }
    }

    /// A pod is no longer this pool's to audit: its namespace has opted out.
    pub fn forget(&mut self, uid: &str) {
        self.alive.remove(uid);
        self.remembered.remove(uid);
    }

    /// All pods there are have been seen: whatever else was alive is gone. `sessions` are those that spoke since the
    /// memory was written, in case it did not get to know of their pods.
    pub fn all_seen(&mut self, there: &BTreeSet<String>, sessions: &[Session], now: Timestamp) {
        let vanished: Vec<String> = self.alive.keys().filter(|uid| !there.contains(*uid)).cloned().collect();
        for uid in vanished {
            self.deleted(&uid, now);
        }
        let nodes: BTreeMap<&str, &str> =
            sessions.iter().map(|session| (session.pod_uid.as_str(), session.node.as_str())).collect();
        for uid in std::mem::take(&mut self.remembered) {
            let node = nodes.get(uid.as_str()).map(|node| (*node).to_owned());
            self.end(uid, Why::AskNode(node), now);
        }
        for session in sessions.iter().filter(|session| !session.chains.is_empty()) {
            if !there.contains(&session.pod_uid) {
                self.end(session.pod_uid.clone(), Why::AskNode(Some(session.node.clone())), now);
            }
        }
    }

    fn end(&mut self, uid: String, why: Why, at: Timestamp) {
        if self.gone.len() < MAX_ENDED_PODS {
            self.gone.entry(uid).or_insert(Gone { why, at });
        }
    }

    /// Pods that are gone and not stated yet.
    pub const fn gone(&self) -> &BTreeMap<String, Gone> {
        &self.gone
    }

    /// Why a pod is gone whose node was looked at.
    pub fn node_told(&mut self, uid: &str, is_there: bool) {
        if let Some(gone) = self.gone.get_mut(uid)
            && let Why::AskNode(_) = gone.why
        {
            gone.why = Why::Known(if is_there { EndReason::Forced } else { EndReason::NodeLost });
        }
    }

    /// A log holds the statement.
    pub fn stated(&mut self, uid: &str) {
        self.gone.remove(uid);
    }

    /// What the next operator has to know: pods that are alive, and those that are gone without a statement.
    pub fn durable(&self) -> BTreeSet<String> {
        self.alive.keys().chain(&self.remembered).chain(self.gone.keys()).take(MAX_LIVE_PODS).cloned().collect()
    }
}

/// Statement 11.
pub fn ended(uid: &str, reason: EndReason, at: Timestamp) -> Statement {
    let nanos = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
    Statement::Ended { pod_uid: uid.to_owned(), reason, at: Time::from_nanos(nanos) }
}

/// Somebody's word that a finding is accepted: the annotation `indelible.dev/acknowledge`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The finding's id: 16 hex digits.
    pub finding: String,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Why an annotation is no acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// Too long.
    #[error("the annotation is over the limit of {MAX_ACKNOWLEDGE_BYTES} bytes; shorten the reason")]
    TooLong,
    /// Not of the form.
    #[error("the annotation is not {{\"finding\":…,\"by\":…,\"reason\":…}}: {0}")]
    Json(String),
    /// No finding's id.
    #[error(
        "{0:?} is no finding's id: 16 lower-case hex digits, as `indelible verify` and the condition Intact show them"
    )]
    Finding(String),
    /// Nobody or no reason.
    #[error("\"by\" and \"reason\" say who accepts the finding and why: 1 to {MAX_REASON_BYTES} bytes each")]
    Words,
}

impl Acknowledgement {
    /// Reads the annotation.
    pub fn parse(text: &str) -> Result<Self, AcknowledgeError> {
        if text.len() > MAX_ACKNOWLEDGE_BYTES {
            return Err(AcknowledgeError::TooLong);
        }
        let read: Self = serde_json::from_str(text).map_err(|error| AcknowledgeError::Json(error.to_string()))?;
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if read.finding.len() != 16 || !read.finding.chars().all(is_hex) {
            return Err(AcknowledgeError::Finding(read.finding));
        }
        let is_told = |text: &str| (1..=MAX_REASON_BYTES).contains(&text.len()) && !text.trim().is_empty();
        if is_told(&read.by) && is_told(&read.reason) { Ok(read) } else { Err(AcknowledgeError::Words) }
    }

    /// Statement 13.
    pub fn statement(&self) -> Statement {
        let Self { finding, by, reason } = self.clone();
        Statement::Accepted { finding, by, reason }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::OpenChain;

    fn now() -> Timestamp {
        "2026-11-27T12:00:00Z".parse().unwrap()
    }

    fn pod(uid: &str, phase: Phase) -> Pod {
        Pod {
            uid: uid.to_owned(),
            namespace: "shop".to_owned(),
            name: format!("cart-{uid}"),
            labels: BTreeMap::new(),
            created: now(),
            node: Some("n1".to_owned()),
            phase,
            is_deleting: false,
            is_foreign: false,
            node_selector: BTreeMap::new(),
        }
    }

    fn session(uid: &str, open: usize) -> Session {
        Session {
            session_id: String::new(),
            namespace: "shop".to_owned(),
            pod: "cart".to_owned(),
            pod_uid: uid.to_owned(),
            node: "n2".to_owned(),
            ca_digest: String::new(),
            chains: vec![OpenChain { container: None }; open],
            last_heartbeat: 0,
            software: None,
            excluded: None,
        }
    }

    fn uids(uids: &[&str]) -> BTreeSet<String> {
        uids.iter().map(|uid| (*uid).to_owned()).collect()
    }

    fn why(lives: &Lives, uid: &str) -> Why {
        lives.gone()[uid].why.clone()
    }

    #[test]
    fn each_end_has_its_reason() {
        let mut lives = Lives::default();
        for uid in ["deleted", "forced", "lost", "evicted", "alive"] {
            lives.seen(&pod(uid, Phase::Running), now());
        }
        lives.seen(&pod("deleted", Phase::Ended), now());
        lives.seen(&pod("evicted", Phase::Evicted), now());
        for uid in ["deleted", "forced", "lost"] {
            lives.deleted(uid, now());
        }
        assert_eq!(why(&lives, "deleted"), Why::Known(EndReason::Deleted));
        assert_eq!(why(&lives, "evicted"), Why::Known(EndReason::Evicted));
        assert_eq!(why(&lives, "forced"), Why::AskNode(Some("n1".to_owned())));
        lives.node_told("forced", true);
        lives.node_told("lost", false);
        lives.node_told("deleted", false);
        assert_eq!(why(&lives, "forced"), Why::Known(EndReason::Forced));
        assert_eq!(why(&lives, "lost"), Why::Known(EndReason::NodeLost));
        assert_eq!(why(&lives, "deleted"), Why::Known(EndReason::Deleted));
        assert!(!lives.gone().contains_key("alive"));
    }

    #[test]
    fn an_evicted_pod_is_stated_once_although_its_object_stays() {
        let mut lives = Lives::default();
        lives.seen(&pod("a", Phase::Running), now());
        lives.seen(&pod("a", Phase::Evicted), now());
        lives.stated("a");
        lives.seen(&pod("a", Phase::Evicted), now());
        lives.deleted("a", now());
        assert!(lives.gone().is_empty() && lives.durable().is_empty());
    }

    #[test]
    fn a_pod_that_was_evicted_while_no_operator_looked_is_stated() {
        let mut lives = Lives::default();
        lives.remember(&uids(&["a"]));
        lives.seen(&pod("a", Phase::Evicted), now());
        assert_eq!(why(&lives, "a"), Why::Known(EndReason::Evicted));
    }

    #[test]
    fn a_namespace_that_opts_out_ends_no_pod() {
        let mut lives = Lives::default();
        lives.seen(&pod("a", Phase::Running), now());
        lives.forget("a");
        lives.all_seen(&uids(&[]), &[], now());
        assert!(lives.gone().is_empty() && lives.durable().is_empty());
    }

    #[test]
    fn a_pod_that_went_while_no_operator_looked_is_stated_by_the_next_one() {
        let mut first = Lives::default();
        for uid in ["stays", "goes", "ends"] {
            first.seen(&pod(uid, Phase::Running), now());
        }
        first.deleted("ends", now());
        let durable = first.durable();
        assert_eq!(durable, uids(&["ends", "goes", "stays"]), "what is not stated yet is kept, too");

        let mut second = Lives::default();
        second.remember(&durable);
        second.seen(&pod("stays", Phase::Running), now());
        let sessions = [session("short", 1), session("closed", 0), session("goes", 1), session("stays", 1)];
        second.all_seen(&uids(&["stays"]), &sessions, now());
        assert_eq!(second.gone().keys().collect::<Vec<_>>(), ["ends", "goes", "short"]);
        assert_eq!(why(&second, "goes"), Why::AskNode(Some("n2".to_owned())));
        for uid in ["ends", "goes", "short"] {
            second.stated(uid);
        }
        assert_eq!(second.durable(), uids(&["stays"]));
    }

    #[test]
    fn a_watch_that_missed_a_deletion_finds_it_when_all_are_listed_again() {
        let mut lives = Lives::default();
        lives.seen(&pod("a", Phase::Running), now());
        lives.seen(&pod("b", Phase::Running), now());
        lives.all_seen(&uids(&["b"]), &[], now());
        assert_eq!(lives.gone().keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn an_acknowledgement_says_which_finding_who_and_why() {
        let parse = Acknowledgement::parse;
        let good = r#"{"finding":"0123456789abcdef","by":"ann","reason":"outage of the 23rd"}"#;
        assert_eq!(parse(good).unwrap().statement().json(), good);
        assert!(matches!(parse("yes"), Err(AcknowledgeError::Json(_))));
        assert!(matches!(parse(r#"{"finding":"0123456789abcdef","by":"ann"}"#), Err(AcknowledgeError::Json(_))));
        assert!(matches!(parse(&good.replace("abcdef", "ABCDEF")), Err(AcknowledgeError::Finding(_))));
        assert!(matches!(parse(&good.replace("0123", "")), Err(AcknowledgeError::Finding(_))));
        assert_eq!(parse(&good.replace("ann", " ")), Err(AcknowledgeError::Words));
        assert_eq!(parse(&good.replace("ann", &"a".repeat(MAX_REASON_BYTES + 1))), Err(AcknowledgeError::Words));
        assert_eq!(parse(&"x".repeat(MAX_ACKNOWLEDGE_BYTES + 1)), Err(AcknowledgeError::TooLong));
    }

    proptest! {
        #[test]
        fn reading_any_annotation_never_panics(text in "\\PC{0,80}") {
            let _ = Acknowledgement::parse(&text);
        }

        #[test]
        fn no_audited_pod_goes_without_a_statement(
            events in prop::collection::vec((0..4u8, 0..4u8), 0..40), restart in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            // The model: which pods are there. After each step, whoever was there and is not has to be stated.
            let (mut lives, mut there, mut owed) = (Lives::default(), BTreeSet::new(), BTreeSet::new());
            for (n, (what, which)) in events.iter().enumerate() {
                let uid = format!("{which}-{n}");
                let known = there.iter().find(|uid: &&String| uid.starts_with(&format!("{which}-"))).cloned();
                match (what, known) {
                    (0, None) => {
                        lives.seen(&pod(&uid, Phase::Running), now());
                        there.insert(uid);
                    }
                    (1, Some(uid)) => {
                        there.remove(&uid);
                        lives.deleted(&uid, now());
                        owed.insert(uid);
                    }
                    (2, Some(uid)) => lives.seen(&pod(&uid, Phase::Ended), now()),
                    (3, _) => {
                        let uids: Vec<_> = lives.gone().keys().cloned().collect();
                        for uid in uids {
                            lives.stated(&uid);
                            prop_assert!(owed.remove(&uid));
                        }
                    }
                    _ => {}
                }
                if restart.get(n) == Some(&true) {
                    let durable = lives.durable();
                    lives = Lives::default();
                    lives.remember(&durable);
                    for uid in &there {
                        lives.seen(&pod(uid, Phase::Running), now());
                    }
                    lives.all_seen(&there, &[], now());
                }
                prop_assert_eq!(lives.gone().keys().cloned().collect::<BTreeSet<_>>(), owed.clone());
            }
        }
    }
}
