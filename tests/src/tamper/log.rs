//! One collector's log, written byte by byte: frames, marks, segments, tiles, checkpoints, statements.
//!
//! Honest: it never leaves out or changes what it took, and signs only what it holds. Its directory is what a
//! collector that was copied at that moment would have left.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;

use super::actor::{Batch, ISSUER, MINUTE, Pod, Session};
use super::image::Image;
use super::rng::Rng;
use super::wire::{
    Digest, base64, frame, hex, key_id, leaf_hash, mark, put16, put32, root, sha256, sign, tagged, tile_path, vkey,
};

/// A log that grows.
#[derive(Debug, Clone)]
pub struct Log {
    /// Its name.
    pub origin: String,
    /// Its verifier key.
    pub vkey: String,
    key: SigningKey,
    image: Image,
    /// The segment that grows: its first leaf and its bytes.
    segment: (usize, Vec<u8>),
    /// The size at which a segment is followed by the next.
    roll: usize,
    leaves: Vec<Vec<u8>>,
    hashes: Vec<Digest>,
    /// Leaves under the newest checkpoint.
    signed: usize,
    last_kept: i64,
    sessions: BTreeSet<Digest>,
    chains: BTreeSet<Digest>,
    receipts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether it is sealed.
    pub sealed: bool,
}

/// What a crash left at the end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Bytes that nobody wrote.
    Garbage,
    /// Zeros.
    Zeros,
    /// The beginning of a frame.
    Torn,
}

impl Log {
    /// A new log that says that it has started.
    pub fn new(rng: &mut Rng, name: &str, roll: usize, now: i64) -> Self {
        let key = SigningKey::from_bytes(&rng.seed());
        let public = key.verifying_key();
        let origin = format!("{name}-{}", hex(&sha256(public.as_bytes())[..4]));
        let vkey = vkey(&origin, 1, public.as_bytes());
        let mut image = Image::default();
        image.put("key", key.as_bytes().to_vec());
        image.put("vkey", format!("{vkey}\n").into_bytes());
        image.put("version", &b"1 indelible-collector/0.1.0\n"[..]);
        image.put("LOCK", &b""[..]);
        let mut log = Self {
            origin,
            vkey,
            key,
            image,
            segment: (0, Vec::new()),
            roll,
            leaves: Vec::new(),
            hashes: Vec::new(),
            signed: 0,
            last_kept: i64::MIN,
            sessions: BTreeSet::new(),
            chains: BTreeSet::new(),
            receipts: BTreeMap::new(),
            sealed: false,
        };
        log.group();
        log.start(now);
        log
    }

    /// How many leaves it has.
    pub fn size(&self) -> usize {
        self.leaves.len()
    }

    /// Begins a group commit; a full segment is followed by the next one.
    pub fn group(&mut self) {
        if self.segment.1.len() >= self.roll {
            let (first, bytes) = std::mem::replace(&mut self.segment, (self.leaves.len(), Vec::new()));
            let path = format!("segments/{first:020}");
            let index = [b"indelidx".to_vec(), sha256(&bytes).to_vec()].concat();
            self.image.put(&format!("{path}.seg"), bytes);
            self.image.put(&format!("{path}.idx"), index);
        }
        let mark = mark(self.segment.1.len());
        self.segment.1.extend(mark);
    }

    fn append(&mut self, leaf: Vec<u8>, codec: u8, body: &[u8]) -> usize {
        assert!(!self.sealed || leaf.starts_with(&[1, 4, 0, 1]), "nothing follows a seal but a start");
        self.segment.1.extend(frame(&leaf, codec, body));
        self.hashes.push(leaf_hash(&leaf));
        self.leaves.push(leaf);
        self.leaves.len() - 1
    }

    /// The log speaks.
    pub fn say(&mut self, kind: u16, json: &str, now: i64) {
        let mut leaf = vec![1, 4];
        leaf.extend(kind.to_be_bytes());
        put32(&mut leaf, json.as_bytes());
        leaf.extend(now.to_be_bytes());
        self.append(leaf, 0, &[]);
    }

    fn start(&mut self, now: i64) {
        self.say(1, r#"{"software":"indelible-collector/0.1.0"}"#, now);
        self.sealed = false;
    }

    /// Takes a session that it does not know yet.
    pub fn session(&mut self, pod: &Pod, session: &Session, now: i64) {
        if !self.sessions.insert(session.id) {
            return;
        }
        let mut leaf = vec![1, 1];
        leaf.extend(&session.bytes);
        leaf.push(1);
        for field in [ISSUER, &pod.subject(), &pod.uid, &session.token_id] {
            put16(&mut leaf, field.as_bytes());
        }
        leaf.extend(sha256(session.token.as_bytes()));
        leaf.extend(session.token_expires.to_be_bytes());
        leaf.extend(now.to_be_bytes());
        self.append(leaf, 0, session.token.as_bytes());
    }

    /// Takes a chain that it does not know yet.
    pub fn chain(&mut self, genesis: &[u8], chain: &Digest, session: &Digest, now: i64) {
        if !self.chains.insert(*chain) {
            return;
        }
        let leaf = [&[1, 2], genesis, session, &now.to_be_bytes()].concat();
        self.append(leaf, 0, &[]);
    }

    /// Takes a batch and gives its kept receipt; the same 226 bytes again get their first one.
    pub fn batch(&mut self, batch: &Batch, now: i64) -> Vec<u8> {
        if let Some(kept) = self.receipts.get(&batch.commitment) {
            return kept.clone();
        }
        let leaf = [&[1, 3], &*batch.commitment, &now.to_be_bytes()].concat();
        let packed = zstd::bulk::compress(&batch.body, 1).expect("zstd packs whatever it is given");
        let (codec, body) = if packed.len() < batch.body.len() { (1, &packed) } else { (0, &batch.body) };
        let index = self.append(leaf, codec, body);
        let mut kept = vec![1];
        kept.extend(sha256(self.origin.as_bytes()));
        kept.extend(u64::try_from(index).expect("few").to_be_bytes());
        kept.extend(self.hashes[index]);
        kept.extend(now.to_be_bytes());
        let signature = sign(&self.key, &tagged("indelible/receipt/v1", &[&kept]));
        kept.extend(signature);
        kept.extend(&batch.commitment);
        self.receipts.insert(batch.commitment.clone(), kept.clone());
        kept
    }

    /// Appends heartbeats, each with its session's id, under one leaf.
    pub fn liveness(&mut self, mut heartbeats: Vec<(Digest, Vec<u8>)>, now: i64) {
        heartbeats.sort();
        let mut body = Vec::new();
        for (_, heartbeat) in &heartbeats {
            put16(&mut body, heartbeat);
        }
        let mut leaf = vec![1, 5];
        leaf.extend(u32::try_from(heartbeats.len()).expect("few").to_be_bytes());
        leaf.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
        leaf.extend(sha256(&body));
        leaf.extend(now.to_be_bytes());
        let packed = zstd::bulk::compress(&body, 1).expect("zstd packs whatever it is given");
        let (codec, body) = if packed.len() < body.len() { (1, packed) } else { (0, body) };
        self.append(leaf, codec, &body);
    }

    /// Signs a checkpoint over all leaves; one a minute is kept.
    pub fn checkpoint(&mut self, now: i64) {
        if self.signed == self.size() {
            return;
        }
        // Full tiles are there before the checkpoint that covers them.
        for n in self.signed / 256..self.size() / 256 {
            let range = n * 256..(n + 1) * 256;
            let mut bundle = Vec::new();
            for leaf in &self.leaves[range.clone()] {
                put16(&mut bundle, leaf);
            }
            self.image.put(&tile_path("0", n), self.hashes[range].concat());
            self.image.put(&tile_path("entries", n), bundle);
        }
        self.signed = self.size();
        let note = self.note(self.signed).into_bytes();
        if now.saturating_sub(self.last_kept) >= MINUTE {
            self.last_kept = now;
            self.image.put(&format!("checkpoints/{}", self.signed), note.clone());
        }
        self.image.put("checkpoint", note);
    }

    /// A checkpoint of this many leaves, signed.
    pub fn note(&self, size: usize) -> String {
        let text = format!("{}\n{size}\n{}\n", self.origin, base64(&root(&self.hashes[..size])));
        let public = self.key.verifying_key();
        let blob = [&key_id(&self.origin, 1, public.as_bytes())[..], &sign(&self.key, text.as_bytes())].concat();
        format!("{text}\n— {} {}\n", self.origin, base64(&blob))
    }

    /// Power is lost, and the log starts again: what was torn is set aside, and the log says so.
    pub fn crash(&mut self, rng: &mut Rng, tail: Tail, now: i64) {
        let torn = torn(rng, tail);
        self.image.put(&format!("torn/{}", self.size()), torn.clone());
        self.group();
        self.start(now);
        if tail != Tail::Zeros {
            let json = format!(r#"{{"bytes":{},"sha256":"{}"}}"#, torn.len(), hex(&sha256(&torn)));
            self.say(2, &json, now);
        }
    }

    /// The log ends, for now or for good.
    pub fn seal(&mut self, reason: &str, now: i64) {
        self.group();
        self.say(4, &format!(r#"{{"reason":"{reason}"}}"#), now);
        self.sealed = true;
        self.checkpoint(now);
    }

    /// A sealed log starts again.
    pub fn reopen(&mut self, now: i64) {
        self.group();
        self.start(now);
        self.checkpoint(now);
    }

    /// The directory as it is on disk at this moment.
    pub fn directory(&self) -> Image {
        let mut image = self.image.clone();
        image.put(&format!("segments/{:020}.seg", self.segment.0), self.segment.1.clone());
        image
    }

    /// The directory as a crash leaves it, with what was not acknowledged at its end.
    pub fn crashed(&self, rng: &mut Rng, tail: Tail) -> Image {
        let mut image = self.image.clone();
        let bytes = [&*self.segment.1, &torn(rng, tail)].concat();
        image.put(&format!("segments/{:020}.seg", self.segment.0), bytes);
        image
    }
}

fn torn(rng: &mut Rng, tail: Tail) -> Vec<u8> {
    let length = rng.between(1, 300);
    match tail {
        Tail::Garbage => (0..length).map(|_| rng.byte()).collect(),
        Tail::Zeros => vec![0; length],
        Tail::Torn => {
            let mut whole = frame(&vec![1; 236], 0, &vec![7; length]);
            whole.truncate(rng.between(1, whole.len() - 1));
            whole
        }
    }
}
