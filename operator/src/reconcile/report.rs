//! What was found and done becomes the status: numbers, logs, kept volumes, conditions.
//!
//! Pure. What cannot be known now is said as it was said before: a restart of the operator changes no condition, and the
//! alarm `Intact=False` least of all.

mod health;
mod storage;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::facts::{Cluster, Dereferenced};
use super::scale::Scale;
use super::validate::{Invalid, Pool};
use crate::api::{AuditLogStatus, KeptVolume, LogStatus};
use crate::clock::to_time;
use crate::conditions::{self, COVERED, DEGRADED, INTACT, PROGRESSING, READY, STORAGE_LOW, Said, Status};
use crate::limits::{COVERAGE_INTERVAL, STATUS_INTERVAL};
use crate::names::selector_text;
use crate::observed::{Injection, Observed, PublicKeys};

/// A status that was written, and when.
#[derive(Clone, Debug)]
pub struct Told {
    /// It.
    pub status: AuditLogStatus,
    /// Then.
    pub at: Timestamp,
}

/// How old the last status must be before this one is written: numbers wait, those of pods less than those of logs.
pub fn patience(before: &AuditLogStatus, after: &AuditLogStatus) -> Duration {
    let plain = |status: &AuditLogStatus| {
        let mut plain = AuditLogStatus {
            pods: String::new(),
            coverage: crate::api::Coverage::default(),
            sidecar_versions: Vec::new(),
            ..status.clone()
        };
        for log in &mut plain.logs {
            (log.tree_size, log.witnessed_size, log.newest_leaf_time) = (0, 0, None);
        }
        plain.conditions.iter_mut().for_each(|condition| condition.message.clear());
        plain
    };
    if plain(before) != plain(after) {
        Duration::ZERO
    } else if (&before.pods, &before.coverage) != (&after.pods, &after.coverage) {
        COVERAGE_INTERVAL
    } else {
        STATUS_INTERVAL
    }
}

/// Whether a condition rests on what nobody tells us of: quotas, and what else refuses pods.
pub fn is_waiting_for_the_unwatched(told: Option<&Told>) -> bool {
    let reasons = ["QuotaExceeded", "CreateRefused"];
    told.is_some_and(|told| told.status.conditions.iter().any(|c| reasons.contains(&c.reason.as_str())))
}

/// What a pass has found and done.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The AuditLog.
    pub pool: &'a Pool,
    /// Where.
    pub cluster: &'a Cluster,
    /// What was there.
    pub found: &'a Dereferenced,
    /// The step of scaling.
    pub scale: &'a Scale,
    /// What was observed; none until it was.
    pub observed: Option<&'a Observed>,
    /// What holds injection up.
    pub injection: &'a Injection,
    /// The operator's own keys.
    pub keys: &'a PublicKeys,
    /// What needs attention: reason and sentence, worst first.
    pub troubles: &'a [(&'static str, String)],
}

/// The status now.
pub fn report(pass: &Pass<'_>, before: &AuditLogStatus, now: Timestamp) -> AuditLogStatus {
    let ready = health::ready_collectors(pass);
    let mut said = vec![health::ready(pass, before), health::progressing(pass), health::degraded(pass)];
    let observed = [health::covered(pass), health::intact(pass)];
    for (kind, observed) in [COVERED, INTACT].into_iter().zip(observed) {
        said.push(observed.unwrap_or_else(|| unknown(before, kind)));
    }
    said.push(storage::durable(pass));
    let known = conditions::find(&before.conditions, STORAGE_LOW).is_some();
    said.extend(storage::storage_low(pass).or_else(|| known.then(|| unknown(before, STORAGE_LOW))));
    said.push(health::injecting(pass));
    let coverage = pass.observed.and_then(|observed| observed.coverage.as_ref());
    AuditLogStatus {
        observed_generation: Some(pass.pool.generation),
        replicas: i32::try_from(pass.found.set.as_ref().map_or(0, |set| set.pods)).unwrap_or(i32::MAX),
        selector: selector_text(&pass.pool.name.selector()),
        collectors: format!("{ready}/{}", pass.pool.replicas),
        pods: coverage
            .map_or_else(|| before.pods.clone(), |c| format!("{}/{}", c.numbers.streaming, c.numbers.selected)),
        coverage: coverage.map_or_else(|| before.coverage.clone(), |covered| covered.numbers.clone()),
        logs: pass.observed.map_or_else(|| before.logs.clone(), logs),
        volumes: kept_volumes(pass),
        sidecar_versions: pass
            .observed
            .map_or_else(|| before.sidecar_versions.clone(), |o| o.sidecar_versions.iter().cloned().collect()),
        witness_key: pass.keys.witness.to_string(),
        authority_key: pass.keys.authority.to_string(),
        conditions: conditions::merge(&before.conditions, said, pass.pool.generation, now),
    }
}

/// The status of an AuditLog that is not a pool. What was said of the pool it was before stays, as its collectors do.
pub fn invalid(invalid: &Invalid, before: &AuditLogStatus, generation: i64, now: Timestamp) -> AuditLogStatus {
    refused(invalid.reason(), &invalid.to_string(), before, generation, now)
}

/// The same, for what could not even be read.
pub fn refused(
    reason: &'static str,
    message: &str,
    before: &AuditLogStatus,
    generation: i64,
    now: Timestamp,
) -> AuditLogStatus {
    let said = vec![
        Said::new(READY, false, reason, message),
        Said::new(PROGRESSING, false, reason, "nothing is changed until this is put right"),
        Said::new(DEGRADED, true, reason, message),
    ];
    let mut conditions = conditions::merge(&before.conditions, said, generation, now);
    let others = before.conditions.iter().filter(|old| conditions::find(&conditions, &old.type_).is_none());
    let others: Vec<_> = others.cloned().collect();
    conditions.extend(others);
    AuditLogStatus { observed_generation: Some(generation), conditions, ..before.clone() }
}

/// As it was, or unknown.
fn unknown(before: &AuditLogStatus, kind: &'static str) -> Said {
    match conditions::find(&before.conditions, kind).filter(|old| old.status != "Unknown") {
        Some(old) => Said::new(kind, old.status == "True", old.reason.clone(), old.message.clone()),
        None => Said::new(kind, Status::Unknown, "NotObservedYet", "the operator has not heard of the collectors yet"),
    }
}

fn logs(observed: &Observed) -> Vec<LogStatus> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let log = |log: &crate::observed::ObservedLog| LogStatus {
        origin: log.public_key.name().to_string(),
        public_key: log.public_key.to_string(),
        collector: log.collector.clone(),
        tree_size: count(log.tree_size),
        newest_leaf_time: log.newest_leaf_time.map(to_time),
        witnessed_size: count(log.witnessed_size),
        state: log.state,
    };
    let mut seen = BTreeSet::new();
    observed.logs.iter().map(log).filter(|log| seen.insert(log.origin.clone())).collect()
}

/// Volumes that no collector writes to, with who serves them.
fn kept_volumes(pass: &Pass<'_>) -> Vec<KeptVolume> {
    let name = &pass.pool.name;
    let origin = |ordinal: u32| name.origin(&pass.cluster.uid, &ordinal.to_string());
    let pinned = |ordinal: u32| {
        let logs = pass.observed.map(|observed| observed.logs.as_slice()).unwrap_or_default();
        logs.iter().find(|log| log.ordinal == ordinal).map(|log| log.public_key.name().to_string())
    };
    let scaled_away = pass.found.claims.iter().filter(|(ordinal, _)| **ordinal >= pass.scale.replicas);
    let scaled_away = scaled_away.filter_map(|(ordinal, claim)| {
        Some(KeptVolume {
            volume: claim.volume.clone()?,
            claim: name.claim(*ordinal),
            origin: pinned(*ordinal).unwrap_or_else(|| origin(*ordinal)),
            reader: if pass.scale.readers.contains(ordinal) { name.kept(*ordinal) } else { String::new() },
        })
    });
    let set_aside = pass.found.set_aside.iter().map(|entry| {
        let key: Option<indelible_chain::note::VerifierKey> =
            entry.public_key.as_ref().and_then(|key| key.parse().ok());
        KeptVolume {
            volume: entry.volume.clone(),
            claim: String::new(),
            origin: key.map_or_else(|| origin(entry.ordinal), |key| key.name().to_string()),
            reader: String::new(),
        }
    });
    let mut seen = BTreeSet::new();
    scaled_away.chain(set_aside).filter(|kept| seen.insert(kept.volume.clone())).collect()
}

#[cfg(test)]
mod tests;
