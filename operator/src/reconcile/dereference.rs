//! Reads what an AuditLog refers to.
//!
//! The edge in: objects become the values of `facts`, and nothing is decided. What is not there is none; what cannot be
//! read is an error, and the whole pass is tried again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use indelible_chain::note::VerifierKey;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerStatus, Event, Namespace, PersistentVolume, PersistentVolumeClaim, Pod as ApiPod, Secret,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::build::{ANNOTATION_LEAVING, leaving};
use super::facts::{Claim, Class, Cluster, Dereferenced, Pod, PoolConfig, Reclaim, Set};
use crate::api::AuditLog;
use crate::certificates::Secrets;
use crate::limits::{MAX_LISTED, MAX_REFUSALS};
use crate::names::{LABEL_ORDINAL, selector_text};
use crate::observed::{OptedIn, PoolName};

/// What is true of the whole cluster.
pub async fn cluster(client: &Client) -> Result<Cluster, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get_metadata("kube-system").await?;
    let discovery = http::Request::get("/.well-known/openid-configuration").body(Vec::new());
    let discovery: serde_json::Value = client.request(discovery.map_err(kube::Error::HttpError)?).await?;
    let groups = client.list_api_groups().await?.groups;
    Ok(Cluster {
        uid: system.uid().unwrap_or_default(),
        issuer: discovery["issuer"].as_str().unwrap_or_default().to_owned(),
        chooses_uids: groups.iter().any(|group| group.name == "security.openshift.io"),
    })
}

/// What belongs to this AuditLog, and what its spec names. `namespaces` are those that name it.
pub async fn dereference(
    client: &Client,
    log: &AuditLog,
    namespaces: Vec<OptedIn>,
) -> Result<Dereferenced, kube::Error> {
    let name = PoolName::new(log.namespace().unwrap_or_default(), log.name_any());
    let (secrets, ca_version) = secrets(client, &name).await?;
    let (config, set_aside) = config(client, &name).await?;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &name.namespace);
    let set = sets.get_opt(&name.name).await?.map(set);
    let pods = pods(client, &name).await?;
    let claims = claims(client, &name).await?;
    let mut found = Dereferenced {
        secrets,
        ca_version,
        config,
        set,
        pods,
        claims,
        readers: readers(client, &name).await?,
        storage_class: storage_class(client, &log.spec.collectors.storage.storage_class_name).await?,
        namespaces,
        set_aside,
        refusals: Vec::new(),
    };
    if found.set.as_ref().is_some_and(|set| set.observed && set.pods < set.replicas) {
        found.refusals = refusals(client, &name).await?;
    }
    Ok(found)
}

fn owned(name: &PoolName) -> ListParams {
    ListParams::default().labels(&name.owned_selector()).limit(MAX_LISTED)
}

async fn secrets(client: &Client, name: &PoolName) -> Result<(Secrets, Option<String>), kube::Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &name.namespace);
    let ca = api.get_opt(&name.ca_secret()).await?;
    let tls = api.get_opt(&name.tls_secret()).await?;
    let version = ca.as_ref().and_then(kube::ResourceExt::resource_version);
    let data = |secret: Secret| {
        secret.data.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0)).collect::<BTreeMap<_, _>>()
    };
    Ok((Secrets { ca: ca.map(data), tls: tls.map(data) }, version))
}

async fn config(
    client: &Client,
    name: &PoolName,
) -> Result<(Option<PoolConfig>, Vec<super::facts::SetAsideVolume>), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &name.namespace);
    let config = api.get_opt(&name.pool_config()).await?.map(|config| PoolConfig {
        leaving: config.annotations().get(ANNOTATION_LEAVING).and_then(|text| leaving(text)),
        data: config.data.unwrap_or_default(),
    });
    let volumes = api.get_opt(&name.volumes_config()).await?.and_then(|volumes| volumes.data);
    let text = volumes.and_then(|data| data.into_values().next()).unwrap_or_default();
    Ok((config, super::volumes::parse(&text)))
}

fn set(set: StatefulSet) -> Set {
    let generation = set.metadata.generation;
    let deleting = set.metadata.deletion_timestamp.is_some();
    let (spec, status) = (set.spec.unwrap_or_default(), set.status.unwrap_or_default());
    let count = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
    let template = spec.volume_claim_templates.unwrap_or_default().into_iter().next();
    let same = status.current_revision == status.update_revision;
    Set {
        replicas: count(spec.replicas),
        observed: status.observed_generation == generation,
        pods: count(Some(status.replicas)),
        updated: if same { count(Some(status.replicas)) } else { count(status.updated_replicas) },
        storage: template.map(|claim| requested(&claim)).unwrap_or_default(),
        deleting,
    }
}

fn requested(claim: &PersistentVolumeClaim) -> String {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|all| all.get("storage")).map(|size| size.0.clone()).unwrap_or_default()
}

async fn pods(client: &Client, name: &PoolName) -> Result<Vec<Pod>, kube::Error> {
    let api: Api<ApiPod> = Api::namespaced(client.clone(), &name.namespace);
    let listed = api.list(&owned(name)).await?;
    let mut pods: Vec<Pod> = listed.items.iter().filter_map(|found| pod(name, found)).collect();
    pods.sort_by(|a, b| (a.kept, a.ordinal, &a.name).cmp(&(b.kept, b.ordinal, &b.name)));
    Ok(pods)
}

fn pod(name: &PoolName, found: &ApiPod) -> Option<Pod> {
    let pod_name = found.name_any();
    let kept = found.labels().get(LABEL_ORDINAL).and_then(|ordinal| ordinal.parse().ok());
    let ordinal = kept.or_else(|| name.ordinal(&pod_name))?;
    let status = found.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let inits = status.init_container_statuses.unwrap_or_default();
    let all: Vec<&ContainerStatus> = inits.iter().chain(status.container_statuses.iter().flatten()).collect();
    let unscheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let trouble = all.iter().find_map(|status| trouble(status));
    Some(Pod {
        ordinal,
        kept: kept.is_some(),
        address: status.pod_ip.and_then(|ip| ip.parse::<IpAddr>().ok()),
        ready,
        terminating: found.metadata.deletion_timestamp.is_some(),
        told_key: inits.iter().find(|status| status.name == "key").and_then(told_key),
        trouble: trouble.or_else(|| unscheduled.and_then(|c| c.message.clone())),
        name: pod_name,
    })
}

/// The verifier key is the one line of the message that is one.
fn told_key(status: &ContainerStatus) -> Option<VerifierKey> {
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        let ended = state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code == 0).then(|| ended.message.clone())?
    };
    let message = ended(&status.state).or_else(|| ended(&status.last_state))?;
    message.lines().find_map(|line| line.trim().parse().ok())
}

/// What holds a container up, if it is more than a moment.
fn trouble(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    let waiting = state
        .waiting
        .as_ref()
        .filter(|waiting| !matches!(waiting.reason.as_deref(), None | Some("PodInitializing" | "ContainerCreating")));
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let said = last.and_then(|ended| ended.message.as_deref()).map(str::trim).filter(|text| !text.is_empty());
    waiting.map(|waiting| {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let text = said.or(waiting.message.as_deref()).unwrap_or_default();
        format!("container {}: {reason}: {text}", status.name)
    })
}

async fn claims(client: &Client, name: &PoolName) -> Result<BTreeMap<u32, Claim>, kube::Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &name.namespace);
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let mut claims = BTreeMap::new();
    // By the labels of old: a claim keeps those it was made with.
    let listed = api.list(&ListParams::default().labels(&selector_text(&name.selector())).limit(MAX_LISTED)).await?;
    for found in listed.items {
        let Some(ordinal) = name.claim_ordinal(&found.name_any()) else { continue };
        let requested = requested(&found);
        let uid = found.uid().unwrap_or_default();
        let deleting = found.metadata.deletion_timestamp.is_some();
        let spec = found.spec.unwrap_or_default();
        let bound = found.status.and_then(|status| status.phase).as_deref() == Some("Bound");
        let volume = spec.volume_name.filter(|name| bound && !name.is_empty());
        let reclaim = match &volume {
            Some(volume) => volumes.get_opt(volume).await?.and_then(|volume| reclaim(&volume)),
            None => None,
        };
        claims.insert(ordinal, Claim { uid, requested, volume, class: spec.storage_class_name, deleting, reclaim });
    }
    Ok(claims)
}

fn reclaim(volume: &PersistentVolume) -> Option<Reclaim> {
    match volume.spec.as_ref()?.persistent_volume_reclaim_policy.as_deref()? {
        "Retain" => Some(Reclaim::Retain),
        "Delete" | "Recycle" => Some(Reclaim::Delete),
        _ => None,
    }
}

async fn readers(client: &Client, name: &PoolName) -> Result<Vec<u32>, kube::Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &name.namespace);
    let listed = api.list_metadata(&owned(name)).await?;
    let ordinal = |found: &kube::api::PartialObjectMeta<Deployment>| found.labels().get(LABEL_ORDINAL)?.parse().ok();
    Ok(listed.items.iter().filter_map(ordinal).collect())
}

async fn storage_class(client: &Client, name: &str) -> Result<Class, kube::Error> {
    if name.is_empty() {
        return Ok(Class::Default);
    }
    let api: Api<StorageClass> = Api::all(client.clone());
    Ok(if api.get_metadata_opt(name).await?.is_some() { Class::Found } else { Class::Missing })
}

/// What the StatefulSet's controller could not create, and why: a quota, an admission policy.
async fn refusals(client: &Client, name: &PoolName) -> Result<Vec<String>, kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &name.namespace);
    let fields = format!("involvedObject.kind=StatefulSet,involvedObject.name={},reason=FailedCreate", name.name);
    let mut events = api.list(&ListParams::default().fields(&fields).limit(MAX_LISTED)).await?.items;
    events.sort_by_key(|event| std::cmp::Reverse(event.last_timestamp.as_ref().map(crate::clock::from_time)));
    let mut texts: Vec<String> = events.into_iter().filter_map(|event| event.message).collect();
    texts.dedup();
    texts.truncate(MAX_REFUSALS);
    Ok(texts)
}
