//! What wakes the reconciler: AuditLogs, what belongs to them (metadata only), and opted-in namespaces.
//!
//! The edge that listens. Each change names a pool, marks it as stale and puts it into the queue; nothing is read here.
//! A pool that is not stale is not read again by the reconciler, so that nothing is asked while nothing changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::clock;
use crate::names::{ENFORCED, FIELD_MANAGER, LABEL_AUDIT_LOG, LABEL_ENFORCEMENT};
use crate::observed::{OptedIn, PoolName};

/// Where pools to look at are put. Bounded by the number of pools: the scheduler behind it keeps each once.
pub type Queue = mpsc::UnboundedSender<PoolName>;

/// The versions of what belongs to pools, as they were last heard of.
#[derive(Debug, Default)]
pub struct Versions(Mutex<BTreeMap<(String, String, String), String>>);

impl Versions {
    /// Of the object of this kind, namespace and name.
    pub fn of(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    pub(super) fn set(&self, kind: &str, object: &impl ResourceExt, version: Option<String>) {
        let key = (kind.to_owned(), object.namespace().unwrap_or_default(), object.name_any());
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match version {
            Some(version) => versions.insert(key, version),
            None => versions.remove(&key),
        };
    }

    fn forget(&self, kind: &str, namespace: &str) {
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|(of, within, _), _| of != kind || within != namespace);
    }
}

/// Pools of which something has changed since they were read.
#[derive(Debug, Default)]
pub struct Stale(Mutex<BTreeSet<PoolName>>);

impl Stale {
    /// It has to be read again.
    pub fn mark(&self, pool: PoolName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pool);
    }

    /// Whether it has; from now on it has not.
    pub fn take(&self, pool: &PoolName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(pool)
    }
}

/// What the listeners share.
#[derive(Clone)]
pub struct Ears {
    /// The API server.
    pub client: Client,
    /// What was heard of.
    pub versions: Arc<Versions>,
    /// What has to be read.
    pub stale: Arc<Stale>,
    /// Whom to wake.
    pub queue: Queue,
}

impl Ears {
    fn wake(&self, pool: Option<PoolName>) {
        let Some(pool) = pool else { return };
        self.stale.mark(pool.clone());
        // A receiver that is gone has ended, and so do we.
        let _ = self.queue.send(pool);
    }

    /// Listens to one kind in one namespace, for ever.
    pub async fn listen<K>(self, namespace: String)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let kind = K::kind(&()).into_owned();
        let api: Api<PartialObjectMeta<K>> = Api::namespaced(self.client.clone(), &namespace);
        let config = watcher::Config::default()
            .labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER},{LABEL_AUDIT_LOG}"));
        let events = watch_objects(api, config).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => self.versions.forget(&kind, &namespace),
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    self.versions.set(&kind, &object, object.resource_version());
                    self.wake(pool_of(&object));
                }
                Ok(Event::Delete(object)) => {
                    self.versions.set(&kind, &object, None);
                    self.wake(pool_of(&object));
                }
                Ok(Event::InitDone) => {}
                Err(error) => tracing::debug!(kind, namespace, %error, "a watch was interrupted; it goes on"),
            }
        }
    }
}

/// The volumes of pools, by name: they have no label of ours.
#[derive(Debug, Default)]
pub struct Volumes(Mutex<BTreeMap<String, PoolName>>);

impl Volumes {
    /// These are the volumes of that pool.
    pub fn are_of<'a>(&self, pool: &PoolName, names: impl Iterator<Item = &'a String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, of| of != pool);
        all.extend(names.map(|name| (name.clone(), pool.clone())));
    }

    fn pool(&self, name: &str) -> Option<PoolName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl Ears {
    /// Listens to PersistentVolumes, for their reclaim policy. Nothing is kept of those that are nobody's.
    pub async fn listen_to_volumes(self, volumes: Arc<Volumes>) {
        let api: Api<PartialObjectMeta<PersistentVolume>> = Api::all(self.client.clone());
        let events = watch_objects(api, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(volume) | Event::InitApply(volume) | Event::Delete(volume)) => {
                    self.wake(volumes.pool(&volume.name_any()));
                }
                Ok(Event::Init | Event::InitDone) => {}
                Err(error) => tracing::debug!(%error, "the watch of PersistentVolumes was interrupted; it goes on"),
            }
        }
    }
}

fn pool_of(object: &impl ResourceExt) -> Option<PoolName> {
    object.labels().get(LABEL_AUDIT_LOG).and_then(|label| PoolName::from_label(label))
}

/// Opted-in namespaces, as they were last heard of.
#[derive(Debug, Default)]
pub struct OptIns(Mutex<BTreeMap<String, (PoolName, OptedIn)>>);

impl OptIns {
    /// Those of one pool, by name.
    pub fn of(&self, pool: &PoolName) -> Vec<OptedIn> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|(of, _)| of == pool).map(|(_, namespace)| namespace.clone()).collect()
    }

    /// The pools before and after a namespace is as it is now.
    fn replace(&self, name: &str, now: Option<(PoolName, OptedIn)>) -> BTreeSet<PoolName> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(name);
        if before == now {
            all.extend(now.map(|now| (name.to_owned(), now)));
            return BTreeSet::new();
        }
        let after = now.as_ref().map(|(pool, _)| pool.clone());
        all.extend(now.map(|now| (name.to_owned(), now)));
        before.map(|(pool, _)| pool).into_iter().chain(after).collect()
    }

    fn retain(&self, names: &BTreeSet<String>) -> BTreeSet<PoolName> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = all.iter().filter(|(name, _)| !names.contains(*name)).map(|(_, (pool, _))| pool.clone()).collect();
        all.retain(|name, _| names.contains(name));
        gone
    }
}

fn opted_in(namespace: &PartialObjectMeta<Namespace>) -> Option<(PoolName, OptedIn)> {
    let pool = pool_of(namespace)?;
    let created = namespace.metadata.creation_timestamp.as_ref().map(clock::from_time).unwrap_or_default();
    let enforced = namespace.labels().get(LABEL_ENFORCEMENT).is_some_and(|value| value == ENFORCED);
    let (name, uid) = (namespace.name_any(), namespace.uid().unwrap_or_default());
    Some((pool, OptedIn { name, uid, created, enforced }))
}

/// Follows namespaces with the label. Each namespace that changed goes to `changed` as it is, `ready` is told of the first
/// full list: before it nobody knows who has opted in.
pub async fn follow_namespaces(
    ears: Ears,
    opt_ins: Arc<OptIns>,
    changed: mpsc::UnboundedSender<PartialObjectMeta<Namespace>>,
    ready: tokio::sync::watch::Sender<bool>,
) {
    let config = watcher::Config::default().labels(LABEL_AUDIT_LOG);
    let events = watch_objects(Api::<PartialObjectMeta<Namespace>>::all(ears.client.clone()), config).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let woken = match event {
            Ok(Event::Init) => {
                listed.clear();
                BTreeSet::new()
            }
            Ok(Event::InitApply(namespace)) => {
                listed.insert(namespace.name_any());
                heard(&opt_ins, &changed, namespace)
            }
            Ok(Event::Apply(namespace)) => heard(&opt_ins, &changed, namespace),
            Ok(Event::Delete(namespace)) => opt_ins.replace(&namespace.name_any(), None),
            Ok(Event::InitDone) => {
                let gone = opt_ins.retain(&listed);
                ready.send_replace(true);
                gone
            }
            Err(error) => {
                tracing::debug!(%error, "the watch of namespaces was interrupted; it goes on");
                BTreeSet::new()
            }
        };
        for pool in woken {
            ears.wake(Some(pool));
        }
    }
}

fn heard(
    opt_ins: &OptIns,
    changed: &mpsc::UnboundedSender<PartialObjectMeta<Namespace>>,
    namespace: PartialObjectMeta<Namespace>,
) -> BTreeSet<PoolName> {
    let woken = opt_ins.replace(&namespace.name_any(), opted_in(&namespace));
    if !woken.is_empty() || opted_in(&namespace).is_none() {
        let _ = changed.send(namespace);
    }
    woken
}

/// The queue as a stream that a controller takes.
pub fn queued<K>(
    receiver: mpsc::UnboundedReceiver<PoolName>,
) -> impl Stream<Item = kube::runtime::reflector::ObjectRef<K>>
where
    K: Resource<DynamicType = ()>,
    K::DynamicType: Eq + Hash + Clone,
{
    futures::stream::unfold(receiver, |mut receiver| async {
        let pool = receiver.recv().await?;
        Some((kube::runtime::reflector::ObjectRef::new(&pool.name).within(&pool.namespace), receiver))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, labels: &[(&str, &str)]) -> PartialObjectMeta<Namespace> {
        let labels: serde_json::Map<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": name, "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": labels,
            }
        }))
        .unwrap()
    }

    #[test]
    fn a_namespace_that_moves_wakes_the_pool_that_it_leaves_and_the_one_that_it_joins() {
        let opt_ins = OptIns::default();
        let (a, b) = (PoolName::new("audit", "a"), PoolName::new("audit", "b"));
        let put = |label: &str| opt_ins.replace("pay", opted_in(&namespace("pay", &[(LABEL_AUDIT_LOG, label)])));
        assert_eq!(put("audit.a"), [a.clone()].into());
        assert_eq!(put("audit.a"), BTreeSet::new());
        assert_eq!(put("audit.b"), [a.clone(), b.clone()].into());
        assert_eq!((opt_ins.of(&a).len(), opt_ins.of(&b)[0].enforced), (0, false));
        assert_eq!(opt_ins.replace("pay", None), [b.clone()].into());
        assert!(opt_ins.of(&b).is_empty());
    }

    #[test]
    fn enforcement_and_age_of_a_namespace_are_known() {
        let labels = [(LABEL_AUDIT_LOG, "audit.a"), (LABEL_ENFORCEMENT, ENFORCED)];
        let (_, found) = opted_in(&namespace("pay", &labels)).unwrap();
        assert_eq!((found.enforced, found.created.to_string().as_str()), (true, "2026-01-02T03:04:05Z"));
        assert_eq!(opted_in(&namespace("pay", &[(LABEL_AUDIT_LOG, "nonsense")])), None);
    }

    #[test]
    fn a_namespace_that_went_while_nobody_listened_is_forgotten() {
        let opt_ins = OptIns::default();
        opt_ins.replace("pay", opted_in(&namespace("pay", &[(LABEL_AUDIT_LOG, "audit.a")])));
        assert_eq!(opt_ins.retain(&BTreeSet::new()), [PoolName::new("audit", "a")].into());
        assert!(opt_ins.of(&PoolName::new("audit", "a")).is_empty());
    }
}
