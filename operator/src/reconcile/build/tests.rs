//! The children of pools, as whole objects.

use expect_test::expect_file;
use indelible_chain::note::VerifierKey;
use serde_json::{Value, json};

use super::super::facts::{Claim, Pod, PoolConfig, Set, SetAsideVolume};
use super::super::validate::validate;
use super::super::{facts, scale};
use super::*;
use crate::observed::{OptedIn, PoolName};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

/// All objects of the pool with this spec and this much of a cluster, as one value.
fn children(spec: Value, found: &Dereferenced, args: &[&str]) -> Children {
    let mut log = AuditLog::new("payments", serde_json::from_value(spec).unwrap());
    log.metadata.namespace = Some("audit".to_owned());
    log.metadata.uid = Some("0a1b2c3d".to_owned());
    log.metadata.generation = Some(1);
    let pool = validate(&log, found).unwrap();
    let needed =
        ["op", "run", "--namespace", "indelible", "--collector-image", "collector:1", "--sidecar-image", "sidecar:1"];
    let config = match crate::config::read(needed.iter().chain(args).map(Into::into)).unwrap() {
        crate::config::Task::Run(config) => *config,
        other => panic!("{other:?}"),
    };
    let cluster = Cluster {
        uid: "kube-system-uid".to_owned(),
        issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
        chooses_uids: false,
    };
    let key: VerifierKey = VKEY.parse().unwrap();
    let keys = PublicKeys { witness: key.clone(), authority: key };
    let scale = scale::step("2027-01-15T08:00:00Z".parse().unwrap(), pool.replicas, found);
    let data = |name: &str| BTreeMap::from([(name.to_owned(), b"pem".to_vec())]);
    let plan = Plan {
        ca: data("ca.crt"),
        tls: data("payments-0.crt"),
        bundle: "bundle".to_owned(),
        due: None,
        waiting: None,
        expiring: None,
    };
    let plot = Plot { pool: &pool, cluster: &cluster, config: &config, keys: &keys, scale: &scale };
    build(&plot, found, &plan, 1_800_000_000)
}

fn whole(children: &Children) -> Value {
    let Children {
        reader,
        reader_binding,
        ca,
        tls,
        config,
        volumes,
        service,
        pods_service,
        budget,
        policy,
        set,
        readers,
    } = children;
    json!([
        reader,
        reader_binding,
        ca,
        tls,
        config,
        volumes,
        service,
        pods_service,
        budget,
        policy,
        set,
        readers.values().collect::<Vec<_>>(),
    ])
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap();
    text.push('\n');
    text
}

fn pod(ordinal: u32, ready: bool) -> Pod {
    let address = Some(format!("10.0.0.{}", ordinal + 1).parse().unwrap());
    Pod { name: format!("payments-{ordinal}"), ordinal, address, ready, ..Pod::default() }
}

fn pool_json(children: &Children) -> Value {
    serde_json::from_str(&children.config.data.as_ref().unwrap()["pool.json"]).unwrap()
}

#[test]
fn the_children_of_an_empty_spec_are_those_of_the_golden_file() {
    let children = children(json!({}), &Dereferenced::default(), &[]);
    expect_file!["golden/empty.json"].assert_eq(&pretty(&whole(&children)));
}

#[test]
fn the_children_of_a_full_spec_in_a_pool_that_was_scaled_down_are_those_of_the_golden_file() {
    let spec = json!({
        "collectors": {
            "replicas": 2,
            "storage": { "size": "40Gi", "storageClassName": "fast" },
            "resources": { "requests": { "cpu": "1", "memory": "1Gi" } },
            "nodeSelector": { "disk": "ssd" },
            "tolerations": [ { "key": "audit", "operator": "Exists" } ],
            "topologySpreadConstraints": [
                { "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule" }
            ],
            "priorityClassName": "high",
        },
        "limits": { "perPodBytesPerSecond": "1Mi", "perNamespaceBytesPerDay": "1Gi" },
    });
    let claim = Claim { volume: Some("pv".to_owned()), ..Claim::default() };
    let found = Dereferenced {
        set: Some(Set { replicas: 2, ..Set::default() }),
        pods: vec![pod(0, true), pod(1, false)],
        claims: (0..3).map(|ordinal| (ordinal, claim.clone())).collect(),
        namespaces: vec![OptedIn {
            name: "pay".to_owned(),
            uid: "u".to_owned(),
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
            enforced: true,
        }],
        set_aside: vec![SetAsideVolume {
            ordinal: 0,
            volume: "old".to_owned(),
            claim_uid: "c".to_owned(),
            public_key: None,
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
            done: true,
        }],
        ..Dereferenced::default()
    };
    let args = ["--monitoring-namespace", "monitoring", "--image-pull-secret", "pull", "--image-pull-policy", "Always"];
    let children = children(spec, &found, &args);
    expect_file!["golden/full.json"].assert_eq(&pretty(&whole(&children)));
}

#[test]
fn what_outlives_the_audit_log_has_no_owner_and_all_else_has_one() {
    let found = Dereferenced {
        set_aside: vec![SetAsideVolume {
            ordinal: 0,
            volume: "old".to_owned(),
            claim_uid: "c".to_owned(),
            public_key: None,
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
            done: true,
        }],
        ..Dereferenced::default()
    };
    let children = whole(&children(json!({}), &found, &[]));
    let mut kept = Vec::new();
    for child in children.as_array().unwrap().iter().filter(|child| child.is_object()) {
        if child["metadata"]["ownerReferences"].is_null() {
            kept.push(child["metadata"]["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(kept, ["payments-ca", "payments-volumes"]);
    let set =
        children.as_array().unwrap().iter().find(|child| child["spec"]["volumeClaimTemplates"].is_array()).unwrap();
    assert!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["ownerReferences"].is_null());
}

#[test]
fn only_ready_collectors_that_stay_are_in_the_list() {
    let mut found = Dereferenced {
        set: Some(Set { replicas: 3, ..Set::default() }),
        pods: vec![pod(0, true), pod(1, false), pod(2, true)],
        ..Dereferenced::default()
    };
    let listed = |found: &Dereferenced, spec: Value| pool_json(&children(spec, found, &[]))["collectors"].clone();
    assert_eq!(listed(&found, json!({})), json!(["https://10.0.0.1:7443", "https://10.0.0.3:7443"]));
    assert_eq!(listed(&found, json!({"collectors": {"replicas": 2}})), json!(["https://10.0.0.1:7443"]));
    found.pods[0].terminating = true;
    found.pods[2].address = Some("fd00::3".parse().unwrap());
    assert_eq!(listed(&found, json!({})), json!(["https://[fd00::3]:7443"]));
}

#[test]
fn the_epoch_grows_with_each_change_and_stays_without_one() {
    let mut found = Dereferenced { pods: vec![pod(0, true)], ..Dereferenced::default() };
    let first = children(json!({}), &found, &[]);
    assert_eq!(pool_json(&first)["epoch"], 1_800_000_000_u64);
    // Another epoch of the same content, also one from a clock ahead of ours, stands.
    let mut ahead = pool_json(&first);
    ahead["epoch"] = 1_900_000_000_u64.into();
    let data = BTreeMap::from([("pool.json".to_owned(), ahead.to_string())]);
    found.config = Some(PoolConfig { data, leaving: None });
    assert_eq!(pool_json(&children(json!({}), &found, &[]))["epoch"], 1_900_000_000_u64);
    found.pods.clear();
    assert_eq!(pool_json(&children(json!({}), &found, &[]))["epoch"], 1_900_000_001_u64);
}

#[test]
fn where_the_cluster_chooses_uids_none_are_written() {
    let name = PoolName::new("audit", "payments");
    let mut log = AuditLog::new(&name.name, serde_json::from_value(json!({})).unwrap());
    log.metadata.namespace = Some(name.namespace);
    let found = Dereferenced::default();
    let pool = validate(&log, &found).unwrap();
    let cluster = facts::Cluster { uid: "u".to_owned(), issuer: "i".to_owned(), chooses_uids: true };
    let key: VerifierKey = VKEY.parse().unwrap();
    let keys = PublicKeys { witness: key.clone(), authority: key };
    let needed = ["op", "run", "--namespace", "i", "--collector-image", "c", "--sidecar-image", "s"];
    let Ok(crate::config::Task::Run(config)) = crate::config::read(needed.map(Into::into)) else { panic!() };
    let scale = scale::step("2027-01-15T08:00:00Z".parse().unwrap(), 3, &found);
    let set = super::pods::set(&Plot { pool: &pool, cluster: &cluster, config: &config, keys: &keys, scale: &scale });
    let context = set.spec.unwrap().template.spec.unwrap().security_context.unwrap();
    assert_eq!((context.run_as_user, context.fs_group, context.run_as_non_root), (None, None, Some(true)));
}
