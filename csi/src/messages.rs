//! The messages of CSI 1.x and of the kubelet's plugin registration, as far as this driver reads and writes them.
//!
//! Field numbers are those of the two specifications; fields that are not here are skipped when they come.

use std::collections::BTreeMap;

use prost::Message;

/// Of calls and answers that say nothing.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

/// Answer to `Identity/GetPluginInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct PluginInfoResponse {
    /// The driver's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The driver's version.
    #[prost(string, tag = "2")]
    pub vendor_version: String,
}

/// Answer to `Identity/Probe`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ProbeResponse {
    /// Whether calls are served.
    #[prost(message, optional, tag = "1")]
    pub ready: Option<BoolValue>,
}

/// A boolean that can be absent.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct BoolValue {
    /// What it is.
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// Answer to `Node/NodeGetInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct NodeInfoResponse {
    /// The node's name.
    #[prost(string, tag = "1")]
    pub node_id: String,
}

/// `Node/NodePublishVolume`.
#[derive(Clone, PartialEq, Message)]
pub struct PublishRequest {
    /// The kubelet's handle of the volume.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// What a controller has left.
    #[prost(btree_map = "string, string", tag = "2")]
    pub publish_context: BTreeMap<String, String>,
    /// Where the volume was staged.
    #[prost(string, tag = "3")]
    pub staging_target_path: String,
    /// Where it is to be mounted.
    #[prost(string, tag = "4")]
    pub target_path: String,
    /// How it is to be used.
    #[prost(message, optional, tag = "5")]
    pub volume_capability: Option<Capability>,
    /// Whether the pod asks for it read-only.
    #[prost(bool, tag = "6")]
    pub readonly: bool,
    /// Of a secret that the volume names.
    #[prost(btree_map = "string, string", tag = "7")]
    pub secrets: BTreeMap<String, String>,
    /// The volume's attributes, and the kubelet's words on the pod.
    #[prost(btree_map = "string, string", tag = "8")]
    pub volume_context: BTreeMap<String, String>,
}

/// How a volume is to be used. Its access mode says nothing that matters here.
#[derive(Clone, PartialEq, Message)]
pub struct Capability {
    /// As a device or as a file system.
    #[prost(oneof = "Access", tags = "1, 2")]
    pub access: Option<Access>,
}

/// As a device or as a file system.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Access {
    /// As a device.
    #[prost(message, tag = "1")]
    Block(Empty),
    /// As a file system.
    #[prost(message, tag = "2")]
    Mount(MountAccess),
}

/// How a file system is to be mounted.
#[derive(Clone, PartialEq, Message)]
pub struct MountAccess {
    /// Its type.
    #[prost(string, tag = "1")]
    pub fs_type: String,
    /// Options.
    #[prost(string, repeated, tag = "2")]
    pub mount_flags: Vec<String>,
    /// The group that is to own it.
    #[prost(string, tag = "3")]
    pub volume_mount_group: String,
}

/// `Node/NodeUnpublishVolume`.
#[derive(Clone, PartialEq, Message)]
pub struct UnpublishRequest {
    /// The kubelet's handle of the volume.
    #[prost(string, tag = "1")]
    pub volume_id: String,
    /// Where it is mounted.
    #[prost(string, tag = "2")]
    pub target_path: String,
}

/// Answer to `Registration/GetInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct PluginInfo {
    /// What kind of plugin it is.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// The driver's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The path of the socket to call it on.
    #[prost(string, tag = "3")]
    pub endpoint: String,
    /// Versions of CSI that it speaks.
    #[prost(string, repeated, tag = "4")]
    pub supported_versions: Vec<String>,
}

/// `Registration/NotifyRegistrationStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct RegistrationStatus {
    /// Whether the kubelet has registered the driver.
    #[prost(bool, tag = "1")]
    pub plugin_registered: bool,
    /// Why not.
    #[prost(string, tag = "2")]
    pub error: String,
}
