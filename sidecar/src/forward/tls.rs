//! Whom a connection trusts, and which log key a certificate names.
//!
//! TLS 1.3 only, the CA bundle that is in use and nothing else, no session resumption (a resumed session would skip
//! the check against a bundle that was changed since). Receipts count only under the log key whose digest stands in the collector's
//! certificate as `URI:indelible:vkey:<hex SHA-256 of the vkey text>`.

use std::sync::Arc;

use indelible_chain::digest::Digest;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use x509_parser::extensions::GeneralName;

const VKEY_URI: &str = "indelible:vkey:";

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not PEM.
    #[error("the CA bundle is not PEM: {0}")]
    Pem(String),
    /// A certificate in it cannot be a CA.
    #[error("a certificate of the CA bundle cannot be used")]
    Certificate(#[source] rustls::Error),
    /// Nothing in it.
    #[error("the CA bundle holds no certificate; expected one or more PEM blocks of type CERTIFICATE")]
    Empty,
    /// The TLS library refuses the settings.
    #[error("TLS 1.3 is not available")]
    Tls(#[source] rustls::Error),
}

/// A CA bundle in use.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// For new connections.
    pub config: Arc<ClientConfig>,
    /// SHA-256 of the bundle's bytes.
    pub digest: Digest,
}

impl Bundle {
    /// Takes PEM certificates.
    pub fn parse(pem: &[u8]) -> Result<Self, BundleError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| BundleError::Pem(error.to_string()))?;
            roots.add(certificate).map_err(BundleError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(BundleError::Empty);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(BundleError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), digest: Digest::sha256(pem) })
    }
}

/// The digests of verifier keys that a certificate names. The certificate has been verified.
pub fn vkey_digests(certificate: &[u8]) -> Vec<Digest> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let digest = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => uri.strip_prefix(VKEY_URI)?.parse().ok(),
        _ => None,
    };
    names.value.general_names.iter().filter_map(digest).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["pool".to_owned()]).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn the_log_keys_that_a_certificate_names_are_found() {
        let digest = Digest::sha256(b"vkey");
        let named = certificate(&[&format!("indelible:vkey:{digest}"), "https://elsewhere", "indelible:vkey:short"]);
        assert_eq!(vkey_digests(named.der()), [digest]);
        assert_eq!(vkey_digests(certificate(&[]).der()), []);
        assert_eq!(vkey_digests(b"no certificate"), []);
    }

    #[test]
    fn a_bundle_without_certificates_is_refused() {
        assert!(matches!(Bundle::parse(b""), Err(BundleError::Empty)));
        assert!(matches!(Bundle::parse(b"no PEM at all"), Err(BundleError::Empty)));
        let key = KeyPair::generate().unwrap().serialize_pem();
        assert!(matches!(Bundle::parse(key.as_bytes()), Err(BundleError::Empty)));
        let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(Bundle::parse(broken.as_bytes()), Err(BundleError::Pem(_))));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(Bundle::parse(nonsense.as_bytes()), Err(BundleError::Certificate(_))));
        let good = certificate(&[]).pem();
        assert_eq!(Bundle::parse(good.as_bytes()).unwrap().digest, Digest::sha256(good.as_bytes()));
    }
}
