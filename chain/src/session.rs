//! Sessions: one run of one sidecar (section 2 of the format).
//!
//! ```text
//! session    = u8 version(1) ‖ public_key[32] ‖ lp16 cluster_uid ‖ lp16 namespace ‖ lp16 pod_name ‖ lp16 pod_uid
//!              ‖ lp16 node_name ‖ lp16 service_account ‖ lp16 audit_log ‖ lp16 software ‖ lp16 excluded ‖ i64 started_at
//! session_id = H[indelible/session/v1](session)
//! ```
//!
//! The private key lives only in the sidecar's memory and dies with the session. A session may sign records older
//! than itself: every honest restart does.

use crate::bytes::{DecodeError, Put, Reader, check_string};
use crate::digest::Tag;
use crate::genesis::Genesis;
use crate::id::{SessionId, Time};
use crate::key::PublicKey;

/// What a sidecar says of itself when it starts. Strings are at most 1,024 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// The key that signs this session's batches and heartbeats.
    pub public_key: PublicKey,
    /// UID of the `kube-system` namespace; empty outside a cluster.
    pub cluster_uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The node that the pod runs on.
    pub node_name: String,
    /// The pod's service account.
    pub service_account: String,
    /// `<namespace>/<name>` of the `AuditLog`.
    pub audit_log: String,
    /// `<program>/<version>`.
    pub software: String,
    /// Names of containers that are not captured, comma-separated.
    pub excluded: String,
    /// When the session started.
    pub started_at: Time,
}

impl Session {
    fn strings(&self) -> [(&'static str, &str); 9] {
        [
            ("session cluster_uid", &self.cluster_uid),
            ("session namespace", &self.namespace),
            ("session pod_name", &self.pod_name),
            ("session pod_uid", &self.pod_uid),
            ("session node_name", &self.node_name),
            ("session service_account", &self.service_account),
            ("session audit_log", &self.audit_log),
            ("session software", &self.software),
            ("session excluded", &self.excluded),
        ]
    }

    /// The bytes that are hashed. Fails if a string is over the limit.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = vec![1];
        out.put(self.public_key.as_bytes());
        for (what, field) in self.strings() {
            check_string(what, field)?;
            out.put_lp16(field.as_bytes());
        }
        out.put(&self.started_at.nanos().to_be_bytes());
        Ok(out)
    }

    /// Reads a whole session.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let session = Self::decode_from(&mut reader)?;
        reader.end("session")?;
        Ok(session)
    }

    /// Reads a session that is followed by other things. A weak key is an error.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.version("session version")?;
        Ok(Self {
            public_key: PublicKey::from_bytes(&reader.array("session public_key")?)?,
            cluster_uid: reader.string("session cluster_uid")?.into(),
            namespace: reader.string("session namespace")?.into(),
            pod_name: reader.string("session pod_name")?.into(),
            pod_uid: reader.string("session pod_uid")?.into(),
            node_name: reader.string("session node_name")?.into(),
            service_account: reader.string("session service_account")?.into(),
            audit_log: reader.string("session audit_log")?.into(),
            software: reader.string("session software")?.into(),
            excluded: reader.string("session excluded")?.into(),
            started_at: Time::from_nanos(reader.i64("session started_at")?),
        })
    }

    /// The session's id.
    pub fn id(&self) -> Result<SessionId, DecodeError> {
        Ok(SessionId::new(Tag::Session.hash(&[&self.encode()?])))
    }

    /// Whether `genesis` is of this session's pod: a session speaks for no other.
    pub fn owns(&self, genesis: &Genesis) -> bool {
        self.cluster_uid == genesis.cluster_uid
            && self.namespace == genesis.namespace
            && self.pod_name == genesis.pod_name
            && self.pod_uid == genesis.pod_uid
    }
}
