//! Which CA bundle is in use: the one of `--ca` or `--ca-pem`, or the one that the pool gave since.
//!
//! The pool's bundle takes over and is remembered in the state directory, so that a restart after a change of CAs finds its
//! collectors although the flag was written when the pod was made. Whoever writes the file of `--ca` anew is the newer word: then
//! it holds, until the pool speaks again. A bundle that cannot be used changes nothing.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use indelible_chain::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::forward::tls::{Bundle, BundleError};
use crate::limits::MAX_CA_BYTES;

/// Where the configured bundle is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CaSource {
    /// `--ca`: a file, which may change.
    File(PathBuf),
    /// `--ca-pem`: the bundle itself.
    Value(String),
}

impl fmt::Display for CaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "--ca {}", path.display()),
            Self::Value(_) => f.write_str("--ca-pem"),
        }
    }
}

/// Why the configured bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// It cannot be read.
    #[error("{from}: {source}")]
    Read {
        /// Where it is from.
        from: CaSource,
        /// What the system says.
        source: std::io::Error,
    },
    /// Too long.
    #[error("{from}: longer than {MAX_CA_BYTES} bytes; give only the CA certificates of the collectors")]
    TooLong {
        /// Where it is from.
        from: CaSource,
    },
    /// Not a bundle.
    #[error("{from}: {source}")]
    Bundle {
        /// Where it is from.
        from: CaSource,
        /// What is wrong.
        source: BundleError,
    },
}

/// The bundle in use and where it is from.
#[derive(Debug)]
pub struct Trust {
    source: CaSource,
    /// SHA-256 of the configured bundle as it was last read.
    source_digest: Digest,
    remembered: PathBuf,
    bundle: Bundle,
}

/// What is remembered of a bundle that the pool gave.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// What was configured then, hex: with another one this bundle is out of date.
    ca_file: String,
    ca_pem: String,
}

impl Trust {
    /// Reads what is configured, and what the pool said since.
    pub fn open(source: CaSource, state: &Path) -> Result<Self, CaError> {
        let (bundle, source_digest) = read(&source)?;
        let mut trust = Self { source, source_digest, remembered: state.join("ca.json"), bundle };
        if let Some(bundle) = trust.recall() {
            trust.bundle = bundle;
        }
        Ok(trust)
    }

    /// What is in use.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    fn recall(&self) -> Option<Bundle> {
        let mut bytes = Vec::new();
        File::open(&self.remembered).ok()?.take(2 * MAX_CA_BYTES as u64).read_to_end(&mut bytes).ok()?;
        let remembered: Remembered = serde_json::from_slice(&bytes).ok()?;
        if remembered.ca_file != self.source_digest.to_string() {
            return None;
        }
        Bundle::parse(remembered.ca_pem.as_bytes()).ok()
    }

    /// The file has changed: it is the newer word, if it can be used. True if another bundle is in use now.
    pub fn file_changed(&mut self) -> Result<bool, CaError> {
        let (bundle, digest) = read(&self.source)?;
        if digest == self.source_digest {
            return Ok(false);
        }
        self.source_digest = digest;
        let other = bundle.digest != self.bundle.digest;
        self.bundle = bundle;
        Ok(other)
    }

    /// The pool gave a bundle. True if another one is in use now.
    pub fn given(&mut self, pem: &str) -> Result<bool, BundleError> {
        let bundle = Bundle::parse(pem.as_bytes())?;
        if bundle.digest == self.bundle.digest {
            return Ok(false);
        }
        self.bundle = bundle;
        if let Err(error) = self.remember(pem) {
            tracing::warn!(%error, path = %self.remembered.display(), "the pool's CA bundle could not be remembered");
        }
        Ok(true)
    }

    fn remember(&self, pem: &str) -> std::io::Result<()> {
        let remembered = Remembered { ca_file: self.source_digest.to_string(), ca_pem: pem.to_owned() };
        let temporary = self.remembered.with_extension("json.tmp");
        // A crash before the rename leaves the earlier bundle; a power loss after it may leave a file that cannot be
        // read, which is as none: `--ca` is there, and the pool says it again.
        std::fs::write(&temporary, serde_json::to_vec(&remembered)?)?;
        std::fs::rename(&temporary, &self.remembered)
    }
}

fn read(from: &CaSource) -> Result<(Bundle, Digest), CaError> {
    let mut bytes = Vec::new();
    match from {
        CaSource::Value(pem) => bytes.extend_from_slice(pem.as_bytes()),
        CaSource::File(path) => {
            let limit = MAX_CA_BYTES as u64 + 1;
            File::open(path)
                .and_then(|file| file.take(limit).read_to_end(&mut bytes))
                .map_err(|source| CaError::Read { from: from.clone(), source })?;
        }
    }
    if bytes.len() > MAX_CA_BYTES {
        return Err(CaError::TooLong { from: from.clone() });
    }
    let bundle = Bundle::parse(&bytes).map_err(|source| CaError::Bundle { from: from.clone(), source })?;
    let digest = bundle.digest;
    Ok((bundle, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> String {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_pools_bundle_is_remembered_until_the_file_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let (first, pools, second) = (pem("first"), pem("pool"), pem("second"));
        let digest = |pem: &str| Digest::sha256(pem.as_bytes());
        std::fs::write(&file, &first).unwrap();

        let mut trust = Trust::open(CaSource::File(file.clone()), dir.path()).unwrap();
        assert_eq!(trust.bundle().digest, digest(&first));
        assert!(!trust.file_changed().unwrap());
        assert!(trust.given(&pools).unwrap());
        assert!(!trust.given(&pools).unwrap());
        assert!(trust.given("nonsense").is_err());
        assert_eq!(Trust::open(CaSource::File(file.clone()), dir.path()).unwrap().bundle().digest, digest(&pools));

        std::fs::write(&file, &second).unwrap();
        assert!(trust.file_changed().unwrap());
        assert_eq!(trust.bundle().digest, digest(&second));
        assert_eq!(Trust::open(CaSource::File(file.clone()), dir.path()).unwrap().bundle().digest, digest(&second));
    }

    #[test]
    fn a_bundle_that_is_a_value_is_replaced_by_the_pools_until_another_value_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let (first, pools, second) = (pem("first"), pem("pool"), pem("second"));
        let digest = |pem: &str| Digest::sha256(pem.as_bytes());
        let open = |pem: &str| Trust::open(CaSource::Value(pem.to_owned()), dir.path());

        assert!(open(&first).unwrap().given(&pools).unwrap());
        assert_eq!(open(&first).unwrap().bundle().digest, digest(&pools));
        assert_eq!(open(&second).unwrap().bundle().digest, digest(&second));
        let error = open("nonsense").unwrap_err().to_string();
        assert!(error.starts_with("--ca-pem: "), "{error}");
    }

    #[test]
    fn a_torn_memory_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, pem("ca")).unwrap();
        std::fs::write(dir.path().join("ca.json"), b"{\"ca_file\":\"").unwrap();
        assert!(Trust::open(CaSource::File(file.clone()), dir.path()).is_ok());
        std::fs::write(&file, b"nothing").unwrap();
        assert!(matches!(Trust::open(CaSource::File(file.clone()), dir.path()), Err(CaError::Bundle { .. })));
    }
}
