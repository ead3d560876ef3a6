//! The Merkle tree over what is durable, and its checkpoints.
//!
//! Owns `tile/`, `checkpoint` and `checkpoints/`, and one thread that grows them. Each tick hashes the new leaves from
//! the bytes on disk, compares them with what receipts promised, makes full tiles and bundles durable, then the
//! checkpoint, and only then shows it. Invariant: what was shown is durable, covers only durable leaves, and extends
//! everything shown before.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indelible_chain::bytes::Put as _;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::digest::Digest;
use indelible_chain::frame::SegmentFrame;
use indelible_chain::id::{LeafIndex, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::{HashSource, ProveError, Tree as Edge, leaf_hash, prove_consistency};
use indelible_chain::note::{Note, NoteSignature};
use indelible_chain::tile::{
    BundleId, CompletedTile, TILE_WIDTH, TileEdge, TileHashes, TileHashesError, TileId, encode_tile,
};

use super::directory::{CHECKPOINT, CHECKPOINTS, io_error};
use super::error::{Fatal, OpenError, ReadError};
use super::files::{self, parent};
use super::read::enter;
use super::recover::Signed;
use super::segment::{Depth, Walker};
use super::shared::{Shared, absent};
use super::{Extension, OnTime, Published};
use crate::failpoint::failpoint;
use crate::limits;

/// What is public: the newest checkpoint and the right edge of its tree.
#[derive(Debug)]
pub struct View {
    /// The checkpoint.
    pub published: Arc<Published>,
    edge: TileEdge,
}

/// What readers see of the tree.
#[derive(Debug)]
pub struct Shown {
    view: RwLock<Arc<View>>,
    /// Sizes whose checkpoints are kept, ascending.
    kept: Mutex<BTreeSet<u64>>,
    /// Held while a kept checkpoint is written: the tree keeps it, witnesses add to it.
    keeping: Mutex<()>,
}

/// The tree's one owner.
#[derive(Debug)]
pub struct Tree {
    shared: Arc<Shared>,
    shown: Arc<Shown>,
    edge: TileEdge,
    /// The leaves after the last full bundle, as a bundle has them.
    bundle: Vec<u8>,
    walker: Option<Walker>,
    /// Directories that are known to be there.
    dirs: BTreeSet<String>,
    /// When a checkpoint was last kept.
    kept_at: Option<Time>,
    /// The size that was signed last.
    signed: u64,
    /// Told how long a leaf waited for its checkpoint.
    on_publish: OnTime,
}

impl Shown {
    /// The newest checkpoint and its tree.
    pub fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sizes above `after` whose checkpoints are kept.
    pub fn kept(&self, after: u64, limit: usize) -> Vec<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.range(after.saturating_add(1)..).take(limit).copied().collect()
    }

    /// Whether the checkpoint of this size is kept.
    pub fn keeps(&self, size: u64) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&size)
    }
}

/// The leaf hashes and full tiles of the tree that the newest checkpoint covers, for the right edge at a start.
struct Stored<'a> {
    shared: &'a Shared,
}

impl HashSource for Stored<'_> {
    type Error = ReadError;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, ReadError> {
        // The edge asks for leaf hashes and for roots of full tiles only.
        if level == 0 {
            return leaf_hash_at(self.shared, LeafIndex::new(index));
        }
        let hashes = stored_tile(self.shared, level / 8 - 1, index)?;
        Ok(hashes.into_iter().collect::<Edge>().root())
    }
}

fn leaf_hash_at(shared: &Shared, index: LeafIndex) -> Result<Digest, ReadError> {
    let mut walker = enter(shared, index, Depth::Leaves)?;
    match walker.next_frame()?.map(|found| found.frame) {
        Some(SegmentFrame::Leaf { leaf, .. }) => Ok(leaf_hash(leaf)),
        Some(SegmentFrame::Mark { .. }) | None => Err(absent("segments".into(), format!("leaf {index}"))),
    }
}

/// The hashes of a full tile; made from what is below it, if its file is gone.
fn stored_tile(shared: &Shared, level: u8, index: u64) -> Result<Vec<Digest>, ReadError> {
    let id = TileId::new(level, index, TILE_WIDTH).expect("a tree of 64-bit size has eight levels of tiles");
    let path = id.path();
    let file = files::read(&*shared.files, &path, TILE_BYTES).map_err(|e| ReadError::io(&path, e))?;
    if let Some(bytes) = file {
        let remedy = "a full tile: move the file away, the tile is made again from the leaves";
        return id.decode(&bytes).map_err(|_| absent(path, remedy.into()));
    }
    let first = index * u64::from(TILE_WIDTH);
    let source = Stored { shared };
    let hashes = (first..first + u64::from(TILE_WIDTH)).map(|i| source.subtree(8 * level, i));
    let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
    Ok(hashes)
}

const TILE_BYTES: usize = TILE_WIDTH as usize * Digest::LEN;

impl Tree {
    /// Takes up the tree at the newest checkpoint, and checks that the log still has what was signed.
    pub fn open(shared: Arc<Shared>, signed: Option<&Signed>) -> Result<Self, OpenError> {
        let size = signed.map_or(0, |signed| signed.checkpoint.size());
        let edge = TileEdge::from_source(size, &Stored { shared: &shared }).map_err(|e| match e {
            ProveError::Source(error) => OpenError::Read(error),
            other => OpenError::RootDiffers { size, why: other.to_string() },
        })?;
        let root = edge.tree().root();
        if let Some(signed) = signed
            && signed.checkpoint.root() != root
        {
            return Err(differs(&shared, signed));
        }
        let files = &*shared.files;
        let names = files.list(CHECKPOINTS).map_err(|e| io_error(files, "list `checkpoints`", e))?;
        let kept = names.iter().filter_map(|name| name.parse().ok()).collect();
        let note = signed.map_or_else(Bytes::new, |signed| signed.note.clone().into());
        let view = View { published: Arc::new(Published { size, root, note }), edge: edge.clone() };
        let shown = Shown { view: RwLock::new(Arc::new(view)), kept: Mutex::new(kept), keeping: Mutex::default() };
        let mut tree = Self {
            shown: Arc::new(shown),
            edge,
            bundle: Vec::new(),
            walker: None,
            dirs: BTreeSet::new(),
            kept_at: None,
            signed: size,
            on_publish: OnTime::default(),
            shared,
        };
        tree.reload_bundle(size)?;
        Ok(tree)
    }

    /// From now on this is told how long leaves waited for their checkpoints.
    pub fn observed_by(&mut self, on_publish: OnTime) {
        self.on_publish = on_publish;
    }

    /// What readers see.
    pub fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    fn reload_bundle(&mut self, size: u64) -> Result<(), ReadError> {
        let first = size - size % u64::from(TILE_WIDTH);
        for index in first..size {
            let (walker, bundle) = (&mut self.walker, &mut self.bundle);
            read_leaf(&self.shared, walker, LeafIndex::new(index), |leaf| bundle.put_lp16(leaf))?;
        }
        Ok(())
    }

    /// Takes in the leaves that became durable, as many as one checkpoint takes, and publishes a checkpoint over
    /// them. Whether there is more to take in.
    pub fn tick(&mut self, now: Time) -> Result<bool, Fatal> {
        if let Some(fatal) = self.shared.stopped() {
            return Err(fatal);
        }
        let durable = self.shared.state().durable.leaves.get();
        let target = durable.min(self.edge.size() + limits::LEAVES_PER_CHECKPOINT);
        if target == self.signed && !self.shown.view().published.note.is_empty() {
            return Ok(false);
        }
        let (began, mut touched, mut oldest) = (Instant::now(), BTreeSet::new(), None);
        for index in self.edge.size()..target {
            self.take(LeafIndex::new(index), &mut touched, &mut oldest)?;
        }
        failpoint("tick-tiles");
        // Crash before the names below are durable: tiles without a checkpoint over them, made again by the next tick.
        for dir in touched {
            self.shared.files.sync_dir(&dir).map_err(|e| self.fail("sync", &dir, &e))?;
        }
        self.publish(now)?;
        if let Some(oldest) = oldest {
            let waited = u64::try_from(now.since(oldest)).unwrap_or(0);
            self.on_publish.took(Duration::from_nanos(waited) + began.elapsed());
        }
        Ok(target < durable)
    }

    /// Takes in one leaf, and stores the tiles and the bundle that it completes. `oldest`: when the first one came.
    fn take(
        &mut self,
        index: LeafIndex,
        touched: &mut BTreeSet<String>,
        oldest: &mut Option<Time>,
    ) -> Result<(), Fatal> {
        let (walker, bundle) = (&mut self.walker, &mut self.bundle);
        let hash = read_leaf(&self.shared, walker, index, |leaf| {
            bundle.put_lp16(leaf);
            if oldest.is_none() {
                *oldest = Leaf::decode(leaf).ok().and_then(|leaf| leaf.received_at());
            }
            leaf_hash(leaf)
        });
        // A leaf that was acknowledged and cannot be read back is as fatal as a write that fails.
        let hash = hash.map_err(|e| self.shared.stop(Fatal::new(format!("cannot read back leaf {index}: {e}"))))?;
        if let Some(promised) = self.shared.promised().take(index)
            && promised != hash
        {
            let why =
                format!("leaf {index} on disk is not the one that was acknowledged: the volume returns other bytes");
            return Err(self.shared.stop(Fatal::new(why)));
        }
        for CompletedTile { id, hashes } in self.edge.push(hash) {
            if id.level() == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                let id = BundleId::new(id.index(), TILE_WIDTH).expect("256 is a width");
                self.put(&id.path(), &bundle, touched)?;
                failpoint("tile-bundle");
                // Crash here: a bundle without its tile, and no checkpoint over either. The next start makes both again.
            }
            self.put(&id.path(), &encode_tile(&hashes), touched)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, bytes: &[u8], touched: &mut BTreeSet<String>) -> Result<(), Fatal> {
        let dir = parent(path);
        if !self.dirs.contains(dir) {
            files::make_dirs(&*self.shared.files, dir).map_err(|e| self.fail("make", dir, &e))?;
            if self.dirs.len() >= limits::KNOWN_DIRS {
                self.dirs.clear();
            }
            self.dirs.insert(dir.to_owned());
        }
        files::put(&*self.shared.files, path, bytes).map_err(|e| self.fail("write", path, &e))?;
        touched.insert(dir.to_owned());
        Ok(())
    }

    /// Signs the tree, makes the checkpoint durable, then shows it.
    fn publish(&mut self, now: Time) -> Result<(), Fatal> {
        let identity = self.shared.identity.clone();
        let (size, root) = (self.edge.size(), self.edge.tree().root());
        let checkpoint = Checkpoint::new(identity.name().clone(), size, root);
        let note = checkpoint.sign(identity.signer()).map_err(|e| self.shared.stop(Fatal::new(e.to_string())))?;
        let note = Bytes::from(note.to_string().into_bytes());
        failpoint("tick-checkpoint");
        // Crash before or within: the last checkpoint stands, and was the last that anyone saw.
        self.replace(CHECKPOINT, &note)?;
        failpoint("tick-publish");
        // Crash here: the next start finds this checkpoint; nobody has seen it yet.
        self.signed = size;
        let every = i64::try_from(limits::KEPT_CHECKPOINT_EVERY.as_nanos()).unwrap_or(i64::MAX);
        if self.kept_at.is_none_or(|kept| now.since(kept) >= every || now < kept) {
            self.keep(size, &note)?;
            self.kept_at = Some(now);
        }
        let view = View { published: Arc::new(Published { size, root, note }), edge: self.edge.clone() };
        *self.shown.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        Ok(())
    }

    /// Keeps the newest checkpoint, whatever the time: the last one of a log that is sealed.
    pub fn keep_last(&mut self) -> Result<(), Fatal> {
        let published = self.shown.view().published.clone();
        self.keep(published.size, &published.note)
    }

    fn keep(&self, size: u64, note: &[u8]) -> Result<(), Fatal> {
        let _keeping = self.shown.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        // With cosignatures it may be kept already.
        if self.shown.keeps(size) {
            return Ok(());
        }
        self.replace(&format!("{CHECKPOINTS}/{size}"), note)?;
        self.shown.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(size);
        Ok(())
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), Fatal> {
        files::replace(&*self.shared.files, path, bytes).map_err(|e| self.fail("write", path, &e))
    }

    fn fail(&self, what: &str, path: &str, source: &io::Error) -> Fatal {
        self.shared.stop(Fatal::io(what, path, source))
    }
}

/// Reads leaf `index`, going on where the walk stands.
fn read_leaf<T>(
    shared: &Shared,
    walker: &mut Option<Walker>,
    index: LeafIndex,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<T, ReadError> {
    let at_leaf = match walker {
        Some(walker) => walker.at_leaf()?,
        None => false,
    };
    if !at_leaf {
        *walker = Some(enter(shared, index, Depth::Leaves)?);
    }
    let missing = || absent("segments".into(), format!("leaf {index}"));
    let found = walker.as_mut().ok_or_else(missing)?.next_frame()?;
    match found.map(|found| found.frame) {
        Some(SegmentFrame::Leaf { leaf, .. }) => Ok(read(leaf)),
        Some(SegmentFrame::Mark { .. }) | None => Err(missing()),
    }
}

/// Names what differs when the tree is not the one that was signed: reads the whole log.
fn differs(shared: &Arc<Shared>, signed: &Signed) -> OpenError {
    let size = signed.checkpoint.size();
    let (mut edge, mut walker) = (TileEdge::new(), None);
    let mut damaged = None;
    for index in 0..size {
        let hash = match read_leaf(shared, &mut walker, LeafIndex::new(index), leaf_hash) {
            Ok(hash) => hash,
            Err(error) => return OpenError::RootDiffers { size, why: error.to_string() },
        };
        for CompletedTile { id, hashes } in edge.push(hash) {
            let path = id.path();
            let there = files::read(&*shared.files, &path, TILE_BYTES).ok().flatten();
            if damaged.is_none() && there.is_some_and(|bytes| bytes != encode_tile(&hashes)) {
                damaged = Some((path, id.index() * u64::from(TILE_WIDTH)));
            }
        }
    }
    match damaged {
        Some((path, _)) if edge.tree().root() == signed.checkpoint.root() => OpenError::Tile { path },
        Some((path, first)) => OpenError::RootDiffers {
            size,
            why: format!("the first that differs stands in {path}, from leaf {first} on"),
        },
        None => {
            let first = size - size % u64::from(TILE_WIDTH);
            OpenError::RootDiffers { size, why: format!("one of the leaves from {first} on differs") }
        }
    }
}

/// A tile of the published tree, exactly as wide as asked for; `None` if the tree has not that many hashes of it.
pub fn tile(shared: &Shared, shown: &Shown, id: TileId) -> Result<Option<Bytes>, ReadError> {
    let view = shown.view();
    let wide = TileId::in_tree(view.published.size, id.level(), id.index()).filter(|tree| tree.width() >= id.width());
    if wide.is_none() {
        return Ok(None);
    }
    if let Some(hashes) = view.edge.tile(id) {
        return Ok(Some(encode_tile(hashes).into()));
    }
    let mut hashes = stored_tile(shared, id.level(), id.index())?;
    hashes.truncate(id.width().into());
    Ok(Some(encode_tile(&hashes).into()))
}

/// A bundle of the published tree, exactly as wide as asked for; `None` if the log has not that many leaves of it.
pub fn entries(shared: &Shared, shown: &Shown, id: BundleId) -> Result<Option<Bytes>, ReadError> {
    let size = shown.view().published.size;
    if BundleId::in_tree(size, id.index()).is_none_or(|tree| tree.width() < id.width()) {
        return Ok(None);
    }
    let path = id.full().path();
    if id.is_full()
        && let Some(bytes) =
            files::read(&*shared.files, &path, limits::MAX_BUNDLE_BYTES).map_err(|e| ReadError::io(&path, e))?
    {
        return Ok(Some(bytes.into()));
    }
    let first = id.index() * u64::from(TILE_WIDTH);
    let (mut bytes, mut walker) = (Vec::new(), None);
    for index in first..first + u64::from(id.width()) {
        read_leaf(shared, &mut walker, LeafIndex::new(index), |leaf| bytes.put_lp16(leaf))?;
    }
    Ok(Some(bytes.into()))
}

/// A kept checkpoint's note.
pub fn kept_checkpoint(shared: &Shared, shown: &Shown, size: u64) -> Result<Option<Bytes>, ReadError> {
    if !shown.keeps(size) {
        return Ok(None);
    }
    let path = format!("{CHECKPOINTS}/{size}");
    let note = files::read(&*shared.files, &path, limits::SMALL_FILE_BYTES).map_err(|e| ReadError::io(&path, e))?;
    Ok(note.map(Bytes::from))
}

/// The newest checkpoint, with the proof that it extends the tree of `old` leaves; `None` if that is larger.
pub fn extension(shared: &Shared, shown: &Shown, old: u64) -> Result<Option<Extension>, ReadError> {
    let view = shown.view();
    let size = view.published.size;
    if old > size {
        return Ok(None);
    }
    let read = |id: TileId| match view.edge.tile(id) {
        Some(hashes) => Ok(hashes.to_vec()),
        None => stored_tile(shared, id.level(), id.index()),
    };
    match prove_consistency(old, size, &TileHashes::new(size, read)) {
        Ok(proof) => Ok(Some((view.published.clone(), proof))),
        Err(ProveError::Source(TileHashesError::Read { source, .. })) => Err(source),
        Err(error) => Err(absent("tile".into(), error.to_string())),
    }
}

/// Adds cosignatures to a checkpoint, one of each key, and keeps it; where nothing may be written, only in memory.
pub fn cosign(
    shared: &Shared,
    shown: &Shown,
    published: &Published,
    lines: Vec<NoteSignature>,
    write: bool,
) -> Result<(), Fatal> {
    let _keeping = shown.keeping.lock().unwrap_or_else(PoisonError::into_inner);
    let size = published.size;
    // What cannot be read back is written anew: the log's own signature is what counts.
    let kept = kept_checkpoint(shared, shown, size).ok().flatten();
    let Some(mut note) = kept.and_then(|note| Note::parse(&note).ok()).or_else(|| Note::parse(&published.note).ok())
    else {
        return Ok(());
    };
    for line in lines {
        let known =
            note.signatures().iter().any(|known| (known.name(), known.key_id()) == (line.name(), line.key_id()));
        // As many as a note has room for.
        if !known && note.add(line).is_err() {
            break;
        }
    }
    let bytes = Bytes::from(note.to_string().into_bytes());
    if write {
        let path = format!("{CHECKPOINTS}/{size}");
        // Crash before or within: it is kept without, or not at all; the witness is asked again.
        files::replace(&*shared.files, &path, &bytes).map_err(|e| shared.stop(Fatal::io("write", &path, &e)))?;
        shown.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(size);
    }
    let mut view = shown.view.write().unwrap_or_else(PoisonError::into_inner);
    if view.published.size == size {
        let published = Arc::new(Published { size, root: published.root, note: bytes });
        *view = Arc::new(View { published, edge: view.edge.clone() });
    }
    Ok(())
}
