//! Agreement with foreign implementations of the same standards, on random input.
//!
//! `tlog_tiles` (trees, proofs, tiles, checkpoints) and `signed_note` (notes) were written by others from the same
//! pages. What either side makes, the other side takes; what is changed, both refuse.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::collections::BTreeMap;

use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::cosignature::{Cosigner, UnixSeconds};
use indelible_chain::digest::Digest;
use indelible_chain::merkle::{
    MemoryHashes, Tree, leaf_hash, prove_consistency, prove_inclusion, root_at, verify_consistency, verify_inclusion,
};
use indelible_chain::note::{Note, NoteSigner};
use indelible_chain::tile::{TileEdge, TileHashes, TileId, completed_by_growth, encode_tile, partial_tiles};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{Hash, HashReader, Tile, TileHashReader, TileReader};

/// Height of a tile: 256 hashes.
const HEIGHT: u8 = 8;

/// A log as both sides keep it.
struct Twin {
    ours: MemoryHashes,
    theirs: Stored,
    /// Our tiles, full ones and the partial ones of the last size, by path.
    tiles: BTreeMap<String, Vec<u8>>,
    edge: TileEdge,
}

/// The foreign side's hash storage.
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

impl Twin {
    fn grow(size: u64, seed: u64) -> Self {
        let mut twin = Self {
            ours: MemoryHashes::new(),
            theirs: Stored(Vec::new()),
            tiles: BTreeMap::new(),
            edge: TileEdge::new(),
        };
        for i in 0..size {
            let leaf = [seed.to_be_bytes(), i.to_be_bytes()].concat();
            let foreign = tlog_tiles::stored_hashes(i, &leaf, &twin.theirs).unwrap();
            twin.theirs.0.extend(foreign);
            let hash = leaf_hash(&leaf);
            twin.ours.push(hash);
            for tile in twin.edge.push(hash) {
                twin.tiles.insert(tile.id.path(), encode_tile(&tile.hashes));
            }
        }
        for tile in partial_tiles(size) {
            twin.tiles.insert(tile.path(), encode_tile(twin.edge.tile(tile).unwrap()));
        }
        twin
    }
}

impl TileReader for Twin {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.tiles[&our_path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The foreign paths name the height, as Go's do; those of C2SP tlog-tiles do not.
fn our_path(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

fn foreign(digest: Digest) -> Hash {
    Hash(*digest.as_bytes())
}

fn foreign_all(digests: &[Digest]) -> Vec<Hash> {
    digests.iter().copied().map(foreign).collect()
}

/// Sizes up to 70,000, with those where tiles and levels begin.
fn size() -> impl Strategy<Value = u64> {
    let edges = vec![1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 70_000];
    prop_oneof![1..2_000u64, 1..=70_000u64, select(edges)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn trees_and_proofs_are_the_same_on_both_sides(
        size in size(), seed: u64, picks in prop::collection::vec(any::<[Index; 2]>(), 8),
    ) {
        let twin = Twin::grow(size, seed);
        let count = usize::try_from(size).unwrap();
        let root = twin.edge.tree().root();
        prop_assert_eq!(foreign(root), tlog_tiles::tree_hash(size, &twin.theirs).unwrap());

        for [a, b] in picks {
            // An old size from 1 on, an index in it, and the same in our tiles.
            let old = a.index(count) as u64 + 1;
            let index = b.index(usize::try_from(old).unwrap()) as u64;
            let old_root = root_at(old, &twin.ours).unwrap();
            prop_assert_eq!(foreign(old_root), tlog_tiles::tree_hash(old, &twin.theirs).unwrap());

            let leaf = leaf_hash(&[seed.to_be_bytes(), index.to_be_bytes()].concat());
            let proof = prove_inclusion(index, old, &twin.ours).unwrap();
            prop_assert_eq!(foreign_all(&proof), tlog_tiles::prove_record(old, index, &twin.theirs).unwrap());
            check_inclusion_alike(index, old, leaf, old_root, &proof)?;

            let proof = prove_consistency(old, size, &twin.ours).unwrap();
            prop_assert_eq!(foreign_all(&proof), tlog_tiles::prove_tree(size, old, &twin.theirs).unwrap());
            check_consistency_alike(old, old_root, size, root, &proof)?;
        }
    }

    #[test]
    fn tiles_are_the_same_on_both_sides_and_each_side_proves_from_the_others(
        size in size(), old in any::<Index>(), index in any::<Index>(), seed: u64,
    ) {
        let twin = Twin::grow(size, seed);
        let old = old.index(usize::try_from(size).unwrap()) as u64 + 1;
        let index = index.index(usize::try_from(size).unwrap()) as u64;

        let mut paths = Vec::new();
        for tile in Tile::new_tiles(HEIGHT, 0, size) {
            prop_assert_eq!(&twin.tiles[&our_path(&tile)], &tile.read_data(&twin.theirs).unwrap());
            paths.push(our_path(&tile));
        }
        paths.sort();
        prop_assert_eq!(&paths, &twin.tiles.keys().cloned().collect::<Vec<_>>());
        let new_tiles = Tile::new_tiles(HEIGHT, old, size).into_iter();
        let completed: Vec<_> = new_tiles.filter(|tile| tile.width() == 256).map(|tile| our_path(&tile)).collect();
        prop_assert_eq!(completed, completed_by_growth(old, size).map(TileId::path).collect::<Vec<_>>());

        // Their reader checks our tiles against our root before it gives a hash out of them.
        let root = twin.edge.tree().root();
        let reader = TileHashReader::new(size, foreign(root), &twin);
        let record = tlog_tiles::prove_record(size, index, &reader).unwrap();
        prop_assert_eq!(&record, &foreign_all(&prove_inclusion(index, size, &twin.ours).unwrap()));

        let read = |id: TileId| {
            let tile = Tile::new(HEIGHT, id.level(), id.index(), id.width().into(), false);
            id.decode(&tile.read_data(&twin.theirs).unwrap())
        };
        let theirs = TileHashes::new(size, read);
        prop_assert_eq!(&foreign_all(&prove_inclusion(index, size, &theirs).unwrap()), &record);
        prop_assert_eq!(
            prove_consistency(old, size, &theirs).unwrap(),
            prove_consistency(old, size, &twin.ours).unwrap()
        );
        prop_assert_eq!(TileEdge::from_source(size, &theirs).unwrap(), twin.edge.clone());
        prop_assert_eq!(Tree::from_source(size, &theirs).unwrap(), twin.edge.tree());
    }
}

/// Both sides take the proof, and both refuse it with a hash changed, dropped or added, or for the next index.
fn check_inclusion_alike(
    index: u64,
    size: u64,
    leaf: Digest,
    root: Digest,
    proof: &[Digest],
) -> Result<(), TestCaseError> {
    let accepted = |index: u64, proof: &[Digest]| {
        let ours = verify_inclusion(index, size, leaf, root, proof).is_ok();
        let theirs = tlog_tiles::check_record(&foreign_all(proof), size, foreign(root), index, foreign(leaf)).is_ok();
        (ours, theirs)
    };
    prop_assert_eq!(accepted(index, proof), (true, true));
    for changed in changes(proof) {
        prop_assert_eq!(accepted(index, &changed), (false, false));
    }
    if index + 1 < size {
        prop_assert_eq!(accepted(index + 1, proof), (false, false));
    }
    Ok(())
}

fn check_consistency_alike(
    old: u64,
    old_root: Digest,
    new: u64,
    new_root: Digest,
    proof: &[Digest],
) -> Result<(), TestCaseError> {
    let accepted = |old_root: Digest, proof: &[Digest]| {
        let ours = verify_consistency(old, old_root, new, new_root, proof).is_ok();
        let theirs =
            tlog_tiles::check_tree(&foreign_all(proof), new, foreign(new_root), old, foreign(old_root)).is_ok();
        (ours, theirs)
    };
    prop_assert_eq!(accepted(old_root, proof), (true, true));
    prop_assert_eq!(accepted(leaf_hash(b"another"), proof), (false, false));
    for changed in changes(proof) {
        prop_assert_eq!(accepted(old_root, &changed), (false, false));
    }
    Ok(())
}

fn changes(proof: &[Digest]) -> Vec<Vec<Digest>> {
    let other = leaf_hash(b"another");
    let mut changes = vec![[proof, &[other]].concat(), [&[other], proof].concat()];
    for at in 0..proof.len() {
        let mut changed = proof.to_vec();
        changed[at] = other;
        changes.push(changed);
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        changes.push(shorter);
    }
    changes
}

/// One key on both sides.
struct Keys {
    ours: NoteSigner,
    theirs: StandardSigner,
}

impl Keys {
    fn new(name: &str, seed: [u8; 32]) -> Self {
        use base64::Engine as _;
        let ours = NoteSigner::new(name.parse().unwrap(), &seed);
        let secret = base64::engine::general_purpose::STANDARD.encode([&[1], seed.as_slice()].concat());
        let text = format!("PRIVATE+KEY+{name}+{}+{secret}", ours.verifier_key().id());
        Self { ours, theirs: StandardSigner::new(&text).unwrap() }
    }

    fn verifiers(&self) -> VerifierList {
        let key = self.ours.verifier_key().to_string();
        VerifierList::new(vec![Box::new(StandardVerifier::new(&key).unwrap())])
    }
}

fn foreign_note(bytes: &[u8]) -> Option<signed_note::Note> {
    signed_note::Note::from_bytes(bytes).ok()
}

proptest! {
    #[test]
    fn notes_signed_on_one_side_verify_on_the_other(
        text in "(\\PC|\n){0,60}\n", name in "[^ +\\pC\\s]{1,20}", seed: [u8; 32], at: Index, bit in 0..8u8,
    ) {
        let keys = Keys::new(&name, seed);
        let ours = keys.ours.sign_note(text.clone()).unwrap().to_string();
        let mut theirs = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&keys.theirs]).unwrap();
        prop_assert_eq!(theirs.to_bytes(), ours.as_bytes());

        let note = foreign_note(ours.as_bytes()).unwrap();
        prop_assert_eq!(note.text(), text.as_bytes());
        prop_assert!(note.verify(&keys.verifiers()).is_ok());
        prop_assert!(Note::parse(&theirs.to_bytes()).unwrap().verify([keys.ours.verifier_key()]).is_ok());

        let mut changed = ours.into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= 1 << bit;
        let ours = Note::parse(&changed).is_ok_and(|note| note.verify([keys.ours.verifier_key()]).is_ok());
        let theirs = foreign_note(&changed).is_some_and(|note| note.verify(&keys.verifiers()).is_ok());
        prop_assert_eq!((ours, theirs), (false, false));
    }

    #[test]
    fn a_note_or_key_or_path_that_is_taken_here_is_taken_there_as_the_same(
        note in "(x|\n|é| ){0,4}\n(— [ax+]{1,2} (AAAAAA[AB]=|[A-Za-z0-9+/]{8}|AAAAAAAA[A-D]{2}==)\n|\n){0,3}",
        path in "tile/[0-9]{1,2}(/x[0-9]{3}){0,6}/[0-9]{3}(\\.p/[0-9]{1,3})?",
        size in "0?[0-9]{1,20}", end in "(\n|x\n| \n){0,3}",
    ) {
        if let Ok(ours) = Note::parse(note.as_bytes()) {
            let theirs = foreign_note(note.as_bytes()).unwrap();
            prop_assert_eq!(theirs.text(), ours.text().as_bytes());
            prop_assert_eq!(theirs.to_bytes(), ours.to_string().into_bytes());
        }
        if let Ok(ours) = TileId::parse_path(&path) {
            let theirs = Tile::from_path(&path.replacen("tile/", "tile/8/", 1)).unwrap();
            let numbers = (theirs.level(), theirs.level_index(), theirs.width());
            prop_assert_eq!(numbers, (ours.level(), ours.index(), ours.width().into()));
        }
        let text = format!("log\n{size}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n{end}");
        if let Ok(ours) = Checkpoint::parse(&text) {
            let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
            let parts = (theirs.origin(), theirs.size(), theirs.extension());
            prop_assert_eq!(parts, (ours.origin().as_str(), ours.size(), ours.extensions()));
        }
    }

    #[test]
    fn checkpoints_with_cosignatures_are_the_same_on_both_sides(
        prefix in "[a-z/.0-9-]{1,30}", seed: [u8; 32], size: u64, root: [u8; 32], time in 1..=i64::MAX as u64,
    ) {
        let public = NoteSigner::new("any".parse().unwrap(), &seed);
        let origin = Origin::of_key(&prefix, public.verifier_key().public_key()).unwrap();
        let keys = Keys::new(origin.as_str(), seed);

        let ours = Checkpoint::new(origin.clone(), size, Digest::new(root));
        let theirs = tlog_tiles::Checkpoint::new(origin.as_str(), size, Hash(root), "").unwrap();
        prop_assert_eq!(ours.to_string().into_bytes(), theirs.to_bytes());
        prop_assert_eq!(&tlog_tiles::Checkpoint::from_bytes(ours.to_string().as_bytes()).unwrap(), &theirs);
        prop_assert_eq!(&Checkpoint::parse(str::from_utf8(&theirs.to_bytes()).unwrap()).unwrap(), &ours);

        // A cosignature is a line by an unknown key to whoever does not know the witness.
        let mut note = ours.sign(&keys.ours).unwrap();
        let mut other_seed = seed;
        other_seed[0] ^= 1;
        let witness = Cosigner::new("witness".parse().unwrap(), &other_seed);
        note.add(witness.cosign(&ours, UnixSeconds::new(time).unwrap()).unwrap()).unwrap();
        let foreign = foreign_note(note.to_string().as_bytes()).unwrap();
        let (known, unknown) = foreign.verify(&keys.verifiers()).unwrap();
        prop_assert_eq!((known.len(), unknown.len()), (1, 1));

        let mut signed = signed_note::Note::new(&theirs.to_bytes(), &[]).unwrap();
        signed.add_sigs(&[&keys.theirs]).unwrap();
        let signed = Note::parse(&signed.to_bytes()).unwrap();
        prop_assert_eq!(Checkpoint::open(&signed, keys.ours.verifier_key()), Ok(ours));
    }

    #[test]
    fn verifier_keys_are_the_same_on_both_sides(name in "[^ +\\pC\\s]{1,20}", seed: [u8; 32]) {
        let signer = NoteSigner::new(name.parse().unwrap(), &seed);
        let key = signer.verifier_key();
        prop_assert!(StandardVerifier::new(&key.to_string()).is_ok());
        let typed = [&[1], key.public_key().as_bytes().as_slice()].concat();
        prop_assert_eq!(*key.id().as_bytes(), signed_note::key_id(&name, &typed).to_be_bytes());
    }
}
