//! What a log holds of one record: its batch with the body, the leaf of the session that signed it, the chain's
//! genesis, and the way from both leaves to the root.
//!
//! A data directory is read through, because nothing in it says where a leaf is. A collector is asked for the batch, and
//! from there back for bundles of leaves until session and genesis are found; bodies of other batches are not fetched.
//! Hashes come from its tiles: whether they are those that it signed shows when the proof is checked.

use std::cell::RefCell;
use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use indelible_chain::batch::Commitment;
use indelible_chain::digest::Digest;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, SessionId, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::{HashSource, MemoryHashes, leaf_hash, prove_inclusion};
use indelible_chain::session::Session;
use indelible_chain::stored::{Packer, Stored};
use indelible_chain::tile::{BundleId, TILE_WIDTH, TileHashes, TileId};

use super::wanted::Position;
use crate::source::collector::Collector;
use crate::source::directory::Directory;
use crate::source::http::FetchError;
use crate::source::{Found, OwnedFrame, Source, TileFile};

/// A leaf's place, and the way from it to the root.
#[derive(Debug)]
pub struct Included {
    pub index: LeafIndex,
    pub path: Vec<Digest>,
}

/// The leaf of a session.
#[derive(Debug)]
pub struct SessionLeaf {
    pub proof: Included,
    pub leaf: Vec<u8>,
    pub session: Session,
}

/// All that a log holds of a record.
#[derive(Debug)]
pub struct Held {
    pub batch: Included,
    pub session: SessionLeaf,
    pub genesis: Genesis,
    pub commitment: Commitment,
    pub received_at: Time,
    pub body: Vec<u8>,
}

const NOT_HERE: &str = "the record is not in this log";

impl Held {
    /// Looks for a record in the log of `size` leaves.
    pub fn by(source: &mut Source, size: u64, position: Position) -> Result<Self> {
        match source {
            Source::Directory(directory) => Self::by_directory(directory, size, position),
            Source::Collector(collector) => Self::by_collector(collector, size, position),
        }
    }

    fn by_directory(directory: &mut Directory, size: u64, position: Position) -> Result<Self> {
        let mut hashes = MemoryHashes::new();
        let mut whole = true;
        let mut batch = None;
        let mut introduced = Introductions::default();
        directory.frames(0, size, &mut |found| {
            let Found::Frame(frame) = found else { return };
            whole &= frame.index.get() == hashes.size();
            hashes.push(leaf_hash(frame.leaf));
            introduced.learn(frame.index, frame.leaf);
            if batch.is_none() && holds(frame.leaf, position) {
                batch = Some(OwnedFrame::from(frame));
            }
        })?;
        if !whole || hashes.size() != size {
            bail!("its log is not whole, so nothing can be proved from it; indelible verify says what is damaged");
        }
        Self::put_together(&batch.context(NOT_HERE)?, introduced, size, &hashes)
    }

    fn by_collector(collector: &mut Collector, size: u64, position: Position) -> Result<Self> {
        let Position { chain, seq } = position;
        let mut batch = None;
        let asked = collector.batches(&chain.to_string(), seq.get(), seq.plus(1).get(), &mut |frame| {
            if batch.is_none() && holds(frame.leaf, position) {
                batch = Some(OwnedFrame::from(frame));
            }
        });
        match asked {
            Err(FetchError::NotFound { .. }) => bail!(NOT_HERE),
            asked => asked?,
        }
        let batch = batch.context(NOT_HERE)?;
        let index = batch.index.get();
        if index >= size {
            bail!("the record is leaf {index}, and its newest checkpoint that meets the policy has {size}: try again");
        }
        let Leaf::Batch { commitment, .. } = Leaf::decode(&batch.leaf)? else { bail!(NOT_HERE) };
        let mut introduced = Introductions::default();
        for n in (0..=index / u64::from(TILE_WIDTH)).rev() {
            let bundle = BundleId::in_tree(size, n).context("a tree has a bundle for each of its leaves")?;
            let bytes = collector.tile(TileFile::Bundle(bundle))?;
            let first = n * u64::from(TILE_WIDTH);
            for (index, leaf) in (first..).zip(bundle.decode(&bytes)?) {
                introduced.learn(LeafIndex::new(index), leaf);
            }
            if introduced.have(&commitment) {
                break;
            }
        }
        let collector = RefCell::new(collector);
        let tile = |tile: TileId| -> Result<Vec<Digest>, FetchError> {
            let bytes = collector.borrow_mut().tile(TileFile::Tile(tile))?;
            tile.decode(&bytes).map_err(|e| FetchError::Nonsense { url: tile.path(), why: e.to_string() })
        };
        Self::put_together(&batch, introduced, size, &TileHashes::new(size, tile))
    }

    fn put_together<S>(batch: &OwnedFrame, mut introduced: Introductions, size: u64, hashes: &S) -> Result<Self>
    where
        S: HashSource<Error: std::error::Error + Send + Sync + 'static>,
    {
        let included = |index: LeafIndex| -> Result<Included> {
            let path = prove_inclusion(index.get(), size, hashes)?;
            Ok(Included { index, path })
        };
        let Leaf::Batch { commitment, received_at } = Leaf::decode(&batch.leaf)? else { bail!(NOT_HERE) };
        let missing = "the log holds the batch and introduces no session of its pod that signed it";
        let (index, leaf, session) = introduced.sessions.remove(&commitment.session).context(missing)?;
        let missing = "the log holds the batch and does not introduce its chain";
        let genesis = introduced.chains.remove(&commitment.chain).context(missing)?;
        let stored = Stored { codec: batch.codec, bytes: &batch.body };
        let body = Packer::new()?.unpack(stored, commitment.body_len as usize)?.to_vec();
        if body.is_empty() {
            bail!("the log does not give out the batch's body; a reader token may, with --token");
        }
        let session = SessionLeaf { proof: included(index)?, leaf, session };
        Ok(Self { batch: included(batch.index)?, session, genesis, commitment, received_at, body })
    }
}

/// Whether a leaf is a batch with that record.
fn holds(leaf: &[u8], position: Position) -> bool {
    matches!(Leaf::decode(leaf), Ok(Leaf::Batch { commitment: c, .. })
        if c.chain == position.chain && (c.first_seq..c.next_seq()).contains(&position.seq))
}

/// Sessions and chains that leaves introduce.
#[derive(Debug, Default)]
struct Introductions {
    sessions: HashMap<SessionId, (LeafIndex, Vec<u8>, Session)>,
    chains: HashMap<ChainId, Genesis>,
}

impl Introductions {
    fn learn(&mut self, index: LeafIndex, leaf: &[u8]) {
        match Leaf::decode(leaf) {
            // What a token of another pod introduced is not vouched for.
            Ok(Leaf::Session { session, attested, .. }) if attested.is_of(&session) => {
                if let Ok(id) = session.id() {
                    self.sessions.entry(id).or_insert((index, leaf.to_vec(), session));
                }
            }
            Ok(Leaf::Genesis { genesis, .. }) => {
                if let Ok(id) = genesis.chain_id() {
                    self.chains.insert(id, genesis);
                }
            }
            _ => {}
        }
    }

    fn have(&self, commitment: &Commitment) -> bool {
        self.sessions.contains_key(&commitment.session) && self.chains.contains_key(&commitment.chain)
    }
}
