//! Resources of the sidecar in pods, namespaces and quotas of every kind.

use k8s_openapi::api::core::v1::LimitRange;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::samples;
use super::*;

#[derive(Default)]
struct Case {
    wanted: Value,
    annotations: Value,
    app: Value,
    init: Value,
    limits: Value,
    quota: bool,
}

impl Case {
    fn pod(&self) -> Pod {
        let mut pod = samples::pod();
        pod["metadata"]["annotations"] = self.annotations.clone();
        pod["spec"]["containers"][0]["resources"] = self.app.clone();
        if !self.init.is_null() {
            pod["spec"]["initContainers"] = self.init.clone();
        }
        serde_json::from_value(pod).unwrap()
    }

    fn answer(&self) -> Result<Resources, Obstacle> {
        let range: Option<LimitRange> = (!self.limits.is_null())
            .then(|| serde_json::from_value(json!({"metadata": {}, "spec": {"limits": self.limits}})).unwrap());
        let wanted = if self.wanted.is_null() { json!({}) } else { self.wanted.clone() };
        let ranges: Vec<&LimitRange> = range.iter().collect();
        let around = Surroundings { limit_ranges: &ranges, cpu_limit_demanded: self.quota };
        resources(&self.pod(), &serde_json::from_value(wanted).unwrap(), &around)
    }

    /// cpu request/limit, memory request/limit.
    fn shares(&self) -> String {
        let field = self.answer().unwrap().field.unwrap();
        let at = |path: &str| field.pointer(path).and_then(Value::as_str).unwrap_or("-").to_owned();
        let parts = ["/requests/cpu", "/limits/cpu", "/requests/memory", "/limits/memory"].map(at);
        parts.join(" ")
    }
}

#[test]
fn little_is_asked_for_and_no_cpu_limit_is_set() {
    assert_eq!(Case::default().shares(), "5m - 16Mi 48Mi");
    let field = Case::default().answer().unwrap().field.unwrap();
    assert_eq!(field, json!({"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "48Mi"}}));
}

#[test]
fn the_audit_log_says_what_is_wanted_and_ephemeral_storage_is_never_set() {
    let wanted = json!({"requests": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "2", "memory": "128Mi", "ephemeral-storage": "1Gi"}});
    assert_eq!(Case { wanted, ..Case::default() }.shares(), "50m 2 64Mi 128Mi");
    // A request alone does not stand above the default limit.
    let wanted = json!({"requests": {"memory": "64Mi"}});
    assert_eq!(Case { wanted, ..Case::default() }.shares(), "5m - 64Mi 64Mi");
    // Asked for what cannot be.
    let wanted = json!({"requests": {"memory": "64Mi"}, "limits": {"memory": "32Mi"}});
    assert_eq!(Case { wanted, ..Case::default() }.shares(), "5m - 32Mi 32Mi");
}

#[test]
fn annotations_change_it_up_to_the_maximum_and_what_is_wrong_is_said() {
    let asks = |cpu: &str, memory: &str| Case {
        annotations: json!({"indelible.dev/sidecar-cpu": cpu, "indelible.dev/sidecar-memory": memory}),
        ..Case::default()
    };
    assert_eq!(asks("100m", "96Mi").shares(), "100m - 16Mi 96Mi");
    assert_eq!(asks("5", "4Gi").shares(), "1 - 16Mi 512Mi");
    let warnings = asks("5", "4Gi").answer().unwrap().warnings;
    assert!(warnings.len() == 2 && warnings[0].contains("indelible.dev/sidecar-cpu is more than 1"), "{warnings:?}");
    assert_eq!(asks("much", "-1").shares(), "5m - 16Mi 48Mi");
    let warnings = asks("much", "-1").answer().unwrap().warnings;
    assert!(warnings.len() == 2 && warnings[1].contains("\"-1\" and is ignored"), "{warnings:?}");
    let bounded = Case { wanted: json!({"limits": {"cpu": "200m", "memory": "64Mi"}}), ..asks("5", "4Gi") };
    assert_eq!(bounded.shares(), "200m 200m 16Mi 64Mi");
}

#[test]
fn a_guaranteed_pod_stays_guaranteed_and_no_other_becomes_it() {
    let fixed = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
    assert_eq!(Case { app: fixed.clone(), ..Case::default() }.shares(), "20m 20m 48Mi 48Mi");
    let limits_only = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let asked = Case {
        app: limits_only.clone(),
        annotations: json!({"indelible.dev/sidecar-cpu": "100m", "indelible.dev/sidecar-memory": "96Mi"}),
        ..Case::default()
    };
    assert_eq!(asked.shares(), "100m 100m 96Mi 96Mi");
    for (app, init) in [
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), Value::Null),
        (json!({"limits": {"memory": "1Gi"}}), Value::Null),
        (fixed.clone(), json!([{"name": "init", "resources": {}}])),
    ] {
        assert_eq!(Case { app, init, ..Case::default() }.shares(), "5m - 16Mi 48Mi");
    }
    // Ours, already there, is none of the others.
    let init = json!([{"name": "indelible-sidecar", "resources": {}}]);
    assert_eq!(Case { app: fixed, init, ..Case::default() }.shares(), "20m 20m 48Mi 48Mi");
}

#[test]
fn a_pod_with_resources_of_its_own_gets_none_for_the_sidecar() {
    let mut pod = Case::default().pod();
    pod.spec.as_mut().unwrap().resources = serde_json::from_value(json!({"limits": {"cpu": "1"}})).unwrap();
    let around = Surroundings { limit_ranges: &[], cpu_limit_demanded: true };
    assert_eq!(resources(&pod, &ResourceRequirements::default(), &around).unwrap().field, None);
}

#[test]
fn a_quota_on_limits_of_cpu_gets_one() {
    assert_eq!(Case { quota: true, ..Case::default() }.shares(), "5m 200m 16Mi 48Mi");
}

#[test]
fn the_sidecar_keeps_within_the_limit_range_of_containers() {
    let shares = |limits: Value| Case { limits, ..Case::default() }.shares();
    let of = |item: Value| {
        let mut item = item;
        item["type"] = json!("Container");
        shares(json!([item]))
    };
    assert_eq!(of(json!({"min": {"cpu": "50m", "memory": "32Mi"}})), "50m - 32Mi 48Mi");
    assert_eq!(of(json!({"min": {"memory": "64Mi"}})), "5m - 64Mi 64Mi");
    assert_eq!(of(json!({"max": {"cpu": "1", "memory": "40Mi"}})), "5m 1 16Mi 40Mi");
    assert_eq!(of(json!({"max": {"memory": "8Mi"}})), "5m - 8Mi 8Mi");
    assert_eq!(of(json!({"maxLimitRequestRatio": {"cpu": "4", "memory": "2"}})), "5m 20m 24Mi 48Mi");
    assert_eq!(of(json!({"maxLimitRequestRatio": {"memory": "1"}})), "5m - 48Mi 48Mi");
    assert_eq!(of(json!({"default": {"cpu": "2m"}})), "5m 5m 16Mi 48Mi");
    // Several together, and other types.
    let both = json!([
        {"type": "Container", "min": {"cpu": "10m"}, "max": {"memory": "100Mi"}},
        {"type": "Container", "min": {"cpu": "20m"}, "max": {"memory": "32Mi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}},
    ]);
    assert_eq!(shares(both), "20m - 16Mi 32Mi");
}

#[test]
fn a_limit_range_of_pods_leaves_the_rest_or_says_that_it_is_too_little() {
    let case = |app: &str, init: Value| Case {
        app: json!({"limits": {"memory": app}}),
        init,
        limits: json!([{"type": "Pod", "max": {"memory": "1Gi"}}]),
        ..Case::default()
    };
    assert_eq!(case("512Mi", Value::Null).shares(), "5m - 16Mi 48Mi");
    assert_eq!(case("992Mi", Value::Null).shares(), "5m - 16Mi 32Mi");
    let beside = json!([{"name": "proxy", "restartPolicy": "Always", "resources": {"limits": {"memory": "480Mi"}}}]);
    assert_eq!(case("512Mi", beside).shares(), "5m - 16Mi 32Mi");
    let before = json!([{"name": "init", "resources": {"limits": {"memory": "990Mi"}}}]);
    assert_eq!(case("64Mi", before).shares(), "5m - 16Mi 34Mi");
    let text = case("1020Mi", Value::Null).answer().err().unwrap().to_string();
    assert!(text.contains("leaves 4Mi of memory") && text.contains("needs 24Mi"), "{text}");
}

proptest! {
    #[test]
    fn whatever_a_limit_range_says_a_request_is_at_most_its_limit(
        min in 0_u64..200, max in 1_u64..200, ratio in 0_u64..5, fixed: bool, quota: bool,
    ) {
        let limits = json!([{"type": "Container",
            "min": {"cpu": format!("{min}m"), "memory": format!("{min}Mi")},
            "max": {"cpu": format!("{max}m"), "memory": format!("{max}Mi")},
            "maxLimitRequestRatio": {"cpu": ratio.to_string(), "memory": ratio.to_string()}}]);
        let app = if fixed { json!({"limits": {"cpu": "1", "memory": "1Gi"}}) } else { json!({}) };
        let field = Case { app, limits, quota, ..Case::default() }.answer().unwrap().field.unwrap();
        for name in ["cpu", "memory"] {
            let at = |kind: &str| Quantity::parse(field[kind][name].as_str().unwrap()).unwrap();
            let (request, limit) = (at("requests"), at("limits"));
            prop_assert!(request <= limit, "{field}");
            if min <= max {
                let unit = if name == "cpu" { Quantity::milli(1) } else { Quantity::whole(1 << 20) };
                prop_assert!(unit.times(Quantity::whole(min)) <= request, "{field}");
                prop_assert!(limit <= unit.times(Quantity::whole(max)), "{field}");
                prop_assert!(ratio == 0 || limit <= request.times(Quantity::whole(ratio)), "{field}");
            }
        }
    }
}
