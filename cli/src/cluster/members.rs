//! The pods that show a pool's logs: its collectors, and readers of volumes whose collector was scaled away.
//!
//! Core. A pod that cannot be asked is a source all the same, with why: what is not shown must be told apart from what
//! is not there.

use k8s_openapi::api::core::v1::Pod;

use super::audit_log::{AuditLog, LogStatus};
use crate::text::one_line;

/// A source of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// A pod that can be asked.
    Running {
        /// Its name.
        pod: String,
    },
    /// One that cannot.
    Away {
        /// Its name.
        pod: String,
        /// Why not.
        why: String,
    },
}

/// The members, by the pods there are and the logs that the operator knows.
pub fn members(pods: &[Pod], log: &AuditLog) -> Vec<Member> {
    let mut members: Vec<Member> = pods.iter().filter_map(member).collect();
    let is_open = |log: &&LogStatus| log.state == "Open" && !log.collector.is_empty();
    for of in log.status.logs.iter().filter(is_open) {
        let is_there = members.iter().any(|member| *member.pod() == of.collector);
        if !is_there {
            let why = "there is no such pod, and the operator knows an open log of it".to_owned();
            members.push(Member::Away { pod: of.collector.clone(), why });
        }
    }
    members.sort_by(|a, b| natural(a.pod()).cmp(&natural(b.pod())));
    members.dedup_by(|a, b| a.pod() == b.pod());
    members
}

impl Member {
    /// The pod's name.
    pub const fn pod(&self) -> &String {
        match self {
            Self::Running { pod } | Self::Away { pod, .. } => pod,
        }
    }
}

/// Ten comes after nine.
fn natural(pod: &str) -> (&str, u64) {
    let ordinal = pod.rsplit_once('-').and_then(|(base, n)| Some((base, n.parse().ok()?)));
    ordinal.unwrap_or((pod, 0))
}

fn member(pod: &Pod) -> Option<Member> {
    let name = pod.metadata.name.clone()?;
    let status = pod.status.as_ref();
    match status.and_then(|status| status.phase.as_deref()) {
        // What has ended was replaced, or is about to be.
        Some("Succeeded" | "Failed") => None,
        Some("Running") => Some(Member::Running { pod: name }),
        phase => {
            let phase = one_line(phase.unwrap_or("not scheduled"));
            Some(Member::Away { why: format!("the pod is {phase}{}", waiting(pod)), pod: name })
        }
    }
}

/// What a pod that does not run waits for.
pub fn waiting(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    let reasons = containers.filter_map(|container| {
        let waiting = container.state?.waiting?;
        let reason =
            waiting.reason.filter(|reason| !matches!(reason.as_str(), "PodInitializing" | "ContainerCreating"))?;
        let message = waiting.message.map(|message| format!(": {message}")).unwrap_or_default();
        Some(format!("{}: {reason}{message}", container.name))
    });
    let unscheduled =
        status.conditions.into_iter().flatten().filter(|of| of.type_ == "PodScheduled" && of.status == "False");
    let reason = reasons.chain(unscheduled.filter_map(|condition| condition.message)).next();
    reason.map(|reason| format!(" ({})", one_line(&reason))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::audit_log::Status;
    use super::*;

    fn pod(name: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"phase": phase}})).unwrap()
    }

    fn known(collector: &str, state: &str) -> LogStatus {
        LogStatus { collector: collector.into(), state: state.into(), ..LogStatus::default() }
    }

    #[test]
    fn running_pods_are_asked_and_what_is_missing_is_named_with_why() {
        let logs = vec![known("p-0", "Open"), known("p-1", "Open"), known("p-7", "Sealed")];
        let log = AuditLog { status: Status { logs, ..Status::default() }, ..AuditLog::default() };
        let pods = [pod("p-10", "Running"), pod("p-2", "Pending"), pod("p-0", "Running"), pod("p-kept-7-x", "Failed")];
        let members = members(&pods, &log);
        let shown: Vec<_> = members.iter().map(|m| (m.pod().as_str(), matches!(m, Member::Running { .. }))).collect();
        assert_eq!(shown, [("p-0", true), ("p-1", false), ("p-2", false), ("p-10", true)]);
    }

    #[test]
    fn a_pod_that_does_not_run_says_what_it_waits_for() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p-0"}, "status": {"phase": "Pending",
            "containerStatuses": [{"name": "collector", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}}))
        .unwrap();
        let Some(Member::Away { why, .. }) = member(&pod) else { panic!() };
        assert_eq!(why, "the pod is Pending (collector: ImagePullBackOff: no such image)");
    }
}
