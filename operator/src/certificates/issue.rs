//! Making certificates, and reading what stands in them.
//!
//! Keys are ECDSA on P-256. A certificate is valid from an hour before it was made, so that clocks may differ.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SanType,
};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::keyring::{Ca, Leaf};
use super::rotation::{CA_LIFE, LEAF_LIFE, LeafNames};

/// By how much clocks may differ.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// Why a keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A PEM text holds no certificate.
    #[error("{what} is no PEM certificate; restore it from a backup")]
    Certificate {
        /// Which.
        what: &'static str,
    },
    /// A CA's key is not that of its certificate.
    #[error(
        "ca.key is not the key of ca.crt; restore both from a backup: with another CA the sidecars that run are cut off"
    )]
    OtherKey,
    /// Something is missing.
    #[error("{0} is missing beside the rest of the CA; restore it from a backup")]
    Missing(&'static str),
    /// Not text.
    #[error("{0} is not UTF-8; restore it from a backup")]
    Utf8(String),
    /// Longer than any that is made.
    #[error("{0} is over the limit of {limit} bytes", limit = crate::limits::MAX_PEM_BYTES)]
    TooLong(String),
    /// A certificate cannot be made.
    #[error("a certificate for {what} cannot be made")]
    Make {
        /// Whose.
        what: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A time that certificates cannot hold.
    #[error("the time {0} is outside of what certificates can hold; set the clock")]
    Time(Timestamp),
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The first second.
    pub not_before: Timestamp,
    /// The last second.
    pub not_after: Timestamp,
}

impl Life {
    /// When two thirds are over.
    pub fn renewal(&self) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        self.not_before.checked_add(life / 3 * 2).unwrap_or(self.not_after)
    }
}

/// What is read from a certificate.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) life: Life,
    pub(super) dns: Vec<String>,
    pub(super) uris: Vec<String>,
    public_key: Vec<u8>,
}

impl Facts {
    pub(super) fn read(pem: &str) -> Option<Self> {
        with_certificate(pem, |certificate| {
            let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
            let validity = certificate.validity();
            let life = Life { not_before: time(validity.not_before)?, not_after: time(validity.not_after)? };
            let (mut dns, mut uris) = (Vec::new(), Vec::new());
            for name in certificate.subject_alternative_name().ok()?.iter().flat_map(|names| &names.value.general_names)
            {
                match name {
                    GeneralName::DNSName(name) => dns.push((*name).to_owned()),
                    GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                    _ => {}
                }
            }
            Some(Self { life, dns, uris, public_key: certificate.public_key().raw.to_vec() })
        })
    }

    pub(super) fn is_of_key(&self, key: &str) -> bool {
        KeyPair::from_pem(key).is_ok_and(|key| key.subject_public_key_info() == self.public_key)
    }
}

/// Whether one certificate is signed with another's key.
pub(super) fn is_by(certificate: &str, issuer: &str) -> bool {
    with_certificate(issuer, |issuer| {
        with_certificate(certificate, |certificate| {
            let is_named = certificate.issuer().as_raw() == issuer.subject().as_raw();
            (is_named && certificate.verify_signature(Some(issuer.public_key())).is_ok()).then_some(())
        })
    })
    .is_some()
}

fn with_certificate<T>(pem: &str, read: impl FnOnce(&X509Certificate<'_>) -> Option<T>) -> Option<T> {
    let (_, pem) = Pem::read(std::io::Cursor::new(pem.as_bytes())).ok().map(|(pem, read)| (read, pem))?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    read(&certificate)
}

/// Makes a CA. Its name says when it was made, so that two of them in one bundle can be told apart.
pub(super) fn ca(name: &str, now: Timestamp) -> Result<Ca, CertificateError> {
    let make = |source| CertificateError::Make { what: name.to_owned(), source };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{name} {}", now.strftime("%Y-%m-%d %H:%M:%S")));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, end(now, CA_LIFE)?)?;
    let key = KeyPair::generate().map_err(make)?;
    let certificate = params.self_signed(&key).map_err(make)?.pem();
    Ok(Ca { certificate, key: key.serialize_pem() })
}

/// Makes a leaf with a key of its own. It does not outlive its CA.
pub(super) fn leaf(ca: &Ca, names: &LeafNames, now: Timestamp) -> Result<Leaf, CertificateError> {
    let make = |source| CertificateError::Make { what: names.file.clone(), source };
    let issuer_key = KeyPair::from_pem(&ca.key).map_err(|_| CertificateError::OtherKey)?;
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, issuer_key)
        .map_err(|_| CertificateError::Certificate { what: "ca.crt" })?;
    let mut params = CertificateParams::new(names.dns.clone()).map_err(make)?;
    for uri in &names.uris {
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().map_err(make)?));
    }
    params.distinguished_name.push(DnType::CommonName, names.file.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, end(now, LEAF_LIFE)?.min(ca.life()?.not_after))?;
    let key = KeyPair::generate().map_err(make)?;
    let certificate = params.signed_by(&key, &issuer).map_err(make)?.pem();
    Ok(Leaf { certificate, key: key.serialize_pem() })
}

fn end(now: Timestamp, life: SignedDuration) -> Result<Timestamp, CertificateError> {
    now.checked_add(life).map_err(|_| CertificateError::Time(now))
}

fn set_life(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) -> Result<(), CertificateError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let after_epoch = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).map_err(|_| CertificateError::Time(time))?;
        Ok(epoch + std::time::Duration::from_secs(seconds))
    };
    params.not_before = after_epoch(now.checked_sub(SKEW).map_err(|_| CertificateError::Time(now))?)?;
    params.not_after = after_epoch(not_after)?;
    Ok(())
}
