//! A store under test, with everything that it promised.

use std::collections::HashMap;
use std::sync::Arc;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, LeafIndex, Seq, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::{HashSource as _, MemoryHashes, leaf_hash, root_at};
use indelible_chain::note::Note;
use indelible_chain::statement::Statement;
use indelible_chain::tile::{BundleId, TileId, completed_by_growth, partial_tiles};

use crate::clock::{Clock, ManualClock};
use crate::store::append::{Append, AppendError, Appended};
use crate::store::commit::Durable;
use crate::store::error::{Fatal, OpenError};
use crate::store::files::TEMPORARY;
use crate::store::files::memory::{MemoryFiles, Restart};
use crate::store::index::table::ends_of;
use crate::store::read::FrameReader;
use crate::store::{Opened, Options, tree};

/// A frame as it is read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub index: u64,
    pub leaf: Vec<u8>,
    pub body: Vec<u8>,
}

impl Frame {
    pub fn leaf(&self) -> Leaf {
        Leaf::decode(&self.leaf).unwrap()
    }

    pub fn statement(&self) -> Option<Statement> {
        match self.leaf() {
            Leaf::Statement { statement, .. } => Some(statement),
            _ => None,
        }
    }
}

/// A store and what it said.
#[derive(Debug)]
pub struct Log {
    pub files: MemoryFiles,
    pub clock: Arc<ManualClock>,
    pub options: Options,
    pub opened: Option<Opened>,
    /// Acknowledged: index, leaf hash and time.
    pub promised: Vec<Appended>,
    /// Public: size and root.
    pub shown: Vec<(u64, Digest)>,
}

pub const START: Time = Time::from_nanos(1_700_000_000 * Time::SECOND);

pub fn options() -> Options {
    Options {
        origin: Some("test/log".into()),
        segment_bytes: 4096,
        min_free_bytes: 0,
        ..Options::new("collector/test")
    }
}

impl Log {
    /// A log that is not opened yet.
    pub fn closed(options: Options) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let files = MemoryFiles::new();
        Self { files, clock, options, opened: None, promised: Vec::new(), shown: Vec::new() }
    }

    /// A log that is open.
    pub fn new(options: Options) -> Self {
        let mut log = Self::closed(options);
        log.open().unwrap();
        log
    }

    pub fn open(&mut self) -> Result<(), OpenError> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let opened = Opened::new(Arc::new(self.files.clone()), &clock, &self.options)?;
        self.opened = Some(opened);
        self.note_shown();
        Ok(())
    }

    pub fn opened(&self) -> &Opened {
        self.opened.as_ref().unwrap()
    }

    /// Ends the process in some way and starts the next one.
    pub fn restart(&mut self, how: Restart) -> Result<(), OpenError> {
        self.opened = None;
        self.files = self.files.restarted(how);
        self.open()
    }

    /// Commits one group.
    pub fn commit(&mut self, items: Vec<Append>) -> Result<Vec<Result<Durable<Appended>, AppendError>>, Fatal> {
        self.clock.advance(1_000);
        let answers = self.opened.as_mut().unwrap().writer.commit(items)?;
        self.promised.extend(answers.iter().flatten().map(|durable| *durable.get()));
        Ok(answers)
    }

    /// Commits one item.
    pub fn append(&mut self, item: Append) -> Result<Appended, AppendError> {
        let answer = self.commit(vec![item]).unwrap().remove(0);
        answer.map(|durable| *durable.get())
    }

    pub fn tick(&mut self) -> Result<bool, Fatal> {
        let now = self.clock.now();
        let more = self.opened.as_mut().unwrap().tree.tick(now);
        // Also when the tick failed: what readers could see by then was seen.
        self.note_shown();
        more
    }

    fn note_shown(&mut self) {
        let published = self.opened().tree.shown().view().published.clone();
        self.shown.push((published.size, published.root));
    }

    pub fn durable(&self) -> u64 {
        self.opened().shared.state().durable.leaves.get()
    }

    pub fn frames_of(&self, from: u64, to: u64) -> Vec<Frame> {
        let reader = FrameReader::of_range(self.opened().shared.clone(), LeafIndex::new(from), LeafIndex::new(to));
        all_of(reader)
    }

    pub fn frames(&self) -> Vec<Frame> {
        self.frames_of(0, u64::MAX)
    }

    /// Holds what is there against what was said: every acknowledged leaf is in its place, every checkpoint ever shown
    /// is a head of this tree, times do not fall, and tiles and bundles are those of the leaves.
    pub fn check(&self) {
        let frames = self.frames();
        assert_eq!(frames.len() as u64, self.durable());
        assert!(frames.iter().zip(0..).all(|(frame, index)| frame.index == index));
        let hashes: MemoryHashes = frames.iter().map(|frame| leaf_hash(&frame.leaf)).collect();
        for promise in &self.promised {
            let frame =
                frames.get(usize::try_from(promise.index.get()).unwrap()).expect("an acknowledged leaf is lost");
            assert_eq!(leaf_hash(&frame.leaf), promise.leaf_hash, "an acknowledged leaf has changed");
            assert_eq!(frame.leaf().received_at(), Some(promise.received_at));
        }
        for (size, root) in &self.shown {
            assert_eq!(root_at(*size, &hashes).unwrap(), *root, "the log forked at size {size}");
        }
        assert!(frames.is_sorted_by_key(|frame| frame.leaf().received_at()));
        self.check_tiles(&frames, &hashes);
        let size = self.opened().tree.shown().view().published.size;
        let stored = self.files.contents();
        for id in completed_by_growth(0, size) {
            assert!(stored.contains_key(&id.path()), "a full tile under a checkpoint is not on disk");
        }
        self.check_torn(&frames);
        check_conflicts(&frames);
    }

    /// The size of the newest checkpoint on disk.
    pub fn signed(&self) -> u64 {
        let note = self.files.contents().get("checkpoint").map(|bytes| Note::parse(bytes).unwrap());
        note.map_or(0, |note| Checkpoint::parse(note.text()).unwrap().size())
    }

    /// Every tile and bundle of the newest checkpoint is served, full and partial, exactly as wide as asked for.
    pub fn check_tiles(&self, frames: &[Frame], hashes: &MemoryHashes) {
        let shared = &self.opened().shared;
        let shown = self.opened().tree.shown();
        let size = shown.view().published.size;
        for id in completed_by_growth(0, size).chain(partial_tiles(size)) {
            for width in [1, id.width()] {
                let id = TileId::new(id.level(), id.index(), width).unwrap();
                let bytes = tree::tile(shared, &shown, id).unwrap().unwrap();
                let first = id.index() * 256;
                let expected: Vec<_> =
                    (first..first + u64::from(width)).map(|i| hashes.subtree(8 * id.level(), i).unwrap()).collect();
                assert_eq!(id.decode(&bytes).unwrap(), expected);
            }
        }
        for index in 0..size.div_ceil(256) {
            let id = BundleId::in_tree(size, index).unwrap();
            let bytes = tree::entries(shared, &shown, id).unwrap().unwrap();
            let first = usize::try_from(index * 256).unwrap();
            let expected: Vec<&[u8]> =
                frames[first..first + usize::from(id.width())].iter().map(|frame| &*frame.leaf).collect();
            assert_eq!(id.decode(&bytes).unwrap(), expected);
        }
        let beyond = TileId::new(0, size / 256, u16::try_from(size % 256 + 1).unwrap()).unwrap();
        assert_eq!(tree::tile(shared, &shown, beyond).unwrap(), None);
    }

    /// Every torn tail that lies aside is named by exactly one statement, with its length and digest. Tails may be alike.
    fn check_torn(&self, frames: &[Frame]) {
        let said: Vec<Statement> = frames.iter().filter_map(Frame::statement).collect();
        let aside = self.files.contents().into_iter();
        let aside: Vec<(String, Statement)> = aside
            .filter(|(path, _)| path.starts_with("torn/") && !path.ends_with(TEMPORARY))
            .map(|(path, bytes)| {
                let sha256 = Digest::sha256(&bytes);
                (path, Statement::Recovered { bytes: bytes.len() as u64, sha256 })
            })
            .collect();
        for (path, recovered) in &aside {
            let alike = aside.iter().filter(|(_, other)| other == recovered).count();
            assert_eq!(said.iter().filter(|said| *said == recovered).count(), alike, "{path} is not said once");
        }
    }
}

/// Every batch that contradicts one before it is named by exactly one statement.
fn check_conflicts(frames: &[Frame]) {
    let mut stated: HashMap<(ChainId, Seq), Vec<Digest>> = HashMap::new();
    let (mut contradict, mut said) = (Vec::new(), Vec::new());
    for frame in frames {
        match frame.leaf() {
            Leaf::Batch { commitment, .. } => {
                let mut contradicts = false;
                for (seq, link) in ends_of(&commitment) {
                    let links = stated.entry((commitment.chain, seq)).or_default();
                    contradicts |= !links.is_empty() && !links.contains(&link);
                    links.push(link);
                }
                contradict.extend(contradicts.then_some(frame.index));
            }
            Leaf::Statement { statement: Statement::Conflict { second, .. }, .. } => said.push(second.get()),
            _ => {}
        }
    }
    said.sort_unstable();
    assert_eq!(said, contradict);
}

pub fn all_of(mut reader: FrameReader) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let (index, leaf, body) = (frame.index.get(), frame.leaf.to_vec(), frame.body.bytes.to_vec());
        frames.push(Frame { index, leaf, body });
    }
    frames
}
