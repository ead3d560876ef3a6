//! Injection: every pod of an opted-in namespace gets a sidecar when it is created.
//!
//! [`admit`] is the pure core: a pod and the facts that belong to it in, a patch with warnings or a refusal out. The
//! edges are `serve` (HTTPS) and `watches`, which keeps the `desk`, the one owner of what the facts are made from. A pod is admitted unchanged whenever something is wrong
//! with us; that nobody uses this where auditing is enforced is the admission policies' part, inside the API server.

pub mod breaker;
pub mod decide;
pub mod desk;
pub mod facts;
pub mod metrics;
pub mod mirror;
pub mod names;
pub mod patch;
pub mod reserved;
pub mod resources;
pub mod review;
pub mod serve;
pub mod sidecar;
pub mod source;
pub mod watches;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::decide::{Obstacle, Target, Whether};
use self::facts::Facts;
use self::metrics::Metrics;
use self::patch::Addition;
use self::resources::Surroundings;
use self::serve::Webhook;
use crate::certificates::webhook;
use crate::limits::DISCOVERY_RETRY;
use crate::observed::Injection;
use crate::run::{Process, told};

/// A pod that is about to be created.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// As it was sent, with fields that this version does not know.
    pub value: Value,
    /// As far as this version knows it.
    pub pod: Pod,
}

impl Incoming {
    /// From the object of an admission request.
    pub fn new(value: Value) -> Result<Self, serde_json::Error> {
        let pod = serde_json::from_value(value.clone())?;
        Ok(Self { value, pod })
    }
}

/// What the API server is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The pod gets a sidecar.
    Inject {
        /// The patch.
        patch: Patch,
        /// Of which pool, `N.A`.
        pool: String,
        /// For whoever created it.
        warnings: Vec<String>,
    },
    /// The pod is admitted as it is.
    Leave {
        /// Why it is not audited, if it should be.
        warning: Option<String>,
    },
    /// The pod is refused.
    Deny(String),
}

/// The answer for a pod that is created.
pub fn admit(incoming: &Incoming, facts: &Facts) -> Answer {
    let pod = &incoming.pod;
    if decide::opted_in(facts.namespace, facts.cluster).is_none() {
        return Answer::Leave { warning: None };
    }
    if let Some(misuse) = reserved::misuse(pod) {
        return Answer::Deny(format!("indelible: {misuse}"));
    }
    match decide::decide(pod, facts) {
        Whether::No => Answer::Leave { warning: None },
        Whether::Cannot(obstacle) => cannot(&obstacle, facts),
        Whether::Yes(target) => inject(incoming, &target, facts).unwrap_or_else(|obstacle| cannot(&obstacle, facts)),
    }
}

fn cannot(obstacle: &Obstacle, facts: &Facts) -> Answer {
    let namespace = &facts.namespace.name;
    if facts.namespace.enforced() {
        Answer::Deny(format!(
            "indelible: auditing is enforced in namespace {namespace:?}, and this pod cannot be audited: {obstacle}"
        ))
    } else {
        Answer::Leave { warning: Some(format!("indelible: this pod is not audited: {obstacle}")) }
    }
}

fn inject(incoming: &Incoming, target: &Target, facts: &Facts) -> Result<Answer, Obstacle> {
    let pod = &incoming.pod;
    let around = Surroundings { limit_ranges: &facts.limit_ranges, cpu_limit_demanded: facts.cpu_limit_demanded };
    let resources = resources::resources(pod, &target.spec.sidecar.resources, &around)?;
    let addition = Addition {
        container: sidecar::container(pod, target, facts.namespace, facts.cluster, resources.field),
        volumes: sidecar::volumes(target),
        pull_secrets: target.spec.sidecar.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        label: sidecar::label(target),
        annotations: sidecar::annotations(pod, target, facts.namespace),
    };
    let warnings = resources.warnings.into_iter().map(|warning| format!("indelible: {warning}")).collect();
    Ok(Answer::Inject { patch: patch::patch(&incoming.value, &addition), pool: target.name.label(), warnings })
}

/// Serves admission until the process ends, then answers what has begun. `injection` hears what holds injection up.
pub async fn run(process: Process, listener: TcpListener, metrics: Metrics, injection: watch::Sender<Injection>) {
    let (facts, certificate) = ("admission facts", "webhook certificate");
    process.readiness.wait_for(facts);
    process.readiness.wait_for(certificate);
    let openshift = tokio::select! {
        openshift = is_openshift(&process.client) => openshift,
        () = told(process.ending.clone()) => return,
    };
    let (keeper, asker) = watches::start(&process.client, &process.config, openshift, injection);
    let (served, following) = webhook::serve(process.client.clone(), &process.config.namespace);
    let ready = async {
        served.clone().is_there().await;
        process.readiness.is_ready(certificate);
        std::future::pending::<()>().await;
    };
    let serving = Webhook::new(asker, metrics).run(listener, Arc::new(served.clone()), told(process.ending.clone()));
    // Serving alone ends in order; the others go on until it has.
    tokio::select! {
        () = serving => {}
        () = keeper.run(|| process.readiness.is_ready(facts)) => tracing::error!("nobody keeps what admission is decided from"),
        () = following => tracing::error!("nobody watches the webhook's certificate"),
        () = ready => {}
    }
}

/// Asks until there is an answer: without it a sidecar could have a uid that is refused.
async fn is_openshift(client: &kube::Client) -> bool {
    loop {
        match watches::is_openshift(client).await {
            Ok(openshift) => return openshift,
            Err(error) => tracing::warn!(%error, "cannot ask the API server for its groups; trying again"),
        }
        tokio::time::sleep(DISCOVERY_RETRY).await;
    }
}
