//! A pool, found by its AuditLog's name: who is asked, with which token, under which certificates.
//!
//! Edge: asks the API server, and hands what it says to the core beside it. What a user may not look at is said with the
//! right that is missing; only what nothing can go on without is an error.

use std::sync::Arc;

use indelible_chain::verify::Expected;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::ListParams;
use kube::{Api, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use super::access::Cluster;
use super::audit_log::{AuditLog, LABEL, PORT, PoolName};
use super::audited::{OptedIn, Selects};
use super::members::{Member, members};
use super::reader::Reader;
use super::right::{AUDITOR, AskError, AskErrorKind, Right};
use super::tunnel::Tunnel;
use crate::judging::Named;
use crate::limits::{API_PAGE, MAX_LISTED_PODS, MAX_NAMESPACES};
use crate::source::Source;
use crate::source::collector::Collector;
use crate::source::http::Client;
use crate::source::route::{Route, Token};
use crate::source::trust::trusting;
use crate::text::one_line;

/// A pool that was found.
pub struct Pool {
    /// Which one.
    pub name: PoolName,
    /// Its AuditLog.
    pub log: AuditLog,
    cluster: Cluster,
    members: Vec<Member>,
}

/// The AuditLog of that name.
pub async fn audit_log(cluster: &Cluster, name: &PoolName) -> Result<AuditLog, String> {
    let right = Right::to(&["get"], "auditlogs.indelible.dev").called(&name.name).within(&name.namespace).by(AUDITOR);
    match cluster.ask(&right, cluster.within::<AuditLog>(&name.namespace).get(&name.name)).await {
        Ok(log) => Ok(log),
        Err(e) if e.is_absence() => Err(absent(cluster, name).await),
        Err(e) => Err(e.to_string()),
    }
}

/// What there is instead of an AuditLog that is not there.
async fn absent(cluster: &Cluster, name: &PoolName) -> String {
    let no = format!("there is no AuditLog {} in namespace {}", one_line(&name.name), one_line(&name.namespace));
    let right = Right::to(&["list"], "auditlogs.indelible.dev");
    let list = ListParams::default().limit(API_PAGE);
    let mut found = cluster.ask(&right, cluster.all::<AuditLog>().list(&list)).await;
    if found.as_ref().is_err_and(|e| e.kind == AskErrorKind::Forbidden) {
        found = cluster.ask(&right, cluster.within::<AuditLog>(&name.namespace).list(&list)).await;
    }
    match found {
        Err(e) if e.is_absence() => format!(
            "the cluster {} has no AuditLogs: Indelible is not installed there, or you are looking at another cluster \
             (--context)",
            cluster.server()
        ),
        Err(_) => no,
        Ok(found) if found.items.is_empty() => {
            format!("{no}, and none that you may see elsewhere; make one, or see --context")
        }
        Ok(found) => {
            let there = found.items.iter().map(|log| {
                let PoolName { namespace, name } = log.pool_name();
                one_line(&format!("-n {namespace} {name}"))
            });
            format!("{no}; there are: {}", there.collect::<Vec<_>>().join(" · "))
        }
    }
}

/// All objects of a kind that a selector names, page by page, up to a bound.
pub async fn list<K>(
    cluster: &Cluster,
    right: &Right,
    api: &Api<K>,
    labels: &str,
    most: usize,
) -> Result<Vec<K>, AskError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut found: Vec<K> = Vec::new();
    let mut page = ListParams::default().labels(labels).limit(API_PAGE);
    loop {
        let answer = cluster.ask(right, api.list(&page)).await?;
        found.extend(answer.items);
        if found.len() > most {
            return Err(AskError::too_many(right, most));
        }
        match answer.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => page = page.continue_token(&more),
            None => return Ok(found),
        }
    }
}

impl Pool {
    /// Looks a pool up.
    pub async fn find(cluster: Cluster, name: PoolName) -> Result<Self, String> {
        let right = Right::to(&["list"], "pods").within(&name.namespace).by(AUDITOR);
        let (pods, labels) = (cluster.within::<Pod>(&name.namespace), name.pods());
        let (log, pods) =
            tokio::join!(audit_log(&cluster, &name), list(&cluster, &right, &pods, &labels, MAX_LISTED_PODS));
        // Without an AuditLog it does not matter what else may not be seen.
        let log = log?;
        let members = members(&pods.map_err(|e| e.to_string())?, &log);
        if members.is_empty() {
            return Err(format!(
                "AuditLog {name} has no collectors: see the conditions of `kubectl describe auditlog {} -n {}`",
                name.name, name.namespace
            ));
        }
        Ok(Self { name, log, cluster, members })
    }

    /// Trust in its collectors' certificates, as the operator published it.
    pub async fn tls(&self) -> Result<TlsConnector, String> {
        let map = self.config_map().await?;
        let refuse = |why: String| {
            format!(
                "ConfigMap {}/{} of the pool: {why}; --ca FILE does without",
                self.name.namespace,
                self.name.config_map()
            )
        };
        let json = map.data.as_ref().and_then(|data| data.get("pool.json"));
        let json = json.ok_or_else(|| refuse("it has no key pool.json".to_owned()))?;
        let published: Published = serde_json::from_str(json).map_err(|e| refuse(format!("pool.json: {e}")))?;
        trusting(published.ca_pem.as_bytes()).map_err(|why| refuse(format!("ca_pem in pool.json: {why}")))
    }

    async fn config_map(&self) -> Result<ConfigMap, String> {
        let PoolName { namespace, .. } = &self.name;
        let name = self.name.config_map();
        let right = Right::to(&["get"], "configmaps").called(&name).within(namespace).by(AUDITOR);
        let map = self.cluster.ask(&right, self.cluster.within::<ConfigMap>(namespace).get(&name)).await;
        map.map_err(|e| match e.kind {
            AskErrorKind::NotFound => format!("the pool of AuditLog {} is not made yet: {e}", self.name),
            _ => e.to_string(),
        })
    }

    /// A token for its collectors, that of its own reader account or of another one.
    pub fn reader(&self, account: Option<PoolName>) -> Arc<Reader> {
        Arc::new(Reader::new(&self.cluster, self.name.clone(), account.unwrap_or_else(|| self.name.reader())))
    }

    /// Its sources, in the order of their names. None is asked yet.
    pub fn sources(&self, runtime: &Handle, tls: &TlsConnector, token: &Token) -> Vec<Named> {
        let PoolName { namespace, .. } = &self.name;
        let source = |member: &Member| match member {
            Member::Away { pod, why } => {
                Named::Closed { label: one_line(&format!("{namespace}/{pod}")), why: why.clone() }
            }
            Member::Running { pod } => {
                let route = Route::Pod(Tunnel::new(&self.cluster, namespace, pod, PORT));
                let label = one_line(&format!("{namespace}/{pod}"));
                let host = self.name.server_name();
                let client = Client::over(runtime.clone(), route, label, host, tls.clone(), Some(token.clone()));
                Named::Open(Source::Collector(Box::new(Collector::new(client))))
            }
        };
        self.members.iter().map(source).collect()
    }

    /// The keys of who attests the cluster's pods.
    pub async fn issuer_keys(&self) -> Result<String, AskError> {
        self.cluster.get("/openid/v1/jwks").await
    }

    /// The namespaces that have opted in, and what kept us from knowing it better.
    pub async fn opted_in(&self) -> Result<(Vec<OptedIn>, Option<AskError>), String> {
        let labels = format!("{LABEL}={}", self.name.label());
        let right = Right::to(&["list"], "namespaces");
        match list(&self.cluster, &right, &self.cluster.all::<Namespace>(), &labels, MAX_NAMESPACES).await {
            Ok(namespaces) => Ok((namespaces.iter().map(OptedIn::of).collect(), None)),
            // The operator wrote them down for the collectors, without who is strict.
            Err(e) => {
                let map = self.config_map().await?;
                let json = map.data.as_ref().and_then(|data| data.get("namespaces.json")).map_or("[]", String::as_str);
                let listed: Vec<Listed> = serde_json::from_str(json).map_err(|_| e.to_string())?;
                let opted_in = |of: Listed| OptedIn { name: of.name, enforced: false, since: None };
                Ok((listed.into_iter().map(opted_in).collect(), Some(e)))
            }
        }
    }

    /// The pods of a namespace.
    pub async fn pods(&self, namespace: &str) -> Result<Vec<Pod>, AskError> {
        pods(&self.cluster, namespace).await
    }

    /// What should be in the evidence by the pods that run now, and what could not be looked at.
    pub async fn expected(&self) -> (Vec<Expected>, Vec<String>) {
        let (namespaces, unknown) = match self.opted_in().await {
            Ok((namespaces, unknown)) => (namespaces, unknown),
            Err(why) => return (Vec::new(), vec![why]),
        };
        let mut not_seen: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        let selects = Selects::of(&self.log);
        let mut expected = Vec::new();
        for namespace in &namespaces {
            match self.pods(&namespace.name).await {
                Ok(pods) => expected.extend(pods.iter().flat_map(|pod| selects.expected(namespace, pod))),
                Err(e) => not_seen.push(e.to_string()),
            }
        }
        (expected, not_seen)
    }
}

/// The pods of a namespace.
pub async fn pods(cluster: &Cluster, namespace: &str) -> Result<Vec<Pod>, AskError> {
    let right = Right::to(&["list"], "pods").within(namespace);
    list(cluster, &right, &cluster.within::<Pod>(namespace), "", MAX_LISTED_PODS).await
}

#[derive(Deserialize)]
struct Published {
    ca_pem: String,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
}
