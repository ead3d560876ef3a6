//! What a sidecar sends, for tests: sessions with their keys, chains, batches, heartbeats.

#![allow(dead_code, reason = "each test binary uses some of it")]

use indelible_chain::batch::{BatchBuilder, Commitment};
use indelible_chain::digest::Digest;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::session::Session;
use indelible_chain::stored::{Codec, Packer, Stored};

use super::issuer::Pod;

/// A session and its key.
pub struct Sidecar {
    pub key: PrivateKey,
    pub session: Session,
}

/// A chain that grows.
pub struct Chain {
    pub genesis: Genesis,
    builder: BatchBuilder,
}

impl Sidecar {
    pub fn new(pod: &Pod, seed: u8) -> Self {
        let key = PrivateKey::from_seed(&[seed; 32]);
        let session = Session {
            public_key: key.public(),
            cluster_uid: String::new(),
            namespace: pod.namespace.clone(),
            pod_name: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            node_name: pod.node.clone(),
            service_account: pod.service_account.clone(),
            audit_log: "audit/shop".into(),
            software: "test/1".into(),
            excluded: "istio-proxy".into(),
            started_at: Time::from_nanos(1),
        };
        Self { key, session }
    }

    pub fn id(&self) -> SessionId {
        self.session.id().unwrap()
    }

    pub fn body(&self) -> Vec<u8> {
        self.session.encode().unwrap()
    }

    pub fn heartbeat(&self, time: Time, heads: Vec<(ChainId, Head)>) -> Heartbeat {
        let mut heartbeat = Heartbeat {
            session: self.id(),
            time,
            ca_digest: Digest::sha256(b"ca"),
            heads,
            receipts: Vec::new(),
            signature: [0; 64],
        };
        heartbeat.sign(&self.key).unwrap();
        heartbeat
    }
}

impl Chain {
    pub fn of(pod: &Pod, container: &str) -> Self {
        let genesis = Genesis {
            capture: Capture::CriLogFile,
            cluster_uid: String::new(),
            namespace: pod.namespace.clone(),
            pod_name: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            container: container.into(),
            path: String::new(),
            incarnation: 0,
        };
        let id = genesis.chain_id().unwrap();
        Self { genesis, builder: BatchBuilder::new(id, Head::start_of(id)) }
    }

    pub fn id(&self) -> ChainId {
        self.builder.chain()
    }

    pub fn head(&self) -> Head {
        self.builder.head()
    }

    pub fn body(&self, session: SessionId) -> Vec<u8> {
        [session.as_bytes().as_slice(), &self.genesis.encode().unwrap()].concat()
    }

    /// The next batch with these lines: what is signed, and its canonical body.
    pub fn batch(&mut self, sidecar: &Sidecar, lines: &[&[u8]]) -> (Commitment, Vec<u8>) {
        for line in lines {
            let time = Time::from_nanos(1_795_400_000_000_000_000);
            self.builder.push(&Record { time, source: Source::Stdout, flags: Flags::NONE, payload: line });
        }
        let sealed = self.builder.seal(sidecar.id(), &sidecar.key).unwrap();
        let body = self.builder.body().to_vec();
        self.builder.clear();
        (sealed, body)
    }
}

/// The body of `POST /v1/batches`, packed.
pub fn upload(commitment: &Commitment, body: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new().unwrap();
    Upload { commitment: *commitment, body: packer.pack(body) }.encode()
}

/// The same, with a body as it is.
pub fn plain_upload(commitment: &Commitment, body: &[u8]) -> Vec<u8> {
    Upload { commitment: *commitment, body: Stored { codec: Codec::Plain, bytes: body } }.encode()
}
