//! The webhook over real TLS: reviews, and what is none.

use std::net::SocketAddr;

use prometheus_client::registry::Registry;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use super::super::samples;
use super::super::watches::fake;
use super::*;

const NAME: &str = "indelible-webhook.indelible.svc";

/// A certificate that is its own CA.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn certified(certificate: &str, key: &str) -> Arc<CertifiedKey> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    Arc::new(CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).unwrap())
}

#[derive(Debug)]
struct Newest(watch::Receiver<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}

struct Server {
    address: SocketAddr,
    identity: watch::Sender<Option<Arc<CertifiedKey>>>,
    registry: Registry,
}

async fn serve(identity: Option<Arc<CertifiedKey>>) -> Server {
    let live = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new", "labels": {"indelible.dev/audit-log": "audit.payments"}}});
    let asker = fake::desk(samples::cluster(), fake::changes(), live).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (identity, shown) = watch::channel(identity);
    let mut registry = Registry::default();
    let webhook = Webhook::new(asker, Metrics::new(&mut registry));
    tokio::spawn(webhook.run(listener, Arc::new(Newest(shown)), std::future::pending()));
    Server { address, identity, registry }
}

/// One request by somebody who trusts `ca` only.
async fn send(address: SocketAddr, ca: &str, request: &[u8]) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(request).await?;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn review(namespace: &str) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u1", "operation": "CREATE", "namespace": namespace, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": samples::pod(),
    }})
    .to_string()
}

fn response(text: &str) -> Value {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{text}");
    serde_json::from_str::<Value>(body).unwrap()["response"].clone()
}

#[tokio::test]
async fn a_pod_of_a_namespace_that_no_watch_has_shown_yet_gets_its_sidecar() {
    let (ca, key) = certificate();
    let server = serve(Some(certified(&ca, &key))).await;
    let response = response(&send(server.address, &ca, &post("/inject?timeout=5s", &review("new"))).await.unwrap());
    assert_eq!(
        (&response["allowed"], &response["patchType"], &response["uid"]),
        (&json!(true), &json!("JSONPatch"), &json!("u1"))
    );
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &server.registry).unwrap();
    assert!(page.contains("admission_reviews_total{outcome=\"Injected\"} 1"), "{page}");
}

#[tokio::test]
async fn pods_of_excluded_namespaces_are_left_alone() {
    let (ca, key) = certificate();
    let server = serve(Some(certified(&ca, &key))).await;
    let text = send(server.address, &ca, &post(PATH, &review("kube-system"))).await.unwrap();
    assert_eq!(response(&text), json!({"uid": "u1", "allowed": true}));
}

#[tokio::test]
async fn a_new_certificate_is_served_from_the_next_connection_on() {
    let ((old, old_key), (new, new_key)) = (certificate(), certificate());
    let server = serve(None).await;
    let request = post(PATH, &review("kube-system"));
    assert!(send(server.address, &old, &request).await.is_err());
    server.identity.send_replace(Some(certified(&old, &old_key)));
    assert!(send(server.address, &old, &request).await.is_ok());
    server.identity.send_replace(Some(certified(&new, &new_key)));
    assert!(send(server.address, &old, &request).await.is_err());
    assert!(send(server.address, &new, &request).await.is_ok());
}

#[tokio::test]
async fn what_is_malformed_is_refused_with_a_text_and_a_bounded_body() {
    let (ca, key) = certificate();
    let server = serve(Some(certified(&ca, &key))).await;
    let large = "x".repeat(usize::try_from(MAX_REVIEW_BYTES).unwrap() + 1);
    for (request, status, words) in [
        (post(PATH, "{"), 400, "no AdmissionReview"),
        (post(PATH, ""), 400, "no AdmissionReview"),
        (post(PATH, &review("pay").replace("CREATE", "CREATE\\")), 400, "no AdmissionReview"),
        (post(PATH, &large), 413, "over the limit of 4194304 bytes"),
        (post("/mutate", &review("pay")), 404, "there is only /inject"),
        (b"GET /inject HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(), 405, "takes POST"),
    ] {
        let text = send(server.address, &ca, &request).await.unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains(words), "{text}");
    }
    // And it goes on serving.
    assert!(send(server.address, &ca, &post(PATH, &review("new"))).await.unwrap().starts_with("HTTP/1.1 200"));
}
