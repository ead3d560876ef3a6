//! What should be audited, against what collectors have heard of.
//!
//! Core: pods, sessions and a time in, rows out. A pod counts as streaming while a collector has a signed heartbeat of
//! its sidecar that is at most 90 s old; each one that is not has exactly one reason, the first that applies.

use std::collections::BTreeMap;

use indelible_chain::id::Time;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::clock::span;
use crate::cluster::audit_log::SIDECAR;
use crate::cluster::audited::{OptedIn, Selects, Spared, is_injected, statuses, time};
use crate::source::collector::Alive;
use crate::text::one_line;

/// A pod was heard of if its last heartbeat is not older, in nanoseconds.
const LIVE: i64 = 90 * Time::SECOND;

/// Why a pod that should be audited is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is older than the opt-in.
    NeedsRestart,
    /// It has no sidecar although it is younger.
    NotInjected,
    /// Its sidecar does not run.
    SidecarNotRunning,
    /// Its sidecar is heard of and captures nothing.
    Unreadable,
    /// It has just begun.
    Starting,
    /// Not every collector could be asked, and those that were have not heard of it.
    Unknown,
    /// No collector has ever heard of it.
    NeverConnected,
    /// None has for a while.
    Silent,
}

impl Reason {
    /// The word, as conditions and JSON have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NeedsRestart => "NeedsRestart",
            Self::NotInjected => "NotInjected",
            Self::SidecarNotRunning => "SidecarNotRunning",
            Self::Unreadable => "Unreadable",
            Self::Starting => "Starting",
            Self::Unknown => "Unknown",
            Self::NeverConnected => "NeverConnected",
            Self::Silent => "Silent",
        }
    }

    /// What to do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NeedsRestart => "restart it (kubectl rollout restart): a sidecar is added when a pod is created",
            Self::NotInjected => {
                "look at the namespace's events and at condition Injecting of the AuditLog, then create the pod again"
            }
            Self::SidecarNotRunning => "look at the container indelible-sidecar of the pod",
            Self::Unreadable => {
                "its sidecar cannot read the node's log files (another log directory, SELinux, file modes): see its log, \
                 capture.source and sidecar.seLinuxOptions"
            }
            Self::Starting => "wait: it began less than 90 s ago",
            Self::Unknown => "make the collectors reachable that could not be asked, then look again",
            Self::NeverConnected => {
                "allow egress to the collectors; `kubectl indelible preflight` prints the policy. `kubectl logs` of its \
                 container indelible-sidecar says more"
            }
            Self::Silent => "look at `kubectl logs` of its container indelible-sidecar, and at its node",
        }
    }
}

/// A pod that should be audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub node: String,
    pub injected: bool,
    /// `None` while it is streaming.
    pub reason: Option<Reason>,
    /// What else there is to say of the reason.
    pub detail: String,
    pub last_heartbeat: Option<Time>,
    /// Containers that it streams, with how many records each.
    pub containers: Vec<(String, u64)>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// In the order of their names.
    pub rows: Vec<Row>,
    /// Running pods of opted-in namespaces that need not be audited, by why.
    pub spared: BTreeMap<Spared, u64>,
}

/// What collectors have heard of.
#[derive(Debug, Default)]
pub struct Heard {
    /// Sessions by the uid of their pod.
    sessions: BTreeMap<String, Alive>,
    /// Whether each collector could be asked.
    pub by_all: bool,
}

impl Heard {
    /// Of these sessions.
    pub fn new(sessions: impl IntoIterator<Item = Alive>, by_all: bool) -> Self {
        let mut heard = Self { by_all, ..Self::default() };
        for session in sessions {
            match heard.sessions.get(&session.pod_uid) {
                Some(newer) if newer.last_heartbeat >= session.last_heartbeat => {}
                _ => {
                    heard.sessions.insert(session.pod_uid.clone(), session);
                }
            }
        }
        heard
    }
}

/// Compares the pods of opted-in namespaces with what was heard of; `made` is when the AuditLog was.
pub fn compare(
    pods: &[(OptedIn, Vec<Pod>)],
    selects: &Selects,
    made: Option<Time>,
    heard: &Heard,
    now: Time,
) -> Coverage {
    let mut coverage = Coverage::default();
    for (namespace, pods) in pods {
        for pod in pods {
            match selects.spares(namespace, pod) {
                Some(Spared::NotRunning) => {}
                Some(spared) => *coverage.spared.entry(spared).or_default() += 1,
                None => {
                    let mut row = row(namespace, pod, made, heard, now);
                    let is_young =
                        pod.metadata.creation_timestamp.as_ref().is_none_or(|at| now.since(time(at)) <= LIVE);
                    // Whoever has left containers out may have left out all.
                    if row.reason.is_none() && row.containers.is_empty() && !is_young && !selects.excludes(namespace) {
                        row.reason = Some(Reason::Unreadable);
                    }
                    coverage.rows.push(row);
                }
            }
        }
    }
    coverage.rows.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    coverage
}

fn row(namespace: &OptedIn, pod: &Pod, made: Option<Time>, heard: &Heard, now: Time) -> Row {
    let uid = pod.uid().unwrap_or_default();
    let session = heard.sessions.get(&uid);
    let last_heartbeat = session.map(|session| Time::from_nanos(session.last_heartbeat));
    let (reason, detail) = match reason(namespace, pod, made, last_heartbeat, heard, now) {
        None => (None, String::new()),
        Some((reason, detail)) => (Some(reason), detail),
    };
    let containers = session.into_iter().flat_map(|of| &of.chains).map(|of| (of.container.clone(), of.next_seq));
    Row {
        namespace: namespace.name.clone(),
        pod: pod.name_any(),
        pod_uid: uid,
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        injected: is_injected(pod),
        reason,
        detail,
        last_heartbeat,
        containers: containers.collect(),
    }
}

fn reason(
    namespace: &OptedIn,
    pod: &Pod,
    made: Option<Time>,
    last: Option<Time>,
    heard: &Heard,
    now: Time,
) -> Option<(Reason, String)> {
    let created = pod.metadata.creation_timestamp.as_ref().map(time);
    if !is_injected(pod) {
        let is_older = |than: Option<Time>| matches!((created, than), (Some(created), Some(than)) if created < than);
        let reason =
            if is_older(namespace.since) || is_older(made) { Reason::NeedsRestart } else { Reason::NotInjected };
        return Some((reason, String::new()));
    }
    if last.is_some_and(|last| now.since(last) <= LIVE) {
        return None;
    }
    if let Some(why) = statuses(pod).find(|of| of.name == SIDECAR).and_then(not_running) {
        return Some((Reason::SidecarNotRunning, why));
    }
    if let Some(last) = last {
        return Some((Reason::Silent, format!("last heard of {} ago", span(now.since(last)))));
    }
    if created.is_some_and(|created| now.since(created) <= LIVE) {
        return Some((Reason::Starting, String::new()));
    }
    Some((if heard.by_all { Reason::NeverConnected } else { Reason::Unknown }, String::new()))
}

fn not_running(status: &ContainerStatus) -> Option<String> {
    let state = status.state.clone().unwrap_or_default();
    if let Some(waiting) = state.waiting {
        let message = waiting.message.map(|message| format!(": {message}")).unwrap_or_default();
        return Some(one_line(&format!("{}{message}", waiting.reason.unwrap_or_default())));
    }
    let ended = state.terminated?;
    let message = ended.message.map(|message| format!(": {}", message.trim())).unwrap_or_default();
    Some(one_line(&format!("ended with code {}{message}", ended.exit_code)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::source::collector::AliveChain;

    const NOON: i64 = 1_769_860_800_000_000_000;

    fn at(seconds: i64) -> Time {
        Time::from_nanos(NOON + seconds * Time::SECOND)
    }

    fn pod(created: i64, sidecar: Option<&Value>) -> Pod {
        let created = crate::clock::rfc3339_seconds(at(created));
        let init: Vec<Value> = sidecar.iter().map(|_| json!({"name": SIDECAR})).collect();
        let status: Vec<Value> = sidecar.into_iter().map(|state| {
            json!({"name": SIDECAR, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state})
        }).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u", "creationTimestamp": created},
            "spec": {"containers": [], "initContainers": init, "nodeName": "n1"},
            "status": {"phase": "Running", "initContainerStatuses": status},
        }))
        .unwrap()
    }

    fn alive(seconds: i64) -> Alive {
        let chains = vec![AliveChain { container: "app".into(), next_seq: 7 }];
        Alive { session_id: "s".into(), pod_uid: "u".into(), chains, last_heartbeat: at(seconds).nanos() }
    }

    fn reason_of(pod: &Pod, sessions: Vec<Alive>, by_all: bool) -> Option<Reason> {
        let namespace = OptedIn { name: "shop".into(), enforced: false, since: Some(at(-1000)) };
        let selects = Selects::of(&serde_json::from_value(json!({})).unwrap());
        let coverage = compare(&[(namespace, vec![pod.clone()])], &selects, None, &Heard::new(sessions, by_all), at(0));
        coverage.rows[0].reason
    }

    #[test]
    fn each_pod_that_does_not_stream_has_the_first_reason_that_applies() {
        let broken = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let runs = json!({"running": {}});
        for (created, sidecar, sessions, by_all, reason) in [
            (-500, Some(&runs), vec![alive(-30)], true, None),
            (-500, Some(&broken), vec![alive(-30)], true, None),
            (-2000, None, vec![], true, Some(Reason::NeedsRestart)),
            (-500, None, vec![], true, Some(Reason::NotInjected)),
            (-500, Some(&broken), vec![], true, Some(Reason::SidecarNotRunning)),
            (-500, Some(&runs), vec![alive(-91)], true, Some(Reason::Silent)),
            (-500, Some(&runs), vec![alive(-300), alive(-30), alive(-200)], true, None),
            (-20, Some(&runs), vec![], true, Some(Reason::Starting)),
            (-500, Some(&runs), vec![], true, Some(Reason::NeverConnected)),
            (-500, Some(&runs), vec![], false, Some(Reason::Unknown)),
        ] {
            assert_eq!(reason_of(&pod(created, sidecar), sessions, by_all), reason, "{created} {sidecar:?}");
        }
    }

    #[test]
    fn a_sidecar_that_is_heard_of_and_has_no_chain_cannot_read_unless_all_may_be_left_out() {
        let mut empty = alive(-10);
        empty.chains.clear();
        let of = |created: i64, spec: Value| {
            let namespace = OptedIn { name: "shop".into(), enforced: false, since: None };
            let selects = Selects::of(&serde_json::from_value(json!({"spec": spec})).unwrap());
            let pods = [(namespace, vec![pod(created, Some(&json!({"running": {}})))])];
            compare(&pods, &selects, None, &Heard::new([empty.clone()], true), at(0)).rows[0].reason
        };
        assert_eq!(of(-500, json!({})), Some(Reason::Unreadable));
        assert_eq!(of(-20, json!({})), None);
        assert_eq!(of(-500, json!({"containers": {"exclude": ["app"]}})), None);
    }

    #[test]
    fn a_pod_older_than_the_audit_log_needs_a_restart_too() {
        let namespace = OptedIn { name: "shop".into(), enforced: false, since: None };
        let selects = Selects::of(&serde_json::from_value(json!({})).unwrap());
        let pods = [(namespace, vec![pod(-2000, None)])];
        let coverage = compare(&pods, &selects, Some(at(-1000)), &Heard::new([], true), at(0));
        assert_eq!(coverage.rows[0].reason, Some(Reason::NeedsRestart));
    }
}
