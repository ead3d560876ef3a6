//! Writes a pool's objects.
//!
//! The edge out. Server-side apply with one field manager and force: what others changed in our fields is put right, what
//! they added is left. An object that is as we left it, in content and in its version, is not written again. Nothing is
//! deleted but readers that are not wanted any more and, with its pods kept, a StatefulSet whose claim template grows.

use std::collections::BTreeMap;
use std::fmt::Debug;

use indelible_chain::digest::Digest;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::build::Children;
use super::watches::Versions;
use crate::api::AuditLog;
use crate::names::{ANNOTATION_REPLACE_VOLUME, FIELD_MANAGER};
use crate::observed::PoolName;

/// What was not applied: the object, and the API server's words.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {}", words(source))]
pub struct ApplyError {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub source: kube::Error,
}

/// What an error says to people: the API server's own sentence where it answered.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// What was applied to one pool, so that it is not applied again.
#[derive(Debug, Default)]
pub struct Applied(BTreeMap<(String, String), Mark>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    content: Digest,
    version: Option<String>,
}

/// Writes for one pool.
pub struct Writer<'a> {
    client: &'a Client,
    name: &'a PoolName,
    applied: &'a mut Applied,
    versions: &'a Versions,
    /// How many objects were written.
    pub writes: u64,
    /// The StatefulSet is going away, and not written to.
    pub has_no_set: bool,
}

impl<'a> Writer<'a> {
    /// For this pool.
    pub fn new(client: &'a Client, name: &'a PoolName, applied: &'a mut Applied, versions: &'a Versions) -> Self {
        Self { client, name, applied, versions, writes: 0, has_no_set: false }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name.namespace)
    }

    /// All children, those first that others need. `ca_version` is that of the CA that the plan rests on.
    pub async fn children(&mut self, children: &Children, ca_version: Option<&str>) -> Result<(), ApplyError> {
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
        // A certificate by a CA that was not kept would be worth nothing.
        self.ca(ca, ca_version).await?;
        self.apply(tls).await?;
        self.apply(config).await?;
        if let Some(volumes) = volumes {
            self.apply(volumes).await?;
        }
        self.apply(reader).await?;
        self.apply(reader_binding).await?;
        self.apply(service).await?;
        self.apply(pods_service).await?;
        self.apply(budget).await?;
        self.apply(policy).await?;
        if !self.has_no_set {
            self.apply(set).await?;
        }
        for reader in readers.values() {
            self.apply(reader).await?;
        }
        Ok(())
    }

    /// The CA is written over the one that was read, or made where there was none: a second writer gets a conflict.
    async fn ca(&mut self, ca: &Secret, version: Option<&str>) -> Result<(), ApplyError> {
        let Some(version) = version else {
            let created = self.api().create(&manager(), ca).await;
            self.written(ca, created).map(|_| ())?;
            return Ok(());
        };
        let metadata = ObjectMeta { resource_version: Some(version.to_owned()), ..ca.metadata.clone() };
        if self.is_as_left(ca) {
            return Ok(());
        }
        self.patch(&Secret { metadata, ..ca.clone() }, ca).await
    }

    async fn apply<K>(&mut self, object: &K) -> Result<(), ApplyError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        if self.is_as_left(object) { Ok(()) } else { self.patch(object, object).await }
    }

    async fn patch<K>(&mut self, object: &K, as_wanted: &K) -> Result<(), ApplyError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        value["apiVersion"] = K::api_version(&()).into();
        value["kind"] = K::kind(&()).into();
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self.api::<K>().patch(&object.name_any(), &params, &Patch::Apply(&value)).await;
        self.written(as_wanted, applied).map(|_| ())
    }

    fn is_as_left<K: Resource<DynamicType = ()> + Serialize>(&self, object: &K) -> bool {
        let key = key(object);
        let Some(mark) = self.applied.0.get(&key) else { return false };
        let version = self.versions.of(&key.0, &self.name.namespace, &key.1);
        mark.version.is_some() && mark.version == version && mark.content == content(object)
    }

    fn written<K>(&mut self, wanted: &K, written: kube::Result<K>) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let key = key(wanted);
        self.writes += 1;
        match written {
            Ok(object) => {
                let version = object.resource_version();
                self.applied.0.insert(key, Mark { content: content(wanted), version });
                Ok(object)
            }
            Err(source) => {
                self.applied.0.remove(&key);
                Err(ApplyError { kind: key.0, name: key.1, source })
            }
        }
    }

    /// Readers that nobody wants any more. Their pods end, and let go of their volumes.
    pub async fn remove_readers(&mut self, ordinals: &[u32]) -> Result<(), ApplyError> {
        for ordinal in ordinals {
            let name = self.name.kept(*ordinal);
            let deleted = self.api::<Deployment>().delete(&name, &DeleteParams::background()).await;
            self.writes += 1;
            ignore_missing(deleted.map(|_| ())).map_err(|source| error("Deployment", &name, source))?;
        }
        Ok(())
    }

    /// The StatefulSet goes without its pods, to come again with another claim template.
    pub async fn orphan_set(&mut self) -> Result<(), ApplyError> {
        let name = self.name.name.clone();
        self.writes += 1;
        let deleted = self.api::<StatefulSet>().delete(&name, &DeleteParams::orphan()).await;
        ignore_missing(deleted.map(|_| ())).map_err(|source| error("StatefulSet", &name, source))
    }

    /// A claim asks for more.
    pub async fn grow(&mut self, ordinal: u32, size: &str) -> Result<(), ApplyError> {
        let name = self.name.claim(ordinal);
        let patch = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
        self.writes += 1;
        let grown = self.api::<PersistentVolumeClaim>().patch(&name, &merge(), &Patch::Merge(&patch)).await;
        grown.map(|_| ()).map_err(|source| error("PersistentVolumeClaim", &name, source))
    }

    /// A claim goes, by uid; its pod is evicted, so that it can. The volume stays: its reclaim policy says so.
    pub async fn set_aside(&mut self, ordinal: u32, claim_uid: &str) -> Result<(), ApplyError> {
        let (claim, pod) = (self.name.claim(ordinal), self.name.pod(ordinal));
        let only = Preconditions { uid: Some(claim_uid.to_owned()), resource_version: None };
        self.writes += 2;
        let deleted =
            self.api::<PersistentVolumeClaim>().delete(&claim, &DeleteParams::default().preconditions(only)).await;
        ignore_missing(deleted.map(|_| ())).map_err(|source| error("PersistentVolumeClaim", &claim, source))?;
        let evicted = self.api::<Pod>().evict(&pod, &EvictParams::default()).await;
        ignore_missing(evicted.map(|_| ())).map_err(|source| error("Pod", &pod, source))
    }

    /// The request has been carried out.
    pub async fn take_request_off(&mut self) -> Result<(), ApplyError> {
        let patch = json!({ "metadata": { "annotations": { (ANNOTATION_REPLACE_VOLUME): Value::Null } } });
        self.writes += 1;
        let patched = self.api::<AuditLog>().patch_metadata(&self.name.name, &merge(), &Patch::Merge(&patch)).await;
        patched.map(|_| ()).map_err(|source| error("AuditLog", &self.name.name, source))
    }
}

fn manager() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn merge() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    (K::kind(&()).into_owned(), object.name_any())
}

fn content<K: Serialize>(object: &K) -> Digest {
    Digest::sha256(&serde_json::to_vec(object).unwrap_or_default())
}

fn error(kind: &str, name: &str, source: kube::Error) -> ApplyError {
    ApplyError { kind: kind.to_owned(), name: name.to_owned(), source }
}

/// What is to go and is gone is no failure, nor is one that has already made place for another.
fn ignore_missing(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}
