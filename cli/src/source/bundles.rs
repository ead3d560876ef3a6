//! The leaves of a directory that is laid out as C2SP tlog-tiles says and holds nothing else: any log's, also one that
//! other software wrote.
//!
//! Leaves are all that it has: bodies are elsewhere, so they are shown as not given out. A partial bundle may have been
//! replaced by the full one. What cannot be read is said leaf by leaf, up to a bound: a hostile size names more than that.

use indelible_chain::id::LeafIndex;
use indelible_chain::stored::{Codec, Stored};
use indelible_chain::tile::{BundleId, TILE_WIDTH};
use indelible_chain::verify::{Damage, Frame};

use super::folder::{Folder, ReadError};
use super::layout::MAX_NAMED_LOST;
use super::{Found, OwnedFrame, TileFile};

const NO_BODY: Stored<'static> = Stored { codec: Codec::Withheld, bytes: b"" };

/// Whether a directory is laid out so, and is no data directory.
pub fn is_one(folder: &Folder) -> Result<bool, ReadError> {
    let Some(tiles) = folder.folder("tile")? else { return Ok(false) };
    Ok(tiles.folder("entries")?.is_some() && folder.folder("segments")?.is_none())
}

/// Shows the leaves `[from, size)`; gives where the last one ends that could be shown.
pub fn frames(folder: &Folder, from: u64, size: u64, see: &mut dyn FnMut(Found<'_>)) -> u64 {
    let width = u64::from(TILE_WIDTH);
    let (mut end, mut lost) = (0, 0);
    for number in from / width..size.div_ceil(width) {
        let Some(bundle) = BundleId::in_tree(size, number) else { break };
        let indexes = (number * width..size).take(usize::from(bundle.width())).filter(|index| *index >= from);
        match read(folder, bundle) {
            Ok(leaves) => {
                let skipped = usize::try_from(from.saturating_sub(number * width)).unwrap_or(usize::MAX);
                for (index, leaf) in indexes.zip(leaves.iter().skip(skipped)) {
                    see(Found::Frame(Frame { index: LeafIndex::new(index), leaf, body: NO_BODY, flaw: None }));
                    end = index + 1;
                }
            }
            Err(note) => {
                for index in indexes {
                    see(Found::Damage(Damage::Lost { index: LeafIndex::new(index), note: &note }));
                    lost += 1;
                }
                if lost >= MAX_NAMED_LOST {
                    break;
                }
            }
        }
    }
    end
}

/// One leaf of a log of `size` leaves.
pub fn frame(folder: &Folder, size: u64, index: LeafIndex) -> Option<OwnedFrame> {
    let width = u64::from(TILE_WIDTH);
    let leaves = read(folder, BundleId::in_tree(size, index.get() / width)?).ok()?;
    let leaf = leaves.into_iter().nth(usize::try_from(index.get() % width).ok()?)?;
    Some(OwnedFrame { index, leaf, codec: NO_BODY.codec, body: Vec::new(), flaw: None })
}

fn read(folder: &Folder, bundle: BundleId) -> Result<Vec<Vec<u8>>, String> {
    let file = |bundle: BundleId| {
        let file = TileFile::Bundle(bundle);
        folder.read_path(&file.path(), file.max_bytes())
    };
    let (found, bytes) = match file(bundle) {
        Err(e) if e.is_absence() && !bundle.is_full() => (bundle.full(), file(bundle.full())),
        bytes => (bundle, bytes),
    };
    let bytes = bytes.map_err(|e| e.to_string())?;
    let leaves = found.decode(&bytes).map_err(|e| format!("{}: {e}", found.path()))?;
    Ok(leaves.into_iter().take(usize::from(bundle.width())).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A directory of these bundles, by path; leaf `n` is the text `n`.
    fn folder(bundles: &[BundleId]) -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        for bundle in bundles {
            let first = bundle.index() * u64::from(TILE_WIDTH);
            let leaves: Vec<String> = (first..first + u64::from(bundle.width())).map(|n| n.to_string()).collect();
            let path = dir.path().join(bundle.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bundle.encode(leaves.iter().map(String::as_bytes)).unwrap()).unwrap();
        }
        let folder = Folder::open(dir.path()).unwrap();
        (dir, folder)
    }

    /// Leaves that are read, and those that are said to be lost.
    fn shown(folder: &Folder, from: u64, size: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut leaves, mut lost) = (Vec::new(), Vec::new());
        frames(folder, from, size, &mut |found| match found {
            Found::Frame(frame) => {
                assert_eq!(frame.leaf, frame.index.get().to_string().as_bytes());
                leaves.push(frame.index.get());
            }
            Found::Damage(Damage::Lost { index, .. }) => lost.push(index.get()),
            Found::Damage(Damage::Between { .. }) => unreachable!("bundles have no frames to be between"),
        });
        (leaves, lost)
    }

    #[test]
    fn leaves_are_read_from_full_and_partial_bundles_and_from_the_full_one_in_a_partial_ones_place() {
        let bundle = |index, width| BundleId::new(index, width).unwrap();
        let (_dir, partial) = folder(&[bundle(0, 256), bundle(1, 44)]);
        assert_eq!(shown(&partial, 0, 300), ((0..300).collect(), vec![]));
        assert_eq!(shown(&partial, 290, 300), ((290..300).collect(), vec![]));
        assert!(is_one(&partial).unwrap());
        assert_eq!(frame(&partial, 300, LeafIndex::new(299)).unwrap().leaf, b"299");
        assert!(frame(&partial, 300, LeafIndex::new(300)).is_none());
        let (_dir, grown) = folder(&[bundle(0, 256), bundle(1, 256)]);
        assert_eq!(shown(&grown, 0, 300), ((0..300).collect(), vec![]));
    }

    #[test]
    fn leaves_whose_bundle_is_gone_or_broken_are_named_and_a_hostile_size_names_no_more_than_a_bound() {
        let bundle = |index, width| BundleId::new(index, width).unwrap();
        let (dir, folder) = folder(&[bundle(0, 256), bundle(2, 1)]);
        let (leaves, lost) = shown(&folder, 0, 513);
        assert_eq!((leaves.len(), lost), (257, (256..512).collect()));
        fs::write(dir.path().join(bundle(2, 1).path()), b"\x00\x09short").unwrap();
        assert_eq!(shown(&folder, 512, 513), (vec![], vec![512]));
        assert_eq!(shown(&folder, 0, u64::MAX >> 2).1.len() as u64, MAX_NAMED_LOST);
    }
}
