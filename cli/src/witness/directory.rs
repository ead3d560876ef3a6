//! The witness's data directory: its key, and the largest checkpoint of each log that it cosigned.
//!
//! ```text
//! key               the 32 bytes of its Ed25519 seed, mode 0600
//! vkey              its verifier key, one line
//! version           `witness <format> <software>`, one line; written last, so a directory with it is complete
//! logs/<log_id>     the note of the largest checkpoint of a log, with the log's signature and the witness's own
//! contradictions/…  a checkpoint of the same size and another root that a log has signed, too
//! LOCK              flock
//! ```
//!
//! It looks before it touches: what is no witness's directory, another's or a later version's is refused unchanged.
//! Every file is written beside its place, synced, renamed, and its directory synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::cosignature::Cosigner;
use indelible_chain::id::LogId;
use indelible_chain::note::{KeyName, Note, VerifierKey};
use rustix::fs::FlockOperation;

use crate::limits::{MAX_KEPT_NOTE_BYTES, MAX_VERSION_BYTES, MAX_WITNESSED_LOGS};
use crate::source::folder::{Folder, ReadError};

/// The format of the directory.
const FORMAT: u32 = 1;
const KEY: &str = "key";
const VKEY: &str = "vkey";
const VERSION: &str = "version";
const LOCK: &str = "LOCK";
const LOGS: &str = "logs";
const CONTRADICTIONS: &str = "contradictions";
/// What a file is called until it is whole.
const TEMPORARY: &str = ".tmp";
/// What may lie in a directory that is not complete, and in an empty volume.
const BEFORE_VERSION: [&str; 7] = [KEY, VKEY, VERSION, LOCK, LOGS, CONTRADICTIONS, "lost+found"];

/// A directory that is ours alone, for as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    cosigner: Cosigner,
    _lock: File,
}

/// The largest checkpoint of a log, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The log.
    pub id: LogId,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note, with the witness's cosignature.
    pub note: Note,
}

/// Why a directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A new one has no name yet.
    #[error("{0} holds no witness yet: --name is needed to make its key, such as witness.example/w1")]
    NameRequired(PathBuf),
    /// The key has another name.
    #[error(
        "{dir} is of the witness {kept}, --name says {given}: a name is for good; another one needs a directory of its own"
    )]
    OtherName {
        /// Where.
        dir: PathBuf,
        /// Its name.
        kept: KeyName,
        /// The flag's.
        given: KeyName,
    },
    /// Somebody else writes it.
    #[error("{0} is in use by another process: a witness's directory has one writer")]
    Locked(PathBuf),
    /// Not a witness's.
    #[error(
        "{dir} is no witness's data directory: there is `{name}` in it; name a directory that is empty or not there"
    )]
    Foreign {
        /// Where.
        dir: PathBuf,
        /// What gives it away.
        name: String,
    },
    /// A later version's.
    #[error(
        "{dir} has format {found}, this program knows {FORMAT}: use the version that wrote it ({by}), or a newer one"
    )]
    Newer {
        /// Where.
        dir: PathBuf,
        /// The format that it says.
        found: u32,
        /// What wrote it.
        by: String,
    },
    /// A file of it is not what it should be.
    #[error(
        "{file} {why}; restore it from where it was written: a witness that forgets can be led to cosign two histories"
    )]
    Broken {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The system says so.
    #[error("cannot {what} {dir}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Why a file is not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What was there before is still there: it can be tried again.
    #[error("{file}: {source}")]
    Unchanged {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody knows what is there now.
    #[error("{file}: {source}; it may or may not be there after a restart")]
    Unsure {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Directory {
    /// Opens a witness's directory, or makes one where there is nothing.
    pub fn open(path: &Path, name: Option<&KeyName>, software: &str) -> Result<Self, OpenError> {
        let io = |what| move |source| OpenError::Io { what, dir: path.to_owned(), source };
        if !is_complete(path)? && name.is_none() {
            return Err(OpenError::NameRequired(path.to_owned()));
        }
        fs::create_dir_all(path).map_err(io("make"))?;
        let lock = lock(path)?;
        // Another process may have made the witness between the look and the lock.
        let cosigner = match name {
            Some(name) if !is_complete(path)? => make(path, name, software)?,
            _ => load(path)?,
        };
        let kept = cosigner.verifier_key().name();
        match name {
            Some(given) if given != kept => {
                Err(OpenError::OtherName { dir: path.to_owned(), kept: kept.clone(), given: given.clone() })
            }
            _ => Ok(Self { path: path.to_owned(), cosigner, _lock: lock }),
        }
    }

    /// The witness's key.
    pub const fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// All checkpoints that are kept; each is one that this witness cosigned.
    pub fn kept(&self) -> Result<Vec<Kept>, OpenError> {
        let root = Folder::open(&self.path)?;
        let broken = |name: &str, why: String| OpenError::Broken { file: self.path.join(LOGS).join(name), why };
        let logs = root.folder(LOGS)?.ok_or_else(|| broken("", "is missing".to_owned()))?;
        let names = logs.list()?.into_iter().filter(|(name, _)| !name.ends_with(TEMPORARY));
        let names: Vec<String> = names.map(|(name, _)| name).collect();
        if names.len() > MAX_WITNESSED_LOGS {
            let (path, limit) = (self.path.join(LOGS), MAX_WITNESSED_LOGS);
            return Err(ReadError::TooLarge { path, limit, unit: "logs" }.into());
        }
        let read = names.iter().map(|name| {
            let bytes = logs.read(name, MAX_KEPT_NOTE_BYTES)?;
            self.read(name, &bytes).map_err(|why| broken(name, why))
        });
        read.collect()
    }

    fn read(&self, name: &str, bytes: &[u8]) -> Result<Kept, String> {
        let id: LogId = name.parse().map_err(|_| "is not named by a log's id".to_owned())?;
        let note = Note::parse(bytes).map_err(|e| format!("is no checkpoint: {e}"))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|e| format!("is no checkpoint: {e}"))?;
        if checkpoint.origin().log_id() != id {
            return Err(format!("is of another log, {}", checkpoint.origin()));
        }
        note.verify([self.cosigner.verifier_key()]).map_err(|e| format!("was not cosigned by this witness: {e}"))?;
        Ok(Kept { id, checkpoint, note })
    }

    /// Keeps the largest checkpoint of a log. When this returns, it is durable.
    pub fn keep(&self, log: LogId, note: &Note) -> Result<(), StoreError> {
        replace(&self.path.join(LOGS), &log.to_string(), note.to_string().as_bytes())
    }

    /// Keeps a checkpoint that contradicts the one that was cosigned, the first of its log.
    pub fn contradicts(&self, log: LogId, note: &Note) -> Result<(), StoreError> {
        let (dir, name) = (self.path.join(CONTRADICTIONS), log.to_string());
        if dir.join(&name).exists() {
            return Ok(());
        }
        replace(&dir, &name, note.to_string().as_bytes())
    }
}

/// Whether a witness was made here. What is not ours to touch is refused.
fn is_complete(path: &Path) -> Result<bool, OpenError> {
    let folder = match Folder::open(path) {
        Err(error) if error.is_absence() => return Ok(false),
        folder => folder?,
    };
    let names: Vec<String> = folder.list()?.into_iter().map(|(name, _)| name).collect();
    let foreign = |name: &str| OpenError::Foreign { dir: path.to_owned(), name: name.to_owned() };
    let ours = |name: &str| BEFORE_VERSION.contains(&name.strip_suffix(TEMPORARY).unwrap_or(name));
    if let Some(name) = names.iter().find(|name| !ours(name)) {
        return Err(foreign(name));
    }
    if names.iter().any(|name| name == VERSION) {
        let text = folder.read(VERSION, MAX_VERSION_BYTES)?;
        let text = String::from_utf8_lossy(&text);
        let mut words = text.trim_end().splitn(3, ' ');
        let (what, format, by) = (words.next(), words.next(), words.next().unwrap_or("unknown"));
        // A collector's begins with a number.
        return match (what, format.map(str::parse::<u32>)) {
            (Some("witness"), Some(Ok(FORMAT))) => Ok(true),
            (Some("witness"), Some(Ok(found))) => {
                Err(OpenError::Newer { dir: path.to_owned(), found, by: by.chars().take(100).collect() })
            }
            _ => Err(foreign(VERSION)),
        };
    }
    // What was cosigned is not forgotten because `version` is gone.
    let logs = folder.folder(LOGS)?.map(|logs| logs.list()).transpose()?.unwrap_or_default();
    if logs.is_empty() {
        return Ok(false);
    }
    Err(OpenError::Broken { file: path.join(VERSION), why: "is missing although there are logs".to_owned() })
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { what: "lock", dir: path.to_owned(), source };
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK)).map_err(io)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(path.to_owned())),
        Err(source) => Err(io(source.into())),
    }
}

/// Makes a witness in an empty directory. `version` comes last: a crash before it leaves a directory that the next
/// start completes, with the key that is there.
fn make(path: &Path, name: &KeyName, software: &str) -> Result<Cosigner, OpenError> {
    let io = |what| move |source| OpenError::Io { what, dir: path.to_owned(), source };
    let stored = |what| move |error: StoreError| io(what)(io::Error::other(error));
    let seed = if let Some(seed) = seed(path)? {
        seed
    } else {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| io("make a key for")(io::Error::other(e.to_string())))?;
        replace(path, KEY, &seed).map_err(stored("write `key` in"))?;
        seed
    };
    let cosigner = Cosigner::new(name.clone(), &seed);
    for dir in [LOGS, CONTRADICTIONS] {
        fs::create_dir_all(path.join(dir)).map_err(io("make directories in"))?;
    }
    replace(path, VKEY, format!("{}\n", cosigner.verifier_key()).as_bytes()).map_err(stored("write `vkey` in"))?;
    replace(path, VERSION, format!("witness {FORMAT} {software}\n").as_bytes())
        .map_err(stored("write `version` in"))?;
    Ok(cosigner)
}

fn load(path: &Path) -> Result<Cosigner, OpenError> {
    let broken = |name: &str, why: &str| OpenError::Broken { file: path.join(name), why: why.to_owned() };
    let seed = seed(path)?.ok_or_else(|| broken(KEY, "is missing"))?;
    let text = Folder::open(path)?.read(VKEY, MAX_VERSION_BYTES)?;
    let vkey = std::str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse::<VerifierKey>().ok());
    let vkey = vkey.ok_or_else(|| broken(VKEY, "is no verifier key"))?;
    let cosigner = Cosigner::new(vkey.name().clone(), &seed);
    if *cosigner.verifier_key() == vkey { Ok(cosigner) } else { Err(broken(VKEY, "is not that of `key`")) }
}

fn seed(path: &Path) -> Result<Option<[u8; 32]>, OpenError> {
    match Folder::open(path)?.read(KEY, 32) {
        Err(error) if error.is_absence() => Ok(None),
        Ok(bytes) if bytes.len() == 32 => Ok(bytes.try_into().ok()),
        Ok(_) | Err(ReadError::TooLarge { .. }) => {
            Err(OpenError::Broken { file: path.join(KEY), why: "is not 32 bytes long".to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes a whole file in place of the one that is there. When this returns, it is durable.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let file = dir.join(name);
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let written = || {
        let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        out.write_all(bytes)?;
        out.sync_all()
    };
    written().map_err(|source| StoreError::Unchanged { file: file.clone(), source })?;
    let renamed = fs::rename(&temporary, &file).and_then(|()| File::open(dir)?.sync_all());
    renamed.map_err(|source| StoreError::Unsure { file, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use indelible_chain::cosignature::UnixSeconds;
    use indelible_chain::digest::Digest;
    use indelible_chain::note::NoteSigner;

    use super::*;

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    fn open(path: &Path, with: Option<&str>) -> Result<Directory, OpenError> {
        Directory::open(path, with.map(name).as_ref(), "test 1")
    }

    /// All files of a directory with their bytes.
    fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                found.extend(files(&entry));
            } else {
                found.push((entry.clone(), fs::read(&entry).unwrap()));
            }
        }
        found.sort();
        found
    }

    fn cosigned(directory: &Directory, size: u64) -> (LogId, Note) {
        let log = NoteSigner::new(name("example.com/log"), &[7; 32]);
        let checkpoint = Checkpoint::new("example.com/log".parse().unwrap(), size, Digest::sha256(b"root"));
        let mut note = checkpoint.sign(&log).unwrap();
        note.add(directory.cosigner().cosign(&checkpoint, UnixSeconds::new(5).unwrap()).unwrap()).unwrap();
        (checkpoint.origin().log_id(), note)
    }

    #[test]
    fn the_key_is_made_once_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/witness");
        assert!(matches!(open(&path, None), Err(OpenError::NameRequired(_))));
        assert!(!path.exists());
        let made = open(&path, Some("w1")).unwrap().cosigner().verifier_key().clone();
        assert_eq!(fs::read_to_string(path.join(VKEY)).unwrap(), format!("{made}\n"));
        assert_eq!(fs::metadata(path.join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        for given in [None, Some("w1")] {
            assert_eq!(*open(&path, given).unwrap().cosigner().verifier_key(), made);
        }
        let error = open(&path, Some("w2")).unwrap_err().to_string();
        assert!(error.contains("of the witness w1, --name says w2"), "{error}");
    }

    #[test]
    fn a_second_writer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), Some("w1")).unwrap();
        assert!(matches!(open(dir.path(), None), Err(OpenError::Locked(_))));
        drop(first);
        open(dir.path(), None).unwrap();
    }

    #[test]
    fn what_is_kept_is_read_again_and_nothing_else_is_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path(), Some("w1")).unwrap();
        assert_eq!(witness.kept().unwrap(), []);
        let (id, note) = cosigned(&witness, 9);
        witness.keep(id, &note).unwrap();
        let kept = witness.kept().unwrap();
        assert_eq!((kept[0].id, kept[0].checkpoint.size(), &kept[0].note), (id, 9, &note));

        let file = dir.path().join(LOGS).join(id.to_string());
        let other = NoteSigner::new(name("example.com/log"), &[7; 32]);
        let unsigned = kept[0].checkpoint.sign(&other).unwrap().to_string();
        let moved = note.to_string().replace("example.com/log\n9", "example.com/other\n9");
        for (text, why) in [
            ("", "no checkpoint"),
            (&unsigned, "not cosigned"),
            (&moved, "of another log"),
            ("x\n\n— w", "no checkpoint"),
        ] {
            fs::write(&file, text).unwrap();
            let error = witness.kept().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("restore it"), "{error}");
        }
        let bigger = note.to_string().replace("\n9\n", "\n8\n");
        fs::write(&file, bigger).unwrap();
        assert!(witness.kept().unwrap_err().to_string().contains("not cosigned"));
    }

    #[test]
    fn what_is_no_witness_directory_is_refused_unchanged() {
        for (file, text, why) in [
            ("notes.txt", "mine", "no witness's data directory"),
            ("version", "1 indelible-collector 0.1.0", "no witness's data directory"),
            ("version", "witness 2 indelible 9", "has format 2"),
            ("version", "nonsense", "no witness's data directory"),
            ("logs/x", "", "is missing although there are logs"),
            ("key", "short", "not 32 bytes"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let before: Vec<_> = files(dir.path());
            let error = open(dir.path(), Some("w1")).unwrap_err().to_string();
            assert!(error.contains(why), "{file}: {error}");
            let after: Vec<_> = files(dir.path()).into_iter().filter(|(path, _)| !path.ends_with(LOCK)).collect();
            assert_eq!(after, before, "{file}");
        }
    }

    #[test]
    fn a_directory_with_another_key_or_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), Some("w1")).unwrap());
        fs::write(dir.path().join(KEY), [9; 32]).unwrap();
        assert!(open(dir.path(), None).unwrap_err().to_string().contains("is not that of `key`"));
        fs::remove_file(dir.path().join(KEY)).unwrap();
        assert!(open(dir.path(), Some("w1")).unwrap_err().to_string().contains("key is missing"));
    }

    #[test]
    fn a_crash_before_the_version_is_made_up_for_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = open(dir.path(), Some("w1")).unwrap().cosigner().verifier_key().clone();
        fs::remove_file(dir.path().join(VERSION)).unwrap();
        fs::write(dir.path().join("vkey.tmp"), "half").unwrap();
        assert_eq!(*open(dir.path(), Some("w1")).unwrap().cosigner().verifier_key(), key);
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path(), Some("w1")).unwrap();
        let (id, note) = cosigned(&witness, 9);
        witness.keep(id, &note).unwrap();
        // In the way of the temporary file.
        fs::create_dir(dir.path().join(LOGS).join(format!("{id}{TEMPORARY}"))).unwrap();
        let (_, larger) = cosigned(&witness, 10);
        assert!(matches!(witness.keep(id, &larger), Err(StoreError::Unchanged { .. })));
        assert_eq!(witness.kept().unwrap()[0].note, note);
    }
}
