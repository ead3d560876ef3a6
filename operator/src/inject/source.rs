//! Where the sidecar of a pod finds its logs: `Auto`, and what each source needs.
//!
//! Pure. A pod is never made into one that Pod Security refuses: that is known before the patch.

use super::facts::{Cluster, Namespace};
use crate::api::CaptureSource;
use crate::config::PodSecurity;

/// A source that works for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Volumes of the CSI driver.
    Volume,
    /// The node's log directory, of which the pod's own part is mounted.
    HostPath,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSource {
    /// The AuditLog insists on the driver.
    #[error(
        "capture.source is Volume and the CSI driver logs.csi.indelible.dev is not installed: set csi.enabled=true in the chart"
    )]
    NoDriver,
    /// The AuditLog insists on hostPath, which the namespace forbids.
    #[error("capture.source is HostPath, which Pod Security {} forbids: set capture.source to Auto and csi.enabled=true in the chart", word(*.0))]
    Forbidden(PodSecurity),
    /// Neither.
    #[error("no source of logs works here: the CSI driver logs.csi.indelible.dev is not installed, and Pod Security {} forbids hostPath: set csi.enabled=true in the chart", word(*.0))]
    Neither(PodSecurity),
}

fn word(level: PodSecurity) -> &'static str {
    match level {
        PodSecurity::Privileged => "privileged",
        PodSecurity::Baseline => "baseline",
        PodSecurity::Restricted => "restricted",
    }
}

/// The source for pods of `namespace`.
pub fn choose(wanted: CaptureSource, namespace: &Namespace, cluster: &Cluster) -> Result<Source, NoSource> {
    let level = namespace.level(cluster.pod_security_default);
    let host_path = level == PodSecurity::Privileged;
    match wanted {
        CaptureSource::Volume | CaptureSource::Auto if cluster.csi => Ok(Source::Volume),
        CaptureSource::Volume => Err(NoSource::NoDriver),
        CaptureSource::HostPath | CaptureSource::Auto if host_path => Ok(Source::HostPath),
        CaptureSource::HostPath => Err(NoSource::Forbidden(level)),
        CaptureSource::Auto => Err(NoSource::Neither(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn auto_takes_volume_where_the_driver_is_and_else_host_path_where_it_is_allowed() {
        use CaptureSource::{Auto, HostPath, Volume};
        let (privileged, baseline, restricted) =
            (PodSecurity::Privileged, PodSecurity::Baseline, PodSecurity::Restricted);
        for (wanted, csi, label, default, expected) in [
            (Auto, true, None, baseline, Ok(Source::Volume)),
            (Auto, true, Some("privileged"), baseline, Ok(Source::Volume)),
            (Auto, false, Some("privileged"), baseline, Ok(Source::HostPath)),
            (Auto, false, None, privileged, Ok(Source::HostPath)),
            (Auto, false, None, baseline, Err(NoSource::Neither(baseline))),
            (Auto, false, Some("restricted"), privileged, Err(NoSource::Neither(restricted))),
            (Auto, false, Some("no-such-level"), privileged, Err(NoSource::Neither(restricted))),
            (Volume, true, Some("restricted"), baseline, Ok(Source::Volume)),
            (Volume, false, Some("privileged"), baseline, Err(NoSource::NoDriver)),
            (HostPath, true, Some("privileged"), baseline, Ok(Source::HostPath)),
            (HostPath, true, Some("baseline"), privileged, Err(NoSource::Forbidden(baseline))),
        ] {
            let mut namespace = samples::namespace();
            if let Some(label) = label {
                namespace.labels.insert("pod-security.kubernetes.io/enforce".to_owned(), label.to_owned());
            }
            let cluster = Cluster { csi, pod_security_default: default, ..samples::cluster() };
            assert_eq!(choose(wanted, &namespace, &cluster), expected, "{wanted:?} {csi} {label:?} {default:?}");
        }
    }
}
