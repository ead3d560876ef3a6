//! What a node driver reads that others wrote: the kubelet's calls, which carry what a pod's author chose.

use std::path::PathBuf;

use indelible_csi::layout::Layout;
use indelible_csi::messages::{PublishRequest, UnpublishRequest};
use indelible_csi::request;
use prost::Message as _;

use super::corpus::Target;

/// Targets by name.
pub const TARGETS: &[Target] = &[("csi_publish", publish), ("csi_unpublish", unpublish)];

fn layout() -> Layout {
    let place = |path: &str| PathBuf::from(path);
    Layout { kubelet: place("/var/lib/kubelet"), pod_logs: place("/var/log/pods") }
}

fn publish(data: &[u8]) {
    if let Ok(call) = PublishRequest::decode(data) {
        let _ = request::publish(&layout(), &call);
    }
}

fn unpublish(data: &[u8]) {
    if let Ok(call) = UnpublishRequest::decode(data) {
        let _ = request::unpublish(&layout(), &call);
    }
}
