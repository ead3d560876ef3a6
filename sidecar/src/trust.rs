//! Which CA bundle is in use: the one of `--ca`, or the one that the pool gave since.
//!
//! The pool's bundle takes over and is remembered in the state directory, so that a restart after a change of CAs finds its
//! collectors although `--ca` was written when the pod was made. Whoever writes `--ca` anew is the newer word: then
//! it holds, until the pool speaks again. A bundle that cannot be used changes nothing.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use indelible_chain::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::forward::tls::{Bundle, BundleError};
use crate::limits::MAX_CA_BYTES;

/// Why `--ca` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// It cannot be read.
    #[error("--ca {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Too long.
    #[error("--ca {path}: longer than {MAX_CA_BYTES} bytes; give only the CA certificates of the collectors")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not a bundle.
    #[error("--ca {path}: {source}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
}

/// The bundle in use and where it is from.
#[derive(Debug)]
pub struct Trust {
    file: PathBuf,
    /// SHA-256 of `--ca` as it was last read.
    file_digest: Digest,
    remembered: PathBuf,
    bundle: Bundle,
}

/// What is remembered of a bundle that the pool gave.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// What `--ca` was then, hex: with another `--ca` this bundle is out of date.
    ca_file: String,
    ca_pem: String,
}

impl Trust {
    /// Reads `--ca`, and what the pool said since.
    pub fn open(file: &Path, state: &Path) -> Result<Self, CaError> {
        let (bundle, file_digest) = read(file)?;
        let mut trust = Self { file: file.to_owned(), file_digest, remembered: state.join("ca.json"), bundle };
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
        if remembered.ca_file != self.file_digest.to_string() {
            return None;
        }
        Bundle::parse(remembered.ca_pem.as_bytes()).ok()
    }

    /// The file has changed: it is the newer word, if it can be used. True if another bundle is in use now.
    pub fn file_changed(&mut self) -> Result<bool, CaError> {
        let (bundle, digest) = read(&self.file)?;
        if digest == self.file_digest {
            return Ok(false);
        }
        self.file_digest = digest;
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
        let remembered = Remembered { ca_file: self.file_digest.to_string(), ca_pem: pem.to_owned() };
        let temporary = self.remembered.with_extension("json.tmp");
        // A crash before the rename leaves the earlier bundle; a power loss after it may leave a file that cannot be
        // read, which is as none: `--ca` is there, and the pool says it again.
        std::fs::write(&temporary, serde_json::to_vec(&remembered)?)?;
        std::fs::rename(&temporary, &self.remembered)
    }
}

fn read(path: &Path) -> Result<(Bundle, Digest), CaError> {
    let mut bytes = Vec::new();
    let limit = MAX_CA_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| CaError::Read { path: path.to_owned(), source })?;
    if bytes.len() > MAX_CA_BYTES {
        return Err(CaError::TooLong { path: path.to_owned() });
    }
    let bundle = Bundle::parse(&bytes).map_err(|source| CaError::Bundle { path: path.to_owned(), source })?;
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

        let mut trust = Trust::open(&file, dir.path()).unwrap();
        assert_eq!(trust.bundle().digest, digest(&first));
        assert!(!trust.file_changed().unwrap());
        assert!(trust.given(&pools).unwrap());
        assert!(!trust.given(&pools).unwrap());
        assert!(trust.given("nonsense").is_err());
        assert_eq!(Trust::open(&file, dir.path()).unwrap().bundle().digest, digest(&pools));

        std::fs::write(&file, &second).unwrap();
        assert!(trust.file_changed().unwrap());
        assert_eq!(trust.bundle().digest, digest(&second));
        assert_eq!(Trust::open(&file, dir.path()).unwrap().bundle().digest, digest(&second));
    }

    #[test]
    fn a_torn_memory_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, pem("ca")).unwrap();
        std::fs::write(dir.path().join("ca.json"), b"{\"ca_file\":\"").unwrap();
        assert!(Trust::open(&file, dir.path()).is_ok());
        std::fs::write(&file, b"nothing").unwrap();
        assert!(matches!(Trust::open(&file, dir.path()), Err(CaError::Bundle { .. })));
    }
}
