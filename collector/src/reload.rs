//! Files that are read again when they change: certificates, key sets, namespaces, the pool.
//!
//! Looks once a second at what a path leads to (Kubernetes swaps symbolic links), reads it with a bound, and hands out
//! the newest value that was good. A file that has become unreadable or wrong changes nothing: the old value stays, the
//! reason is logged once and counted. What cannot be read is tried again at each look, since that may pass without
//! the file's doing; what is wrong is read again when it changes. At the start a file must be good.

mod pool;
mod tls;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::limits::{MAX_PEM_BYTES, RELOAD_TICK};
use crate::metrics::{Metrics, ReloadOutcome};

pub use pool::{Pool, PoolError};
pub use tls::{Certificate, TlsError, certified_key, server_config, vkey_uri};

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path} is over the limit of {limit} bytes", path = path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// What is allowed.
        limit: usize,
    },
    /// It says something wrong.
    #[error("{path}: {text}", path = path.display())]
    Wrong {
        /// Which; of several the first.
        path: PathBuf,
        /// What.
        text: String,
    },
}

/// Looks after all files of a collector.
#[derive(Default)]
pub struct Reloader {
    files: Vec<Look>,
}

/// Looks at the files of one value: `None` if nothing has changed.
type Look = Box<dyn FnMut() -> Option<Result<PathBuf, ReloadError>> + Send>;

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("files", &self.files.len()).finish()
    }
}

/// What tells one state of a file from another.
type Stamp = Option<(u64, u64, u64, i64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec()))
}

/// Which state of files was read last, and which could not be.
struct Seen<S> {
    read: S,
    unreadable: Option<S>,
}

impl<S: PartialEq> Seen<S> {
    fn of(read: S) -> Self {
        Self { read, unreadable: None }
    }

    /// What there is to tell of the state that the files are in now: nothing of one that was told already.
    fn look<T>(&mut self, now: S, read: impl FnOnce() -> Result<T, ReloadError>) -> Option<Result<T, ReloadError>> {
        if now == self.read {
            self.unreadable = None;
            return None;
        }
        let outcome = read();
        if matches!(outcome, Err(ReloadError::Read { .. })) {
            let told = self.unreadable.as_ref() == Some(&now);
            self.unreadable = Some(now);
            return (!told).then_some(outcome);
        }
        *self = Self::of(now);
        Some(outcome)
    }
}

/// Reads a file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, ReloadError> {
    let failed = |source| ReloadError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() > limit {
        return Err(ReloadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// Reads a file of at most `limit` bytes, once.
pub fn read<T, E: std::error::Error>(
    path: &Path,
    limit: usize,
    parse: impl FnOnce(Vec<u8>) -> Result<T, E>,
) -> Result<T, ReloadError> {
    let bytes = read_bounded(path, limit)?;
    parse(bytes).map_err(|error| ReloadError::Wrong { path: path.to_owned(), text: chain(&error) })
}

/// Reads a certificate chain with its key, once, and checks that it names the log with this verifier key.
pub fn read_certificate(chain: &Path, key: &Path, vkey: &str) -> Result<Certificate, ReloadError> {
    let (chain_pem, key_pem) = (read_bounded(chain, MAX_PEM_BYTES)?, read_bounded(key, MAX_PEM_BYTES)?);
    let wrong = |error| ReloadError::Wrong { path: chain.to_owned(), text: self::chain(&error) };
    certified_key(&chain_pem, &key_pem, vkey).map_err(wrong)
}

impl Reloader {
    /// Reads files of at most `limit` bytes each, which make one value together, now and whenever one changes.
    pub fn follow<T, E, const N: usize>(
        &mut self,
        paths: [PathBuf; N],
        limit: usize,
        parse: impl Fn([Vec<u8>; N]) -> Result<T, E> + Send + 'static,
    ) -> Result<watch::Receiver<Arc<T>>, ReloadError>
    where
        T: Send + Sync + 'static,
        E: std::error::Error,
    {
        const { assert!(N > 0, "a value comes out of a file") };
        let read = move |paths: &[PathBuf; N]| -> Result<Arc<T>, ReloadError> {
            let mut contents = std::array::from_fn(|_| Vec::new());
            for (path, content) in paths.iter().zip(&mut contents) {
                *content = read_bounded(path, limit)?;
            }
            let wrong = |error: E| ReloadError::Wrong { path: paths[0].clone(), text: chain(&error) };
            parse(contents).map(Arc::new).map_err(wrong)
        };
        let stamps = |paths: &[PathBuf; N]| paths.each_ref().map(|path| stamp(path));
        // The stamps first: what changes between them and the reading is seen as a change a second later.
        let mut seen = Seen::of(stamps(&paths));
        let (sender, receiver) = watch::channel(read(&paths)?);
        self.files.push(Box::new(move || {
            let changed = seen.look(stamps(&paths), || read(&paths))?;
            Some(changed.map(|value| {
                sender.send_replace(value);
                paths[0].clone()
            }))
        }));
        Ok(receiver)
    }

    /// Looks at each file once.
    pub fn look(&mut self, metrics: &Metrics) {
        for outcome in self.files.iter_mut().filter_map(|file| file()) {
            match outcome {
                Ok(path) => {
                    metrics.reloaded(ReloadOutcome::Used);
                    tracing::info!(path = %path.display(), "a file has changed and is in use");
                }
                Err(error) => {
                    metrics.reloaded(ReloadOutcome::Refused);
                    tracing::error!(%error, "a file has changed and cannot be used; what it said before stays in force");
                }
            }
        }
    }

    /// Looks at the files once a second until the process ends.
    pub async fn run(mut self, metrics: Arc<Metrics>) {
        let mut ticks = tokio::time::interval(RELOAD_TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let metrics = Arc::clone(&metrics);
            // Reading may block on a slow volume, which must not hold up requests.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(&metrics);
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(error) => {
                    tracing::error!(%error, "files are not looked at any more: restart the collector");
                    return;
                }
            }
        }
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse([bytes]: [Vec<u8>; 1]) -> Result<u32, std::num::ParseIntError> {
        String::from_utf8_lossy(&bytes).trim().parse()
    }

    #[test]
    fn a_changed_file_is_used_and_a_wrong_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let metrics = Metrics::new();
        std::fs::write(&path, "1").unwrap();
        let mut reloader = Reloader::default();
        let value = reloader.follow([path.clone()], 10, parse).unwrap();
        let replace = |text: &str| {
            // A new inode each time, as a rename gives: no two states have one stamp.
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &path).unwrap();
        };
        for (text, expected) in [("2", 2), ("three", 2), ("44444444444", 2), ("5", 5)] {
            replace(text);
            reloader.look(&metrics);
            assert_eq!(**value.borrow(), expected, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        reloader.look(&metrics);
        assert_eq!(**value.borrow(), 5);
        let page = metrics.encode();
        assert!(page.contains(r#"reloads_total{outcome="used"} 2"#), "{page}");
        assert!(page.contains(r#"reloads_total{outcome="refused"} 3"#), "{page}");
    }

    #[test]
    fn a_changed_file_that_could_not_be_read_at_first_is_used_when_it_can_be() {
        let unreadable = || {
            let source = std::io::Error::from_raw_os_error(24);
            Err(ReloadError::Read { path: "n".into(), source })
        };
        let mut seen = Seen::of(1);
        assert!(matches!(seen.look(2, unreadable), Some(Err(_))));
        assert!(seen.look::<u8>(2, unreadable).is_none(), "it is told once");
        assert!(matches!(seen.look(2, || Ok(7)), Some(Ok(7))));
        assert!(seen.look(2, || -> Result<u8, _> { panic!("nothing has changed") }).is_none());
        let wrong = || Err(ReloadError::Wrong { path: "n".into(), text: "no number".into() });
        assert!(matches!(seen.look::<u8>(3, wrong), Some(Err(_))));
        assert!(seen.look(3, || -> Result<u8, _> { panic!("it is as wrong as before") }).is_none());
    }

    #[test]
    fn a_symbolic_link_that_is_swapped_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [("a", "1"), ("b", "2")] {
            std::fs::write(at(name), text).unwrap();
            std::os::unix::fs::symlink(at(name), at(&format!("to-{name}"))).unwrap();
        }
        let path = at("n");
        std::fs::rename(at("to-a"), &path).unwrap();
        let mut reloader = Reloader::default();
        let value = reloader.follow([path.clone()], 10, parse).unwrap();
        std::fs::rename(at("to-b"), &path).unwrap();
        reloader.look(&Metrics::new());
        assert_eq!(**value.borrow(), 2);
    }

    #[test]
    fn at_the_start_a_file_must_be_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let mut reloader = Reloader::default();
        let missing = reloader.follow([path.clone()], 10, parse).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read "), "{missing}");
        std::fs::write(&path, "12345678901").unwrap();
        let large = reloader.follow([path.clone()], 10, parse).unwrap_err();
        assert!(large.to_string().ends_with("over the limit of 10 bytes"), "{large}");
    }
}
