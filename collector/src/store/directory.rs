//! The data directory as a whole: whose it is, which format it has, who may write it.
//!
//! Owns `key`, `vkey`, `version` and `LOCK`, and the making of a new directory. It looks before it touches: a
//! directory that is no log's, another log's or a later version's is refused unchanged.
//!
//! ```text
//! key      the 32 bytes of the log's Ed25519 seed
//! vkey     the verifier key, one line
//! version  `<format> <software>`, one line; written last, so a directory with it is complete
//! LOCK     flock
//! ```

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use indelible_chain::checkpoint::Origin;
use indelible_chain::id::LogId;
use indelible_chain::key::PrivateKey;
use indelible_chain::note::{KeyName, NoteSigner, VerifierKey};

use super::Options;
use super::error::{FORMAT, OpenError};
use super::files::{self, Files, TEMPORARY};
use super::segment;
use crate::limits::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, SMALL_FILE_BYTES};

const KEY: &str = "key";
const VKEY: &str = "vkey";
const VERSION: &str = "version";
const LOCK: &str = "LOCK";
/// The newest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// Where some checkpoints are kept.
pub const CHECKPOINTS: &str = "checkpoints";
/// Where torn tails are set aside.
pub const TORN: &str = "torn";
/// Where full tiles and bundles are.
pub const TILES: &str = "tile";
/// The last checkpoint of the log that a new one continues, put there by a person.
pub const PREDECESSOR: &str = "predecessor";

/// What may lie in a directory that is not complete, and in an empty volume.
const BEFORE_VERSION: [&str; 9] = [KEY, VKEY, LOCK, segment::DIR, CHECKPOINTS, TORN, TILES, PREDECESSOR, "lost+found"];

/// Who a log is: its key and the names that follow from it.
#[derive(Debug)]
pub struct Identity {
    origin: Origin,
    log_id: LogId,
    vkey: String,
    signer: NoteSigner,
}

impl Identity {
    fn new(origin: Origin, seed: &[u8; 32]) -> Self {
        let name = origin.key_name().expect("the origin of a log of ours is its key's name");
        let signer = NoteSigner::new(name, seed);
        Self { log_id: origin.log_id(), vkey: signer.verifier_key().to_string(), origin, signer }
    }

    /// `<--origin>-<8 hex digits of SHA-256(public key)>`.
    pub fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// The origin, as checkpoints name it.
    pub const fn name(&self) -> &Origin {
        &self.origin
    }

    /// The verifier key as signed notes write it.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// SHA-256 of the origin.
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The log's key, as it signs checkpoints.
    pub const fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    /// The log's key, as it signs receipts.
    pub const fn key(&self) -> &PrivateKey {
        self.signer.private_key()
    }
}

/// A directory that is ours alone, for as long as this lives.
#[derive(Debug)]
pub struct Directory {
    /// Its files.
    pub files: Arc<dyn Files>,
    /// Its log.
    pub identity: Arc<Identity>,
    _lock: Box<dyn Debug + Send + Sync>,
}

impl Directory {
    /// Opens a log's directory, or makes one where there is nothing.
    pub fn open(files: Arc<dyn Files>, options: &Options) -> Result<Self, OpenError> {
        check(options)?;
        let seen = Seen::look(&*files)?;
        if !seen.complete && options.origin.is_none() {
            return Err(OpenError::OriginRequired { dir: files.name() });
        }
        files.make_dir("").map_err(|e| io_error(&*files, "make it", e))?;
        let lock = files.lock(LOCK).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { dir: files.name() },
            _ => io_error(&*files, "lock it", e),
        })?;
        // Another process may have made the log between the look and the lock.
        let seen = Seen::look(&*files)?;
        let identity = match &options.origin {
            Some(prefix) if !seen.complete => make(&*files, prefix, &options.software)?,
            _ => load(&*files)?,
        };
        check_origin(&*files, &identity, options.origin.as_deref())?;
        Ok(Self { files, identity: Arc::new(identity), _lock: lock })
    }
}

impl Directory {
    /// Opens the directory of a log that is there, to read it. On a volume that nobody can write to nobody needs the lock.
    pub fn open_read_only(files: Arc<dyn Files>, options: &Options) -> Result<Self, OpenError> {
        if !Seen::look(&*files)?.complete {
            return Err(OpenError::NoLog { dir: files.name() });
        }
        let lock = match files.lock(LOCK) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Box::new(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::Locked { dir: files.name() });
            }
            lock => lock.map_err(|e| io_error(&*files, "lock it", e))?,
        };
        let identity = load(&*files)?;
        check_origin(&*files, &identity, options.origin.as_deref())?;
        Ok(Self { files, identity: Arc::new(identity), _lock: lock })
    }
}

/// Options that a person gave.
fn check(options: &Options) -> Result<(), OpenError> {
    if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&options.segment_bytes) {
        let bytes = options.segment_bytes;
        let text = format!("--segment-bytes {bytes} is outside {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES} bytes");
        return Err(OpenError::Option(text));
    }
    let name = options.origin.as_deref().map_or(Ok(()), |origin| origin.parse::<KeyName>().map(|_| ()));
    name.map_err(|e| OpenError::Option(format!("--origin: {e}")))
}

fn check_origin(files: &dyn Files, identity: &Identity, given: Option<&str>) -> Result<(), OpenError> {
    let Some(given) = given else { return Ok(()) };
    let same = Origin::of_key(given, &identity.key().public()).is_ok_and(|origin| origin == identity.origin);
    if same {
        return Ok(());
    }
    Err(OpenError::OtherOrigin { dir: files.name(), kept: identity.origin.to_string(), given: given.to_owned() })
}

/// What a look at a directory shows.
struct Seen {
    /// Whether a log was made here.
    complete: bool,
}

impl Seen {
    /// Looks, and refuses what is not ours to touch.
    fn look(files: &dyn Files) -> Result<Self, OpenError> {
        let names = match files.list("") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|e| io_error(files, "list it", e))?,
        };
        if names.iter().any(|name| name == VERSION) {
            check_version(files)?;
            return Ok(Self { complete: true });
        }
        // A log whose `version` is gone is not made anew over its segments.
        let segments = files.list(segment::DIR).unwrap_or_default();
        if segments.iter().any(|name| segment::first_of(name).is_some()) {
            return Err(broken(files, VERSION, "is missing although there are segments"));
        }
        let ours = |name: &str| {
            BEFORE_VERSION.contains(&name.strip_suffix(TEMPORARY).unwrap_or(name)) || name == "version.tmp"
        };
        if let Some(name) = names.iter().find(|name| !ours(name)) {
            return Err(OpenError::Foreign { dir: files.name(), name: name.clone() });
        }
        Ok(Self { complete: false })
    }
}

fn check_version(files: &dyn Files) -> Result<(), OpenError> {
    let text = small(files, VERSION)?;
    let text = String::from_utf8_lossy(&text);
    let (found, by) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), "its own software"));
    match found.parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        Ok(found) if found > FORMAT => {
            Err(OpenError::Newer { dir: files.name(), found, by: by.chars().take(100).collect() })
        }
        _ => Err(broken(files, VERSION, "does not begin with a format number")),
    }
}

/// Makes a log in an empty directory. `version` comes last: a crash before it leaves a directory that the next start
/// completes, with the key that is there.
fn make(files: &dyn Files, prefix: &str, software: &str) -> Result<Identity, OpenError> {
    let failed = |what: &'static str| move |e| io_error(files, what, e);
    let seed = if let Some(seed) = read_seed(files)? {
        seed
    } else {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| OpenError::Option(format!("no random bytes for a key: {e}")))?;
        files::replace(files, KEY, &seed).map_err(failed("write `key`"))?;
        seed
    };
    let origin = Origin::of_key(prefix, &PrivateKey::from_seed(&seed).public());
    let origin = origin.map_err(|e| OpenError::Option(format!("--origin: {e}")))?;
    let identity = Identity::new(origin, &seed);
    files::replace(files, VKEY, format!("{}\n", identity.vkey).as_bytes()).map_err(failed("write `vkey`"))?;
    for dir in [segment::DIR, CHECKPOINTS, TORN, "tile/entries"] {
        files::make_dirs(files, dir).map_err(failed("make a directory"))?;
    }
    files::replace(files, VERSION, format!("{FORMAT} {software}\n").as_bytes()).map_err(failed("write `version`"))?;
    Ok(identity)
}

fn load(files: &dyn Files) -> Result<Identity, OpenError> {
    let seed = read_seed(files)?.ok_or_else(|| broken(files, KEY, "is missing"))?;
    let vkey = small(files, VKEY)?;
    let vkey = std::str::from_utf8(&vkey).ok().and_then(|text| text.trim_end().parse::<VerifierKey>().ok());
    let vkey = vkey.ok_or_else(|| broken(files, VKEY, "is no verifier key"))?;
    let identity = Identity::new(Origin::from(vkey.name().clone()), &seed);
    if identity.signer.verifier_key() != &vkey || !identity.origin.is_of_key(vkey.public_key()) {
        return Err(broken(files, VKEY, "is not that of `key`"));
    }
    for dir in [segment::DIR, CHECKPOINTS, TORN, TILES] {
        files.list(dir).map_err(|_| broken(files, dir, "is missing"))?;
    }
    Ok(identity)
}

fn read_seed(files: &dyn Files) -> Result<Option<[u8; 32]>, OpenError> {
    let seed = files::read(files, KEY, SMALL_FILE_BYTES).map_err(|e| io_error(files, "read `key`", e))?;
    let Some(seed) = seed else { return Ok(None) };
    seed.try_into().map(Some).map_err(|_| broken(files, KEY, "is not 32 bytes long"))
}

/// Reads a small file that must be there.
fn small(files: &dyn Files, name: &str) -> Result<Vec<u8>, OpenError> {
    let bytes = files::read(files, name, SMALL_FILE_BYTES);
    let bytes = bytes.map_err(|e| io_error(files, &format!("read `{name}`"), e))?;
    bytes.ok_or_else(|| broken(files, name, "is missing"))
}

/// A step on the directory failed.
pub fn io_error(files: &dyn Files, what: &str, source: io::Error) -> OpenError {
    OpenError::Io { what: what.to_owned(), dir: files.name(), source }
}

/// A file is not what it should be.
pub fn broken(files: &dyn Files, name: &str, why: &str) -> OpenError {
    OpenError::Broken { dir: files.name(), name: name.to_owned(), why: why.to_owned() }
}
