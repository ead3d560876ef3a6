//! Whether the pool works: Ready, Progressing, Degraded, Covered, Intact, Injecting.

use super::Pass;
use crate::api::AuditLogStatus;
use crate::conditions::{COVERED, DEGRADED, INJECTING, INTACT, PROGRESSING, READY, Said, Status, find};

pub(super) fn ready_collectors(pass: &Pass<'_>) -> usize {
    pass.found.pods.iter().filter(|pod| !pod.kept && pod.ready && !pod.terminating).count()
}

/// At first all collectors have to be there; later as many as a record needs.
pub(super) fn ready(pass: &Pass<'_>, before: &AuditLogStatus) -> Said {
    let (ready, wanted) = (ready_collectors(pass), pass.pool.replicas as usize);
    let needed = usize::try_from(pass.pool.spec.delivery.copies).unwrap_or(1).max(1);
    let was_ready = find(&before.conditions, READY).is_some_and(|old| old.status == "True");
    if ready >= wanted {
        return Said::new(READY, true, "AllReady", format!("{ready} of {wanted} collectors are ready"));
    }
    if was_ready && ready >= needed {
        let text = format!("{ready} of {wanted} collectors are ready; records are taken and kept by these");
        return Said::new(READY, true, "SomeReady", text);
    }
    let text = format!("{ready} of {wanted} collectors are ready{}", trouble(pass));
    Said::new(READY, false, if was_ready { "TooFewReady" } else { "Starting" }, text)
}

/// What needs attention is most likely what holds the collectors up.
fn trouble(pass: &Pass<'_>) -> String {
    let said = degraded(pass);
    if said.status == Status::True { format!("; {}", said.message) } else { String::new() }
}

pub(super) fn progressing(pass: &Pass<'_>) -> Said {
    let pool = pass.pool;
    let told = |reason, text: String| Said::new(PROGRESSING, true, reason, text);
    if pool.spec.paused {
        return Said::new(PROGRESSING, false, "Paused", "spec.paused: nothing is changed until it is false");
    }
    if let Some(leaving) = pass.scale.leaving {
        let text =
            format!("collectors from {} on leave: they are no longer in the pool's list", pool.name.pod(leaving.to));
        return told("ScalingDown", text);
    }
    if pass.scale.replicas < pool.replicas {
        let next = pool.name.kept(pass.scale.replicas);
        return told("ScalingUp", format!("waits until reader {next} has let go of its volume"));
    }
    let Some(set) = &pass.found.set else {
        return told("Creating", "the pool is being created".to_owned());
    };
    if set.pods != set.replicas || set.replicas != pool.replicas {
        return told("Scaling", format!("there are {} of {} collectors", set.pods, pool.replicas));
    }
    if set.updated < set.replicas || !set.observed {
        return told(
            "RollingOut",
            format!("{} of {} collectors are of the newest template", set.updated, set.replicas),
        );
    }
    if ready_collectors(pass) < pool.replicas as usize {
        return told("WaitingForCollectors", "collectors start".to_owned());
    }
    Said::new(PROGRESSING, false, "Settled", "everything is as the spec says")
}

/// The worst of what needs attention.
pub(super) fn degraded(pass: &Pass<'_>) -> Said {
    if let Some((reason, text)) = pass.troubles.first() {
        return Said::new(DEGRADED, true, *reason, text.clone());
    }
    if let Some(text) = pass.found.refusals.first() {
        let reason = if text.contains("exceeded quota") { "QuotaExceeded" } else { "CreateRefused" };
        let remedy = if reason == "QuotaExceeded" {
            "raise the ResourceQuota of the namespace, or lower collectors.resources, storage.size or replicas"
        } else {
            "change what refuses it; the StatefulSet's controller tries again"
        };
        return Said::new(DEGRADED, true, reason, format!("{text}: {remedy}"));
    }
    let unclassed = pass.found.claims.values().any(|claim| claim.volume.is_none() && claim.class.is_none());
    if unclassed && pass.pool.spec.collectors.storage.storage_class_name.is_empty() {
        let text = "volumes wait for a StorageClass: the cluster has no default one; mark one as default, or make this \
                    AuditLog again with collectors.storage.storageClassName";
        return Said::new(DEGRADED, true, "NoDefaultStorageClass", text);
    }
    let stuck = pass.found.pods.iter().find_map(|pod| Some((pod, pod.trouble.as_ref()?)));
    if let Some((pod, trouble)) = stuck {
        return Said::new(DEGRADED, true, "CollectorNotRunning", format!("{}: {trouble}", pod.name));
    }
    Said::new(DEGRADED, false, "AsExpected", "nothing needs attention")
}

pub(super) fn covered(pass: &Pass<'_>) -> Option<Said> {
    let covered = pass.observed?.coverage.as_ref()?;
    let numbers = &covered.numbers;
    let Some(first) = covered.missing.first() else {
        let text = format!("{} of {} pods stream", numbers.streaming, numbers.selected);
        let reason = if numbers.selected == 0 { "NothingSelected" } else { "AllStreaming" };
        return Some(Said::new(COVERED, true, reason, text));
    };
    let missing: u64 = covered.missing.iter().map(|missing| missing.pods).sum();
    let told: Vec<&str> = covered.missing.iter().map(|missing| missing.message.as_str()).collect();
    let text = format!("{missing} of {} pods are not audited: {}", numbers.selected, told.join("; "));
    Some(Said::new(COVERED, false, first.reason, text))
}

pub(super) fn intact(pass: &Pass<'_>) -> Option<Said> {
    let observed = pass.observed?;
    let Some(first) = observed.alarms.first() else {
        let text = format!("no finding on {} logs", observed.logs.len());
        return Some(Said::new(INTACT, true, "NoFindings", text));
    };
    let told = observed.alarms.iter().map(|alarm| format!("{} (finding {})", alarm.message, alarm.id));
    let text = format!(
        "{}; look with `kubectl indelible verify -n {} {}`, then `kubectl indelible acknowledge --finding {}`",
        told.collect::<Vec<_>>().join("; "),
        pass.pool.name.namespace,
        pass.pool.name.name,
        first.id
    );
    Some(Said::new(INTACT, false, first.reason, text))
}

pub(super) fn injecting(pass: &Pass<'_>) -> Said {
    if let Some((reason, text)) = &pass.injection.stopped {
        return Said::new(INJECTING, false, *reason, text.clone());
    }
    let ours = |name: &&String| pass.found.namespaces.iter().any(|namespace| namespace.name == **name);
    let rejected = pass.injection.rejected.iter().find(|(name, _)| ours(name));
    if let Some((namespace, text)) = rejected {
        let text =
            format!("injection is stopped in namespace {namespace}, where pods with a sidecar were refused: {text}");
        return Said::new(INJECTING, false, "PodRejected", text);
    }
    Said::new(INJECTING, true, "Injecting", "new pods of the opted-in namespaces get a sidecar")
}
