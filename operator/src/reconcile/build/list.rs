//! What a pool's collectors are told: ConfigMap `A-pool`; and the list of volumes that were set aside, `A-volumes`.
//!
//! The epoch grows with each change of what sidecars are told, also when the ConfigMap was lost: it is never less than
//! the time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};

use super::super::facts::{Dereferenced, Leaving};
use super::{Plot, kept, owned};
use crate::names::{COLLECTOR_PORT, WITNESS_PORT, WITNESS_SERVICE};

/// On the ConfigMap: the scale-down that has begun.
pub const ANNOTATION_LEAVING: &str = "indelible.dev/leaving";

const POOL: &str = "pool.json";
const NAMESPACES: &str = "namespaces.json";
const WITNESSES: &str = "witnesses";
const VOLUMES: &str = "volumes.json";

/// The annotation's value, if it is one.
pub fn leaving(annotation: &str) -> Option<Leaving> {
    serde_json::from_str(annotation).ok()
}

/// What sidecars get from `/v1/pool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PoolJson {
    epoch: u64,
    server_name: String,
    collectors: Vec<String>,
    ca_pem: String,
}

/// The least epoch of a change that is written now.
pub fn epoch(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or_default()
}

pub(super) fn config(plot: &Plot<'_>, found: &Dereferenced, bundle: &str, epoch: u64) -> ConfigMap {
    let name = &plot.pool.name;
    let before = found.config.as_ref().and_then(|config| config.data.get(POOL));
    let listed = (0..plot.scale.listed).filter_map(|ordinal| found.pod(ordinal));
    let addresses = listed.filter(|pod| pod.ready && !pod.terminating).filter_map(|pod| pod.address);
    let pool = PoolJson {
        epoch: 0,
        server_name: name.server_name(),
        collectors: addresses.map(|ip| format!("https://{}", std::net::SocketAddr::new(ip, COLLECTOR_PORT))).collect(),
        ca_pem: bundle.to_owned(),
    };
    let mut data = BTreeMap::new();
    // Without a CA there is nothing to tell yet, and a collector would refuse it.
    if !pool.ca_pem.is_empty() {
        data.insert(POOL.to_owned(), with_epoch(pool, before.map(String::as_str), epoch));
    }
    data.insert(NAMESPACES.to_owned(), serde_json::to_string(&found.namespaces).expect("names and times"));
    data.insert(WITNESSES.to_owned(), witnesses(plot));
    let mut metadata = owned(plot, name.pool_config());
    metadata.annotations = plot.scale.leaving.map(|leaving| {
        let text = serde_json::to_string(&leaving).expect("a number and a time");
        [(ANNOTATION_LEAVING.to_owned(), text)].into()
    });
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

/// What was told before with its epoch, if nothing has changed; else with a greater one.
fn with_epoch(pool: PoolJson, before: Option<&str>, epoch: u64) -> String {
    let old = before.and_then(|before| serde_json::from_str::<PoolJson>(before).ok());
    let epoch = match old {
        Some(old) if (PoolJson { epoch: old.epoch, ..pool.clone() }) == old => old.epoch,
        Some(old) => epoch.max(old.epoch.saturating_add(1)),
        None => epoch,
    };
    serde_json::to_string(&PoolJson { epoch, ..pool }).expect("texts and a number")
}

/// Lines `VKEY=URL`: the operator's own witness first.
fn witnesses(plot: &Plot<'_>) -> String {
    let (own, namespace) = (&plot.keys.witness, &plot.config.namespace);
    let mut lines = format!("{own}=http://{WITNESS_SERVICE}.{namespace}.svc:{WITNESS_PORT}\n");
    for witness in &plot.pool.witnesses {
        // Writing to a String does not fail.
        let _ = writeln!(lines, "{}={}", witness.key, witness.url);
    }
    lines
}

pub(super) fn volumes(plot: &Plot<'_>, found: &Dereferenced) -> Option<ConfigMap> {
    if found.set_aside.is_empty() {
        return None;
    }
    let text = serde_json::to_string(&found.set_aside).expect("names and times");
    Some(ConfigMap {
        metadata: kept(plot, plot.pool.name.volumes_config()),
        data: Some([(VOLUMES.to_owned(), text)].into()),
        ..ConfigMap::default()
    })
}
