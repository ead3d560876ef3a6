//! What else wakes the reconciler, and what is told of things that are no pool: AuditLogs that come, change and go;
//! namespaces that name one that is not there; what was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Resource as _, ResourceExt};
use tokio::sync::{mpsc, watch};

use super::watches::{Ears, Queue};
use super::{Guarded, Seams};
use crate::names::{ANNOTATION_ACKNOWLEDGE, ANNOTATION_REPLACE_VOLUME, ANNOTATION_ROTATE_CA, LABEL_AUDIT_LOG};
use crate::observed::{Injection, Observations, Observed, PoolName};

fn name_of(object: &impl ResourceExt) -> PoolName {
    PoolName::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// What of an AuditLog wakes its pass: what people write, and not what we wrote into its status.
fn asked(log: &Guarded) -> (Option<i64>, Vec<Option<String>>, bool) {
    let annotation = |name: &&str| log.annotations().get(*name).cloned();
    let annotations = [ANNOTATION_ACKNOWLEDGE, ANNOTATION_REPLACE_VOLUME, ANNOTATION_ROTATE_CA];
    let deleted = log.meta().deletion_timestamp.is_some();
    (log.meta().generation, annotations.iter().map(annotation).collect(), deleted)
}

/// Follows AuditLogs of all namespaces, keeps them in the store, and puts those into the queue that people changed.
pub async fn follow_audit_logs(ears: Ears, mut store: Writer<Guarded>, seams: Seams) {
    let Seams { events, views, metrics, .. } = seams;
    let api: Api<Guarded> = Api::all(ears.client.clone());
    let heard = watch_objects(api, watcher::Config::default()).default_backoff();
    let mut heard = std::pin::pin!(heard);
    let (mut known, mut listed) = (BTreeMap::new(), BTreeSet::new());
    while let Some(event) = heard.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "the watch of AuditLogs was interrupted; it goes on");
                continue;
            }
        };
        store.apply_watcher_event(&event);
        match &event {
            Event::Apply(log) | Event::InitApply(log) => {
                let (name, asked) = (name_of(log), (log.uid(), asked(log)));
                listed.insert(name.clone());
                if known.insert(name.clone(), asked.clone()) != Some(asked) {
                    ears.stale.mark(name.clone());
                    let _ = ears.queue.send(name);
                }
            }
            Event::Delete(log) => {
                let name = name_of(log);
                known.remove(&name);
                metrics.shown.retain(|shown| *shown != name);
                // One that never was a pool leaves nothing.
                let had_logs = log.0.as_ref().is_ok_and(|log| log.status.as_ref().is_some_and(|s| !s.logs.is_empty()));
                if views.send_if_modified(|views| views.remove(&name).is_some()) || had_logs {
                    events.note(&log.object_ref(&()), "EvidenceKept", kept(&name)).await;
                }
            }
            Event::Init => listed.clear(),
            // Those that went while nobody listened: nobody is left to be told.
            Event::InitDone => {
                known.retain(|name, _| listed.contains(name));
                metrics.shown.retain(|name| listed.contains(name));
                views.send_if_modified(|views| {
                    let before = views.len();
                    views.retain(|name, _| listed.contains(name));
                    views.len() != before
                });
            }
        }
    }
}

/// What is left of a pool, and how one gets rid of it.
fn kept(name: &PoolName) -> String {
    format!(
        "the AuditLog is deleted; its CA (Secret {}) and its volumes (claims {} ...) are kept and adopted when it is made \
         again; they are deleted by hand only",
        name.ca_secret(),
        name.claim(0)
    )
}

/// Tells namespaces whose label names no AuditLog that is served.
pub async fn judge_namespaces(
    store: Store<Guarded>,
    mut changed: mpsc::UnboundedReceiver<PartialObjectMeta<Namespace>>,
    seams: Seams,
) {
    if store.wait_until_ready().await.is_err() {
        return;
    }
    while let Some(namespace) = changed.recv().await {
        let label = namespace.labels().get(LABEL_AUDIT_LOG).cloned().unwrap_or_default();
        let exists = |pool: &PoolName| store.get(&ObjectRef::new(&pool.name).within(&pool.namespace)).is_some();
        let Some((reason, text)) = judge(&label, &seams.config.audit_log_namespaces, exists) else { continue };
        let reference = ObjectReference {
            kind: Some("Namespace".to_owned()),
            api_version: Some("v1".to_owned()),
            name: Some(namespace.name_any()),
            uid: namespace.uid(),
            ..ObjectReference::default()
        };
        seams.events.warn(&reference, reason, text).await;
    }
}

/// What is wrong with the label of a namespace.
fn judge(label: &str, served: &[String], exists: impl Fn(&PoolName) -> bool) -> Option<(&'static str, String)> {
    let Some(pool) = PoolName::from_label(label) else {
        let text = format!("label {LABEL_AUDIT_LOG}: {label:?} names no AuditLog: its value is <namespace>.<name>");
        return Some(("AuditLogNotFound", text));
    };
    if !served.contains(&pool.namespace) {
        let text = format!(
            "label {LABEL_AUDIT_LOG} names AuditLog {pool}, but AuditLogs are served in {} only: name one of these, or add {} \
             to auditLogNamespaces of the chart",
            served.join(", "),
            pool.namespace
        );
        return Some(("NamespaceNotServed", text));
    }
    if !exists(&pool) {
        let text =
            format!("label {LABEL_AUDIT_LOG} names AuditLog {pool}, which is not there: make it, or correct the label");
        return Some(("AuditLogNotFound", text));
    }
    None
}

/// Wakes the passes of pools that were observed anew.
pub async fn on_observations(mut observed: watch::Receiver<Observations>, queue: Queue) {
    let mut last = Observations::new();
    loop {
        let now = observed.borrow_and_update().clone();
        for (pool, seen) in &now {
            if last.get(pool).is_none_or(|before| !is_same(before, seen)) {
                let _ = queue.send(pool.clone());
            }
        }
        last = now;
        if observed.changed().await.is_err() {
            return;
        }
    }
}

/// The same observation is the same allocation, mostly.
fn is_same(before: &Arc<Observed>, now: &Arc<Observed>) -> bool {
    Arc::ptr_eq(before, now) || before == now
}

/// Injection is everybody's: all pools say so.
pub async fn on_injection(mut injection: watch::Receiver<Injection>, store: Store<Guarded>, queue: Queue) {
    while injection.changed().await.is_ok() {
        for log in store.state() {
            let _ = queue.send(name_of(&*log));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_told_what_is_wrong_with_its_label() {
        let served = ["audit".to_owned()];
        let told = |label: &str, exists: bool| judge(label, &served, |_| exists);
        assert_eq!(told("audit.payments", true), None);
        for (label, exists, reason, word) in [
            ("payments", true, "AuditLogNotFound", "<namespace>.<name>"),
            ("other.payments", true, "NamespaceNotServed", "auditLogNamespaces"),
            ("audit.payments", false, "AuditLogNotFound", "audit/payments"),
        ] {
            let (found, text) = told(label, exists).unwrap();
            assert!(found == reason && text.contains(word), "{label}: {text}");
        }
    }

    #[test]
    fn our_own_status_wakes_nobody_and_what_people_write_does() {
        let log = |value: serde_json::Value| -> Guarded { serde_json::from_value(value).unwrap() };
        let base = serde_json::json!({
            "apiVersion": "indelible.dev/v1alpha1", "kind": "AuditLog",
            "metadata": { "name": "a", "namespace": "audit", "generation": 1, "resourceVersion": "1" }, "spec": {},
        });
        let mut status = base.clone();
        status["status"] = serde_json::json!({ "replicas": 3 });
        status["metadata"]["resourceVersion"] = "2".into();
        assert_eq!(asked(&log(base.clone())), asked(&log(status)));
        let mut spec = base.clone();
        spec["metadata"]["generation"] = 2.into();
        assert_ne!(asked(&log(base.clone())), asked(&log(spec)));
        let mut annotated = base.clone();
        annotated["metadata"]["annotations"] = serde_json::json!({ ANNOTATION_REPLACE_VOLUME: "a-0" });
        assert_ne!(asked(&log(base)), asked(&log(annotated)));
    }

    #[test]
    fn an_audit_log_that_goes_says_what_it_leaves() {
        let text = kept(&PoolName::new("audit", "payments"));
        assert!(text.contains("payments-ca") && text.contains("data-payments-0"), "{text}");
    }
}
