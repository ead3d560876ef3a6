//! A keyring: a CA, the one that takes over from it, and leaves, as they stand in Secrets.
//!
//! ```text
//! ca.crt ca.key          the CA that leaves are by
//! next.crt next.key      the CA that takes over, while it waits for that
//! bundle.crt             what those who connect should trust: PEM, the CA first
//! since                  since when the bundle is what it is, RFC 3339
//! rotated                the value of indelible.dev/rotate-ca that was served last
//! <file>.crt <file>.key  a leaf
//! ```
//!
//! A pool keeps leaves in a Secret of their own, the webhook keeps all in one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::issue::{self, CertificateError, Facts, Life};
use super::rotation::{CaStep, LeafNames, Plan, Wanted};
use crate::limits::MAX_PEM_BYTES;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// What the Secrets hold.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Keyring {
    /// The CA that leaves are by.
    pub ca: Option<Ca>,
    /// The CA that takes over.
    pub next: Option<Ca>,
    /// The CA that was in force before, while it is still trusted: certificates only.
    pub old: Vec<String>,
    /// The leaves, by file.
    pub leaves: BTreeMap<String, Leaf>,
    /// Since when the bundle is what it is.
    pub since: Option<Timestamp>,
    /// The last wish for another CA that was served.
    pub rotated: Option<String>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("leaves", &self.leaves.keys()).finish_non_exhaustive()
    }
}

/// A CA, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Ca {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A leaf, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Ca {
    /// From when to when it is valid.
    pub fn life(&self) -> Result<Life, CertificateError> {
        let facts = Facts::read(&self.certificate).ok_or(CertificateError::Certificate { what: "ca.crt" })?;
        Ok(facts.life)
    }

    fn checked(self) -> Result<Self, CertificateError> {
        let facts = Facts::read(&self.certificate).ok_or(CertificateError::Certificate { what: "ca.crt" })?;
        if facts.is_of_key(&self.key) { Ok(self) } else { Err(CertificateError::OtherKey) }
    }
}

impl Leaf {
    /// From when to when it is valid.
    pub fn life(&self) -> Result<Life, CertificateError> {
        let facts = Facts::read(&self.certificate).ok_or(CertificateError::Certificate { what: "a leaf" })?;
        Ok(facts.life)
    }

    /// Whether it is by this CA.
    pub fn is_by(&self, ca: &Ca) -> bool {
        issue::is_by(&self.certificate, &ca.certificate)
    }

    /// Whether it need not be issued again: by this CA, with these names, two thirds of its life not over.
    pub fn is_good(&self, ca: &Ca, names: &LeafNames, now: Timestamp) -> bool {
        Facts::read(&self.certificate).is_some_and(|facts| {
            facts.dns == names.dns
                && facts.uris == names.uris
                && (facts.life.not_before..facts.life.renewal()).contains(&now)
                && facts.is_of_key(&self.key)
                && self.is_by(ca)
        })
    }
}

/// A Secret's data.
pub type Data = BTreeMap<String, Vec<u8>>;

impl Keyring {
    /// Whether a CA that is no longer in force is still trusted.
    pub fn is_overlapping(&self) -> bool {
        !self.old.is_empty()
    }

    /// The PEM that those who connect should trust. The same keyring gives the same bytes: their digest is compared.
    pub fn bundle(&self) -> String {
        let authorities = [&self.ca, &self.next].into_iter().flatten().map(|ca| ca.certificate.as_str());
        let authorities = authorities.chain(self.old.iter().map(String::as_str));
        authorities.flat_map(|pem| [pem.trim(), "\n"]).collect()
    }

    /// Reads a CA from a Secret's data, without leaves. Nothing at all is an empty keyring; what is there and cannot be
    /// read is an error.
    pub fn read_ca(data: &Data) -> Result<Self, CertificateError> {
        let pair = |certificate, key| match (text(data, certificate)?, text(data, key)?) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ca { certificate, key }.checked().map(Some),
            (Some(_), None) => Err(CertificateError::Missing(key)),
            (None, Some(_)) => Err(CertificateError::Missing(certificate)),
        };
        let (ca, next) = (pair("ca.crt", "ca.key")?, pair("next.crt", "next.key")?);
        let bundle = text(data, "bundle.crt")?.unwrap_or_default();
        if ca.is_none() && (next.is_some() || !bundle.trim().is_empty()) {
            return Err(CertificateError::Missing("ca.crt"));
        }
        let known: Vec<&str> = [&ca, &next].into_iter().flatten().map(|ca| ca.certificate.trim()).collect();
        let old = split(&bundle).filter(|pem| !known.contains(&pem.as_str())).collect();
        // A time that is lost only makes what waits for it due.
        let since = text(data, "since")?.and_then(|since| since.parse().ok());
        Ok(Self { ca, next, old, leaves: BTreeMap::new(), since, rotated: text(data, "rotated")? })
    }

    /// Reads the leaves of a Secret's data: files that begin alike, but for those of a CA.
    pub fn read_leaves(&mut self, data: &Data) {
        for file in data.keys().filter_map(|name| name.strip_suffix(".crt")) {
            if ["ca", "next", "bundle"].contains(&file) {
                continue;
            }
            // What cannot be read is issued again.
            let pem = |end| text(data, &format!("{file}.{end}")).ok().flatten().unwrap_or_default();
            let leaf = Leaf { certificate: pem("crt"), key: pem("key") };
            if leaf.life().is_ok() {
                self.leaves.insert(file.to_owned(), leaf);
            }
        }
    }

    /// The data of the CA's Secret.
    pub fn ca_data(&self) -> Data {
        let mut data = Data::new();
        let mut put = |name: &str, text: &str| data.insert(name.to_owned(), text.as_bytes().to_vec());
        for (name, ca) in [("ca", &self.ca), ("next", &self.next)] {
            if let Some(Ca { certificate, key }) = ca {
                put(&format!("{name}.crt"), certificate);
                put(&format!("{name}.key"), key);
            }
        }
        put("bundle.crt", &self.bundle());
        if let Some(since) = self.since {
            put("since", &since.to_string());
        }
        if let Some(rotated) = &self.rotated {
            put("rotated", rotated);
        }
        data
    }

    /// The data of the leaves' Secret.
    pub fn leaf_data(&self) -> Data {
        let files = self.leaves.iter().flat_map(|(file, Leaf { certificate, key })| {
            [(format!("{file}.crt"), certificate), (format!("{file}.key"), key)]
        });
        files.map(|(name, pem)| (name, pem.as_bytes().to_vec())).collect()
    }

    /// The keyring after a plan. A crash before it is stored changes nothing; the plan is made again.
    pub fn carry_out(mut self, plan: &Plan, wanted: &Wanted, now: Timestamp) -> Result<Self, CertificateError> {
        match plan.ca {
            CaStep::Keep => {}
            CaStep::Make => {
                self.ca = Some(issue::ca(&wanted.authority, now)?);
                self.rotated.clone_from(&wanted.rotate);
            }
            CaStep::Introduce => {
                self.next = Some(issue::ca(&wanted.authority, now)?);
                self.rotated.clone_from(&wanted.rotate);
            }
            CaStep::Switch => {
                if let Some(next) = self.next.take() {
                    self.old.extend(self.ca.replace(next).map(|ca| ca.certificate.trim().to_owned()));
                }
            }
            CaStep::Retire => self.old.clear(),
        }
        if plan.ca != CaStep::Keep {
            self.since = Some(now);
        }
        if let Some(ca) = &self.ca {
            for names in &plan.issue {
                self.leaves.insert(names.file.clone(), issue::leaf(ca, names, now)?);
            }
        }
        Ok(self)
    }
}

fn text(data: &Data, name: &str) -> Result<Option<String>, CertificateError> {
    let Some(bytes) = data.get(name) else { return Ok(None) };
    if bytes.len() > MAX_PEM_BYTES {
        return Err(CertificateError::TooLong(name.to_owned()));
    }
    String::from_utf8(bytes.clone()).map(Some).map_err(|_| CertificateError::Utf8(name.to_owned()))
}

/// The certificates of a bundle, one by one.
fn split(bundle: &str) -> impl Iterator<Item = String> {
    bundle.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{rest}").trim().to_owned())
}
