//! Whose certificates collectors and witnesses may show.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsConnector;

use super::http::FetchError;
use crate::limits::MAX_CONFIG_BYTES;

/// Trust in the certificates of a file, made once for all collectors.
pub fn tls(ca: &std::path::Path) -> Result<TlsConnector, FetchError> {
    trusting(&pem(ca)?).map_err(|why| FetchError::File { flag: "--ca", path: ca.to_owned(), why })
}

/// The bytes of `--ca`.
pub fn pem(ca: &std::path::Path) -> Result<Vec<u8>, FetchError> {
    let refuse = |why: String| FetchError::File { flag: "--ca", path: ca.to_owned(), why };
    let length = std::fs::metadata(ca).map_err(|e| refuse(e.to_string()))?.len();
    if length > MAX_CONFIG_BYTES as u64 {
        return Err(refuse(format!("over the limit of {MAX_CONFIG_BYTES} bytes")));
    }
    std::fs::read(ca).map_err(|e| refuse(e.to_string()))
}

/// Trust in certificates (PEM).
pub fn trusting(pem: &[u8]) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    add(&mut roots, pem)?;
    Ok(connector(roots, &[HTTP_2]))
}

/// Trust in those whose certificates browsers trust, and in these (PEM), if there are any: a witness is a web server like
/// any other, and what it says is signed.
pub fn trusting_the_web(pem: Option<&[u8]>) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    pem.map_or(Ok(()), |pem| add(&mut roots, pem))?;
    Ok(connector(roots, &[HTTP_2, b"http/1.1"]))
}

/// The name of HTTP/2, as TLS agrees on it.
pub const HTTP_2: &[u8] = b"h2";

fn add(roots: &mut rustls::RootCertStore, pem: &[u8]) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    if roots.len() == before { Err("no certificate in it; expected PEM".to_owned()) } else { Ok(()) }
}

fn connector(roots: rustls::RootCertStore, protocols: &[&[u8]]) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_may_show_what_browsers_trust_and_a_collector_only_its_own() {
        assert!(trusting_the_web(None).is_ok());
        for pem in [&b""[..], b"no certificate"] {
            assert!(trusting(pem).is_err());
            assert!(trusting_the_web(Some(pem)).is_err(), "what is given must be of use");
        }
    }
}
