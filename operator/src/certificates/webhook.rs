//! The webhook's certificate: Secret `indelible-webhook-tls`, made and renewed by the leader, served by every operator.
//!
//! The API server trusts what stands in the webhook configuration's `caBundle`: the leader keeps the bundle there, also
//! after an upgrade of the chart took it away. A new CA takes over only after the configuration has had it for a while,
//! so that no admission fails. Who serves takes the newest certificate from the Secret that it watches.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::issue::CertificateError;
use super::keyring::{Data, Keyring};
use super::rotation::{Confirmed, LeafNames, Outlook, Wanted, outlook, plan};
use crate::clock;
use crate::limits::WEBHOOK_RETRY;
use crate::names::{FIELD_MANAGER, WEBHOOK_CONFIGURATION, WEBHOOK_SECRET, WEBHOOK_SERVICE};

/// What the leaf's files in the Secret begin with.
const LEAF: &str = "tls";

/// Why the webhook's certificate is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The API server.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The Secret's content.
    #[error("Secret {WEBHOOK_SECRET}: {0}; or delete it: a new one is made at once")]
    Certificate(#[from] CertificateError),
}

/// Keeps the Secret and the configuration's `caBundle` as they should be. Only the leader does.
pub async fn keep(client: Client, namespace: &str) {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let by_name = watcher::Config::default().fields(&format!("metadata.name={WEBHOOK_CONFIGURATION}"));
    let mut changes = std::pin::pin!(watcher(configurations.clone(), by_name));
    loop {
        let next = match settle(&client, &configurations, namespace, clock::now()).await {
            Ok(outlook) => outlook.next,
            Err(error) => {
                tracing::warn!(%error, "the webhook's certificate cannot be kept up to date; trying again");
                clock::now()
                    .checked_add(jiff::SignedDuration::try_from(WEBHOOK_RETRY).unwrap_or_default())
                    .unwrap_or_default()
            }
        };
        let wait = std::time::Duration::try_from(next.duration_since(clock::now())).unwrap_or_default();
        let deadline = tokio::time::Instant::now() + wait;
        // A watch that breaks is begun again, not faster than this.
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => break,
                change = changes.next() => match change {
                    Some(Ok(Event::Apply(_) | Event::InitApply(_))) => break,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => tokio::time::sleep(WEBHOOK_RETRY).await,
                }
            }
        }
    }
}

/// Does what is due, in the order in which nobody is cut off: a bundle is published before a leaf needs it.
async fn settle(
    client: &Client,
    configurations: &Api<MutatingWebhookConfiguration>,
    namespace: &str,
    now: Timestamp,
) -> Result<Outlook, WebhookError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let wanted = wanted(namespace);
    loop {
        let secret = secrets.get_opt(WEBHOOK_SECRET).await?;
        let keyring = read(secret.as_ref())?;
        let configuration = configurations.get_opt(WEBHOOK_CONFIGURATION).await?;
        let is_published = configuration.as_ref().is_none_or(|configuration| has(configuration, &keyring.bundle()));
        let confirmed = if is_published { Confirmed::All } else { Confirmed::Not(Vec::new()) };
        let plan = plan(now, &keyring, &wanted, &confirmed)?;
        if plan.is_empty() {
            if let Some(configuration) = configuration.filter(|_| !is_published) {
                publish(configurations, &configuration, &keyring.bundle()).await?;
            }
            return Ok(outlook(now, &keyring)?);
        }
        let keyring = keyring.carry_out(&plan, &wanted, now)?;
        write(&secrets, secret, &keyring).await?;
        tracing::info!(ca = ?plan.ca, "the webhook's certificate was made or renewed");
    }
}

fn wanted(namespace: &str) -> Wanted {
    let leaf =
        LeafNames { file: LEAF.to_owned(), dns: vec![format!("{WEBHOOK_SERVICE}.{namespace}.svc")], uris: Vec::new() };
    Wanted { authority: "indelible webhook".to_owned(), leaves: vec![leaf], rotate: None }
}

fn data(secret: &Secret) -> Data {
    let data = secret.data.clone().unwrap_or_default();
    data.into_iter().map(|(name, ByteString(bytes))| (name, bytes)).collect()
}

fn read(secret: Option<&Secret>) -> Result<Keyring, CertificateError> {
    let data = secret.map(data).unwrap_or_default();
    let mut keyring = Keyring::read_ca(&data)?;
    keyring.read_leaves(&data);
    Ok(keyring)
}

/// Create or Update with resourceVersion: of two leaders one alone gets through.
async fn write(secrets: &Api<Secret>, old: Option<Secret>, keyring: &Keyring) -> Result<(), kube::Error> {
    let data: BTreeMap<String, ByteString> = keyring
        .ca_data()
        .into_iter()
        .chain(keyring.leaf_data())
        .map(|(name, bytes)| (name, ByteString(bytes)))
        .collect();
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    if let Some(old) = old {
        let secret = Secret { data: Some(data), ..old };
        secrets.replace(WEBHOOK_SECRET, &params, &secret).await?;
    } else {
        let metadata = ObjectMeta {
            name: Some(WEBHOOK_SECRET.to_owned()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        };
        secrets.create(&params, &Secret { metadata, data: Some(data), ..Secret::default() }).await?;
    }
    Ok(())
}

fn has(configuration: &MutatingWebhookConfiguration, bundle: &str) -> bool {
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    webhooks
        .iter()
        .all(|webhook| webhook.client_config.ca_bundle.as_ref().is_some_and(|ByteString(has)| has == bundle.as_bytes()))
}

/// Webhooks are merged by name: nothing else of the configuration is touched.
async fn publish(
    configurations: &Api<MutatingWebhookConfiguration>,
    configuration: &MutatingWebhookConfiguration,
    bundle: &str,
) -> Result<(), kube::Error> {
    let bundle = ByteString(bundle.as_bytes().to_vec());
    let names = configuration.webhooks.iter().flatten().map(|webhook| &webhook.name);
    let webhooks: Vec<_> =
        names.map(|name| serde_json::json!({"name": name, "clientConfig": {"caBundle": bundle}})).collect();
    let patch = serde_json::json!({"webhooks": webhooks});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    configurations.patch(WEBHOOK_CONFIGURATION, &params, &Patch::Strategic(patch)).await?;
    tracing::info!("the API server was told which certificates the webhook has");
    Ok(())
}

/// The certificate that is served, from the Secret as it changes; none until there is one.
#[derive(Debug, Clone)]
pub struct Served(watch::Receiver<Option<Arc<CertifiedKey>>>);

impl Served {
    /// Until there is a certificate, or nobody watches the Secret any more.
    pub async fn is_there(&mut self) {
        let _ = self.0.wait_for(Option::is_some).await;
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}

/// Watches the Secret: what is served, and the watch, to be run as long as it is.
pub fn serve(client: Client, namespace: &str) -> (Served, impl Future<Output = ()> + use<>) {
    let (newest, served) = watch::channel(None);
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let by_name = watcher::Config::default().fields(&format!("metadata.name={WEBHOOK_SECRET}"));
    let watching = async move {
        let mut changes = std::pin::pin!(watcher(secrets, by_name));
        while let Some(change) = changes.next().await {
            match change {
                Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
                    if let Some(key) = certified(&data(&secret)) {
                        newest.send_replace(Some(Arc::new(key)));
                    } else {
                        // What is served stays: it is better than nothing.
                        tracing::warn!("Secret {WEBHOOK_SECRET} holds no certificate that can be served");
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the watch of the webhook's certificate broke");
                    tokio::time::sleep(WEBHOOK_RETRY).await;
                }
            }
        }
    };
    (Served(served), watching)
}

fn certified(data: &Data) -> Option<CertifiedKey> {
    let part = |end: &str| data.get(&format!("{LEAF}.{end}"));
    let chain = CertificateDer::pem_slice_iter(part("crt")?).collect::<Result<Vec<_>, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(part("key")?).ok()?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(keyring: &Keyring) -> Secret {
        let data = keyring.ca_data().into_iter().chain(keyring.leaf_data());
        Secret { data: Some(data.map(|(name, bytes)| (name, ByteString(bytes))).collect()), ..Secret::default() }
    }

    fn made() -> Keyring {
        let (now, wanted) = (clock::now(), wanted("indelible"));
        let plan = plan(now, &Keyring::default(), &wanted, &Confirmed::All).unwrap();
        Keyring::default().carry_out(&plan, &wanted, now).unwrap()
    }

    #[test]
    fn what_is_made_is_served() {
        let keyring = made();
        let secret = secret(&keyring);
        assert!(read(Some(&secret)).unwrap() == keyring);
        assert!(certified(&data(&secret)).is_some());
        let mut damaged = data(&secret);
        damaged.insert("tls.key".to_owned(), b"x".to_vec());
        assert!(certified(&damaged).is_none() && certified(&Data::new()).is_none());
    }

    #[test]
    fn a_configuration_has_the_bundle_only_if_each_of_its_webhooks_has() {
        let bundle = made().bundle();
        let configuration = |bundles: &[Option<&str>]| -> MutatingWebhookConfiguration {
            let webhook = |bundle: Option<&str>| {
                let mut config = serde_json::json!({});
                if let Some(bundle) = bundle {
                    config["caBundle"] = serde_json::to_value(ByteString(bundle.as_bytes().to_vec())).unwrap();
                }
                serde_json::json!({"name": "a", "clientConfig": config, "admissionReviewVersions": [], "sideEffects": "None"})
            };
            let webhooks: Vec<_> = bundles.iter().copied().map(webhook).collect();
            serde_json::from_value(serde_json::json!({"webhooks": webhooks})).unwrap()
        };
        assert!(has(&configuration(&[Some(&bundle), Some(&bundle)]), &bundle));
        assert!(!has(&configuration(&[Some(&bundle), None]), &bundle));
        assert!(!has(&configuration(&[Some("older")]), &bundle));
    }
}
