//! What a pod of an opted-in namespace may not have, whoever asks for it: what belongs to the sidecar.
//!
//! Pure. The admission policies `indelible-volumes` say the same inside the API server, also while the webhook is away;
//! here it is said first and in more words.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};

use super::names::{CONTAINER, DRIVER, UID, VOLUME_PREFIX, VOLUMES};

/// What of the sidecar's a pod takes for itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// A container that would see all that the volume shows.
    #[error(
        "container {container:?} mounts the volume {volume:?}: names that begin with {VOLUME_PREFIX} are reserved for Indelible's sidecar, give the volume another name"
    )]
    Mount {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
    },
    /// A container that would pass for the sidecar.
    #[error("a container has the name {CONTAINER}, which is reserved for Indelible's sidecar: give it another name")]
    Name,
    /// A process that could act on the sidecar's.
    #[error("container {0:?} runs as uid {UID}, which is reserved for Indelible's sidecar: choose another uid")]
    User(String),
    /// As above, of the pod.
    #[error("the pod's securityContext has uid {UID}, which is reserved for Indelible's sidecar: choose another uid")]
    PodUser,
    /// The node's logs, mounted under another name.
    #[error("volume {0:?} is of the CSI driver {DRIVER}, which is reserved for Indelible's sidecar: remove the volume")]
    Driver(String),
    /// A token to write into the log with.
    #[error(
        "volume {0:?} asks for a service-account token with an audience of Indelible, which is for its sidecar: use another audience"
    )]
    Token(String),
}

/// The first of it, if there is any. A sidecar that is there already (a copied pod, a second call) is none: it is replaced.
pub fn misuse(pod: &Pod) -> Option<Misuse> {
    let spec = pod.spec.as_ref()?;
    if spec.security_context.as_ref().and_then(|context| context.run_as_user) == Some(UID) {
        return Some(Misuse::PodUser);
    }
    containers(spec).find_map(of_container).or_else(|| volumes(spec).find_map(of_volume))
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| container.name != CONTAINER);
    spec.containers.iter().chain(sidecars)
}

fn of_container(container: &Container) -> Option<Misuse> {
    if container.name == CONTAINER {
        return Some(Misuse::Name);
    }
    let user = container.security_context.as_ref().and_then(|context| context.run_as_user);
    if user == Some(UID) {
        return Some(Misuse::User(container.name.clone()));
    }
    let mounts = container.volume_mounts.iter().flatten();
    let volume = mounts.map(|mount| &mount.name).find(|name| name.starts_with(VOLUME_PREFIX))?;
    Some(Misuse::Mount { container: container.name.clone(), volume: volume.clone() })
}

/// Those of our three names are replaced, whatever they are.
fn volumes(spec: &PodSpec) -> impl Iterator<Item = &Volume> {
    spec.volumes.iter().flatten().filter(|volume| !VOLUMES.contains(&volume.name.as_str()))
}

fn of_volume(volume: &Volume) -> Option<Misuse> {
    if volume.csi.as_ref().is_some_and(|csi| csi.driver == DRIVER) {
        return Some(Misuse::Driver(volume.name.clone()));
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let mut audiences = sources.filter_map(|source| source.service_account_token.as_ref()?.audience.as_deref());
    audiences.any(|audience| audience.starts_with("indelible.dev/")).then(|| Misuse::Token(volume.name.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples::pod;
    use super::*;

    fn of(value: Value) -> Option<Misuse> {
        misuse(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn what_belongs_to_the_sidecar_is_no_other_containers() {
        let mount = |container: &str, volume: &str| Misuse::Mount {
            container: container.to_owned(),
            volume: volume.to_owned(),
        };
        let token = json!({"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "indelible.dev/audit/x"}}]}});
        for (path, value, expected) in [
            (
                "/spec/containers/0/volumeMounts",
                json!([{"name": "indelible-logs", "mountPath": "/x"}]),
                mount("app", "indelible-logs"),
            ),
            (
                "/spec/containers/0/volumeMounts",
                json!([{"name": "indelible-x", "mountPath": "/x"}]),
                mount("app", "indelible-x"),
            ),
            (
                "/spec/initContainers",
                json!([{"name": "i", "volumeMounts": [{"name": "indelible-token", "mountPath": "/x"}]}]),
                mount("i", "indelible-token"),
            ),
            ("/spec/containers/0/name", json!("indelible-sidecar"), Misuse::Name),
            ("/spec/containers/0/securityContext", json!({"runAsUser": 60653}), Misuse::User("app".to_owned())),
            ("/spec/securityContext", json!({"runAsUser": 60653}), Misuse::PodUser),
            (
                "/spec/volumes",
                json!([{"name": "x", "csi": {"driver": "logs.csi.indelible.dev"}}]),
                Misuse::Driver("x".to_owned()),
            ),
            ("/spec/volumes", json!([token]), Misuse::Token("t".to_owned())),
        ] {
            let mut pod = pod();
            let (parent, field) = path.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[field] = value;
            assert_eq!(of(pod), Some(expected), "{path}");
        }
    }

    #[test]
    fn innocent_pods_and_pods_with_a_sidecar_already_pass() {
        assert_eq!(of(pod()), None);
        let mut copied = pod();
        copied["spec"]["initContainers"] = json!([{"name": "indelible-sidecar", "volumeMounts": [{"name": "indelible-logs", "mountPath": "/x"}], "securityContext": {"runAsUser": 60653}}]);
        copied["spec"]["volumes"] = json!([
            {"name": "indelible-logs", "csi": {"driver": "logs.csi.indelible.dev"}},
            {"name": "mine", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "read.indelible.dev/audit/x"}}]}},
        ]);
        assert_eq!(of(copied), None);
    }
}
