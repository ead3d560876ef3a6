//! The TLS side of the interface: TLS 1.3 only, HTTP/2 only, and a certificate that names the log's key.
//!
//! A sidecar takes receipts only under the key that the certificate names, so a certificate that names none, or
//! another log's, is refused, at the start and when it is renewed, with the URI that it must carry.

use std::sync::Arc;

use indelible_chain::digest::Digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::MAX_CERTIFICATES;

/// Why a certificate with its key cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain cannot be read.
    #[error("not a PEM certificate chain")]
    Chain(#[source] rustls::pki_types::pem::Error),
    /// The chain has none, or too many.
    #[error("a chain of {0} certificates, expected 1 to {MAX_CERTIFICATES}")]
    Count(usize),
    /// The key cannot be read.
    #[error("--tls-key is not a PEM private key")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// The key cannot sign, or is not the certificate's.
    #[error("--tls-key is not the certificate's key, or of a kind that is not served")]
    Pair(#[source] rustls::Error),
    /// The leaf certificate is none.
    #[error("the first certificate is no X.509 certificate")]
    Leaf,
    /// It does not name this log.
    #[error(
        "the certificate does not name this log: it needs the subject alternative name URI:{expected}, it has {found}"
    )]
    OtherLog {
        /// What it must carry.
        expected: String,
        /// What it carries.
        found: String,
    },
}

/// A certificate with its key that names a log.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<CertifiedKey>);

/// The URI that names a log by its verifier key: `indelible:vkey:<hex SHA-256 of the vkey text>`.
pub fn vkey_uri(vkey: &str) -> String {
    format!("indelible:vkey:{}", Digest::sha256(vkey.as_bytes()))
}

/// Reads chain and key, and checks that they belong together and to the log with this verifier key.
pub fn certified_key(chain: &[u8], key: &[u8], vkey: &str) -> Result<Certificate, TlsError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(TlsError::Chain)?;
    let leaf = chain.first().filter(|_| chain.len() <= MAX_CERTIFICATES).ok_or(TlsError::Count(chain.len()))?;
    names_log(leaf, &vkey_uri(vkey))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let key = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).map_err(TlsError::Pair)?;
    Ok(Certificate(Arc::new(key)))
}

fn names_log(leaf: &CertificateDer<'_>, expected: &str) -> Result<(), TlsError> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| TlsError::Leaf)?;
    let names = certificate.subject_alternative_name().map_err(|_| TlsError::Leaf)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    if uris.contains(&expected) {
        return Ok(());
    }
    let found = if uris.is_empty() { "no URI".to_owned() } else { uris.join(", ") };
    Err(TlsError::OtherLog { expected: expected.to_owned(), found })
}

/// Serves the newest certificate that was good.
#[derive(Debug)]
struct Newest(watch::Receiver<Arc<Certificate>>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow().0))
    }
}

/// TLS 1.3 with HTTP/2, for the newest certificate.
pub fn server_config(newest: watch::Receiver<Arc<Certificate>>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has cipher suites for TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Newest(newest)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would spare a signature and cost memory for each client; connections live for hours.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn made(uris: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let uris = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_that_names_the_log_is_served() {
        let (chain, key) = made(&["https://example.com", &vkey_uri(VKEY)]);
        assert!(certified_key(chain.as_bytes(), key.as_bytes(), VKEY).is_ok());
    }

    #[test]
    fn a_certificate_of_another_log_is_refused_with_the_uri_that_it_needs() {
        for uris in [&[][..], &["indelible:vkey:00"]] {
            let (chain, key) = made(uris);
            let error = certified_key(chain.as_bytes(), key.as_bytes(), VKEY).unwrap_err();
            assert!(error.to_string().contains(&format!("URI:{}", vkey_uri(VKEY))), "{error}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (chain, key) = (made(&[&vkey_uri(VKEY)]).0, made(&[]).1);
        assert!(matches!(certified_key(chain.as_bytes(), key.as_bytes(), VKEY), Err(TlsError::Pair(_))));
    }

    #[test]
    fn what_is_no_pem_is_refused() {
        let (chain, key) = made(&[&vkey_uri(VKEY)]);
        let cut = &chain[..chain.len() / 2];
        assert!(certified_key(cut.as_bytes(), key.as_bytes(), VKEY).is_err());
        assert!(matches!(certified_key(b"", key.as_bytes(), VKEY), Err(TlsError::Count(0))));
        assert!(matches!(certified_key(chain.as_bytes(), b"\xff", VKEY), Err(TlsError::Key(_))));
        let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(certified_key(noise.as_bytes(), key.as_bytes(), VKEY), Err(TlsError::Leaf)));
    }
}
