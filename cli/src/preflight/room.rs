//! Whether quotas and limit ranges leave room for a sidecar in each pod.
//!
//! Core. What the sidecar asks for is the AuditLog's word, else the injector's defaults; the injector fits it into limit
//! ranges, so that only what it cannot mend is a problem here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRangeItem, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::facts::{Check, Facts, Level};
use super::quantity::{Milli, parse, shown};
use crate::cluster::audit_log::AuditLog;
use crate::report::people::count;
use crate::text::one_line;

const MIB: Milli = 1024 * 1024 * 1000;
/// Where a quota demands a cpu limit of each container.
const CPU_LIMIT_DEMANDED: Milli = 200;
/// With less memory a sidecar is only killed again and again.
const MEMORY_NEEDED: Milli = 24 * MIB;

/// What one sidecar asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub cpu: Milli,
    pub memory: Milli,
    pub cpu_limit: Option<Milli>,
    pub memory_limit: Milli,
}

impl Share {
    /// By the AuditLog, else by default.
    pub fn of(log: Option<&AuditLog>) -> Self {
        let resources = log.map(|log| log.spec.sidecar.resources.clone()).unwrap_or_default();
        let of = |list: &Option<BTreeMap<String, Quantity>>, name: &str| parse(&list.as_ref()?.get(name)?.0);
        let memory = of(&resources.requests, "memory").unwrap_or(16 * MIB);
        Self {
            cpu: of(&resources.requests, "cpu").unwrap_or(5),
            memory,
            cpu_limit: of(&resources.limits, "cpu"),
            memory_limit: of(&resources.limits, "memory").unwrap_or(48 * MIB).max(memory),
        }
    }

    /// How much of a quota's resource it takes.
    fn takes(self, resource: &str) -> Option<Milli> {
        match resource {
            "cpu" | "requests.cpu" => Some(self.cpu),
            "memory" | "requests.memory" => Some(self.memory),
            "limits.cpu" => Some(self.cpu_limit.unwrap_or(CPU_LIMIT_DEMANDED)),
            "limits.memory" => Some(self.memory_limit),
            _ => None,
        }
    }
}

/// What sidecars in `pods` will ask for.
pub fn requests(share: Share, pods: &[&Pod]) -> Check {
    let n = pods.len() as Milli;
    let text = format!(
        "each sidecar requests cpu {} and memory {}, its memory limit is {}; in {} that is cpu {} and memory {} more",
        shown("cpu", share.cpu),
        shown("memory", share.memory),
        shown("memory", share.memory_limit),
        count(pods.len() as u64, "pod", "pods"),
        shown("cpu", share.cpu * n),
        shown("memory", share.memory * n),
    );
    Check::new("requests", Level::Note, text)
}

/// The quotas.
pub fn quotas(facts: &Facts, share: Share, pods: &[&Pod]) -> Check {
    const OF: &str = "quota";
    let quotas = match &facts.quotas {
        Ok(quotas) => quotas,
        Err(why) => return Check::unknown(OF, why),
    };
    let mut problems = Vec::new();
    let mut scoped = Vec::new();
    for quota in quotas {
        let is_scoped = quota.spec.as_ref().is_some_and(|of| {
            of.scopes.as_ref().is_some_and(|scopes| !scopes.is_empty()) || of.scope_selector.is_some()
        });
        if is_scoped {
            scoped.push(one_line(&quota.name_any()));
        } else {
            problems.extend(short(quota, share, pods.len()));
        }
    }
    if !problems.is_empty() {
        return Check::new(OF, Level::Problem, problems.join("; "));
    }
    match (quotas.len(), scoped.is_empty()) {
        (0, _) => Check::new(OF, Level::Fine, "there is no quota"),
        (_, true) => Check::new(OF, Level::Fine, "the quotas have room for all sidecars"),
        (_, false) => {
            let text = format!(
                "quota {} is for some pods only and was not counted: see whether it has room",
                scoped.join(", ")
            );
            Check::new(OF, Level::Note, text)
        }
    }
}

/// What a quota has too little of.
fn short(quota: &ResourceQuota, share: Share, pods: usize) -> Vec<String> {
    let status = quota.status.clone().unwrap_or_default();
    let hard = status.hard.or_else(|| quota.spec.as_ref()?.hard.clone()).unwrap_or_default();
    let used = status.used.unwrap_or_default();
    let amount = |map: &BTreeMap<String, Quantity>, name: &str| map.get(name).and_then(|quantity| parse(&quantity.0));
    let short = hard.keys().filter_map(|resource| {
        let (hard, used) = (amount(&hard, resource)?, amount(&used, resource).unwrap_or(0));
        let more = share.takes(resource)? * pods as Milli;
        (used + more > hard).then(|| {
            format!(
                "quota {} allows {resource} {}, of which {} is used, and the sidecars of {} take {} more: raise it to {}, or \
                 pods will not be created",
                one_line(&quota.name_any()),
                shown(resource, hard),
                shown(resource, used),
                count(pods as u64, "pod", "pods"),
                shown(resource, more),
                shown(resource, used + more),
            )
        })
    });
    short.collect()
}

/// The limit ranges.
pub fn limit_ranges(facts: &Facts, share: Share, pods: &[&Pod]) -> Check {
    const OF: &str = "limits";
    let ranges = match &facts.limit_ranges {
        Ok(ranges) => ranges,
        Err(why) => return Check::unknown(OF, why),
    };
    let items: Vec<&LimitRangeItem> =
        ranges.iter().filter_map(|of| of.spec.as_ref()).flat_map(|of| &of.limits).collect();
    if items.is_empty() {
        return Check::new(OF, Level::Fine, "there is no limit range");
    }
    let of = |list: &Option<BTreeMap<String, Quantity>>, name: &str| parse(&list.as_ref()?.get(name)?.0);
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item.type_ == kind);
    if let Some(max) =
        of_kind("Container").filter_map(|item| of(&item.max, "memory")).min().filter(|max| *max < MEMORY_NEEDED)
    {
        let text = format!(
            "a limit range allows a container {} of memory and a sidecar needs {}: raise it, or the sidecar will be killed \
             again and again",
            shown("memory", max),
            shown("memory", MEMORY_NEEDED),
        );
        return Check::new(OF, Level::Problem, text);
    }
    if let Some(max) = of_kind("Pod").filter_map(|item| of(&item.max, "memory")).min() {
        let is_full = |pod: &&&Pod| memory_limits(pod).is_some_and(|taken| taken + MEMORY_NEEDED > max);
        let full: Vec<_> = pods.iter().filter(is_full).map(|pod| one_line(&pod.name_any())).collect();
        if !full.is_empty() {
            let text = format!(
                "a limit range allows a pod {} of memory, and beside the other containers a sidecar's {} do not fit in {}",
                shown("memory", max),
                shown("memory", MEMORY_NEEDED),
                full.join(", "),
            );
            return Check::new(OF, Level::Problem, text);
        }
    }
    let min = of_kind("Container").filter_map(|item| of(&item.min, "memory")).max();
    let clamped =
        min.filter(|min| *min > share.memory).map(|min| format!(": it requests memory {}", shown("memory", min)));
    Check::new(OF, Level::Fine, format!("the sidecar is fitted into the limit ranges{}", clamped.unwrap_or_default()))
}

/// The memory limits of a pod's containers, if each has one.
fn memory_limits(pod: &Pod) -> Option<Milli> {
    let limit = |container: &Container| parse(&container.resources.as_ref()?.limits.as_ref()?.get("memory")?.0);
    pod.spec.as_ref()?.containers.iter().map(limit).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quota(hard: &serde_json::Value, used: &serde_json::Value) -> ResourceQuota {
        serde_json::from_value(
            json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}),
        )
        .unwrap()
    }

    #[test]
    fn a_quota_without_room_is_named_with_what_it_must_be_raised_to() {
        let share = Share::of(None);
        let hard = json!({"requests.cpu": "1", "limits.memory": "1Gi", "pods": "10"});
        let short = short(&quota(&hard, &json!({"requests.cpu": "990m", "limits.memory": "512Mi"})), share, 3);
        assert_eq!(short.len(), 1, "{short:?}");
        assert!(
            short[0].contains("requests.cpu 1, of which 990m is used") && short[0].contains("raise it to 1005m"),
            "{short:?}"
        );
    }

    #[test]
    fn what_the_audit_log_asks_for_takes_the_place_of_the_defaults() {
        let log: AuditLog =
            serde_json::from_value(json!({"spec": {"sidecar": {"resources": {"requests": {"memory": "64Mi"}}}}}))
                .unwrap();
        let share = Share::of(Some(&log));
        assert_eq!((share.cpu, share.memory, share.memory_limit), (5, 64 * MIB, 64 * MIB));
        assert_eq!(share.takes("limits.cpu"), Some(CPU_LIMIT_DEMANDED));
    }
}
