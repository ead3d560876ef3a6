//! A call becomes a validated publish or unpublish, or is refused with what is wrong and what to do.
//!
//! What this decides is the whole of what a pod can ask of the node: its own log directory, read-only, and a place for its
//! sidecar's state. Whose pod it is follows from two places that have to agree: the target, which the kubelet chooses, and
//! the attributes about the pod, which it writes over whatever the pod's author wrote under those keys.

mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use names::{LogDirectory, NameError, PodUid, VolumeName};

use crate::layout::Layout;
use crate::limits::{MAX_ATTRIBUTES, MAX_ID_BYTES, MAX_PATH_BYTES, MAX_SHOWN};
use crate::messages::{Access, PublishRequest, UnpublishRequest};

/// What is mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The pod's log directory, read-only.
    Logs(LogDirectory),
    /// A directory of its own that goes when the volume does.
    State,
}

/// Where it is mounted: the place of one volume of one pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The pod.
    pub uid: PodUid,
    /// The volume's name in the pod's spec.
    pub volume: VolumeName,
}

/// A publish that may be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// What.
    pub content: Content,
    /// Where.
    pub target: Target,
}

/// Why a call is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The handle is missing or too long.
    #[error("volume_id has {0} bytes; it has 1 to {MAX_ID_BYTES}")]
    VolumeId(usize),
    /// The target is not a volume's place of this kubelet.
    #[error(
        "target_path {0} is not {1}/pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount; give --kubelet-dir the kubelet's own --root-dir"
    )]
    Target(String, String),
    /// The kubelet says nothing of the pod.
    #[error("the kubelet does not say {0}; CSIDriver logs.csi.indelible.dev must have podInfoOnMount: true")]
    NoPodInfo(&'static str),
    /// It is not a volume of a pod's own spec.
    #[error("only a pod's own volumes are served (spec.volumes[].csi), no PersistentVolume")]
    NotEphemeral,
    /// A name that no pod can have.
    #[error("{what} {value}: {why}")]
    Name {
        /// Which.
        what: &'static str,
        /// The name.
        value: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// Target and attributes are of different pods.
    #[error(
        "target_path is of pod {target}, csi.storage.k8s.io/pod.uid says {said}; CSIDriver logs.csi.indelible.dev must have podInfoOnMount: true"
    )]
    OtherPod {
        /// By the target.
        target: String,
        /// By the attributes.
        said: String,
    },
    /// What is to be mounted is not said, or not known.
    #[error("volume attribute content is {0}; write content: logs or content: state")]
    Content(String),
    /// An attribute that means nothing.
    #[error("volume attribute {0} is not known; there is only content")]
    Attribute(String),
    /// More attributes than there are.
    #[error("the volume has {0} attributes; there is only content")]
    Attributes(usize),
    /// Something that these volumes do not have.
    #[error("{0} is given; leave it out, these volumes have none")]
    Superfluous(&'static str),
    /// Nothing is said of how the volume is to be used.
    #[error("the call has no volume_capability with an access type")]
    NoCapability,
    /// A state that could not be written.
    #[error("content: state with readOnly: true is of no use; leave readOnly out")]
    ReadOnlyState,
}

const UID: &str = "csi.storage.k8s.io/pod.uid";
const NAME: &str = "csi.storage.k8s.io/pod.name";
const NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";
const KUBELETS: &str = "csi.storage.k8s.io/";
const CONTENT: &str = "content";

/// Reads a `NodePublishVolume`.
pub fn publish(layout: &Layout, request: &PublishRequest) -> Result<Publish, Refusal> {
    let PublishRequest {
        volume_id,
        publish_context,
        staging_target_path,
        target_path,
        volume_capability,
        readonly,
        secrets,
        volume_context,
    } = request;
    volume(volume_id)?;
    let target = target(layout, target_path)?;
    let superfluous = [
        (!publish_context.is_empty(), "a publish context"),
        (!staging_target_path.is_empty(), "a staging path"),
        (!secrets.is_empty(), "nodePublishSecretRef"),
    ];
    refuse_any(&superfluous)?;
    match volume_capability.as_ref().and_then(|capability| capability.access.as_ref()) {
        Some(Access::Block(_)) => return Err(Refusal::Superfluous("block access")),
        Some(Access::Mount(mount)) => refuse_any(&[
            (!mount.fs_type.is_empty(), "fsType"),
            (!mount.mount_flags.is_empty(), "a mount option"),
            (!mount.volume_mount_group.is_empty(), "a mount group"),
        ])?,
        None => return Err(Refusal::NoCapability),
    }
    let logs = pod(volume_context, &target)?;
    let content = match (attribute(volume_context)?, readonly) {
        (Some("logs"), _) => Content::Logs(logs),
        (Some("state"), false) => Content::State,
        (Some("state"), true) => return Err(Refusal::ReadOnlyState),
        (other, _) => return Err(Refusal::Content(other.map_or("missing".to_owned(), shown))),
    };
    Ok(Publish { content, target })
}

/// Reads a `NodeUnpublishVolume`.
pub fn unpublish(layout: &Layout, request: &UnpublishRequest) -> Result<Target, Refusal> {
    let UnpublishRequest { volume_id, target_path } = request;
    volume(volume_id)?;
    target(layout, target_path)
}

fn volume(id: &str) -> Result<(), Refusal> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) { Ok(()) } else { Err(Refusal::VolumeId(id.len())) }
}

fn refuse_any(given: &[(bool, &'static str)]) -> Result<(), Refusal> {
    given.iter().find(|(given, _)| *given).map_or(Ok(()), |(_, what)| Err(Refusal::Superfluous(what)))
}

/// The pod and the volume that a path is the place of. The path has one form, so nothing is left to interpret.
fn target(layout: &Layout, path: &str) -> Result<Target, Refusal> {
    let refused = || Refusal::Target(shown(path), layout.kubelet.display().to_string());
    if path.len() > MAX_PATH_BYTES {
        return Err(refused());
    }
    let pods = layout.pods();
    let below = pods.to_str().and_then(|pods| path.strip_prefix(pods)?.strip_prefix('/')).ok_or_else(refused)?;
    let parts: Vec<&str> = below.split('/').collect();
    let [uid, "volumes", "kubernetes.io~csi", volume, "mount"] = *parts else { return Err(refused()) };
    let uid = PodUid::read(uid).map_err(|_| refused())?;
    let volume = VolumeName::read(volume).map_err(|_| refused())?;
    Ok(Target { uid, volume })
}

/// Which log directory the pod has, if the kubelet's words agree with the target.
fn pod(context: &BTreeMap<String, String>, target: &Target) -> Result<LogDirectory, Refusal> {
    let said = |key| context.get(key).map(String::as_str).ok_or(Refusal::NoPodInfo(key));
    let (uid, name, namespace) = (said(UID)?, said(NAME)?, said(NAMESPACE)?);
    if said(EPHEMERAL)? != "true" {
        return Err(Refusal::NotEphemeral);
    }
    if uid != target.uid.as_str() {
        return Err(Refusal::OtherPod { target: target.uid.as_str().to_owned(), said: shown(uid) });
    }
    LogDirectory::of(namespace, name, &target.uid).map_err(|(what, value, why)| Refusal::Name {
        what,
        value: shown(value),
        why,
    })
}

/// What the pod's author wrote: `content`, and nothing else.
fn attribute(context: &BTreeMap<String, String>) -> Result<Option<&str>, Refusal> {
    if context.len() > MAX_ATTRIBUTES {
        return Err(Refusal::Attributes(context.len()));
    }
    if let Some(unknown) = context.keys().find(|key| !key.starts_with(KUBELETS) && *key != CONTENT) {
        return Err(Refusal::Attribute(shown(unknown)));
    }
    Ok(context.get(CONTENT).map(String::as_str))
}

/// A value from outside, for a message: quoted, escaped, and not longer than people read.
fn shown(value: &str) -> String {
    let end = (0..=MAX_SHOWN.min(value.len())).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    if end < value.len() { format!("{:?}…", &value[..end]) } else { format!("{value:?}") }
}
