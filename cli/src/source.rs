//! Where evidence is read from: a collector, by its URL or in its pod, a data directory, or a log's static tiles.
//!
//! A source yields, in this order, its signed checkpoints, its log's frames, and its tiles; and any frame once more by
//! its index. It believes nothing of what it reads and judges nothing: what it cannot make sense of is handed to the judge
//! as damage, with where it is and what is wrong. Archives come with a later release and are refused by name.

mod bundles;
pub mod collector;
pub mod directory;
pub mod folder;
pub mod http;
mod layout;
pub mod route;
pub mod segment;
pub mod trust;

use std::path::Path;

use indelible_chain::digest::Digest;
use indelible_chain::id::LeafIndex;
use indelible_chain::stored::{Codec, Stored};
use indelible_chain::tile::{BundleId, MAX_LEAF_BYTES, TILE_WIDTH, TileId};
use indelible_chain::verify::{Damage, Frame, SourceKind};
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use crate::args::ConnectionArgs;
use collector::Collector;
use directory::Directory;
use folder::ReadError;
use http::FetchError;
use route::Token;

/// A log, as one place shows it.
#[derive(Debug)]
pub enum Source {
    /// A collector that answers now.
    Collector(Box<Collector>),
    /// A data directory, perhaps a copy; or one that holds nothing but a log's tiles.
    Directory(Box<Directory>),
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A server.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// A source's name that can mean nothing, or something that this version does not read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An archive.
    #[error("{0}: archives are not read by this version; name collectors' URLs or data directories")]
    Archive(String),
    /// A URL needs certificates.
    #[error("{0}: --ca is needed to know the collector; give the pool's CA certificate (PEM)")]
    NoCa(String),
    /// No such directory, no such server, no such file.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A leaf with its body, kept beyond the reading of the next one.
#[derive(Debug, Clone)]
pub struct OwnedFrame {
    /// The leaf's index.
    pub index: LeafIndex,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// How the body is stored.
    pub codec: Codec,
    /// The stored body.
    pub body: Vec<u8>,
    /// What is wrong with the frame as such.
    pub flaw: Option<String>,
}

impl OwnedFrame {
    /// The frame as the judge takes it.
    pub fn view(&self) -> Frame<'_> {
        let body = Stored { codec: self.codec, bytes: &self.body };
        Frame { index: self.index, leaf: &self.leaf, body, flaw: self.flaw.as_deref() }
    }

    /// Bytes that it takes.
    pub fn len(&self) -> usize {
        self.leaf.len() + self.body.len()
    }
}

impl From<Frame<'_>> for OwnedFrame {
    fn from(frame: Frame<'_>) -> Self {
        Self {
            index: frame.index,
            leaf: frame.leaf.to_vec(),
            codec: frame.body.codec,
            body: frame.body.bytes.to_vec(),
            flaw: frame.flaw.map(str::to_owned),
        }
    }
}

/// What is found on the way through a log.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// A leaf with its body.
    Frame(Frame<'a>),
    /// Bytes that are none.
    Damage(Damage<'a>),
}

/// A tile or bundle, as it is stored or served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileFile {
    /// Hashes.
    Tile(TileId),
    /// Leaves.
    Bundle(BundleId),
}

impl TileFile {
    /// The path under the log.
    pub fn path(self) -> String {
        match self {
            Self::Tile(tile) => tile.path(),
            Self::Bundle(bundle) => bundle.path(),
        }
    }

    /// The most bytes that it can have.
    pub const fn max_bytes(self) -> usize {
        match self {
            // One hash more than a full one: what was added to must not look as if it could not be read.
            Self::Tile(_) => (TILE_WIDTH as usize + 1) * Digest::LEN,
            Self::Bundle(_) => (TILE_WIDTH as usize + 1) * (2 + MAX_LEAF_BYTES),
        }
    }
}

/// Takes tiles and bundles; one that is not to be had comes with why.
pub type SeeTile<'a> = &'a mut dyn FnMut(TileFile, Result<&[u8], &str>);

/// A note that a source holds, under the name that a person knows it by.
pub type NamedNote = (String, Vec<u8>);

/// Opens sources by what the user called them.
pub struct Opener {
    runtime: Handle,
    connection: ConnectionArgs,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Opener {
    /// With these flags; the runtime is what connections live in.
    pub fn new(runtime: Handle, connection: &ConnectionArgs) -> Self {
        Self { runtime, connection: connection.clone(), tls: None }
    }

    /// Opens a source. Collectors are not asked yet.
    pub fn open(&mut self, name: &str) -> Result<Source, OpenError> {
        if name.starts_with("s3://") {
            return Err(OpenError::Archive(name.to_owned()));
        }
        if name.contains("://") {
            return Ok(Source::Collector(Box::new(Collector::new(self.client(name)?))));
        }
        let mut directory = Directory::open(Path::new(name)).map_err(SourceError::from)?;
        if directory.is_archive() {
            return Err(OpenError::Archive(name.to_owned()));
        }
        directory.check_format().map_err(SourceError::from)?;
        Ok(Source::Directory(Box::new(directory)))
    }

    /// A client of a witness at `url`: trusted by whom browsers trust, or by `--ca`, if that is given.
    pub fn witness(&self, url: &str) -> Result<http::Client, FetchError> {
        let pem = self.connection.ca.as_deref().map(trust::pem).transpose()?;
        let tls = trust::trusting_the_web(pem.as_deref()).map_err(|why| {
            let path = self.connection.ca.clone().unwrap_or_default();
            FetchError::File { flag: "--ca", path, why }
        })?;
        http::Client::new(self.runtime.clone(), url, http::Peer::Witness, tls, None)
    }

    /// A client of the collector at `url`.
    pub fn client(&mut self, url: &str) -> Result<http::Client, OpenError> {
        let tls = match (&self.tls, &self.connection.ca) {
            (Some(tls), _) => tls.clone(),
            (None, Some(ca)) => self.tls.insert(trust::tls(ca).map_err(SourceError::from)?).clone(),
            (None, None) => return Err(OpenError::NoCa(url.to_owned())),
        };
        let token = self.connection.token.clone().map(Token::File);
        let client = http::Client::new(self.runtime.clone(), url, http::Peer::Collector, tls, token);
        Ok(client.map_err(SourceError::from)?)
    }
}

impl Source {
    /// What a person knows it by.
    pub fn label(&self) -> String {
        match self {
            Self::Collector(collector) => collector.label().to_owned(),
            Self::Directory(directory) => directory.label(),
        }
    }

    /// How it shows its log. A data directory is held to the same as its collector: a checkpoint is durable there before
    /// anyone sees it, so one that holds less than somebody has seen was put back, whoever put it.
    pub const fn kind(&self) -> SourceKind {
        match self {
            Self::Collector(_) | Self::Directory(_) => SourceKind::Collector,
        }
    }

    /// The origin that the source gives itself; not believed.
    pub fn claimed(&self) -> Option<&str> {
        match self {
            Self::Collector(collector) => collector.claimed(),
            Self::Directory(directory) => directory.claimed(),
        }
    }

    /// All checkpoints, the newest first.
    pub fn checkpoints(&mut self) -> Result<Vec<NamedNote>, SourceError> {
        match self {
            Self::Collector(collector) => Ok(collector.checkpoints()?),
            Self::Directory(directory) => Ok(directory.checkpoints()?),
        }
    }

    /// The newest checkpoint alone.
    pub fn newest(&mut self) -> Result<Vec<u8>, SourceError> {
        match self {
            Self::Collector(collector) => Ok(collector.newest()?),
            Self::Directory(directory) => Ok(directory.newest()?),
        }
    }

    /// The leaves `[from, size)` in log order, with what is damaged between them.
    pub fn frames(&mut self, from: u64, size: u64, see: &mut dyn FnMut(Found<'_>)) -> Result<(), SourceError> {
        match self {
            Self::Collector(collector) => {
                collector.frames(from, size, &mut |frame| see(Found::Frame(frame)))?;
                Ok(())
            }
            Self::Directory(directory) => Ok(directory.frames(from, size, see)?),
        }
    }

    /// The tiles and bundles of a log of `size` leaves, after its frames; what is not to be had comes with why.
    pub fn tiles(&mut self, size: u64, see: SeeTile<'_>) -> Result<(), SourceError> {
        match self {
            Self::Collector(collector) => collector.tiles(size, see)?,
            Self::Directory(directory) => directory.tiles(size, see),
        }
        Ok(())
    }

    /// One leaf once more; `None` if it cannot be found again.
    pub fn frame(&mut self, index: LeafIndex) -> Result<Option<OwnedFrame>, SourceError> {
        match self {
            Self::Collector(collector) => Ok(collector.frame(index)?),
            Self::Directory(directory) => Ok(directory.frame(index)?),
        }
    }
}
