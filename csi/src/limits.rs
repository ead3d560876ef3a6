//! Every bound of the driver, with its name and its reason.

use std::time::Duration;

/// The longest message that is read: a publish is a few hundred bytes of names and paths.
pub const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// The longest list of HTTP/2 headers of a call.
pub const MAX_HEADER_BYTES: u32 = 8 << 10;
/// Connections of one socket at once: the kubelet has one or two, and opens one for each call.
pub const MAX_CONNECTIONS: u32 = 64;
/// Calls of one connection at once. They are done one after the other; the kubelet waits two minutes for each.
pub const MAX_CALLS_PER_CONNECTION: u32 = 128;
/// Bytes that a connection may send before they are read.
pub const WINDOW_BYTES: u32 = 64 << 10;
/// Longest `volume_id`, by the specification.
pub const MAX_ID_BYTES: usize = 128;
/// Longest node name, by the specification.
pub const MAX_NODE_ID_BYTES: usize = 256;
/// Longest path that is looked at.
pub const MAX_PATH_BYTES: usize = 4096;
/// Longest namespace and volume name: a DNS label.
pub const MAX_LABEL_BYTES: usize = 63;
/// Longest name of a pod: a DNS subdomain.
pub const MAX_SUBDOMAIN_BYTES: usize = 253;
/// Longest UID: 36 bytes, 32 of a static pod; what is longer is no directory name of the kubelet.
pub const MAX_UID_BYTES: usize = 64;
/// Attributes of a volume: the kubelet's own and ours.
pub const MAX_ATTRIBUTES: usize = 16;
/// Mounts on one target that are taken away before it is given up: one, or two where a driver died or raced.
pub const MAX_LAYERS: usize = 16;
/// Longest line of the mount table that is read.
pub const MAX_MOUNT_LINE: u64 = 64 << 10;
/// How much of a refused value is shown.
pub const MAX_SHOWN: usize = 100;
/// How often state of pods that are gone is looked for.
pub const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
/// Calls in flight have this long to be answered after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections to the metrics port at once.
pub const MAX_METRICS_CONNECTIONS: usize = 8;
/// The longest a metrics connection may take, its request included.
pub const METRICS_TIMEOUT: Duration = Duration::from_secs(10);
