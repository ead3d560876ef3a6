//! What an injected pod has of ours, by name: the admission policies of the chart name the same.

/// The sidecar's container, and so its log directory.
pub const CONTAINER: &str = "indelible-sidecar";
/// Its binary in the image.
pub const BINARY: &str = "/indelible-sidecar";
/// Its uid: nobody else's (65532 is that of many images).
pub const UID: i64 = 60653;

/// All names of volumes that begin so are reserved.
pub const VOLUME_PREFIX: &str = "indelible-";
/// The pod's log directory.
pub const LOGS: &str = "indelible-logs";
/// Cursors and decisions.
pub const STATE: &str = "indelible-state";
/// The pod's token for its pool.
pub const TOKEN: &str = "indelible-token";
/// The volumes that are ours.
pub const VOLUMES: [&str; 3] = [LOGS, STATE, TOKEN];
/// Where they are mounted, in this order.
pub const MOUNTS: [&str; 3] =
    ["/var/log/indelible", "/var/lib/indelible", "/var/run/secrets/kubernetes.io/serviceaccount"];

/// The CSI driver.
pub const DRIVER: &str = "logs.csi.indelible.dev";

/// On a pod: the sidecar's cpu request.
pub const ANNOTATION_CPU: &str = "indelible.dev/sidecar-cpu";
/// On a pod: the sidecar's memory limit.
pub const ANNOTATION_MEMORY: &str = "indelible.dev/sidecar-memory";

/// The name of the webhook in its configuration: the API server's messages have it.
pub const WEBHOOK: &str = "inject.indelible.dev";
