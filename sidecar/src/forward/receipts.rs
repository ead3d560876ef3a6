//! Receipts: which ones are taken, and which ones are kept for other logs.
//!
//! A receipt counts only if it is signed by the key that the collector's certificate names, is of that log, and is
//! for the leaf that follows from what was sent. Everything else is a failure of that collector. The newest receipt of each
//! log is kept in memory and travels to the other logs in heartbeats, where it convicts a log that later denies it.

use std::collections::BTreeMap;

use bytes::Bytes;
use indelible_chain::batch::Commitment;
use indelible_chain::bytes::DecodeError;
use indelible_chain::genesis::Genesis;
use indelible_chain::heartbeat::MAX_RECEIPTS;
use indelible_chain::id::{LogId, SessionId};
use indelible_chain::key::PublicKey;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle;
use indelible_chain::receipt::{KeptReceipt, Receipt};

use crate::limits::MAX_KEPT_LOGS;

/// A collector's log, as its certificate and `GET /v1/log` agree on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    /// The log's name.
    pub origin: String,
    /// `SHA256(origin)`.
    pub id: LogId,
    /// The log's key.
    pub key: PublicKey,
}

/// Why bytes are not taken as a receipt.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not 145 bytes of a receipt.
    #[error("the answer is no receipt")]
    Form(#[from] DecodeError),
    /// Another log's.
    #[error("the receipt is of another log than the collector's certificate names")]
    Log,
    /// Not by the log's key.
    #[error("the receipt is not signed by the log key that the collector's certificate names")]
    Signature,
    /// Not for what was sent.
    #[error("the receipt is for another leaf than the one that was sent")]
    Leaf,
}

/// What a receipt is for, as far as its leaf can be built here.
#[derive(Clone, Copy, Debug)]
pub enum Sent<'a> {
    /// The whole leaf follows from the commitment and the receipt's time.
    Batch(&'a Commitment),
    /// So does a chain's, if it was new: a known one's names the session that introduced it.
    NewChain(&'a Genesis, SessionId),
    /// The leaf holds what only the collector knows: of the token, or of the session that was first.
    Other,
}

/// Takes an answer's body as `log`'s receipt for what was sent.
pub fn check(body: &Bytes, log: &LogIdentity, sent: Sent<'_>) -> Result<Receipt, ReceiptError> {
    let receipt = Receipt::decode(body)?;
    if receipt.log != log.id {
        return Err(ReceiptError::Log);
    }
    let received_at = receipt.received_at;
    let leaf = match sent {
        Sent::Batch(commitment) => Some(Leaf::Batch { commitment: *commitment, received_at }),
        Sent::NewChain(genesis, session) => Some(Leaf::Genesis { genesis: genesis.clone(), session, received_at }),
        Sent::Other => None,
    };
    if let Some(leaf) = leaf
        && merkle::leaf_hash(&leaf.encode()?) != receipt.leaf_hash
    {
        return Err(ReceiptError::Leaf);
    }
    // Last, because it costs most.
    if receipt.is_signed_by(&log.key) { Ok(receipt) } else { Err(ReceiptError::Signature) }
}

/// The newest receipt of each log.
#[derive(Debug, Default)]
pub struct KeptReceipts {
    newest: BTreeMap<LogId, Kept>,
    count: u64,
}

#[derive(Debug)]
struct Kept {
    origin: String,
    receipt: KeptReceipt,
    number: u64,
}

impl KeptReceipts {
    /// Keeps a receipt if it is the newest of its log.
    pub fn keep(&mut self, log: &LogIdentity, receipt: KeptReceipt) {
        let older = |kept: &Kept| receipt.receipt.index <= kept.receipt.receipt.index;
        if self.newest.get(&log.id).is_some_and(older) {
            return;
        }
        if self.newest.len() >= MAX_KEPT_LOGS && !self.newest.contains_key(&log.id) {
            let oldest = self.newest.iter().min_by_key(|(_, kept)| kept.number).map(|(id, _)| *id);
            oldest.map(|id| self.newest.remove(&id));
        }
        self.count += 1;
        let kept = Kept { origin: log.origin.clone(), receipt, number: self.count };
        self.newest.insert(log.id, kept);
    }

    /// What `to` is told of the other logs: of each the newest, and of many logs those that gave one last.
    pub fn of_others(&self, to: LogId) -> Vec<(String, KeptReceipt)> {
        let mut others: Vec<&Kept> = self.newest.iter().filter(|(id, _)| **id != to).map(|(_, kept)| kept).collect();
        others.sort_by_key(|kept| std::cmp::Reverse(kept.number));
        others.truncate(MAX_RECEIPTS);
        others.into_iter().map(|kept| (kept.origin.clone(), kept.receipt)).collect()
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::digest::Digest;
    use indelible_chain::genesis::Capture;
    use indelible_chain::id::{ChainId, LeafIndex, Seq, Time};
    use indelible_chain::key::PrivateKey;

    use super::*;

    fn log(n: u8) -> (LogIdentity, PrivateKey) {
        let key = PrivateKey::from_seed(&[n; 32]);
        let origin = format!("test/{n}");
        let id = LogId::new(Digest::sha256(origin.as_bytes()));
        (LogIdentity { origin, id, key: key.public() }, key)
    }

    fn commitment() -> Commitment {
        Commitment {
            is_final: false,
            session: SessionId::new(Digest::sha256(b"session")),
            chain: ChainId::new(Digest::sha256(b"chain")),
            first_seq: Seq::ZERO,
            count: 1,
            prev_link: Digest::sha256(b"chain"),
            last_link: Digest::sha256(b"link"),
            first_time: Time::from_nanos(1),
            last_time: Time::from_nanos(1),
            body_len: 20,
            signature: [7; 64],
        }
    }

    fn receipt(log: &LogIdentity, key: &PrivateKey, index: u64, leaf: &Leaf) -> Receipt {
        let hash = merkle::leaf_hash(&leaf.encode().unwrap());
        Receipt::sign(key, log.id, LeafIndex::new(index), hash, leaf.received_at().unwrap())
    }

    fn body(receipt: Receipt) -> Bytes {
        Bytes::copy_from_slice(&receipt.encode())
    }

    #[test]
    fn a_receipt_counts_only_for_that_log_by_that_key_for_that_leaf() {
        let ((log_a, key_a), (log_b, key_b)) = (log(1), log(2));
        let sent = commitment();
        let received_at = Time::from_nanos(5);
        let leaf = Leaf::Batch { commitment: sent, received_at };
        let good = receipt(&log_a, &key_a, 3, &leaf);
        assert_eq!(check(&body(good), &log_a, Sent::Batch(&sent)), Ok(good));

        let by_another_key = Receipt::sign(&key_b, log_a.id, good.index, good.leaf_hash, received_at);
        assert_eq!(check(&body(by_another_key), &log_a, Sent::Batch(&sent)), Err(ReceiptError::Signature));
        let of_another_log = receipt(&log_b, &key_b, 3, &leaf);
        assert_eq!(check(&body(of_another_log), &log_a, Sent::Batch(&sent)), Err(ReceiptError::Log));
        let other = Commitment { count: 2, ..sent };
        assert_eq!(check(&body(good), &log_a, Sent::Batch(&other)), Err(ReceiptError::Leaf));
        let at_another_time = Receipt::sign(&key_a, log_a.id, good.index, good.leaf_hash, Time::from_nanos(6));
        assert_eq!(check(&body(at_another_time), &log_a, Sent::Batch(&sent)), Err(ReceiptError::Leaf));
        for bad in [Bytes::new(), body(good).slice(1..), Bytes::from([body(good).as_ref(), b"x"].concat())] {
            assert!(matches!(check(&bad, &log_a, Sent::Batch(&sent)), Err(ReceiptError::Form(_))));
        }
    }

    #[test]
    fn a_new_chains_receipt_is_for_its_genesis_and_this_session() {
        let (log, key) = log(1);
        let session = SessionId::new(Digest::sha256(b"session"));
        let genesis = Genesis {
            capture: Capture::CriLogFile,
            cluster_uid: String::new(),
            namespace: "n".into(),
            pod_name: "p".into(),
            pod_uid: "u".into(),
            container: "c".into(),
            path: String::new(),
            incarnation: 0,
        };
        let leaf = |session| Leaf::Genesis { genesis: genesis.clone(), session, received_at: Time::from_nanos(1) };
        let good = body(receipt(&log, &key, 0, &leaf(session)));
        assert!(check(&good, &log, Sent::NewChain(&genesis, session)).is_ok());
        let foreign = body(receipt(&log, &key, 0, &leaf(SessionId::new(Digest::sha256(b"another")))));
        assert_eq!(check(&foreign, &log, Sent::NewChain(&genesis, session)), Err(ReceiptError::Leaf));
        assert!(check(&foreign, &log, Sent::Other).is_ok(), "a known chain's leaf names the session that was first");
    }

    #[test]
    fn a_log_is_told_the_newest_receipt_of_each_other_log() {
        let mut kept = KeptReceipts::default();
        let leaf = Leaf::Batch { commitment: commitment(), received_at: Time::from_nanos(5) };
        let keep = |kept: &mut KeptReceipts, n, index| {
            let (log, key) = log(n);
            let receipt = KeptReceipt { receipt: receipt(&log, &key, index, &leaf), commitment: commitment() };
            kept.keep(&log, receipt);
            log.id
        };
        let a = keep(&mut kept, 1, 4);
        keep(&mut kept, 2, 8);
        keep(&mut kept, 2, 7);
        let told = |kept: &KeptReceipts| -> Vec<(String, u64)> {
            kept.of_others(a).into_iter().map(|(origin, kept)| (origin, kept.receipt.index.get())).collect()
        };
        assert_eq!(told(&kept), [("test/2".to_owned(), 8)]);
        assert_eq!(told(&kept), [("test/2".to_owned(), 8)], "again, since the log may not have kept the first");
        for n in 3..40 {
            keep(&mut kept, n, 1);
        }
        assert_eq!((told(&kept).len(), &*told(&kept)[0].0), (MAX_RECEIPTS, "test/39"));
    }
}
