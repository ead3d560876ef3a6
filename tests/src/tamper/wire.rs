//! The format's smallest parts: integers, prefixed strings, tagged hashes, trees, checksums, signatures.
//!
//! A second implementation, from the specification alone. Writing appends to a `Vec<u8>`; reading gives `None` where
//! the bytes end too early or a string is none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// 32 hashed bytes.
pub type Digest = [u8; 32];

/// SHA-256.
pub fn sha256(data: &[u8]) -> Digest {
    Sha256::digest(data).into()
}

/// `H[tag](m)`, the message in parts.
pub fn tagged(tag: &str, parts: &[&[u8]]) -> Digest {
    let tag = sha256(tag.as_bytes());
    let mut hash = Sha256::new_with_prefix(tag);
    hash.update(tag);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The link after a record.
pub fn link(chain: &Digest, seq: u64, before: &Digest, record: &Record) -> Digest {
    let content = tagged("indelible/content/v1", &[&[0], &record.payload]);
    let mut fixed = record.time.to_be_bytes().to_vec();
    fixed.extend([record.source, record.flags]);
    fixed.extend(length32(&record.payload));
    tagged("indelible/link/v1", &[chain, &seq.to_be_bytes(), before, &fixed, &content])
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since the epoch.
    pub time: i64,
    /// 1 stdout, 2 stderr, 3 the sidecar.
    pub source: u8,
    /// The format's flags.
    pub flags: u8,
    /// The line.
    pub payload: Vec<u8>,
}

/// The canonical body of a run of records.
pub fn body(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        out.extend(record.time.to_be_bytes());
        out.extend([record.source, record.flags]);
        put32(&mut out, &record.payload);
    }
    out
}

/// The hash of a leaf, after RFC 6962.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    let mut hash = Sha256::new_with_prefix([0]);
    hash.update(leaf);
    hash.finalize().into()
}

/// The root over leaf hashes, after RFC 6962.
pub fn root(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => sha256(b""),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
            let mut hash = Sha256::new_with_prefix([1]);
            hash.update(root(left));
            hash.update(root(right));
            hash.finalize().into()
        }
    }
}

/// What shows that the tree over these leaf hashes extends the one over the first `old` of them, after RFC 6962.
pub fn consistency(old: usize, hashes: &[Digest]) -> Vec<Digest> {
    let mut proof = Vec::new();
    extend_proof(&mut proof, old, hashes, true);
    proof
}

/// `is_known`: whether who checks it has the root over the first `old` hashes already.
fn extend_proof(proof: &mut Vec<Digest>, old: usize, hashes: &[Digest], is_known: bool) {
    if old == 0 {
        return;
    }
    if old == hashes.len() {
        if !is_known {
            proof.push(root(hashes));
        }
        return;
    }
    let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
    if old <= left.len() {
        extend_proof(proof, old, left, is_known);
        proof.push(root(right));
    } else {
        extend_proof(proof, old - left.len(), right, false);
        proof.push(root(left));
    }
}

fn length32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("what is built here is short").to_be_bytes()
}

/// Appends `lp16`.
pub fn put16(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).expect("what is built here is short").to_be_bytes());
    out.extend(bytes);
}

/// Appends `lp32`.
pub fn put32(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length32(bytes));
    out.extend(bytes);
}

/// A segment's frame.
pub fn frame(leaf: &[u8], codec: u8, body: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(leaf.len() + body.len() + 3);
    put16(&mut rest, leaf);
    rest.push(codec);
    rest.extend(body);
    let mut out = u32::try_from(rest.len() + 4).expect("frames are short").to_be_bytes().to_vec();
    out.extend(crc32c::crc32c(&rest).to_be_bytes());
    out.extend(rest);
    out
}

/// A mark: everything before this offset of the file is durable.
pub fn mark(durable: usize) -> Vec<u8> {
    frame(&[], 0, &u64::try_from(durable).expect("files are short").to_be_bytes())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from(DIGITS[usize::from(half)])).collect()
}

/// Padded base64.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Padded, canonical base64, or nothing.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| base64(bytes) == text)
}

/// Ed25519.
pub fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    key.sign(message).to_bytes()
}

/// Ed25519, strictly.
pub fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = key.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok());
    let signature = Signature::from_slice(signature).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
}

/// The key id of a signed note's key.
pub fn key_id(name: &str, algorithm: u8, public: &[u8]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[algorithm], public].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// A verifier key as signed notes write it.
pub fn vkey(name: &str, algorithm: u8, public: &[u8]) -> String {
    let typed = [&[algorithm], public].concat();
    format!("{name}+{}+{}", hex(&key_id(name, algorithm, public)), base64(&typed))
}

/// The path of the N-th tile of a level, or of entries.
pub fn tile_path(level: &str, n: usize) -> String {
    let mut groups = vec![format!("{:03}", n % 1000)];
    let mut rest = n / 1000;
    while rest > 0 {
        groups.insert(0, format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    format!("tile/{level}/{}", groups.join("/"))
}

/// Bytes that are read from their start.
#[derive(Debug, Clone, Copy)]
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next bytes, as many as asked for.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// An integer of 8 bits.
    pub fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    /// An integer of 16 bits.
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.array()?))
    }

    /// An integer of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.array()?))
    }

    /// An integer of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.array()?))
    }

    /// A time.
    pub fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.array()?))
    }

    /// `lp16`.
    pub fn lp16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// `lp32`.
    pub fn lp32(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// `lp16` of UTF-8.
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.lp16()?.to_vec()).ok()
    }
}
