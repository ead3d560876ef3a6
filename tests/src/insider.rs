//! Who has a collector's volume: its files and, unless said otherwise, its log's key.
//!
//! Takes a data directory apart into leaves with their bodies, lets a test change them, and writes a directory that is
//! sound in itself: frames, marks, tiles, and a checkpoint that is signed with the log's own key. What such a
//! directory cannot show is for others to say: receipts, checkpoints seen earlier, the chains themselves.

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::SigningKey;

use crate::tamper::Image;
use crate::tamper::actor::{Batch, Chain, ISSUER, Pod, Session};
use crate::tamper::wire::{In, base64, frame, key_id, leaf_hash, mark, put16, put32, root, sha256, sign, tile_path};

/// A leaf with its stored body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The leaf's bytes.
    pub bytes: Vec<u8>,
    /// How the body is stored.
    pub codec: u8,
    /// The stored body.
    pub body: Vec<u8>,
}

impl Leaf {
    /// The body, unpacked; what cannot be unpacked is shown as it is.
    pub fn plain(&self) -> Vec<u8> {
        let packed = (self.codec == 1).then(|| zstd::decode_all(&*self.body).ok()).flatten();
        packed.unwrap_or_else(|| self.body.clone())
    }

    /// Whether it is a batch.
    pub fn is_batch(&self) -> bool {
        self.bytes.starts_with(&[1, 3])
    }

    /// When it was received, or said.
    pub fn time(&self) -> i64 {
        let at = self.bytes.len() - 8;
        i64::from_be_bytes(self.bytes[at..].try_into().expect("a leaf ends with its time"))
    }
}

/// Statement 10, a log's sign of life, at a time.
pub fn clock(nanos: i64) -> Leaf {
    statement(10, r#"{"offset_ms":0}"#, nanos)
}

/// The log speaks.
pub fn statement(kind: u16, json: &str, nanos: i64) -> Leaf {
    let mut bytes = vec![1, 4];
    bytes.extend(kind.to_be_bytes());
    put32(&mut bytes, json.as_bytes());
    bytes.extend(nanos.to_be_bytes());
    Leaf { bytes, codec: 0, body: Vec::new() }
}

/// Heartbeats under one leaf, in the order of their sessions' ids.
pub fn liveness(heartbeats: &[Vec<u8>], nanos: i64) -> Leaf {
    let mut body = Vec::new();
    for heartbeat in heartbeats {
        put16(&mut body, heartbeat);
    }
    let mut bytes = vec![1, 5];
    for length in [heartbeats.len(), body.len()] {
        bytes.extend(u32::try_from(length).expect("what is built here is short").to_be_bytes());
    }
    bytes.extend(sha256(&body));
    bytes.extend(nanos.to_be_bytes());
    Leaf { bytes, codec: 0, body }
}

/// A batch under its leaf, not packed.
pub fn batch(batch: &Batch, nanos: i64) -> Leaf {
    Leaf { bytes: [&[1, 3], &*batch.commitment, &nanos.to_be_bytes()].concat(), codec: 0, body: batch.body.clone() }
}

/// The chain that a session introduces.
pub fn genesis(chain: &Chain, session: &Session, nanos: i64) -> Leaf {
    let bytes = [&[1, 2], &*chain.genesis, &session.id, &nanos.to_be_bytes()].concat();
    Leaf { bytes, codec: 0, body: Vec::new() }
}

/// A session that a pod's token introduces; the token is the body.
pub fn session(session: &Session, pod: &Pod, token_id: &str, nanos: i64) -> Leaf {
    let mut bytes = vec![1, 1];
    bytes.extend(&session.bytes);
    bytes.push(1);
    for field in [ISSUER, &pod.subject(), &pod.uid, token_id] {
        put16(&mut bytes, field.as_bytes());
    }
    bytes.extend(sha256(session.token.as_bytes()));
    bytes.extend(session.token_expires.to_be_bytes());
    bytes.extend(nanos.to_be_bytes());
    Leaf { bytes, codec: 0, body: session.token.clone().into_bytes() }
}

/// A leaf's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The segment's path.
    pub segment: String,
    /// Where its frame begins.
    pub start: usize,
    /// Where its body begins.
    pub body: usize,
    /// Where its frame ends.
    pub end: usize,
}

/// All leaves of a directory, in order, each with its place.
pub fn leaves(image: &Image) -> Result<Vec<(Leaf, Place)>> {
    let mut leaves = Vec::new();
    for (name, bytes) in image.below("segments").filter(|(name, _)| name.strip_suffix(".seg").is_some()) {
        let mut rest = In(bytes);
        while rest.0.iter().any(|byte| *byte != 0) {
            let start = bytes.len() - rest.0.len();
            let length = rest.u32().context("a frame's length")?;
            let mut frame = In(rest.take(usize::try_from(length)?).context("a frame's content")?);
            frame.u32().context("a frame's checksum")?;
            let leaf = frame.lp16().context("a frame's leaf")?.to_vec();
            let codec = frame.u8().context("a frame's codec")?;
            if !leaf.is_empty() {
                let end = start + 4 + usize::try_from(length)?;
                let place = Place { segment: format!("segments/{name}"), start, body: end - frame.0.len(), end };
                leaves.push((Leaf { bytes: leaf, codec, body: frame.0.to_vec() }, place));
            }
        }
    }
    Ok(leaves)
}

/// Where the last frame of a segment ends; behind it is room for more.
pub fn frames_end(segment: &[u8]) -> Option<usize> {
    let mut rest = In(segment);
    while rest.0.iter().any(|byte| *byte != 0) {
        let length = usize::try_from(rest.u32()?).ok()?;
        rest.take(length)?;
    }
    Some(segment.len() - rest.0.len())
}

/// The directory of a log that has these leaves, signed with the key of `original`.
pub fn resigned(original: &Image, leaves: &[Leaf]) -> Result<Image> {
    let key = original.get("key").and_then(|key| key.try_into().ok()).context("the key is 32 bytes")?;
    let key = SigningKey::from_bytes(key);
    let vkey = String::from_utf8(original.get("vkey").context("there is a vkey")?.to_vec())?;
    let origin = vkey.split('+').next().context("a vkey has a name")?;
    let mut image = Image::default();
    for path in ["key", "vkey", "version", "LOCK"] {
        image.put(path, original.get(path).unwrap_or_default().to_vec());
    }
    let mut segment = Vec::new();
    for leaf in leaves {
        segment.extend(mark(segment.len()));
        segment.extend(frame(&leaf.bytes, leaf.codec, &leaf.body));
    }
    image.put(&format!("segments/{:020}.seg", 0), segment);
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(&leaf.bytes)).collect();
    for (n, (full, of)) in hashes.chunks_exact(256).zip(leaves.chunks_exact(256)).enumerate() {
        let mut bundle = Vec::new();
        for leaf in of {
            put16(&mut bundle, &leaf.bytes);
        }
        image.put(&tile_path("0", n), full.concat());
        image.put(&tile_path("entries", n), bundle);
    }
    let text = format!("{origin}\n{}\n{}\n", leaves.len(), base64(&root(&hashes)));
    let public = key.verifying_key();
    let blob = [&key_id(origin, 1, public.as_bytes())[..], &sign(&key, text.as_bytes())].concat();
    let line = base64(&blob);
    ensure!(vkey.trim_end() == crate::tamper::wire::vkey(origin, 1, public.as_bytes()), "the key is not the vkey's");
    image.put("checkpoint", format!("{text}\n— {origin} {line}\n").into_bytes());
    Ok(image)
}
