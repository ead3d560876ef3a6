//! One AuditLog after another becomes what its spec says: dereference → validate → build → apply → report.
//!
//! Only the first and the last two touch the cluster. A pass is asked for by a change, by what was observed, or by a time
//! that a step gave; without one of these nothing is asked of the API server. What is remembered between passes saves
//! requests and nothing else: a restart at any point finds in the cluster what is to be done next.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod facts;
pub mod pass;
pub mod report;
pub mod scale;
pub mod shown;
pub mod validate;
pub mod volumes;
pub mod wake;
pub mod watches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config as ControllerConfig, applier};
use kube::runtime::reflector::{self, Store};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use crate::api::AuditLog;
use crate::config::Config;
use crate::events::Events;
use crate::limits::{DEBOUNCE, MAX_POOL_COLLECTORS, RETRY_FIRST, RETRY_LAST};
use crate::observed::{Injection, Observations, PoolName, PoolViews, PublicKeys};
use facts::{Cluster, Dereferenced};
use watches::{Ears, OptIns, Stale, Versions, Volumes};

/// An AuditLog, or what is wrong with it: one that cannot be read stops no other.
pub type Guarded = DeserializeGuard<AuditLog>;

/// What the reconciler needs of the rest of the process.
#[derive(Clone)]
pub struct Seams {
    /// The API server.
    pub client: Client,
    /// The flags.
    pub config: Arc<Config>,
    /// What is true of the cluster.
    pub cluster: Cluster,
    /// The operator's own keys.
    pub keys: PublicKeys,
    /// Where views of pools are published.
    pub views: watch::Sender<PoolViews>,
    /// What is observed of them.
    pub observed: watch::Receiver<Observations>,
    /// What holds injection up.
    pub injection: watch::Receiver<Injection>,
    /// Who tells.
    pub events: Arc<Events>,
    /// What is counted.
    pub metrics: Metrics,
}

/// What the reconciler counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    passes: prometheus_client::metrics::counter::Counter,
    failures: prometheus_client::metrics::counter::Counter,
    reads: prometheus_client::metrics::counter::Counter,
    writes: prometheus_client::metrics::counter::Counter,
    /// What was told of pools.
    pub shown: shown::Shown,
}

impl Metrics {
    /// In this registry.
    pub fn register(registry: &mut prometheus_client::registry::Registry) -> Self {
        let metrics = Self::default();
        let Self { passes, failures, reads, writes, shown } = metrics.clone();
        registry.register("reconcile_passes", "Times that an AuditLog was looked at", passes);
        registry.register("reconcile_failures", "Times that this did not come to its end", failures);
        registry.register("reconcile_reads", "Times that a pool's objects were read", reads);
        registry.register("reconcile_writes", "Objects written", writes);
        registry.register_collector(Box::new(shown));
        metrics
    }
}

/// What all passes share.
pub struct Context {
    seams: Seams,
    opt_ins: Arc<OptIns>,
    stale: Arc<Stale>,
    versions: Arc<Versions>,
    volumes: Arc<Volumes>,
    memory: Mutex<BTreeMap<PoolName, Arc<Mutex<Memory>>>>,
}

/// What is remembered of one pool between passes.
#[derive(Default)]
struct Memory {
    uid: String,
    applied: apply::Applied,
    found: Option<(Timestamp, Dereferenced)>,
    generation: Option<i64>,
    failures: u32,
    told: Option<report::Told>,
}

/// Reconciles for ever.
pub async fn run(seams: Seams) {
    let (queue, queued) = mpsc::unbounded_channel();
    let ears =
        Ears { client: seams.client.clone(), versions: Arc::default(), stale: Arc::default(), queue: queue.clone() };
    let opt_ins = Arc::new(OptIns::default());
    let (store, writer) = reflector::store::<Guarded>();
    let mut tasks = JoinSet::new();
    listen(&mut tasks, &ears, &seams.config.audit_log_namespaces);
    let volumes = Arc::<Volumes>::default();
    tasks.spawn(ears.clone().listen_to_volumes(Arc::clone(&volumes)));
    let (namespaces, changed) = mpsc::unbounded_channel();
    let (ready, mut is_ready) = watch::channel(false);
    tasks.spawn(watches::follow_namespaces(ears.clone(), Arc::clone(&opt_ins), namespaces, ready));
    tasks.spawn(wake::follow_audit_logs(ears.clone(), writer, seams.clone()));
    tasks.spawn(wake::judge_namespaces(store.clone(), changed, seams.clone()));
    tasks.spawn(wake::on_observations(seams.observed.clone(), queue.clone()));
    tasks.spawn(wake::on_injection(seams.injection.clone(), store.clone(), queue));

    let context = Arc::new(Context {
        seams,
        opt_ins,
        stale: Arc::clone(&ears.stale),
        versions: Arc::clone(&ears.versions),
        volumes,
        memory: Mutex::default(),
    });
    // Who has opted in is part of what is built: nobody is reconciled before it is known.
    let _ = is_ready.wait_for(|ready| *ready).await;
    reconcile_all(context, store, queued).await;
}

async fn reconcile_all(context: Arc<Context>, store: Store<Guarded>, queued: mpsc::UnboundedReceiver<PoolName>) {
    let config = ControllerConfig::default().debounce(DEBOUNCE).concurrency(8);
    let queue = watches::queued::<Guarded>(queued).map(Ok::<_, std::convert::Infallible>);
    let policy = |_: Arc<Guarded>, _: &apply::ApplyError, _: Arc<Context>| Action::requeue(RETRY_LAST);
    let passes = applier(
        |log: Arc<Guarded>, context: Arc<Context>| Box::pin(pass::look_at(log, context)),
        policy,
        context,
        store,
        queue,
        config,
    );
    passes
        .for_each(|pass| async {
            if let Err(error) = pass {
                // An AuditLog that is gone was asked for once more; everything else is logged where it is handled.
                tracing::debug!(%error, "a pass ended early");
            }
        })
        .await;
}

/// Every kind that belongs to a pool, in every namespace that is served.
fn listen(tasks: &mut JoinSet<()>, ears: &Ears, namespaces: &[String]) {
    for namespace in namespaces {
        tasks.spawn(ears.clone().listen::<StatefulSet>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<Deployment>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<Pod>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<PersistentVolumeClaim>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<Secret>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<ConfigMap>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<Service>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<ServiceAccount>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<PodDisruptionBudget>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<NetworkPolicy>(namespace.clone()));
        tasks.spawn(ears.clone().listen::<RoleBinding>(namespace.clone()));
    }
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(RETRY_LAST)
}

const _: () = assert!(MAX_POOL_COLLECTORS <= crate::limits::MAX_LISTED);

#[cfg(test)]
mod tests;
