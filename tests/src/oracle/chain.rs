//! From records to the last link: the three hashes of section 1, and nothing else.

use sha2::{Digest, Sha256};

use super::Record;

/// A link: 32 bytes that stand for a record and everything before it.
pub type Link = [u8; 32];

/// What a chain is the chain of. Capture is always the CRI log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// UID of the `kube-system` namespace; empty outside a cluster.
    pub cluster_uid: &'a str,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The pod's UID.
    pub pod_uid: &'a str,
    /// The container's name.
    pub container: &'a str,
    /// 0, or nanoseconds since the Unix epoch at which this chain replaced another.
    pub incarnation: u64,
}

impl Identity<'_> {
    /// The chain's id, which is also the link before its first record.
    ///
    /// # Panics
    /// If a name is longer than 65,535 bytes.
    pub fn chain_id(&self) -> Link {
        let Self { cluster_uid, namespace, pod, pod_uid, container, incarnation } = *self;
        let mut genesis = vec![1, 1];
        for text in [cluster_uid, namespace, pod, pod_uid, container, ""] {
            genesis.extend(u16::try_from(text.len()).expect("names are short").to_be_bytes());
            genesis.extend(text.as_bytes());
        }
        genesis.extend(incarnation.to_be_bytes());
        tagged("indelible/genesis/v1", &[&genesis])
    }

    /// The link of each record: `links[i]` is that of seq `i`.
    pub fn links<'r>(&self, records: impl IntoIterator<Item = &'r Record>) -> Vec<Link> {
        let chain_id = self.chain_id();
        let mut previous = chain_id;
        let link = |(seq, record): (u64, &Record)| {
            previous = link(&chain_id, seq, &previous, record);
            previous
        };
        (0..).zip(records).map(link).collect()
    }

    /// The last link; the chain's id if there is no record.
    pub fn head<'r>(&self, records: impl IntoIterator<Item = &'r Record>) -> Link {
        self.links(records).pop().unwrap_or_else(|| self.chain_id())
    }
}

fn link(chain_id: &Link, seq: u64, previous: &Link, record: &Record) -> Link {
    let Record { time, source, flags, payload, bytes: _ } = record;
    let length = u32::try_from(payload.len()).expect("payloads are at most 256 KiB").to_be_bytes();
    let content = tagged("indelible/content/v1", &[&[0], payload]);
    let parts: [&[u8]; 7] =
        [chain_id, &seq.to_be_bytes(), previous, &time.to_be_bytes(), &[*source, *flags], &length, &content];
    tagged("indelible/link/v1", &parts)
}

/// `SHA256( SHA256(tag) ‖ SHA256(tag) ‖ parts )`.
fn tagged(tag: &str, parts: &[&[u8]]) -> Link {
    let tag = Sha256::digest(tag);
    let mut hash = Sha256::new();
    hash.update(tag);
    hash.update(tag);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
