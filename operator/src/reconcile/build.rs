//! A pool's objects, as they shall be.
//!
//! Pure: golden files hold them whole. What the API server fills in by default is not written, so that applying the same
//! again changes nothing. Children are owned by the AuditLog, but for the CA and the list of volumes that were set aside:
//! these, like the volumes themselves, outlive it.

mod access;
mod list;
mod pods;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use super::facts::{Cluster, Dereferenced};
use super::scale::Scale;
use super::validate::Pool;
use crate::api::AuditLog;
use crate::certificates::Plan;
use crate::config::Config;
use crate::observed::PublicKeys;

pub use list::{ANNOTATION_LEAVING, epoch, leaving};

/// What objects are made from, beside what was found.
#[derive(Clone, Copy)]
pub struct Plot<'a> {
    /// The AuditLog.
    pub pool: &'a Pool,
    /// Where it is.
    pub cluster: &'a Cluster,
    /// The flags.
    pub config: &'a Config,
    /// The operator's own keys.
    pub keys: &'a PublicKeys,
    /// How many collectors there are now.
    pub scale: &'a Scale,
}

/// All of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Whose tokens read everything.
    pub reader: ServiceAccount,
    /// That they may.
    pub reader_binding: RoleBinding,
    /// The CA; kept.
    pub ca: Secret,
    /// Collectors' certificates.
    pub tls: Secret,
    /// What collectors watch.
    pub config: ConfigMap,
    /// Volumes that were set aside; kept. None until there is one.
    pub volumes: Option<ConfigMap>,
    /// Bootstrap.
    pub service: Service,
    /// Collectors' names.
    pub pods_service: Service,
    /// One collector at a time.
    pub budget: PodDisruptionBudget,
    /// Who reaches them.
    pub policy: NetworkPolicy,
    /// The collectors.
    pub set: StatefulSet,
    /// Readers of volumes that were scaled away, by ordinal.
    pub readers: BTreeMap<u32, Deployment>,
}

/// All objects of a pool.
pub fn build(plot: &Plot<'_>, found: &Dereferenced, plan: &Plan, epoch: u64) -> Children {
    Children {
        reader: access::reader(plot),
        reader_binding: access::reader_binding(plot),
        ca: secret(kept(plot, plot.pool.name.ca_secret()), &plan.ca),
        tls: secret(owned(plot, plot.pool.name.tls_secret()), &plan.tls),
        config: list::config(plot, found, &plan.bundle, epoch),
        volumes: list::volumes(plot, found),
        service: access::service(plot),
        pods_service: access::pods_service(plot),
        budget: access::budget(plot),
        policy: access::policy(plot),
        set: pods::set(plot),
        readers: plot.scale.readers.iter().map(|ordinal| (*ordinal, pods::reader(plot, *ordinal))).collect(),
    }
}

fn secret(metadata: ObjectMeta, data: &BTreeMap<String, Vec<u8>>) -> Secret {
    let data = data.iter().map(|(name, value)| (name.clone(), ByteString(value.clone()))).collect();
    Secret { metadata, data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() }
}

/// The metadata of what goes with the AuditLog.
fn owned(plot: &Plot<'_>, name: String) -> ObjectMeta {
    ObjectMeta { owner_references: Some(vec![owner(plot.pool)]), ..kept(plot, name) }
}

/// The metadata of what outlives it.
fn kept(plot: &Plot<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(plot.pool.name.namespace.clone()),
        labels: Some(plot.pool.name.labels()),
        ..ObjectMeta::default()
    }
}

fn owner(pool: &Pool) -> OwnerReference {
    OwnerReference {
        api_version: AuditLog::api_version(&()).into_owned(),
        kind: AuditLog::kind(&()).into_owned(),
        name: pool.name.name.clone(),
        uid: pool.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests;
