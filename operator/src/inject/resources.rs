//! What the sidecar may use, so that neither its pod is refused or evicted for it, nor its class of service changes.
//!
//! Pure. Little is asked for and no cpu limit is set, since a limit that is cheap to reserve would throttle a pod that
//! prints much. There is never an ephemeral-storage limit: one on the sidecar alone would become the whole pod's. The
//! order: defaults, the AuditLog, the pod's annotations, the class of service, the namespace's LimitRanges.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;
use serde_json::{Value, json};

use super::decide::Obstacle;
use super::names::{ANNOTATION_CPU, ANNOTATION_MEMORY, CONTAINER};
use crate::quantity::Quantity;

const CPU_REQUEST: Quantity = Quantity::milli(5);
/// In a pod whose other containers all have requests = limits.
const CPU_GUARANTEED: Quantity = Quantity::milli(20);
/// Where a quota demands a limit of each container.
const CPU_LIMIT_DEMANDED: Quantity = Quantity::milli(200);
const MEMORY_REQUEST: Quantity = Quantity::whole(16 << 20);
const MEMORY_LIMIT: Quantity = Quantity::whole(48 << 20);
/// With less memory it would only be killed again and again.
const MEMORY_NEEDED: Quantity = Quantity::whole(24 << 20);
const CPU_NEEDED: Quantity = Quantity::milli(1);
/// How much a pod may ask for by annotation, where the AuditLog sets no limit.
const CPU_MAXIMUM: Quantity = Quantity::whole(1);
const MEMORY_MAXIMUM: Quantity = Quantity::whole(512 << 20);

/// One resource of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    request: Quantity,
    limit: Option<Quantity>,
}

/// The field `resources`, and what there is to warn of.
pub struct Resources {
    /// As a container has it; none where the pod has resources as a whole.
    pub field: Option<Value>,
    /// Annotations that could not be followed.
    pub warnings: Vec<String>,
}

/// What surrounds the sidecar.
pub struct Surroundings<'a> {
    /// The namespace's LimitRanges.
    pub limit_ranges: &'a [&'a LimitRange],
    /// Whether a quota demands a cpu limit.
    pub cpu_limit_demanded: bool,
}

/// The resources of the sidecar of `pod`.
pub fn resources(pod: &Pod, wanted: &ResourceRequirements, around: &Surroundings) -> Result<Resources, Obstacle> {
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    let as_a_whole = spec.resources.as_ref();
    if as_a_whole.is_some_and(|whole| whole.requests.is_some() || whole.limits.is_some()) {
        return Ok(Resources { field: None, warnings: Vec::new() });
    }
    let mut warnings = Vec::new();
    let mut cpu = cpu(pod, wanted, &mut warnings);
    let mut memory = memory(pod, wanted, &mut warnings);
    if around.cpu_limit_demanded && cpu.limit.is_none() {
        cpu.limit = Some(CPU_LIMIT_DEMANDED.max(cpu.request));
    }
    let guaranteed = is_guaranteed(spec);
    if guaranteed {
        let asked = wanted_of(wanted.requests.as_ref(), "cpu").is_some() || annotation(pod, ANNOTATION_CPU).is_some();
        let least = if asked { cpu.request } else { cpu.request.max(CPU_GUARANTEED) };
        cpu = Share { request: cpu.limit.unwrap_or(least), limit: Some(cpu.limit.unwrap_or(least)) };
        memory.request = memory.limit.unwrap_or(memory.request);
    }
    for (name, share, needed) in [("cpu", &mut cpu, CPU_NEEDED), ("memory", &mut memory, MEMORY_NEEDED)] {
        fit(share, &container_bounds(around.limit_ranges, name));
        fit_pod(share, name, needed, spec, around.limit_ranges)?;
        if let Some(limit) = share.limit {
            share.request = if guaranteed { limit } else { share.request.min(limit) };
        }
    }
    Ok(Resources { field: Some(field(cpu, memory)), warnings })
}

fn field(cpu: Share, memory: Share) -> Value {
    let mut field = json!({"requests": {"cpu": cpu.request.to_string(), "memory": memory.request.to_string()}});
    for (name, limit) in [("cpu", cpu.limit), ("memory", memory.limit)] {
        if let Some(limit) = limit {
            field["limits"][name] = json!(limit.to_string());
        }
    }
    field
}

fn wanted_of(wanted: Option<&BTreeMap<String, resource::Quantity>>, name: &str) -> Option<Quantity> {
    wanted?.get(name).and_then(|quantity| Quantity::parse(&quantity.0))
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.annotations.as_ref()?.get(name)
}

/// What the pod asks for, at most `maximum`.
fn asked(pod: &Pod, name: &str, maximum: Quantity, warnings: &mut Vec<String>) -> Option<Quantity> {
    let text = annotation(pod, name)?;
    match Quantity::parse(text) {
        Some(quantity) if quantity > maximum => {
            warnings.push(format!("annotation {name} is more than {maximum}, the sidecar gets {maximum}: the AuditLog's sidecar.resources.limits are the maximum"));
            Some(maximum)
        }
        Some(quantity) if !quantity.is_zero() => Some(quantity),
        _ => {
            let shown: String = text.chars().take(40).collect();
            warnings
                .push(format!("annotation {name} is {shown:?} and is ignored: it must be a quantity like 50m or 96Mi"));
            None
        }
    }
}

fn cpu(pod: &Pod, wanted: &ResourceRequirements, warnings: &mut Vec<String>) -> Share {
    let limit = wanted_of(wanted.limits.as_ref(), "cpu");
    let maximum = limit.unwrap_or(CPU_MAXIMUM);
    let default = wanted_of(wanted.requests.as_ref(), "cpu").unwrap_or(CPU_REQUEST);
    Share { request: asked(pod, ANNOTATION_CPU, maximum, warnings).unwrap_or(default), limit }
}

fn memory(pod: &Pod, wanted: &ResourceRequirements, warnings: &mut Vec<String>) -> Share {
    let limit = wanted_of(wanted.limits.as_ref(), "memory");
    let maximum = limit.unwrap_or(MEMORY_MAXIMUM);
    let request = wanted_of(wanted.requests.as_ref(), "memory").unwrap_or(MEMORY_REQUEST);
    let asked = asked(pod, ANNOTATION_MEMORY, maximum, warnings);
    Share { request, limit: Some(asked.or(limit).unwrap_or(MEMORY_LIMIT.max(request))) }
}

/// Whether all containers but ours have cpu and memory with requests = limits.
fn is_guaranteed(spec: &PodSpec) -> bool {
    let others = others(spec).collect::<Vec<_>>();
    let is_fixed = |container: &Container, name: &str| {
        let resources = container.resources.as_ref();
        let limit = wanted_of(resources.and_then(|resources| resources.limits.as_ref()), name);
        let request = wanted_of(resources.and_then(|resources| resources.requests.as_ref()), name).or(limit);
        limit.is_some_and(|limit| !limit.is_zero()) && request == limit
    };
    !others.is_empty() && others.iter().all(|container| is_fixed(container, "cpu") && is_fixed(container, "memory"))
}

fn others(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let init = spec.init_containers.iter().flatten().filter(|container| container.name != CONTAINER);
    spec.containers.iter().chain(init)
}

/// What LimitRanges of type Container say of one resource, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bounds {
    min: Option<Quantity>,
    max: Option<Quantity>,
    /// Limit over request at most.
    ratio: Option<Quantity>,
    /// The limit that a container without one is given.
    default: Option<Quantity>,
}

fn items<'a>(ranges: &'a [&LimitRange], kind: &'a str) -> impl Iterator<Item = &'a LimitRangeItem> {
    let specs = ranges.iter().filter_map(|range| range.spec.as_ref());
    specs.flat_map(|spec| &spec.limits).filter(move |item| item.type_ == kind)
}

fn container_bounds(ranges: &[&LimitRange], name: &str) -> Bounds {
    let mut bounds = Bounds::default();
    let narrow = |bound: &mut Option<Quantity>, value: Option<Quantity>, pick: fn(Quantity, Quantity) -> Quantity| {
        if let Some(value) = value {
            *bound = Some(bound.map_or(value, |known| pick(known, value)));
        }
    };
    for item in items(ranges, "Container") {
        narrow(&mut bounds.min, wanted_of(item.min.as_ref(), name), Ord::max);
        narrow(&mut bounds.max, wanted_of(item.max.as_ref(), name), Ord::min);
        narrow(&mut bounds.ratio, wanted_of(item.max_limit_request_ratio.as_ref(), name), Ord::min);
        narrow(&mut bounds.default, wanted_of(item.default.as_ref(), name), Ord::min);
    }
    bounds
}

fn fit(share: &mut Share, bounds: &Bounds) {
    if let Some(max) = bounds.max {
        // Where there is a maximum each container must have a limit.
        share.limit = Some(share.limit.map_or(max, |limit| limit.min(max)));
    }
    if let Some(min) = bounds.min {
        share.request = share.request.max(min);
        share.limit = share.limit.map(|limit| limit.max(min));
    }
    if share.limit.is_none() && bounds.default.is_some_and(|default| default < share.request) {
        share.limit = Some(share.request);
    }
    if let Some(ratio) = bounds.ratio {
        let limit = share.limit.unwrap_or(share.request.times(ratio));
        share.request = share.request.max(limit.over(ratio));
        share.limit = Some(limit);
    }
    share.request = share.limit.map_or(share.request, |limit| share.request.min(limit));
}

/// What LimitRanges of type Pod leave beside the other containers.
fn fit_pod(
    share: &mut Share,
    name: &'static str,
    needed: Quantity,
    spec: &PodSpec,
    ranges: &[&LimitRange],
) -> Result<(), Obstacle> {
    let Some(max) = items(ranges, "Pod").filter_map(|item| wanted_of(item.max.as_ref(), name)).min() else {
        return Ok(());
    };
    let left = max.minus(others_limits(spec, name));
    // Without a limit of its own only the request counts.
    let most = share.limit.unwrap_or(share.request).min(left);
    if most < needed.min(share.limit.unwrap_or(share.request)) {
        return Err(Obstacle::NoRoom { resource: name, left: left.to_string(), needed: needed.to_string() });
    }
    share.limit = share.limit.map(|limit| limit.min(left));
    share.request = share.request.min(most);
    Ok(())
}

/// The pod's limit as the API server adds it up, without ours: sidecars and containers run together, other init
/// containers one after the other beside the sidecars that stand before them.
fn others_limits(spec: &PodSpec, name: &str) -> Quantity {
    let limit = |container: &Container| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        wanted_of(limits, name).unwrap_or(Quantity::whole(0))
    };
    let mut sidecars = Quantity::whole(0);
    let mut largest_step = Quantity::whole(0);
    for container in spec.init_containers.iter().flatten().filter(|container| container.name != CONTAINER) {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.plus(limit(container));
            largest_step = largest_step.max(sidecars);
        } else {
            largest_step = largest_step.max(sidecars.plus(limit(container)));
        }
    }
    spec.containers.iter().map(limit).fold(sidecars, Quantity::plus).max(largest_step)
}

#[cfg(test)]
mod tests;
