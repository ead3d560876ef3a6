//! Which container a chain belongs to (section 1 of the format).
//!
//! ```text
//! genesis  = u8 version(1) ‖ u8 capture ‖ lp16 cluster_uid ‖ lp16 namespace ‖ lp16 pod_name ‖ lp16 pod_uid
//!            ‖ lp16 container ‖ lp16 path ‖ u64 incarnation
//! chain_id = H[indelible/genesis/v1](genesis)
//! ```
//!
//! Restarts of a container stay in its chain; a new incarnation is a new chain of the same container.

use crate::bytes::{DecodeError, Put, Reader, check_string};
use crate::digest::Tag;
use crate::id::ChainId;

/// How a chain's records are captured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Capture {
    /// The log files that a kubelet keeps for a container (CRI format).
    CriLogFile = 1,
    /// A plain file. Reserved: nothing writes it yet.
    PlainFile = 2,
    /// Standard input. Reserved.
    StandardInput = 3,
    /// Kubernetes API audit. Reserved.
    KubernetesAudit = 4,
    /// OTLP. Reserved.
    Otlp = 5,
}

impl Capture {
    const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::CriLogFile),
            2 => Ok(Self::PlainFile),
            3 => Ok(Self::StandardInput),
            4 => Ok(Self::KubernetesAudit),
            5 => Ok(Self::Otlp),
            _ => Err(DecodeError::Unknown { what: "genesis capture", value: code as u64 }),
        }
    }
}

/// The first thing said of a chain. Strings are at most 1,024 bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Genesis {
    /// How the records are captured.
    pub capture: Capture,
    /// UID of the `kube-system` namespace; empty outside a cluster.
    pub cluster_uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
    /// The file's path; empty for [`Capture::CriLogFile`].
    pub path: String,
    /// 0, or the time in nanoseconds at which this chain took over from an earlier one.
    pub incarnation: u64,
}

impl Genesis {
    /// The bytes that are hashed. Fails if a string is over the limit, or a path is there where none may be.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let Self { capture, cluster_uid, namespace, pod_name, pod_uid, container, path, incarnation } = self;
        self.check()?;
        let mut out = vec![1, *capture as u8];
        for field in [cluster_uid, namespace, pod_name, pod_uid, container, path] {
            out.put_lp16(field.as_bytes());
        }
        out.put(&incarnation.to_be_bytes());
        Ok(out)
    }

    fn check(&self) -> Result<(), DecodeError> {
        check_string("genesis cluster_uid", &self.cluster_uid)?;
        check_string("genesis namespace", &self.namespace)?;
        check_string("genesis pod_name", &self.pod_name)?;
        check_string("genesis pod_uid", &self.pod_uid)?;
        check_string("genesis container", &self.container)?;
        check_string("genesis path", &self.path)?;
        if self.capture == Capture::CriLogFile && !self.path.is_empty() {
            return Err(DecodeError::invalid("genesis path", "must be empty for a CRI log file"));
        }
        Ok(())
    }

    /// Reads a whole genesis.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let genesis = Self::decode_from(&mut reader)?;
        reader.end("genesis")?;
        Ok(genesis)
    }

    /// Reads a genesis that is followed by other things.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.version("genesis version")?;
        let genesis = Self {
            capture: Capture::from_code(reader.u8("genesis capture")?)?,
            cluster_uid: reader.string("genesis cluster_uid")?.into(),
            namespace: reader.string("genesis namespace")?.into(),
            pod_name: reader.string("genesis pod_name")?.into(),
            pod_uid: reader.string("genesis pod_uid")?.into(),
            container: reader.string("genesis container")?.into(),
            path: reader.string("genesis path")?.into(),
            incarnation: reader.u64("genesis incarnation")?,
        };
        genesis.check()?;
        Ok(genesis)
    }

    /// The chain's id.
    ///
    /// ```
    /// # use indelible_chain::genesis::{Capture, Genesis};
    /// let genesis = Genesis {
    ///     capture: Capture::CriLogFile,
    ///     cluster_uid: String::new(),
    ///     namespace: "default".into(),
    ///     pod_name: "crash".into(),
    ///     pod_uid: "8b7f7ae3-4d70-456d-a756-defc7414d4f4".into(),
    ///     container: "app".into(),
    ///     path: String::new(),
    ///     incarnation: 0,
    /// };
    /// let id = genesis.chain_id().unwrap();
    /// assert_eq!(id.to_string(), "d9ed061d40c69ab3c0c04c3e63fc02695f5f99664f0d399dcfbd4ee614d7fe38");
    /// ```
    pub fn chain_id(&self) -> Result<ChainId, DecodeError> {
        Ok(ChainId::new(Tag::Genesis.hash(&[&self.encode()?])))
    }
}
