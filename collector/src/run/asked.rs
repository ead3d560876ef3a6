//! What a collector asks for while it runs, and of whom: files, the API server, issuers.
//!
//! Wiring: which flag leads to which source. Files are read before the log is opened; others may be away, and are asked
//! for as long as it takes.

use std::sync::Arc;

use super::StartError;
use crate::config::{Config, KeySource, Readers as ReadersFlag};
use crate::ingest::{NamespaceList, Namespaces};
use crate::jwks::{Fetcher, Source};
use crate::kube::ApiServer;
use crate::kube::configmap::Watcher;
use crate::limits::{MAX_JWKS_BYTES, MAX_NAMESPACES_BYTES, MAX_POOL_BYTES};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::readers::{Readers, Reviews};
use crate::reload::{self, Pool, Reloader};
use crate::settings::{Settings, View, fixed};
use crate::store::Store;
use crate::token::{Issuer, KeySet};
use crate::witness::Asking;

/// Whom to ask.
pub(super) struct Asked {
    outbound: Arc<Outbound>,
    /// Of the cluster, where a flag needs it.
    api: Option<Arc<ApiServer>>,
    metrics: Arc<Metrics>,
}

impl Asked {
    /// Looks for the cluster if a flag needs it.
    pub(super) fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        let outbound = Arc::new(Outbound::default());
        let at_cluster = |source: &KeySource| matches!(source, KeySource::Url(url) if ApiServer::is_at(url.host()));
        let needed = [
            ("configmap", config.cluster.configmap.is_some()),
            ("readers", matches!(config.readers, ReadersFlag::TokenReview(_))),
            ("jwks", config.issuers.iter().any(|issuer| at_cluster(&issuer.jwks))),
        ];
        let api = match needed.into_iter().find(|(_, needed)| *needed) {
            None => None,
            Some((flag, _)) => {
                let credentials = &config.cluster.kube_credentials;
                let api = ApiServer::of_pod(credentials, Arc::clone(&outbound), Arc::clone(metrics));
                Some(Arc::new(api.map_err(|source| StartError::Cluster { flag, source })?))
            }
        };
        Ok(Self { outbound, api, metrics: Arc::clone(metrics) })
    }

    /// The issuers, with keys that are kept fresh.
    pub(super) fn issuers(&self, reloader: &mut Reloader, config: &Config) -> Result<Vec<Issuer>, StartError> {
        let mut issuers = Vec::with_capacity(config.issuers.len());
        for issuer in &config.issuers {
            let source = match (&issuer.jwks, &self.api) {
                (KeySource::File(path), _) => {
                    let keys = reloader
                        .follow([path.clone()], MAX_JWKS_BYTES, |[bytes]| KeySet::parse(&bytes))
                        .map_err(|source| StartError::File { flag: "jwks", source })?;
                    issuers.push(Issuer { url: issuer.url.clone(), keys, wanted: None });
                    continue;
                }
                (KeySource::Url(url), Some(api)) if ApiServer::is_at(url.host()) => {
                    Source::ApiServer(Arc::clone(api), url.path().to_owned())
                }
                (KeySource::Url(url), _) => Source::Web(Arc::clone(&self.outbound), url.clone()),
            };
            let (fetcher, issuer) = Fetcher::new(issuer.url.clone(), source, Arc::clone(&self.metrics));
            tokio::spawn(fetcher.run());
            issuers.push(issuer);
        }
        Ok(issuers)
    }

    /// Pool and namespaces: out of files that are followed, or of the ConfigMap, for which files stand in at first.
    pub(super) fn settings(
        &self,
        reloader: &mut Reloader,
        config: &Config,
    ) -> Result<(View, Option<Watcher>), StartError> {
        let pool = |bytes| Pool::parse(bytes).map(Some);
        let namespaces = |bytes: Vec<u8>| NamespaceList::parse(&bytes).map(Namespaces::Listed);
        let wrong = |flag| move |source| StartError::File { flag, source };
        let (Some(name), Some(api)) = (&config.cluster.configmap, &self.api) else {
            let pool = match config.pool.clone() {
                Some(path) => {
                    reloader.follow([path], MAX_POOL_BYTES, move |[bytes]| pool(bytes)).map_err(wrong("pool"))?
                }
                None => fixed(None),
            };
            let namespaces = match config.namespaces.clone() {
                Some(path) => reloader
                    .follow([path], MAX_NAMESPACES_BYTES, move |[bytes]| namespaces(bytes))
                    .map_err(wrong("namespaces"))?,
                None => fixed(Namespaces::Any),
            };
            let witnesses = fixed(config.cluster.witnesses.clone());
            return Ok((View { pool, namespaces, witnesses }, None));
        };
        let first_pool = match &config.pool {
            Some(path) => reload::read(path, MAX_POOL_BYTES, pool).map_err(wrong("pool"))?,
            None => None,
        };
        let first_namespaces = match &config.namespaces {
            Some(path) => reload::read(path, MAX_NAMESPACES_BYTES, namespaces).map_err(wrong("namespaces"))?,
            None => Namespaces::Unheard,
        };
        let (settings, view) =
            Settings::new(Arc::new(first_pool), Arc::new(first_namespaces), config.cluster.witnesses.clone());
        let watcher = Watcher::new(Arc::clone(api), name.clone(), settings, Arc::clone(&self.metrics));
        Ok((view, Some(watcher)))
    }

    /// What witnesses are asked with.
    pub(super) fn witnesses(&self, store: &Arc<Store>) -> Asking {
        Asking { store: Arc::clone(store), outbound: Arc::clone(&self.outbound), metrics: Arc::clone(&self.metrics) }
    }

    /// How readers are known.
    pub(super) fn readers(&self, config: &Config) -> Readers {
        match (&config.readers, &self.api) {
            (ReadersFlag::TokenReview(resource), Some(api)) => {
                let audience = config.reader_audience.clone();
                Readers::Reviewed(Reviews::new(Arc::clone(api), resource.clone(), audience, Arc::clone(&self.metrics)))
            }
            (ReadersFlag::None, _) => Readers::None,
            (ReadersFlag::Jwks | ReadersFlag::TokenReview(_), _) => Readers::Jwks,
        }
    }
}
