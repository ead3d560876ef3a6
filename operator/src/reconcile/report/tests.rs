//! What a status says of what was seen.

use indelible_chain::note::VerifierKey;
use serde_json::json;

use super::super::facts::{Claim, Pod, Reclaim, Set};
use super::super::scale;
use super::super::validate::validate;
use super::*;
use crate::api::{AuditLog, Coverage, LogState};
use crate::conditions::{DURABLE, INJECTING, find};
use crate::observed::{Alarm, Covered, Missing, ObservedLog, OptedIn, Storage};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key() -> VerifierKey {
    VKEY.parse().unwrap()
}

/// A pool of three where `ready` collectors are ready.
struct World {
    found: Dereferenced,
    observed: Option<Observed>,
    injection: Injection,
    troubles: Vec<(&'static str, String)>,
    spec: serde_json::Value,
    before: AuditLogStatus,
}

impl World {
    fn new(ready: u32) -> Self {
        let pod = |ordinal: u32| Pod {
            name: format!("payments-{ordinal}"),
            ordinal,
            ready: ordinal < ready,
            ..Pod::default()
        };
        let claim = Claim { volume: Some("pv".to_owned()), reclaim: Some(Reclaim::Retain), ..Claim::default() };
        Self {
            found: Dereferenced {
                set: Some(Set { replicas: 3, pods: 3, updated: 3, observed: true, ..Set::default() }),
                pods: (0..3).map(pod).collect(),
                claims: (0..3).map(|ordinal| (ordinal, claim.clone())).collect(),
                ..Dereferenced::default()
            },
            observed: None,
            injection: Injection::default(),
            troubles: Vec::new(),
            spec: json!({}),
            before: AuditLogStatus::default(),
        }
    }

    fn status(&self) -> AuditLogStatus {
        let mut log = AuditLog::new("payments", serde_json::from_value(self.spec.clone()).unwrap());
        log.metadata.namespace = Some("audit".to_owned());
        log.metadata.generation = Some(7);
        let pool = validate(&log, &self.found).unwrap();
        let scale = scale::step(at(0), pool.replicas, &self.found);
        let cluster = Cluster { uid: "uid".to_owned(), issuer: "i".to_owned(), chooses_uids: false };
        let keys = PublicKeys { witness: key(), authority: key() };
        let pass = Pass {
            pool: &pool,
            cluster: &cluster,
            found: &self.found,
            scale: &scale,
            observed: self.observed.as_ref(),
            injection: &self.injection,
            keys: &keys,
            troubles: &self.troubles,
        };
        report(&pass, &self.before, at(0))
    }

    /// Status, reason and message of a condition.
    fn condition(&self, kind: &str) -> (String, String, String) {
        let status = self.status();
        let condition = find(&status.conditions, kind).unwrap_or_else(|| panic!("no {kind}")).clone();
        (condition.status, condition.reason, condition.message)
    }

    fn says(&self, kind: &str, status: &str, reason: &str, word: &str) {
        let found = self.condition(kind);
        assert!(found.0 == status && found.1 == reason && found.2.contains(word), "{kind}: {found:?}");
    }
}

#[test]
fn a_pool_is_ready_first_when_all_are_there_and_later_while_enough_are() {
    let mut world = World::new(1);
    world.says(READY, "False", "Starting", "1 of 3");
    world = World::new(3);
    world.says(READY, "True", "AllReady", "3 of 3");
    let status = world.status();
    assert_eq!((status.replicas, status.collectors.as_str(), status.observed_generation), (3, "3/3", Some(7)));
    assert_eq!(status.selector.split(',').count(), 3);
    let before = status;
    world = World { before: before.clone(), ..World::new(1) };
    world.says(READY, "True", "SomeReady", "1 of 3");
    world.spec = json!({"delivery": {"copies": 2}});
    world.says(READY, "False", "TooFewReady", "1 of 3");
    world = World { before, ..World::new(0) };
    world.says(READY, "False", "TooFewReady", "0 of 3");
}

#[test]
fn progress_says_what_is_on_its_way() {
    let mut world = World::new(3);
    world.says(PROGRESSING, "False", "Settled", "");
    world.found.set.as_mut().unwrap().updated = 1;
    world.says(PROGRESSING, "True", "RollingOut", "1 of 3");
    world = World::new(2);
    world.says(PROGRESSING, "True", "WaitingForCollectors", "");
    world.spec = json!({"collectors": {"replicas": 2}});
    world.says(PROGRESSING, "True", "ScalingDown", "payments-2");
    world.spec = json!({"collectors": {"replicas": 4}});
    world.says(PROGRESSING, "True", "Scaling", "3 of 4");
    world.found.readers = vec![3];
    world.says(PROGRESSING, "True", "ScalingUp", "payments-kept-3");
    world.spec = json!({"paused": true});
    world.says(PROGRESSING, "False", "Paused", "");
}

#[test]
fn what_is_refused_says_what_to_change() {
    let mut world = World::new(0);
    world.says(DEGRADED, "False", "AsExpected", "");
    world.found.refusals = vec!["pods \"payments-0\" is forbidden: exceeded quota: q".to_owned()];
    world.says(DEGRADED, "True", "QuotaExceeded", "raise the ResourceQuota");
    world.says(READY, "False", "Starting", "exceeded quota");
    world.troubles = vec![("QuotaExceeded", "StatefulSet payments: exceeded quota: q".to_owned())];
    world.says(READY, "False", "Starting", "StatefulSet payments: exceeded quota");
    world.troubles.clear();
    world.found.refusals = vec!["admission webhook denied".to_owned()];
    world.says(DEGRADED, "True", "CreateRefused", "admission webhook denied");
    world.found.refusals.clear();
    world.found.claims.insert(0, Claim::default());
    world.says(DEGRADED, "True", "NoDefaultStorageClass", "mark one as default");
    world.found.claims.get_mut(&0).unwrap().class = Some("c".to_owned());
    world.found.pods[1].trouble = Some("container collector: CrashLoopBackOff: the log is corrupt".to_owned());
    world.says(DEGRADED, "True", "CollectorNotRunning", "payments-1: container collector");
    world.troubles = vec![("VolumeNotReplaced", "keep it first".to_owned())];
    world.says(DEGRADED, "True", "VolumeNotReplaced", "keep it first");
}

#[test]
fn an_alarm_names_its_finding_and_survives_a_restart() {
    let mut world = World::new(3);
    world.says(INTACT, "Unknown", "NotObservedYet", "");
    world.observed = Some(Observed::default());
    world.says(INTACT, "True", "NoFindings", "");
    let alarm = Alarm { id: "f1".to_owned(), reason: "Forked", message: "log 0 shows two histories".to_owned() };
    world.observed = Some(Observed { alarms: vec![alarm], ..Observed::default() });
    world.says(INTACT, "False", "Forked", "acknowledge --finding f1");
    world.before = world.status();
    world.observed = None;
    world.says(INTACT, "False", "Forked", "acknowledge --finding f1");
}

#[test]
fn coverage_counts_and_names_the_reasons() {
    let mut world = World::new(3);
    let numbers = Coverage { selected: 42, injected: 42, streaming: 41, needs_restart: 0 };
    let missing = Missing { reason: "NeverConnected", pods: 1, message: "pay/a: allow egress to port 7443".to_owned() };
    let covered = Covered { numbers: numbers.clone(), missing: vec![missing] };
    world.observed = Some(Observed { coverage: Some(covered), ..Observed::default() });
    world.says(COVERED, "False", "NeverConnected", "1 of 42 pods are not audited: pay/a");
    let status = world.status();
    assert_eq!((status.pods.as_str(), status.coverage), ("41/42", numbers.clone()));
    world.observed = Some(Observed { coverage: Some(Covered { numbers, missing: vec![] }), ..Observed::default() });
    world.says(COVERED, "True", "AllStreaming", "41 of 42");
}

#[test]
fn volumes_that_go_with_their_claims_are_named_with_the_command_that_keeps_them() {
    let mut world = World::new(3);
    world.says(DURABLE, "True", "ReclaimPolicyRetain", "");
    world.found.claims.get_mut(&1).unwrap().reclaim = Some(Reclaim::Delete);
    world.says(DURABLE, "False", "ReclaimPolicyDelete", "kubectl patch pv pv -p");
    world.found.claims.get_mut(&1).unwrap().volume = None;
    world.says(DURABLE, "Unknown", "VolumesPending", "");
}

#[test]
fn a_volume_that_fills_up_says_how_long_it_lasts() {
    let mut world = World::new(3);
    let storage = |used, rate| Storage { used_bytes: used, size_bytes: 100, growth_bytes_per_second: rate };
    let observe = |storage: Storage| {
        let storage = [("payments-0".to_owned(), storage)].into();
        Some(Observed { storage, ..Observed::default() })
    };
    assert!(find(&world.status().conditions, STORAGE_LOW).is_none());
    world.observed = observe(storage(74, 1));
    world.says(STORAGE_LOW, "False", "EnoughSpace", "74%");
    world.observed = observe(storage(75, 0));
    world.says(STORAGE_LOW, "True", "FillingUp", "full to 75%; raise");
    world.observed = observe(Storage { used_bytes: 8 << 30, size_bytes: 10 << 30, growth_bytes_per_second: 1 << 10 });
    world.says(STORAGE_LOW, "True", "FillingUp", "lasts for 24 days");
    world.observed = observe(storage(100, 1));
    world.says(STORAGE_LOW, "True", "Full", "");
    // An operator that begins has heard nothing yet, and takes nothing back.
    world.before = world.status();
    world.observed = None;
    world.says(STORAGE_LOW, "True", "Full", "");
    let kept = Storage { used_bytes: 99, size_bytes: 100, growth_bytes_per_second: 0 };
    let storage = [("payments-kept-7-abc".to_owned(), kept), ("payments-0".to_owned(), storage(1, 0))].into();
    world.observed = Some(Observed { storage, ..Observed::default() });
    world.says(STORAGE_LOW, "False", "EnoughSpace", "payments-0");
}

#[test]
fn injection_that_is_held_up_says_so_where_it_matters() {
    let mut world = World::new(3);
    world.says(INJECTING, "True", "Injecting", "");
    world.injection.rejected = [("elsewhere".to_owned(), "no".to_owned())].into();
    world.says(INJECTING, "True", "Injecting", "");
    let namespace = OptedIn { name: "elsewhere".to_owned(), uid: String::new(), created: at(0), enforced: false };
    world.found.namespaces = vec![namespace];
    world.says(INJECTING, "False", "PodRejected", "elsewhere");
    world.injection.stopped = Some(("OldKubelet", "node n1".to_owned()));
    world.says(INJECTING, "False", "OldKubelet", "node n1");
}

#[test]
fn kept_volumes_are_listed_with_who_serves_them() {
    let mut world = World::new(3);
    world.found.claims.insert(5, Claim { volume: Some("pv-5".to_owned()), ..Claim::default() });
    world.found.set_aside = vec![super::super::facts::SetAsideVolume {
        ordinal: 1,
        volume: "pv-old".to_owned(),
        claim_uid: "c".to_owned(),
        public_key: Some(VKEY.to_owned()),
        since: at(0),
        done: true,
    }];
    let volumes = world.status().volumes;
    assert_eq!(volumes.len(), 2);
    assert_eq!((volumes[0].volume.as_str(), volumes[0].claim.as_str()), ("pv-5", "data-payments-5"));
    assert_eq!((volumes[0].reader.as_str(), volumes[0].origin.as_str()), ("payments-kept-5", "uid/audit/payments/5"));
    assert_eq!((volumes[1].claim.as_str(), volumes[1].origin.as_str()), ("", "example.com/foo"));
}

#[test]
fn a_change_of_numbers_waits_and_a_change_of_state_does_not() {
    let mut world = World::new(3);
    let log = |size: u64, state| ObservedLog {
        ordinal: 0,
        collector: "payments-0".to_owned(),
        public_key: key(),
        tree_size: size,
        newest_leaf_time: Some(at(i64::try_from(size).unwrap())),
        witnessed_size: size,
        state,
    };
    let mut status = |size, state| {
        world.observed = Some(Observed { logs: vec![log(size, state)], ..Observed::default() });
        world.status()
    };
    let (first, grown) = (status(1, LogState::Open), status(2, LogState::Open));
    assert_ne!(first, grown);
    let covered = AuditLogStatus { pods: "1/1".to_owned(), ..grown.clone() };
    assert_eq!(patience(&first, &grown), STATUS_INTERVAL);
    assert_eq!(patience(&first, &covered), COVERAGE_INTERVAL);
    assert_eq!(patience(&first, &status(1, LogState::Sealed)), Duration::ZERO);
}

#[test]
fn an_invalid_audit_log_says_so_and_keeps_what_was_said_of_its_pool() {
    let before = World::new(3).status();
    let status = refused("InvalidSpec", "no such size", &before, 8, at(9));
    let condition = |kind: &str| find(&status.conditions, kind).map(|c| (c.status.clone(), c.reason.clone())).unwrap();
    assert_eq!(condition(READY), ("False".to_owned(), "InvalidSpec".to_owned()));
    assert_eq!(condition(DURABLE), ("True".to_owned(), "ReclaimPolicyRetain".to_owned()));
    assert_eq!((status.collectors.as_str(), status.observed_generation), ("3/3", Some(8)));
}
