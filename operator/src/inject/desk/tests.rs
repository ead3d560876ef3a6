//! What the webhook's desk answers, from what it knows.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::samples;
use super::*;

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn of<K: DeserializeOwned>(value: Value) -> Event<K> {
    Event::Apply(serde_json::from_value(value).unwrap())
}

fn namespace_event(name: &str, labels: &Value) -> Change {
    Change::Namespace(of(json!({"metadata": {"name": name, "uid": format!("uid-of-{name}"), "labels": labels}})))
}

const OPTED_IN: &str = "indelible.dev/audit-log";

/// A desk to which a namespace, an AuditLog and its pool were shown.
fn desk() -> Desk {
    let mut desk = Desk::new(Cluster { uid: String::new(), ..samples::cluster() });
    let pool = json!({"epoch": 1, "server_name": "payments.audit.svc", "collectors": [], "ca_pem": "PEM"}).to_string();
    for change in [
        namespace_event("kube-system", &json!({})),
        namespace_event("pay", &json!({OPTED_IN: "audit.payments"})),
        Change::AuditLog(of(json!({"apiVersion": "indelible.dev/v1alpha1", "kind": "AuditLog",
            "metadata": {"namespace": "audit", "name": "payments"}, "spec": {}}))),
        Change::Service(of(
            json!({"metadata": {"namespace": "audit", "name": "payments"}, "spec": {"clusterIP": "fd00::7"}}),
        )),
        Change::Service(of(
            json!({"metadata": {"namespace": "audit", "name": "payments-pods"}, "spec": {"clusterIP": "None"}}),
        )),
        Change::Config(of(
            json!({"metadata": {"namespace": "audit", "name": "payments-pool"}, "data": {"pool.json": pool}}),
        )),
    ] {
        desk.apply(change, now());
    }
    desk
}

fn ask(desk: &Desk, namespace: &str, live: Option<&Namespace>) -> Option<Answer> {
    desk.answer(namespace, &Incoming::new(samples::pod()).unwrap(), live, now())
}

/// A variable of the sidecar that is injected.
fn variable(answer: Option<Answer>, name: &str) -> String {
    let Some(Answer::Inject { patch, .. }) = answer else { panic!("{answer:?}") };
    let mut pod = samples::pod();
    json_patch::patch(&mut pod, &patch).unwrap();
    let env = pod["spec"]["initContainers"][0]["env"].as_array().unwrap().clone();
    env.into_iter().find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
}

fn warning(answer: Option<Answer>) -> String {
    match answer {
        Some(Answer::Leave { warning }) => warning.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pool_is_put_together_from_what_the_watches_show() {
    let desk = desk();
    for (name, value) in [
        ("INDELIBLE_COLLECTORS", "https://[fd00::7]:7443"),
        ("INDELIBLE_SERVER_NAME", "payments.audit.svc"),
        ("INDELIBLE_CA_PEM", "PEM"),
        ("INDELIBLE_CLUSTER_UID", "uid-of-kube-system"),
    ] {
        assert_eq!(variable(ask(&desk, "pay", None), name), value);
    }
}

#[test]
fn a_bundle_that_grows_reaches_the_next_pod_and_one_that_cannot_be_read_reaches_none() {
    let mut desk = desk();
    let mut show = |text: &str| {
        desk.apply(
            Change::Config(of(
                json!({"metadata": {"namespace": "audit", "name": "payments-pool"}, "data": {"pool.json": text}}),
            )),
            now(),
        );
        ask(&desk, "pay", None)
    };
    let answer = show(r#"{"server_name": "s", "ca_pem": "old and new"}"#);
    assert_eq!(variable(answer, "INDELIBLE_CA_PEM"), "old and new");
    assert!(warning(show("{")).contains("no Service address or CA yet"));
}

#[test]
fn a_namespace_that_is_not_known_as_opted_in_is_asked_for() {
    let mut desk = desk();
    let fresh = Namespace { name: "new".to_owned(), ..samples::namespace() };
    assert_eq!(ask(&desk, "new", None), None);
    assert!(matches!(ask(&desk, "new", Some(&fresh)), Some(Answer::Inject { .. })));
    // Known, but its label is newer than what the watch has shown.
    desk.apply(namespace_event("new", &json!({})), now());
    assert_eq!(ask(&desk, "new", None), None);
    // What the API server says now goes for what it says: not opted in.
    let plain = Namespace { name: "new".to_owned(), ..Namespace::default() };
    assert_eq!(warning(ask(&desk, "new", Some(&plain))), "");
    assert_eq!(warning(ask(&desk, "kube-system", None)), "");
}

#[test]
fn an_old_ready_kubelet_stops_injection_until_it_is_gone() {
    let node = |version: &str, ready: &str, labels: Value| {
        Change::Node(of(json!({"metadata": {"name": "n7", "labels": labels}, "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"kubeletVersion": version, "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": ""}}})))
    };
    let mut desk = desk();
    desk.apply(node("v1.28.15+k3s1", "True", json!({})), now());
    assert!(warning(ask(&desk, "pay", None)).contains("node n7 runs kubelet v1.28.15+k3s1"));
    assert_eq!(desk.injection().stopped.map(|(reason, _)| reason), Some("OldKubelet"));
    for (version, ready, labels) in [
        ("v1.28.15", "False", json!({})),
        ("v1.29.0", "True", json!({})),
        ("v1.19-vk", "True", json!({"type": "virtual-kubelet"})),
        ("edge", "True", json!({})),
        ("v2.0.0", "True", json!({})),
    ] {
        desk.apply(node(version, ready, labels), now());
        assert!(matches!(ask(&desk, "pay", None), Some(Answer::Inject { .. })), "{version}");
        assert_eq!(desk.injection(), Injection::default());
    }
}

#[test]
fn a_refused_pod_stops_injection_in_its_namespace_only_and_never_where_it_is_enforced() {
    let refused = |namespace: &str| {
        Change::Refused(serde_json::from_value(json!({
            "metadata": {"namespace": namespace}, "involvedObject": {"namespace": namespace}, "reason": "FailedCreate",
            "message": "violates PodSecurity: hostPath volumes (volume \"indelible-logs\")", "lastTimestamp": now(),
        })).unwrap())
    };
    let mut desk = desk();
    desk.apply(
        namespace_event("strict", &json!({OPTED_IN: "audit.payments", "indelible.dev/enforcement": "enforced"})),
        now(),
    );
    for namespace in ["strict", "elsewhere"] {
        desk.apply(refused(namespace), now());
    }
    assert_eq!(desk.injection(), Injection::default());
    desk.apply(refused("pay"), now());
    assert!(warning(ask(&desk, "pay", None)).contains("violates PodSecurity"));
    assert!(matches!(ask(&desk, "strict", None), Some(Answer::Inject { .. })));
    assert_eq!(desk.injection().rejected.into_keys().collect::<Vec<_>>(), ["pay"]);
    assert_eq!(desk.expire(now()), Some(std::time::Duration::from_mins(10)));
    assert_eq!(desk.expire(now() + jiff::SignedDuration::from_mins(10)), None);
    assert!(matches!(ask(&desk, "pay", None), Some(Answer::Inject { .. })));
}

#[test]
fn limit_ranges_and_quotas_count_in_their_own_namespace() {
    let mut desk = desk();
    let resources = |desk: &Desk| {
        let Some(Answer::Inject { patch, .. }) = ask(desk, "pay", None) else { panic!() };
        let mut pod = samples::pod();
        json_patch::patch(&mut pod, &patch).unwrap();
        pod["spec"]["initContainers"][0]["resources"].clone()
    };
    let plain = resources(&desk);
    for namespace in ["other", "pay"] {
        assert_eq!(resources(&desk), plain);
        desk.apply(
            Change::LimitRange(of(json!({"metadata": {"namespace": namespace, "name": "l"},
            "spec": {"limits": [{"type": "Container", "min": {"memory": "64Mi"}}]}}))),
            now(),
        );
        desk.apply(
            Change::Quota(of(json!({"metadata": {"namespace": namespace, "name": "q"},
            "spec": {"hard": {"limits.cpu": "10"}}}))),
            now(),
        );
    }
    assert_eq!(
        resources(&desk),
        json!({"requests": {"cpu": "5m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}})
    );
}
