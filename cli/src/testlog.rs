//! A small log for tests: a data directory as a collector leaves it, made with `chain` alone.

use std::fs;
use std::path::{Path, PathBuf};

use indelible_chain::batch::BatchBuilder;
use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::control::END_PAYLOAD;
use indelible_chain::digest::Digest;
use indelible_chain::frame::SegmentFrame;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::{ChainId, Head, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::{Attestation, Attested, Leaf};
use indelible_chain::merkle::{Tree, leaf_hash};
use indelible_chain::note::NoteSigner;
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::session::Session;
use indelible_chain::statement::{SealReason, Statement};
use indelible_chain::stored::{Codec, Stored};
use indelible_chain::tile::{BundleId, TILE_WIDTH, TileEdge, encode_tile};

use crate::demo::issuer::{Issuer, Pod};

/// When everything in it happened.
pub const NOW: Time = Time::from_nanos(1_800_000_000_000_000_000);

/// A log and where it is.
pub struct TestLog {
    dir: tempfile::TempDir,
    signer: NoteSigner,
    origin: Origin,
    /// Where each leaf's frame begins and ends in the one segment.
    pub frames: Vec<(usize, usize)>,
    leaves: Vec<Vec<u8>>,
    /// The chain.
    pub chain: ChainId,
}

impl TestLog {
    /// A sealed log of one session and chain with `batches` batches of three lines and the end.
    pub fn new(batches: usize, issuer: &Issuer) -> Self {
        let seed = [9; 32];
        let origin = Origin::of_key("test/c0", &PrivateKey::from_seed(&seed).public()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["segments", "checkpoints", "tile"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let signer = NoteSigner::new(origin.key_name().unwrap(), &seed);
        let chain = genesis().chain_id().unwrap();
        let mut log = Self { dir, signer, origin, frames: Vec::new(), leaves: Vec::new(), chain };
        log.fill(batches, issuer);
        log
    }

    /// The data directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its segment.
    pub fn segment(&self) -> PathBuf {
        self.path().join("segments/00000000000000000000.seg")
    }

    /// The log's verifier key.
    pub fn vkey(&self) -> String {
        self.signer.verifier_key().to_string()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn fill(&mut self, batches: usize, issuer: &Issuer) {
        let key = PrivateKey::from_seed(&[5; 32]);
        let jwt = issuer.token(&pod(), NOW.plus_nanos(-Time::SECOND), NOW.plus_nanos(Time::SECOND)).unwrap();
        let session = session(&key);
        let id = session.id().unwrap();
        let mut segment = Vec::new();
        self.add(&mut segment, &started(), b"");
        self.add(&mut segment, &Leaf::Session { session, attested: attested(&jwt), received_at: NOW }, jwt.as_bytes());
        self.add(&mut segment, &Leaf::Genesis { genesis: genesis(), session: id, received_at: NOW }, b"");
        let mut builder = BatchBuilder::new(self.chain, Head::start_of(self.chain));
        for n in 0..=batches {
            let lines: Vec<String> = (0..3).map(|line| format!("line {line} of batch {n}")).collect();
            for line in lines.iter().take(if n < batches { 3 } else { 0 }) {
                let payload = line.as_bytes();
                builder.push(&Record { time: NOW, source: Source::Stdout, flags: Flags::NONE, payload });
            }
            if n == batches {
                builder.push(&Record { time: NOW, source: Source::Control, flags: Flags::NONE, payload: END_PAYLOAD });
            }
            let commitment = builder.seal(id, &key).unwrap();
            self.add(&mut segment, &Leaf::Batch { commitment, received_at: NOW }, builder.body());
            builder.clear();
        }
        let sealed = Statement::Sealed { reason: SealReason::Shutdown };
        self.add(&mut segment, &Leaf::Statement { statement: sealed, time: NOW }, b"");
        fs::write(self.segment(), segment).unwrap();
        self.publish();
    }

    fn add(&mut self, segment: &mut Vec<u8>, leaf: &Leaf, body: &[u8]) {
        SegmentFrame::Mark { durable: segment.len() as u64 }.encode_into(segment);
        let leaf = leaf.encode().unwrap();
        let start = segment.len();
        SegmentFrame::Leaf { leaf: &leaf, body: Stored { codec: Codec::Plain, bytes: body } }.encode_into(segment);
        self.frames.push((start, segment.len()));
        self.leaves.push(leaf);
    }

    /// Writes tiles, bundles and checkpoints.
    fn publish(&self) {
        let mut tree = Tree::new();
        let mut edge = TileEdge::new();
        for leaf in &self.leaves {
            tree.push(leaf_hash(leaf));
            for tile in edge.push(leaf_hash(leaf)) {
                self.write(&tile.id.path(), &encode_tile(&tile.hashes));
            }
            if tree.size() == 2 {
                self.checkpoint("checkpoints/2", &tree);
            }
        }
        for (n, leaves) in (0..).zip(self.leaves.chunks(TILE_WIDTH.into())) {
            if leaves.len() == usize::from(TILE_WIDTH) {
                let bundle = BundleId::new(n, TILE_WIDTH).unwrap();
                self.write(&bundle.path(), &bundle.encode(leaves.iter().map(Vec::as_slice)).unwrap());
            }
        }
        self.checkpoint("checkpoint", &tree);
    }

    /// Signs a checkpoint over its first leaves alone, as it was when there were no more.
    pub fn sign_first(&self, size: usize) {
        let mut tree = Tree::new();
        self.leaves[..size].iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        self.checkpoint("checkpoint", &tree);
    }

    /// Signs a checkpoint over other leaves than those that are there, as a log that was rebuilt would.
    pub fn sign_another(&self, size: u64) {
        let mut tree = Tree::new();
        (0..size).for_each(|n| tree.push(leaf_hash(&n.to_be_bytes())));
        self.checkpoint("checkpoint", &tree);
    }

    fn checkpoint(&self, name: &str, tree: &Tree) {
        let note = Checkpoint::new(self.origin.clone(), tree.size(), tree.root()).sign(&self.signer).unwrap();
        self.write(name, note.to_string().as_bytes());
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        replace(&path, bytes);
    }
}

/// Replaces a file as a collector does: whoever reads it sees the old one or the new one.
pub fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, path).unwrap();
}

/// The pod of all test logs.
pub fn pod() -> Pod {
    Pod {
        namespace: "shop".into(),
        name: "checkout".into(),
        uid: "u-1".into(),
        node: "n-1".into(),
        service_account: "default".into(),
    }
}

/// The chain's genesis.
pub fn genesis() -> Genesis {
    let Pod { namespace, name: pod_name, uid: pod_uid, .. } = pod();
    Genesis {
        capture: Capture::CriLogFile,
        cluster_uid: String::new(),
        namespace,
        pod_name,
        pod_uid,
        container: "app".into(),
        path: String::new(),
        incarnation: 0,
    }
}

/// The session of that key.
pub fn session(key: &PrivateKey) -> Session {
    let Pod { namespace, name: pod_name, uid: pod_uid, node: node_name, service_account } = pod();
    Session {
        public_key: key.public(),
        cluster_uid: String::new(),
        namespace,
        pod_name,
        pod_uid,
        node_name,
        service_account,
        audit_log: String::new(),
        software: "test".into(),
        excluded: String::new(),
        started_at: NOW,
    }
}

/// What a collector attests of it.
pub fn attested(jwt: &str) -> Attested {
    Attested {
        attestation: Attestation::ServiceAccountToken,
        issuer: Issuer::URL.into(),
        subject: "system:serviceaccount:shop:default".into(),
        pod_uid: "u-1".into(),
        token_id: "u-1-token".into(),
        token_digest: Digest::sha256(jwt.as_bytes()),
        token_expires: NOW.plus_nanos(Time::SECOND),
    }
}

fn started() -> Leaf {
    Leaf::Statement { statement: Statement::Started { software: "test".into() }, time: NOW }
}
