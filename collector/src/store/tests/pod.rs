//! What a pod's sidecar sends: sessions, chains, batches, and batches that contradict or repeat.

use bytes::Bytes;
use indelible_chain::batch::{Batch, BatchBuilder, Commitment};
use indelible_chain::digest::Digest;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::{Attestation, Attested};
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::session::Session;
use indelible_chain::stored::Codec;

use crate::store::{Append, CheckedUpload};

/// A pod with one session and one container.
#[derive(Debug)]
pub struct Pod {
    pub key: PrivateKey,
    pub session: Session,
    pub genesis: Genesis,
}

/// A batch that was sealed.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub commitment: Commitment,
    pub body: Bytes,
    key: indelible_chain::key::PublicKey,
}

impl Sealed {
    pub fn item(&self) -> Append {
        let checked = Batch::new(self.commitment, &self.body).check(&self.key).expect("a test's batch holds");
        Append::Batch(CheckedUpload::new(&checked, Codec::Plain, self.body.clone()))
    }
}

impl Pod {
    /// Pod `n` in its session `session`.
    pub fn new(n: u32, session: u32) -> Self {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        seed[4..8].copy_from_slice(&session.to_be_bytes());
        let key = PrivateKey::from_seed(&seed);
        let genesis = Genesis {
            capture: Capture::CriLogFile,
            cluster_uid: "cluster".into(),
            namespace: "default".into(),
            pod_name: format!("pod-{n}"),
            pod_uid: format!("uid-{n}"),
            container: "app".into(),
            path: String::new(),
            incarnation: 0,
        };
        let session = Session {
            public_key: key.public(),
            cluster_uid: "cluster".into(),
            namespace: "default".into(),
            pod_name: format!("pod-{n}"),
            pod_uid: format!("uid-{n}"),
            node_name: "node".into(),
            service_account: "app".into(),
            audit_log: "audit/all".into(),
            software: "test/1".into(),
            excluded: String::new(),
            started_at: Time::from_nanos(1),
        };
        Self { key, session, genesis }
    }

    pub fn id(&self) -> SessionId {
        self.session.id().unwrap()
    }

    pub fn chain(&self) -> ChainId {
        self.genesis.chain_id().unwrap()
    }

    pub fn session_item(&self) -> Append {
        self.session_until(Time::from_nanos(i64::MAX))
    }

    /// The session, attested by a token that ends then.
    pub fn session_until(&self, token_expires: Time) -> Append {
        let attested = Attested {
            attestation: Attestation::ServiceAccountToken,
            issuer: "https://issuer".into(),
            subject: "system:serviceaccount:default:app".into(),
            pod_uid: self.session.pod_uid.clone(),
            token_id: "jti".into(),
            token_digest: Digest::sha256(b"token"),
            token_expires,
        };
        Append::Session { session: self.session.clone(), attested, token: Bytes::from_static(b"token") }
    }

    pub fn genesis_item(&self) -> Append {
        Append::Genesis { genesis: self.genesis.clone(), session: self.id() }
    }

    /// The head of this pod's chain after `records` records, all printing `word`.
    pub fn head(&self, records: u64, word: &str) -> Head {
        let mut head = Head::start_of(self.chain());
        for n in 0..records {
            head = record(n, word).link(self.chain(), head);
        }
        head
    }

    /// A batch of `count` records that say `word`, going on from `head`.
    pub fn batch_from(&self, head: Head, count: u64, word: &str) -> Sealed {
        let mut builder = BatchBuilder::new(self.chain(), head);
        for n in 0..count {
            builder.push(&record(head.next_seq.get() + n, word));
        }
        let commitment = builder.seal(self.id(), &self.key).expect("a test's batch has a record");
        Sealed { commitment, body: builder.body().to_vec().into(), key: self.key.public() }
    }

    /// Records `[from, from + count)` of the chain in which every record says the same word.
    pub fn batch(&self, from: u64, count: u64) -> Sealed {
        self.batch_from(self.head(from, "word"), count, "word")
    }

    /// Records `[from, from + count)` as [`Pod::batch`], but that they say something else.
    pub fn fork(&self, from: u64, count: u64, word: &str) -> Sealed {
        self.batch_from(self.head(from, "word"), count, word)
    }
}

fn record(n: u64, word: &str) -> Record<'_> {
    let time = Time::from_nanos(1_000 + i64::try_from(n).unwrap());
    Record { time, source: Source::Stdout, flags: Flags::NONE, payload: word.as_bytes() }
}

impl Pod {
    /// Record `n` of the chain as a batch of its own, without recomputing what is before it.
    pub fn batch_at(&self, n: u64) -> Append {
        thread_local! {
            static HEADS: std::cell::RefCell<std::collections::HashMap<ChainId, Vec<Head>>> = std::cell::RefCell::default();
        }
        let head = HEADS.with_borrow_mut(|heads| {
            let heads = heads.entry(self.chain()).or_insert_with(|| vec![Head::start_of(self.chain())]);
            while heads.len() as u64 <= n {
                let next = record(heads.len() as u64 - 1, "word").link(self.chain(), heads[heads.len() - 1]);
                heads.push(next);
            }
            heads[usize::try_from(n).unwrap()]
        });
        self.batch_from(head, 1, "word").item()
    }
}
