//! `indelible-operator check`: whether an installation answers, for `helm test`.
//!
//! Asks the API server for AuditLogs, and the webhook for its opinion of a pod, as the API server would: by the Service
//! and the CA that stand in the webhook's configuration. Changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, WebhookClientConfig};
use kube::api::{Api, ListParams};
use kube::{Client, Error};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::api::AuditLog;
use crate::limits::{CHECK_PATIENCE, MAX_CHECK_ANSWER_BYTES};
use crate::names::WEBHOOK_CONFIGURATION;
use crate::reconcile::apply::words;

/// What does not answer. The text says what to look at.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum CheckError {
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    #[error("cannot find the API server: {0}")]
    Cluster(#[source] kube::Error),
    #[error("AuditLogs are not served: {}; apply the CustomResourceDefinition (indelible-operator crd)", words(.0))]
    Definition(#[source] kube::Error),
    #[error("there is no MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}: {}; is the release installed?", words(.0))]
    Configuration(#[source] kube::Error),
    #[error("the webhook's configuration has no {0} yet: the operator writes it at its start; look at its log")]
    Incomplete(&'static str),
    #[error("the webhook at {address} does not answer: {reason}; look at the operator's pods and their log")]
    Webhook { address: String, reason: String },
}

/// Asks, and says what answered.
pub fn run(namespace: &str) -> Result<String, CheckError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CheckError::Runtime)?;
    runtime.block_on(check(namespace))
}

async fn check(namespace: &str) -> Result<String, CheckError> {
    let client = Client::try_default().await.map_err(CheckError::Cluster)?;
    let logs: Api<AuditLog> = Api::namespaced(client.clone(), namespace);
    logs.list_metadata(&ListParams::default().limit(1)).await.map_err(CheckError::Definition)?;
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client);
    let configuration = match configurations.get(WEBHOOK_CONFIGURATION).await {
        Ok(configuration) => configuration,
        Err(error @ Error::Api(_)) => return Err(CheckError::Configuration(error)),
        Err(error) => return Err(CheckError::Cluster(error)),
    };
    let webhook = configuration.webhooks.unwrap_or_default().into_iter().next();
    let target = Target::new(webhook.ok_or(CheckError::Incomplete("webhook"))?.client_config)?;
    let asked = tokio::time::timeout(CHECK_PATIENCE, ask(&target)).await;
    let refused = |reason: String| CheckError::Webhook { address: target.address.clone(), reason };
    match asked {
        Ok(Ok(())) => Ok(format!("AuditLogs are served, and the webhook at {} answers\n", target.address)),
        Ok(Err(reason)) => Err(refused(reason)),
        Err(_) => Err(refused(format!("nothing within {CHECK_PATIENCE:?}"))),
    }
}

/// Where the API server finds the webhook.
struct Target {
    host: String,
    address: String,
    path: String,
    ca: Vec<u8>,
}

impl Target {
    fn new(config: WebhookClientConfig) -> Result<Self, CheckError> {
        let service = config.service.ok_or(CheckError::Incomplete("service"))?;
        let ca = config.ca_bundle.filter(|ca| !ca.0.is_empty()).ok_or(CheckError::Incomplete("caBundle"))?.0;
        let host = format!("{}.{}.svc", service.name, service.namespace);
        let address = format!("{host}:{}", service.port.unwrap_or(443));
        Ok(Self { host, address, path: service.path.unwrap_or_else(|| "/".to_owned()), ca })
    }
}

/// A pod that nobody means: every webhook of ours lets it pass.
fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "indelible-check", "operation": "CREATE", "dryRun": true, "namespace": "kube-system", "name": "check",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "userInfo": { "username": "indelible-operator-check" },
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "check", "namespace": "kube-system" },
                "spec": { "containers": [ { "name": "check", "image": "check" } ] },
            },
        },
    })
}

async fn ask(target: &Target) -> Result<(), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&target.ca) {
        let certificate = certificate.map_err(|error| said(&error))?;
        roots.add(certificate).map_err(|error| said(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| said(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone()).map_err(|error| said(&error))?;
    let stream = TcpStream::connect(&target.address).await.map_err(|error| said(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| said(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    let request = Request::post(&target.path)
        .header(http::header::HOST, &target.host)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(review().to_string())))
        .map_err(|error| said(&error))?;
    let response = sender.send_request(request).await.map_err(|error| said(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_CHECK_ANSWER_BYTES).collect().await.map_err(|e| e.to_string())?;
    let answer: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    match answer["response"]["allowed"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(format!("status {status} and no admission of a pod that is none of its business")),
    }
}
