//! One pass over one AuditLog.
//!
//! Reads, decides, writes, tells; says when to come again. An error is told in the status and tried again, ever more
//! slowly; it ends in no other AuditLog's pass.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::apply::{ApplyError, Writer, words};
use super::build::{Plot, build, epoch};
use super::dereference::dereference;
use super::facts::Dereferenced;
use super::report::{self, Pass, Told};
use super::scale::{self, Scale};
use super::validate::{Invalid, Pool, served, validate};
use super::volumes::{self, Replace};
use super::{Context, Guarded, Memory, backoff};
use crate::api::{AuditLog, AuditLogStatus};
use crate::certificates::{CollectorKey, Names, Plan, plan};
use crate::clock;
use crate::conditions;
use crate::limits::{FRESH, STATUS_INTERVAL};
use crate::names::{ANNOTATION_ACKNOWLEDGE, ANNOTATION_ROTATE_CA, FIELD_MANAGER};
use crate::observed::{CollectorView, Confirmed, Observed, PoolName, PoolView, SetAside};

/// What ended a pass.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("reading what belongs to it: {}", words(.0))]
    Read(#[source] kube::Error),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("writing the status: {}", words(.0))]
    Status(#[source] kube::Error),
}

/// A pass, and when to come again.
pub(super) async fn look_at(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ApplyError> {
    let name = PoolName::new(guarded.namespace().unwrap_or_default(), guarded.name_any());
    let memory = Arc::clone(context.memory.lock().await.entry(name.clone()).or_default());
    let mut memory = memory.lock().await;
    context.seams.metrics.passes.inc();
    // One that was deleted and made again is another one.
    let uid = guarded.uid().unwrap_or_default();
    if memory.uid != uid {
        *memory = Memory { uid, ..Memory::default() };
    }
    let due = match pass(&guarded, &context, &name, &mut memory).await {
        Ok(due) => {
            memory.failures = 0;
            due
        }
        Err(error) => {
            // What was remembered may be wrong: all is read again.
            memory.found = None;
            memory.failures = memory.failures.saturating_add(1);
            context.seams.metrics.failures.inc();
            let again = backoff(memory.failures);
            tracing::warn!(audit_log = %name, %error, ?again, "an AuditLog could not be reconciled; it is tried again");
            Some(again)
        }
    };
    Ok(due.map_or_else(Action::await_change, Action::requeue))
}

async fn pass(
    guarded: &Guarded,
    context: &Context,
    name: &PoolName,
    memory: &mut Memory,
) -> Result<Option<Duration>, PassError> {
    let now = clock::now();
    let log = match &guarded.0 {
        Ok(log) => log,
        Err(invalid) => {
            let text = format!("this AuditLog cannot be read: {}; correct it", invalid.error);
            let before = memory.told.as_ref().map(|told| told.status.clone()).unwrap_or_default();
            let generation = invalid.metadata.generation.unwrap_or_default();
            let status = report::refused("InvalidSpec", &text, &before, generation, now);
            return tell(context, name, guarded, memory, status, now).await;
        }
    };
    if log.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let generation = log.metadata.generation.unwrap_or_default();
    if let Err(invalid) = served(&name.namespace, &context.seams.config.audit_log_namespaces) {
        let status = report::invalid(&invalid, &before(log, memory), generation, now);
        return tell(context, name, guarded, memory, status, now).await;
    }
    let found = read(context, log, name, memory, now).await.map_err(PassError::Read)?;
    let pool = match validate(log, &found) {
        Ok(pool) => pool,
        Err(invalid) => {
            let status = report::invalid(&invalid, &before(log, memory), generation, now);
            let due = tell(context, name, guarded, memory, status, now).await?;
            // A StorageClass is not watched.
            let unwatched = matches!(invalid, Invalid::StorageClassNotFound(_)).then_some(STATUS_INTERVAL);
            return Ok(earliest(due, unwatched));
        }
    };
    one_pool(context, &pool, log, found, memory, now).await
}

/// What belongs to it: as it was read last, if nothing was heard of it since.
async fn read(
    context: &Context,
    log: &AuditLog,
    name: &PoolName,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Dereferenced, kube::Error> {
    // Before the reading: what changes during it is read again.
    let stale = context.stale.take(name);
    let fresh = |at: Timestamp| Duration::try_from(now.duration_since(at)).is_ok_and(|age| age < FRESH);
    let namespaces = context.opt_ins.of(name);
    match memory.found.take() {
        Some((at, found)) if !stale && memory.generation == log.metadata.generation && fresh(at) => {
            memory.found = Some((at, found.clone()));
            Ok(Dereferenced { namespaces, ..found })
        }
        _ => {
            context.seams.metrics.reads.inc();
            let read = dereference(&context.seams.client, log, namespaces).await;
            match read {
                Ok(found) => {
                    context.volumes.are_of(name, found.claims.values().filter_map(|claim| claim.volume.as_ref()));
                    memory.generation = log.metadata.generation;
                    memory.found = Some((now, found.clone()));
                    Ok(found)
                }
                Err(error) => {
                    context.stale.mark(name.clone());
                    Err(error)
                }
            }
        }
    }
}

async fn one_pool(
    context: &Context,
    pool: &Pool,
    log: &AuditLog,
    mut found: Dereferenced,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Option<Duration>, PassError> {
    let observed = context.seams.observed.borrow().get(&pool.name).cloned();
    let mut troubles = Vec::new();
    let mut due = Vec::new();
    let scale = if pool.spec.paused { paused(&found) } else { scale::step(now, pool.replicas, &found) };
    let applied = if pool.spec.paused {
        publish(context, pool, log, &found, &bundle_of(&found));
        Ok(())
    } else {
        due.extend(scale.due);
        let plan = certificates(pool, log, &found, &scale, observed.as_deref(), now);
        match plan {
            Ok(plan) => {
                publish(context, pool, log, &found, &plan.bundle);
                due.extend(plan.due);
                troubles.extend(plan.waiting.iter().map(|text| ("CertificateRotationWaits", text.clone())));
                troubles.extend(plan.expiring.iter().map(|text| ("CertificateExpires", text.clone())));
                write(context, pool, &mut found, &scale, &plan, memory, &mut troubles, now).await
            }
            Err(error) => {
                publish(context, pool, log, &found, &bundle_of(&found));
                troubles.push(("CertificatesUnreadable", error.to_string()));
                Ok(())
            }
        }
    };
    if let Err(error) = &applied {
        let reason = if error.to_string().contains("exceeded quota") { "QuotaExceeded" } else { "ApplyFailed" };
        troubles.insert(0, (reason, error.to_string()));
    }
    troubles.extend(pool.remarks.iter().map(|text| ("InvalidRequest", text.clone())));
    let injection = context.seams.injection.borrow().clone();
    let pass = Pass {
        pool,
        cluster: &context.seams.cluster,
        found: &found,
        scale: &scale,
        observed: observed.as_deref(),
        injection: &injection,
        keys: &context.seams.keys,
        troubles: &troubles,
    };
    let status = report::report(&pass, &before(log, memory), now);
    let guarded = kube::core::DeserializeGuard(Ok(log.clone()));
    let told = tell(context, &pool.name, &guarded, memory, status, now).await?;
    applied?;
    let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    let first = due.into_iter().min().map(|at| until(at).max(Duration::from_secs(1)));
    // What is not watched is looked at again.
    let unwatched = report::is_waiting_for_the_unwatched(memory.told.as_ref()).then_some(STATUS_INTERVAL);
    if unwatched.is_some() {
        memory.found = None;
    }
    Ok(earliest(earliest(told, first), unwatched.or(Some(FRESH))))
}

fn paused(found: &Dereferenced) -> Scale {
    let replicas = found.set.as_ref().map_or(0, |set| set.replicas);
    Scale { replicas, listed: replicas, leaving: None, readers: found.readers.clone(), due: None }
}

fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

fn before(log: &AuditLog, memory: &Memory) -> AuditLogStatus {
    let told = memory.told.as_ref().map(|told| told.status.clone());
    told.or_else(|| log.status.clone()).unwrap_or_default()
}

fn bundle_of(found: &Dereferenced) -> String {
    let bundle = found.secrets.ca.as_ref().and_then(|ca| ca.get("bundle.crt"));
    bundle.and_then(|pem| String::from_utf8(pem.clone()).ok()).unwrap_or_default()
}

/// What the Secrets shall hold. Until the pool was observed nobody knows which keys are pinned: all stays as it is.
fn certificates(
    pool: &Pool,
    log: &AuditLog,
    found: &Dereferenced,
    scale: &Scale,
    observed: Option<&Observed>,
    now: Timestamp,
) -> Result<Plan, crate::certificates::CertificateError> {
    let name = &pool.name;
    let names = Names {
        pool: name.to_string(),
        service: name.server_name(),
        pods: format!("{}.{}.svc", name.pods_service(), name.namespace),
    };
    let rotate = log.annotations().get(ANNOTATION_ROTATE_CA).map(String::as_str);
    match (observed, &found.secrets.ca) {
        (None, Some(ca)) => Ok(Plan {
            ca: ca.clone(),
            tls: found.secrets.tls.clone().unwrap_or_default(),
            bundle: bundle_of(found),
            due: None,
            waiting: None,
            expiring: None,
        }),
        (None, None) => plan(now, &found.secrets, &names, &[], &Confirmed::default(), rotate),
        (Some(observed), _) => {
            let keys = keys(pool, found, scale, observed);
            plan(now, &found.secrets, &names, &keys, &observed.confirmed, rotate)
        }
    }
}

/// For each collector and each kept volume its pinned key: the one that its pod tells, else the newest.
fn keys(pool: &Pool, found: &Dereferenced, scale: &Scale, observed: &Observed) -> Vec<CollectorKey> {
    let ordinals = (0..scale.replicas.max(pool.replicas)).chain(scale.readers.iter().copied());
    let key = |ordinal: u32| {
        let mut pinned = observed.logs.iter().filter(|log| log.ordinal == ordinal).map(|log| &log.public_key);
        let told = found.pod(ordinal).or_else(|| found.reader_pod(ordinal)).and_then(|pod| pod.told_key.as_ref());
        let vkey = match told {
            Some(told) => pinned.find(|key| *key == told)?,
            None => pinned.next_back()?,
        };
        Some(CollectorKey { pod: pool.name.pod(ordinal), vkey: vkey.clone() })
    };
    let mut keys: Vec<CollectorKey> = ordinals.filter_map(key).collect();
    keys.sort_by(|a, b| a.pod.cmp(&b.pod));
    keys.dedup();
    keys
}

/// Tells the observing tasks what was found.
fn publish(context: &Context, pool: &Pool, log: &AuditLog, found: &Dereferenced, bundle: &str) {
    let collector = |pod: &super::facts::Pod| CollectorView {
        pod: pod.name.clone(),
        ordinal: pod.ordinal,
        address: pod.address.filter(|_| !pod.terminating),
        ready: pod.ready,
        told_key: pod.told_key.clone(),
        kept: pod.kept,
    };
    let mut collectors: Vec<CollectorView> = found.pods.iter().map(collector).collect();
    collectors.sort_by_key(|collector| collector.ordinal);
    let set_aside = found.set_aside.iter().map(|entry| SetAside {
        ordinal: entry.ordinal,
        volume: entry.volume.clone(),
        public_key: entry.public_key.as_ref().and_then(|key| key.parse().ok()),
    });
    let view = PoolView {
        uid: pool.uid.clone(),
        spec: pool.spec.clone(),
        server_name: pool.name.server_name(),
        bundle: bundle.to_owned(),
        collectors,
        namespaces: found.namespaces.clone(),
        set_aside: set_aside.collect(),
        acknowledge: log.annotations().get(ANNOTATION_ACKNOWLEDGE).cloned(),
    };
    context.seams.views.send_if_modified(|views| {
        if views.get(&pool.name).is_some_and(|old| **old == view) {
            return false;
        }
        views.insert(pool.name.clone(), Arc::new(view));
        true
    });
}

#[expect(clippy::too_many_arguments, reason = "all of a pass, in the order of its way")]
async fn write(
    context: &Context,
    pool: &Pool,
    found: &mut Dereferenced,
    scale: &Scale,
    plan: &Plan,
    memory: &mut Memory,
    troubles: &mut Vec<(&'static str, String)>,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let Context { seams, versions, .. } = context;
    let mut writer = Writer::new(&seams.client, &pool.name, &mut memory.applied, versions);
    let replace = volumes::replace(pool, found, now);
    if let Some(Replace::List(entry)) = &replace {
        found.set_aside.push(entry.clone());
    }
    volumes::finish(pool, found);
    // Readers go first: a collector that comes back waits for its volume.
    let surplus: Vec<u32> = found.readers.iter().copied().filter(|ordinal| !scale.readers.contains(ordinal)).collect();
    writer.remove_readers(&surplus).await?;
    for ordinal in volumes::growing(pool, found) {
        if let Err(error) = writer.grow(ordinal, &pool.spec.collectors.storage.size).await {
            troubles.push(("VolumeNotGrown", error.to_string()));
        }
    }
    let remake = volumes::remake(pool, found);
    if remake {
        // A crash here leaves the pods without a StatefulSet: the next pass makes it, and it adopts them.
        writer.orphan_set().await?;
    }
    // One that is going away is not written to: its end wakes the pass that makes the next one.
    writer.has_no_set = remake || found.set.as_ref().is_some_and(|set| set.deleting);
    let plot = Plot { pool, cluster: &seams.cluster, config: &seams.config, keys: &seams.keys, scale };
    let children = build(&plot, found, plan, epoch(now));
    writer.children(&children, found.ca_version.as_deref()).await?;
    replace_volume(context, pool, replace, &mut writer, troubles).await?;
    seams.metrics.writes.inc_by(writer.writes);
    Ok(())
}

/// The step that comes after the list was written.
async fn replace_volume(
    context: &Context,
    pool: &Pool,
    replace: Option<Replace>,
    writer: &mut Writer<'_>,
    troubles: &mut Vec<(&'static str, String)>,
) -> Result<(), ApplyError> {
    match replace {
        // Once the list is written, its own change wakes the pass that deletes.
        None | Some(Replace::List(_)) => Ok(()),
        Some(Replace::Delete { ordinal, claim_uid }) => writer.set_aside(ordinal, &claim_uid).await,
        Some(Replace::Done { ordinal, volume }) => {
            writer.take_request_off().await?;
            let text = format!(
                "volume {volume} of {} was set aside and is kept; the collector begins another log on a new volume",
                pool.name.pod(ordinal)
            );
            context.seams.events.note(&reference(pool), "VolumeReplaced", text).await;
            Ok(())
        }
        Some(Replace::Refuse(text)) => {
            troubles.push(("VolumeNotReplaced", text));
            Ok(())
        }
    }
}

fn reference(pool: &Pool) -> k8s_openapi::api::core::v1::ObjectReference {
    k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(AuditLog::api_version(&()).into_owned()),
        kind: Some(AuditLog::kind(&()).into_owned()),
        name: Some(pool.name.name.clone()),
        namespace: Some(pool.name.namespace.clone()),
        uid: Some(pool.uid.clone()),
        ..Default::default()
    }
}

/// Writes the status if it says something new, and tells of conditions that changed. Numbers wait for each other.
async fn tell(
    context: &Context,
    name: &PoolName,
    of: &Guarded,
    memory: &mut Memory,
    status: AuditLogStatus,
    now: Timestamp,
) -> Result<Option<Duration>, PassError> {
    context.seams.metrics.shown.show(name, &status);
    let stored = of.0.as_ref().ok().and_then(|log| log.status.clone());
    let last = memory.told.take().or_else(|| stored.map(|status| Told { status, at: Timestamp::UNIX_EPOCH }));
    if let Some(last) = last {
        if last.status == status {
            memory.told = Some(last);
            return Ok(None);
        }
        let age = Duration::try_from(now.duration_since(last.at)).unwrap_or(Duration::ZERO);
        let patience = report::patience(&last.status, &status);
        if age < patience {
            memory.told = Some(last);
            return Ok(Some(patience.saturating_sub(age)));
        }
        write_status(context, name, &status).await?;
        let changed = conditions::changed(&last.status.conditions, &status.conditions);
        tell_events(context, of, &last.status, &changed).await;
    } else {
        write_status(context, name, &status).await?;
        let changed = conditions::changed(&[], &status.conditions);
        tell_events(context, of, &AuditLogStatus::default(), &changed).await;
    }
    memory.told = Some(Told { status, at: now });
    Ok(None)
}

async fn write_status(context: &Context, name: &PoolName, status: &AuditLogStatus) -> Result<(), PassError> {
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(
        context.seams.client.clone(),
        &name.namespace,
        &kube::api::ApiResource::erase::<AuditLog>(&()),
    );
    let patch = json!({
        "apiVersion": AuditLog::api_version(&()), "kind": AuditLog::kind(&()),
        "metadata": { "name": name.name }, "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    context.seams.metrics.writes.inc();
    match api.patch_status(&name.name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        // It has been deleted meanwhile: there is nobody to tell.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(PassError::Status(error)),
    }
}

async fn tell_events(
    context: &Context,
    of: &Guarded,
    before: &AuditLogStatus,
    changed: &[&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) {
    let reference = of.object_ref(&());
    for condition in changed {
        let was_there =
            conditions::find(&before.conditions, &condition.type_).is_some_and(|old| old.status != "Unknown");
        let good = conditions::is_good(&condition.type_, &condition.status);
        let note = format!("{}: {}", condition.type_, condition.message);
        match good {
            // That a pool begins is no news, and no warning.
            Some(false) if condition.reason == "Starting" => {}
            Some(false) => context.seams.events.warn(&reference, &condition.reason, note).await,
            // That all is well is no news at the beginning.
            Some(true) if was_there || condition.type_ == conditions::READY => {
                context.seams.events.note(&reference, &condition.reason, note).await;
            }
            Some(true) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_of_two_times_counts() {
        let second = Duration::from_secs(1);
        assert_eq!(earliest(None, None), None);
        assert_eq!(earliest(Some(second), None), Some(second));
        assert_eq!(earliest(Some(second * 2), Some(second)), Some(second));
    }
}
