//! Where things are on a node: what the kubelet owns, and what is ours below it.
//!
//! Paths only, nothing is opened. All of it follows from the two directories that the kubelet was configured with.

use std::path::{Path, PathBuf};

use crate::request::{LogDirectory, PodUid, Target, VolumeName};

/// The driver's name, by which pods ask for it.
pub const DRIVER: &str = "logs.csi.indelible.dev";

/// A node's directories, absolute and without a slash at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The kubelet's own directory, as the kubelet names it.
    pub kubelet: PathBuf,
    /// Where the kubelet keeps the logs of pods.
    pub pod_logs: PathBuf,
}

impl Layout {
    /// What the kubelet has of pods: a directory for each that is on the node.
    pub fn pods(&self) -> PathBuf {
        self.kubelet.join("pods")
    }

    /// The directory that a volume's target is made in: the kubelet makes it before it publishes.
    pub fn volume(&self, target: &Target) -> PathBuf {
        self.pods().join(target.uid.as_str()).join("volumes/kubernetes.io~csi").join(target.volume.as_str())
    }

    /// Where a volume is mounted.
    pub fn target(&self, target: &Target) -> PathBuf {
        self.volume(target).join("mount")
    }

    /// A pod's log directory.
    pub fn logs(&self, directory: &LogDirectory) -> PathBuf {
        self.pod_logs.join(directory.as_str())
    }

    /// Ours: the socket and the state of pods.
    pub fn own(&self) -> PathBuf {
        self.kubelet.join("plugins").join(DRIVER)
    }

    /// The socket that the kubelet calls us on.
    pub fn endpoint(&self) -> PathBuf {
        self.own().join("csi.sock")
    }

    /// The directory in which the kubelet looks for drivers.
    pub fn registry(&self) -> PathBuf {
        self.kubelet.join("plugins_registry")
    }

    /// The socket that the kubelet hears of us on.
    ///
    /// The kubelet takes the path for the host that it speaks to, percent-encoded, as in `%2Fvar%2Flib%2F…`. No host has a
    /// percent sign, and HTTP libraries refuse one; what stands before an `@` is no part of the host, and may.
    pub fn registration(&self) -> PathBuf {
        self.registry().join(format!("{DRIVER}@reg.sock"))
    }

    /// The state of all pods: a directory for each pod, in it one for each volume.
    pub fn states(&self) -> PathBuf {
        self.own().join("state")
    }

    /// The states of one pod.
    pub fn pod_states(&self, uid: &PodUid) -> PathBuf {
        self.states().join(uid.as_str())
    }

    /// The state of one volume.
    pub fn state(&self, uid: &PodUid, volume: &VolumeName) -> PathBuf {
        self.pod_states(uid).join(volume.as_str())
    }
}

/// A directory as it may be configured: absolute, without `.`, `..`, an empty part, or a slash at the end.
pub fn directory(text: &str) -> Result<PathBuf, String> {
    let trimmed = text.trim_end_matches('/');
    let parts = trimmed.strip_prefix('/').ok_or("give an absolute path below /, as /var/lib/kubelet")?;
    if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("give the path without //, . and .., exactly as the kubelet has it".to_owned());
    }
    Ok(Path::new(trimmed).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_absolute_and_plain() {
        assert_eq!(directory("/var/lib/kubelet"), Ok(PathBuf::from("/var/lib/kubelet")));
        assert_eq!(directory("/data/kubelet/"), Ok(PathBuf::from("/data/kubelet")));
        for text in ["", "/", "kubelet", "./x", "/a/../b", "/a//b", "/a/./b"] {
            assert!(directory(text).is_err(), "{text:?}");
        }
    }
}
