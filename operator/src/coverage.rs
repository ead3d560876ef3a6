//! Coverage: the pods that should be audited, against those that collectors have heard of.
//!
//! Pure: pods, opted-in namespaces and sessions in, numbers and reasons out.
//!
//! | reason | a running pod that should be audited … |
//! | --- | --- |
//! | `NeverConnected` | has a sidecar that no collector has ever heard of |
//! | `Silent` | has a sidecar that was heard of, and not in the last 90 s |
//! | `Unreadable` | has a sidecar that is heard of and captures nothing |
//! | `PodRejected` | is none: pods with a sidecar are refused in that namespace |
//! | `NotInjected` | has no sidecar although its namespace had opted in when it was made |
//! | `NeedsRestart` | has no sidecar because it is older than the opt-in |
//!
//! A pod has [`GRACE`] before it is missed. Selected, injected and streaming are counted at once.

use std::collections::{BTreeMap, BTreeSet};

use indelible_chain::digest::Digest;
use jiff::{SignedDuration, Timestamp};
use kube::core::{Selector, SelectorExt as _};

use crate::api::{AuditLogSpec, Coverage};
use crate::collectors::{READS_NOTHING, Session};
use crate::limits::NAMED_PODS;
use crate::names::{COLLECTOR_PORT, LABEL_INJECT};
use crate::observed::{Confirmed, Covered, Missing, OptedIn, PoolName};
use crate::pods::{Phase, Pod};

/// A session that was heard of within this time is alive: three heartbeats.
pub const ALIVE: SignedDuration = SignedDuration::from_secs(90);
/// How old a pod is before it is missed.
pub const GRACE: SignedDuration = SignedDuration::from_secs(90);
/// How old a pod is before its bundle matters to a change of CA: younger ones are made with the newest.
pub const MADE_LATELY: SignedDuration = SignedDuration::from_secs(60);

/// What coverage follows from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The pool.
    pub pool: &'a PoolName,
    /// Its spec.
    pub spec: &'a AuditLogSpec,
    /// Namespaces that opted in.
    pub namespaces: &'a [OptedIn],
    /// Since when each of them has.
    pub since: &'a BTreeMap<String, Timestamp>,
    /// Namespaces in which nothing is ever injected.
    pub excluded: &'a BTreeSet<String>,
    /// Node selectors of virtual nodes.
    pub skipped_nodes: &'a [(String, String)],
    /// Pods of the opted-in namespaces.
    pub pods: &'a BTreeMap<String, Pod>,
    /// The newest session of each pod, by its uid.
    pub sessions: &'a BTreeMap<String, Session>,
    /// Namespaces where pods with a sidecar are refused, and what the API server says.
    pub rejected: &'a BTreeMap<String, String>,
    /// Where sidecars connect to first: for the remedy.
    pub address: &'a str,
}

/// Counts, with reasons.
pub fn cover(facts: &Facts<'_>, now: Timestamp) -> Covered {
    let selector = Selector::try_from(facts.spec.pod_selector.clone()).unwrap_or_default();
    let label = facts.pool.label();
    let mut numbers = Coverage::default();
    let mut missing: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    for pod in facts.pods.values() {
        let Some(namespace) = facts.namespaces.iter().find(|namespace| namespace.name == pod.namespace) else {
            continue;
        };
        if !is_selected(facts, &selector, namespace, pod) {
            continue;
        }
        let is_injected = pod.is_injected(&label);
        let session = facts.sessions.get(&pod.uid);
        let reason = reason(facts, namespace, pod, is_injected, session, now);
        numbers.selected += 1;
        numbers.injected += i64::from(is_injected);
        numbers.streaming += i64::from(reason.is_none());
        numbers.needs_restart += i64::from(reason == Some(Reason::NeedsRestart));
        if let Some(reason) = reason
            && now.duration_since(pod.created) >= GRACE
        {
            missing.entry(reason).or_default().push(pod.full_name());
        }
    }
    let mut missing: Vec<Missing> = missing.into_iter().map(|(reason, pods)| reason.missing(facts, &pods)).collect();
    for (namespace, message) in facts.rejected.iter().filter(|(name, _)| is_opted_in(facts, name)) {
        let message = format!("in namespace {namespace} pods with a sidecar are refused: {message}");
        missing.push(Missing { reason: "PodRejected", pods: 0, message });
    }
    Covered { numbers, missing }
}

fn is_opted_in(facts: &Facts<'_>, name: &str) -> bool {
    facts.namespaces.iter().any(|namespace| namespace.name == name)
}

fn is_selected(facts: &Facts<'_>, selector: &Selector, namespace: &OptedIn, pod: &Pod) -> bool {
    let on_virtual_node =
        facts.skipped_nodes.iter().any(|(key, value)| pod.node_selector.get(key).is_some_and(|has| has == value));
    if pod.phase != Phase::Running || pod.is_foreign || on_virtual_node || facts.excluded.contains(&pod.namespace) {
        return false;
    }
    let has_opted_out = pod.labels.get(LABEL_INJECT).is_some_and(|value| value == "false");
    namespace.enforced || (!has_opted_out && selector.matches(&pod.labels))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    NeverConnected,
    Silent,
    Unreadable,
    NotInjected,
    NeedsRestart,
}

fn reason(
    facts: &Facts<'_>,
    namespace: &OptedIn,
    pod: &Pod,
    is_injected: bool,
    session: Option<&Session>,
    now: Timestamp,
) -> Option<Reason> {
    let Some(session) = session else {
        return Some(match is_injected {
            true => Reason::NeverConnected,
            false if pod.created < since(facts, namespace) => Reason::NeedsRestart,
            false => Reason::NotInjected,
        });
    };
    if now.duration_since(heard(session)) > ALIVE {
        return Some(Reason::Silent);
    }
    if let Some(excluded) = &session.excluded {
        return (excluded == READS_NOTHING).then_some(Reason::Unreadable);
    }
    // An older collector does not say. Whoever has left containers out may have left out all.
    let may_be_empty = !namespace.enforced && !facts.spec.containers.exclude.is_empty();
    let is_empty = session.chains.is_empty() && !may_be_empty && now.duration_since(pod.created) >= GRACE;
    is_empty.then_some(Reason::Unreadable)
}

fn since(facts: &Facts<'_>, namespace: &OptedIn) -> Timestamp {
    facts.since.get(&namespace.name).copied().unwrap_or(namespace.created)
}

/// When a session was last heard of.
pub fn heard(session: &Session) -> Timestamp {
    Timestamp::from_nanosecond(session.last_heartbeat.into()).unwrap_or_default()
}

impl Reason {
    const fn word(self) -> &'static str {
        match self {
            Self::NeverConnected => "NeverConnected",
            Self::Silent => "Silent",
            Self::Unreadable => "Unreadable",
            Self::NotInjected => "NotInjected",
            Self::NeedsRestart => "NeedsRestart",
        }
    }

    fn missing(self, facts: &Facts<'_>, pods: &[String]) -> Missing {
        let (count, verb) = match pods.len() {
            1 => ("1 pod".to_owned(), "has"),
            n => (format!("{n} pods"), "have"),
        };
        let what = match self {
            Self::NeverConnected => format!(
                "{verb} a sidecar that never reached a collector; allow egress to {} and to TCP port {COLLECTOR_PORT} of \
                 the pods of {}",
                facts.address, facts.pool
            ),
            Self::Silent => format!(
                "{verb} a sidecar that was not heard of for {} s; see its log, and whether egress to TCP port \
                 {COLLECTOR_PORT} still works",
                ALIVE.as_secs()
            ),
            Self::Unreadable => format!(
                "{verb} a sidecar that captures nothing: it cannot read the node's log files (another log directory, \
                 SELinux, file modes); see its log, capture.source and sidecar.seLinuxOptions"
            ),
            Self::NotInjected => format!(
                "{verb} no sidecar although the namespace had opted in: the webhook did not answer, or left them out; \
                 restart them, and see the operator's log if they stay without one"
            ),
            Self::NeedsRestart => format!("{verb} no sidecar because they are older than the opt-in: restart them"),
        };
        let mut names = pods.iter().take(NAMED_PODS).map(String::as_str).collect::<Vec<_>>().join(", ");
        if pods.len() > NAMED_PODS {
            names.push_str(", …");
        }
        let message = format!("{count} {what}: {names}");
        Missing { reason: self.word(), pods: pods.len() as u64, message }
    }
}

/// Which bundles those have whom a change of CA could cut off: every pod with a sidecar, also one that was never heard of.
pub fn confirmed(facts: &Facts<'_>, complete: bool, now: Timestamp) -> Confirmed {
    let label = facts.pool.label();
    let mut bundles = BTreeMap::new();
    for pod in facts.pods.values().filter(|pod| matches!(pod.phase, Phase::Pending | Phase::Running)) {
        if !pod.is_injected(&label) {
            continue;
        }
        let digest = match facts.sessions.get(&pod.uid) {
            Some(session) if session.ca_digest.parse::<Digest>().is_ok() => session.ca_digest.clone(),
            _ if now.duration_since(pod.created) < MADE_LATELY => continue,
            _ => String::new(),
        };
        bundles.insert(pod.full_name(), digest);
    }
    Confirmed { complete, bundles }
}

/// The newest session of each pod.
pub fn newest(sessions: impl IntoIterator<Item = Session>) -> BTreeMap<String, Session> {
    let mut newest: BTreeMap<String, Session> = BTreeMap::new();
    for session in sessions {
        match newest.get_mut(&session.pod_uid) {
            Some(held) if held.last_heartbeat >= session.last_heartbeat => {}
            Some(held) => *held = session,
            None => drop(newest.insert(session.pod_uid.clone(), session)),
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::OpenChain;
    use crate::names::LABEL_INJECTED;

    fn now() -> Timestamp {
        "2026-11-27T12:00:00Z".parse().unwrap()
    }

    fn ago(seconds: i64) -> Timestamp {
        now() - SignedDuration::from_secs(seconds)
    }

    fn namespace(name: &str, enforced: bool) -> OptedIn {
        OptedIn { name: name.to_owned(), uid: name.to_owned(), created: ago(9000), enforced }
    }

    fn pod(name: &str, labels: &[(&str, &str)]) -> Pod {
        Pod {
            uid: format!("uid-{name}"),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            created: ago(600),
            node: Some("n1".to_owned()),
            phase: Phase::Running,
            is_deleting: false,
            is_foreign: false,
            node_selector: BTreeMap::new(),
        }
    }

    fn session(pod: &str, seconds_ago: i64) -> Session {
        Session {
            session_id: pod.to_owned(),
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            pod_uid: format!("uid-{pod}"),
            node: "n1".to_owned(),
            ca_digest: Digest::sha256(b"bundle").to_string(),
            chains: vec![OpenChain { container: Some("app".to_owned()) }],
            last_heartbeat: i64::try_from(ago(seconds_ago).as_nanosecond()).unwrap(),
            software: None,
            excluded: None,
        }
    }

    /// A shop that opted in an hour ago.
    struct Shop {
        pool: PoolName,
        spec: AuditLogSpec,
        namespaces: Vec<OptedIn>,
        since: BTreeMap<String, Timestamp>,
        excluded: BTreeSet<String>,
        pods: BTreeMap<String, Pod>,
        sessions: BTreeMap<String, Session>,
        rejected: BTreeMap<String, String>,
    }

    impl Shop {
        fn new(pods: impl IntoIterator<Item = Pod>, sessions: impl IntoIterator<Item = Session>) -> Self {
            Self {
                pool: PoolName::new("audit", "payments"),
                spec: AuditLogSpec::default(),
                namespaces: vec![namespace("shop", false)],
                since: [("shop".to_owned(), ago(3600))].into(),
                excluded: BTreeSet::new(),
                pods: pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect(),
                sessions: newest(sessions),
                rejected: BTreeMap::new(),
            }
        }

        fn facts(&self) -> Facts<'_> {
            Facts {
                pool: &self.pool,
                spec: &self.spec,
                namespaces: &self.namespaces,
                since: &self.since,
                excluded: &self.excluded,
                skipped_nodes: &[],
                pods: &self.pods,
                sessions: &self.sessions,
                rejected: &self.rejected,
                address: "10.0.0.7:7443",
            }
        }

        fn cover(&self) -> Covered {
            cover(&self.facts(), now())
        }

        fn numbers(&self) -> (i64, i64, i64, i64) {
            let Coverage { selected, injected, streaming, needs_restart } = self.cover().numbers;
            (selected, injected, streaming, needs_restart)
        }
    }

    const OURS: (&str, &str) = (LABEL_INJECTED, "audit.payments");

    #[test]
    fn a_pod_whose_sidecar_is_heard_of_is_covered() {
        let shop = Shop::new([pod("a", &[OURS])], [session("a", 20)]);
        assert_eq!((shop.numbers(), shop.cover().missing), ((1, 1, 1, 0), vec![]));
    }

    #[test]
    fn each_reason_names_its_pods_and_what_to_do() {
        let mut silent = session("silent", 91);
        silent.chains.clear();
        let mut unreadable = session("unreadable", 10);
        unreadable.chains.clear();
        let old = Pod { created: ago(4000), ..pod("old", &[]) };
        let pods = [
            pod("never", &[OURS]),
            pod("silent", &[OURS]),
            pod("unreadable", &[OURS]),
            pod("missed", &[]),
            old,
            pod("liar", &[(LABEL_INJECTED, "audit.other")]),
        ];
        let shop = Shop::new(pods, [silent, unreadable]);
        assert_eq!(shop.numbers(), (6, 3, 0, 1));
        let told: Vec<_> = shop.cover().missing.into_iter().map(|m| (m.reason, m.pods, m.message)).collect();
        let expect = [
            ("NeverConnected", 1, "shop/never", "10.0.0.7:7443"),
            ("Silent", 1, "shop/silent", "90 s"),
            ("Unreadable", 1, "shop/unreadable", "SELinux"),
            ("NotInjected", 2, "shop/liar, shop/missed", "webhook"),
            ("NeedsRestart", 1, "shop/old", "restart"),
        ];
        assert_eq!(told.len(), expect.len());
        for ((reason, pods, message), (wanted, count, names, remedy)) in told.iter().zip(expect) {
            assert_eq!((*reason, *pods), (wanted, count));
            assert!(message.ends_with(names) && message.contains(remedy), "{message}");
        }
    }

    #[test]
    fn a_sidecar_that_says_it_reads_nothing_is_believed_and_one_that_says_otherwise_too() {
        let says = |excluded: &str| {
            let mut session = session("a", 10);
            session.chains.clear();
            session.excluded = Some(excluded.to_owned());
            Shop::new([pod("a", &[OURS])], [session]).numbers().2
        };
        assert_eq!((says(READS_NOTHING), says(""), says("istio-proxy")), (0, 1, 1));
    }

    #[test]
    fn a_young_pod_is_counted_and_not_missed_yet() {
        let young = Pod { created: ago(30), ..pod("a", &[OURS]) };
        let shop = Shop::new([young], []);
        assert_eq!((shop.numbers(), shop.cover().missing), ((1, 1, 0, 0), vec![]));
    }

    #[test]
    fn who_is_not_audited_is_not_selected_and_enforcement_leaves_nobody_out() {
        let pods = || {
            let ended = Pod { phase: Phase::Ended, ..pod("ended", &[("app", "cart")]) };
            let pending = Pod { phase: Phase::Pending, ..pod("pending", &[("app", "cart")]) };
            let mirror = Pod { is_foreign: true, ..pod("mirror", &[("app", "cart")]) };
            let elsewhere = Pod { namespace: "other".to_owned(), ..pod("elsewhere", &[("app", "cart")]) };
            let out = pod("out", &[("app", "cart"), (LABEL_INJECT, "false")]);
            [ended, pending, mirror, elsewhere, out, pod("in", &[("app", "cart")]), pod("unselected", &[])]
        };
        let mut shop = Shop::new(pods(), []);
        shop.spec.pod_selector.match_labels = Some([("app".to_owned(), "cart".to_owned())].into());
        assert_eq!(shop.numbers().0, 1);
        shop.namespaces = vec![namespace("shop", true)];
        assert_eq!(shop.numbers().0, 3);
        shop.excluded.insert("shop".to_owned());
        assert_eq!(shop.numbers().0, 0);
    }

    #[test]
    fn a_namespace_where_pods_are_refused_is_named() {
        let mut shop = Shop::new([], []);
        shop.rejected.insert("shop".to_owned(), "exceeded quota".to_owned());
        shop.rejected.insert("other".to_owned(), "not ours".to_owned());
        let [missing] = shop.cover().missing.try_into().unwrap();
        assert_eq!(missing.reason, "PodRejected");
        assert!(missing.message.contains("shop") && missing.message.ends_with("exceeded quota"));
    }

    #[test]
    fn every_pod_with_a_sidecar_has_to_confirm_a_bundle_but_one_that_was_just_made_or_has_ended() {
        let made = Pod { created: ago(10), ..pod("made", &[OURS]) };
        let waits = Pod { phase: Phase::Pending, ..pod("waits", &[OURS]) };
        let ended = Pod { phase: Phase::Ended, ..pod("ended", &[OURS]) };
        let pods = [pod("has", &[OURS]), pod("never", &[OURS]), pod("bare", &[]), made, waits, ended];
        let shop = Shop::new(pods, [session("has", 1000)]);
        let confirmed = confirmed(&shop.facts(), true, now());
        let expect = [
            ("shop/has", Digest::sha256(b"bundle").to_string()),
            ("shop/never", String::new()),
            ("shop/waits", String::new()),
        ];
        let expect = expect.map(|(pod, digest)| (pod.to_owned(), digest)).into();
        assert_eq!(confirmed, Confirmed { complete: true, bundles: expect });
    }

    #[test]
    fn of_several_sessions_of_a_pod_the_newest_counts() {
        let newest = newest([session("a", 50), session("a", 10), session("a", 100)]);
        assert_eq!(newest["uid-a"].last_heartbeat, session("a", 10).last_heartbeat);
    }
}
