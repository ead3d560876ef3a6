//! Whole pods before and after injection, and what holds for any pod.

use expect_test::expect_file;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::samples::{self, Scene};
use super::*;

fn admitted(pod: &Value, scene: &Scene) -> Answer {
    admit(&Incoming::new(pod.clone()).unwrap(), &scene.facts())
}

/// The pod with the patch; the API server applies it like this.
fn injected(pod: &Value, scene: &Scene) -> Value {
    match admitted(pod, scene) {
        Answer::Inject { patch, .. } => {
            let mut pod = pod.clone();
            json_patch::patch(&mut pod, &patch).unwrap();
            pod
        }
        other => panic!("{other:?}"),
    }
}

/// A pod as a controller of this kind makes it.
fn owned(kind: &str, spec: &Value) -> Value {
    let mut pod = samples::pod();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": kind, "name": "app", "uid": "u", "controller": true}]);
    for (name, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][name] = value.clone();
    }
    pod
}

fn named(mut pod: Value, name: &str) -> Value {
    pod["metadata"]["generateName"].take();
    pod["metadata"].as_object_mut().unwrap().remove("generateName");
    pod["metadata"]["name"] = json!(name);
    pod
}

fn pods() -> Vec<(&'static str, Value, Scene)> {
    let fixed = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let token = json!({"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true});
    let deployment = json!({
        "containers": [{"name": "app", "image": "app:1", "volumeMounts": [token]}],
        "volumes": [{"name": "kube-api-access-x", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}}],
    });
    let init = json!({
        "initContainers": [
            {"name": "migrate", "image": "migrate:1"},
            {"name": "istio-proxy", "image": "proxy:1", "restartPolicy": "Always"},
        ],
        "imagePullSecrets": [{"name": "mine"}],
    });
    let mut meshed = owned("ReplicaSet", &init);
    meshed["metadata"]["annotations"] = json!({
        "traffic.sidecar.istio.io/excludeOutboundPorts": "9000",
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "cache",
    });
    let mut rich = Scene::default().host_path();
    rich.namespace.annotations.insert("config.linkerd.io/skip-outbound-ports".to_owned(), "25".to_owned());
    rich.pool.spec = serde_json::from_value(json!({
        "containers": {"exclude": ["istio-proxy", "b"]},
        "capture": {"maxHeldBytes": "1G", "minNodeFreePercent": 5},
        "delivery": {"copies": 2, "flushInterval": "1s", "maxBatchBytes": "64Ki"},
        "sidecar": {"metricsPort": 9465, "runAsGroup": 7, "seLinuxOptions": {"type": "container_logreader_t"},
            "imagePullSecrets": [{"name": "mine"}, {"name": "registry"}]},
    }))
    .unwrap();
    let restricted = json!({
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
        "shareProcessNamespace": true,
        "serviceAccountName": "pay",
    });
    let mut openshift = Scene::default();
    openshift.cluster.openshift = true;
    vec![
        ("deployment", owned("ReplicaSet", &deployment), Scene::default()),
        ("statefulset", named(owned("StatefulSet", &restricted), "db-0"), Scene::default()),
        ("daemonset-host-network", owned("DaemonSet", &json!({"hostNetwork": true})), Scene::default().host_path()),
        (
            "job",
            owned("Job", &json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": null})),
            Scene::default(),
        ),
        (
            "cronjob-guaranteed",
            owned("Job", &json!({"containers": [{"name": "app", "image": "app:1", "resources": fixed}]})),
            Scene::default().enforced(),
        ),
        ("bare-with-pod-resources", named(owned("None", &json!({"resources": fixed})), "bare"), openshift),
        ("meshed-with-all-settings", meshed, rich),
    ]
}

#[test]
fn each_kind_of_pod_gets_the_sidecar_as_its_first_init_container() {
    for (name, pod, scene) in pods() {
        let whole = injected(&pod, &scene);
        assert_eq!(whole["spec"]["initContainers"][0]["name"], "indelible-sidecar", "{name}");
        expect_file![format!("{}/tests/injected/{name}.yaml", env!("CARGO_MANIFEST_DIR"))]
            .assert_eq(&serde_saphyr::to_string(&whole).unwrap());
    }
}

#[test]
fn nothing_that_would_identify_the_pod_is_written_in() {
    for (_, pod, scene) in pods() {
        let mut other = pod.clone();
        other["metadata"]["uid"] = json!("0c9a8d74");
        other["metadata"]["name"] = json!("another");
        assert_eq!(injected(&pod, &scene)["spec"], injected(&other, &scene)["spec"]);
    }
}

#[test]
fn what_a_tenant_puts_in_place_of_the_sidecar_is_replaced_and_comes_first() {
    let mut fake = samples::pod();
    fake["spec"]["initContainers"] = json!([
        {"name": "first", "image": "x"},
        {"name": "indelible-sidecar", "image": "busybox", "command": ["sleep", "inf"]},
        {"name": "last", "image": "x"},
        {"name": "indelible-sidecar", "image": "busybox"},
    ]);
    fake["spec"]["volumes"] = json!([
        {"name": "indelible-logs", "emptyDir": {}}, {"name": "data", "emptyDir": {}}, {"name": "indelible-token", "secret": {"secretName": "x"}},
    ]);
    fake["metadata"]["labels"]["indelible.dev/injected"] = json!("other.log");
    let mut plain = samples::pod();
    plain["spec"]["initContainers"] = json!([{"name": "first", "image": "x"}, {"name": "last", "image": "x"}]);
    plain["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    assert_eq!(injected(&fake, &Scene::default()), injected(&plain, &Scene::default()));
}

#[test]
fn the_security_context_is_what_pod_security_restricted_asks_for() {
    for (name, pod, scene) in pods() {
        let context = injected(&pod, &scene)["spec"]["initContainers"][0]["securityContext"].clone();
        assert_eq!(
            (&context["runAsNonRoot"], &context["allowPrivilegeEscalation"]),
            (&json!(true), &json!(false)),
            "{name}"
        );
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}");
        assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
        assert_eq!(context["runAsUser"].is_null(), scene.cluster.openshift, "{name}");
    }
}

#[test]
fn enforced_pods_fail_closed_and_exclude_nothing() {
    let names = |scene: &Scene| {
        let pod = injected(&samples::pod(), scene);
        let env = pod["spec"]["initContainers"][0]["env"].as_array().unwrap().clone();
        env.iter().map(|variable| variable["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut scene = Scene::default();
    scene.pool.spec.containers.exclude = vec!["istio-proxy".to_owned()];
    for variable in ["INDELIBLE_FAIL_OPEN", "INDELIBLE_EXCLUDE_CONTAINER"] {
        assert!(names(&scene).iter().any(|name| name == variable));
        assert!(!names(&scene.clone().enforced()).iter().any(|name| name == variable));
    }
}

#[test]
fn a_pod_that_cannot_be_audited_is_let_in_with_a_warning_and_refused_where_it_is_enforced() {
    let mut scene = Scene::default();
    scene.cluster.csi = false;
    match admitted(&samples::pod(), &scene) {
        Answer::Leave { warning: Some(text) } => {
            assert!(text.contains("not audited") && text.contains("csi.enabled=true"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    match admitted(&samples::pod(), &scene.enforced()) {
        Answer::Deny(text) => {
            assert!(text.contains("enforced in namespace \"pay\"") && text.contains("csi.enabled=true"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_that_takes_what_is_the_sidecars_is_refused_also_when_it_opts_out() {
    let mut pod = samples::pod();
    pod["metadata"]["labels"]["indelible.dev/inject"] = json!("false");
    assert_eq!(admitted(&pod, &Scene::default()), Answer::Leave { warning: None });
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "indelible-logs", "mountPath": "/x"}]);
    assert!(matches!(admitted(&pod, &Scene::default()), Answer::Deny(_)));
    let elsewhere = Scene { namespace: facts::Namespace::default(), ..Scene::default() };
    assert_eq!(admitted(&pod, &elsewhere), Answer::Leave { warning: None });
}

/// Any JSON, with the names that mean something here more often than by chance.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        3 => "[a-zA-Z]{0,6}",
        1 => prop::sample::select(vec![
            "metadata", "spec", "containers", "initContainers", "volumes", "name", "labels", "annotations", "resources",
            "limits", "requests", "imagePullSecrets", "securityContext", "projected", "sources", "csi", "nodeSelector",
        ]).prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["indelible-sidecar", "indelible-logs", "Always", "1Gi", "windows"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A pod that the API server could send, with what matters for injection varied.
fn any_pod() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "b", "indelible-sidecar"]);
    let container = (name, any::<bool>(), prop::option::of("[0-9]{1,3}(m|Mi)?")).prop_map(|(name, always, limit)| {
        let mut container = json!({"name": name, "image": "x", "newField": {"x": 1}});
        if always {
            container["restartPolicy"] = json!("Always");
        }
        if let Some(limit) = limit {
            container["resources"] = json!({"limits": {"cpu": limit, "memory": limit}});
        }
        container
    });
    let volume = prop::sample::select(vec!["v", "indelible-logs", "indelible-state", "indelible-token"]);
    let volume = volume.prop_map(|name| json!({"name": name, "emptyDir": {}}));
    let lists = (
        prop::option::of(prop::collection::vec(container.clone(), 0..4)),
        prop::option::of(prop::collection::vec(volume, 0..5)),
        prop::option::of(prop::collection::vec("[a-z/.]{1,20}", 0..3)),
        prop::option::of(prop::collection::vec("[a-z/.~]{1,20}", 0..3)),
    );
    (lists, any::<bool>(), any::<bool>()).prop_map(|((init, volumes, labels, secrets), null, guaranteed)| {
        let mut pod = samples::pod();
        let list = |list: Option<Vec<Value>>| list.map_or(Value::Null, Value::from);
        for (field, value) in [
            ("initContainers", list(init)),
            ("volumes", list(volumes)),
            ("imagePullSecrets", list(secrets.map(|names| names.iter().map(|name| json!({"name": name})).collect()))),
        ] {
            if null || !value.is_null() {
                pod["spec"][field] = value;
            }
        }
        let map = labels.map(|labels| labels.into_iter().map(|label| (label, json!("x"))).collect::<Map<_, _>>());
        pod["metadata"]["annotations"] = map.map_or(Value::Null, Value::Object);
        if guaranteed {
            pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        }
        pod
    })
}

/// All of the pod that is not ours.
fn without_ours(mut pod: Value) -> Value {
    for (list, ours) in [("initContainers", &["indelible-sidecar"][..]), ("volumes", &names::VOLUMES[..])] {
        let others = pod["spec"][list].as_array().cloned().unwrap_or_default();
        let others = others.into_iter().filter(|value| !ours.iter().any(|name| value["name"] == **name));
        pod["spec"][list] = others.collect();
    }
    pod["metadata"].as_object_mut().unwrap().remove("annotations");
    pod["metadata"]["labels"].as_object_mut().unwrap().remove("indelible.dev/injected");
    pod
}

proptest! {
    #[test]
    fn the_patch_applied_twice_is_the_patch_applied_once(pod in any_pod(), host_path: bool) {
        let scene = if host_path { Scene::default().host_path() } else { Scene::default() };
        let once = injected(&pod, &scene);
        prop_assert_eq!(injected(&once, &scene), once);
    }

    #[test]
    fn no_other_container_and_no_other_volume_is_touched(pod in any_pod(), host_path: bool) {
        let scene = if host_path { Scene::default().host_path() } else { Scene::default() };
        let after = injected(&pod, &scene);
        let sidecars = after["spec"]["initContainers"].as_array().unwrap();
        prop_assert_eq!(&sidecars[0]["name"], "indelible-sidecar");
        prop_assert_eq!(sidecars.iter().filter(|container| container["name"] == "indelible-sidecar").count(), 1);
        for (name, value) in pod["metadata"]["annotations"].as_object().into_iter().flatten() {
            prop_assert_eq!(&after["metadata"]["annotations"][name], value);
        }
        let mut before = without_ours(pod);
        let mut after = without_ours(after);
        if before["spec"]["imagePullSecrets"].is_null() {
            before["spec"].as_object_mut().unwrap().remove("imagePullSecrets");
            after["spec"].as_object_mut().unwrap().remove("imagePullSecrets");
        }
        prop_assert_eq!(before, after);
    }

    #[test]
    fn any_json_is_a_pod_or_not_and_nothing_panics(pod in any_json(), enforced: bool) {
        let scene = if enforced { Scene::default().enforced() } else { Scene::default() };
        if let Ok(incoming) = Incoming::new(pod.clone())
            && let Answer::Inject { patch, .. } = admit(&incoming, &scene.facts())
        {
            // One without metadata or spec is no pod for the API server either.
            let mut patched = pod;
            let _ = json_patch::patch(&mut patched, &patch);
        }
    }
}
