//! What is mounted and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use indelible_csi::messages::{Empty, NodeInfoResponse, PluginInfoResponse, ProbeResponse, PublishRequest};
use tonic::Code;

use crate::support::{Node, Volume};

const PUBLISH: &str = "/csi.v1.Node/NodePublishVolume";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_pods_logs_can_be_read_by_its_sidecar_and_not_written() {
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let volume = Volume::logs(1);
    node.make_pod(&volume);

    client.publish(&node, &volume).await.unwrap();
    let (source, target) = (volume.source(&node), volume.target(&node));
    assert_eq!(mode(&source), 0o755, "made before the kubelet does");
    // As a container runtime does, later than the mount.
    fs::create_dir(source.join("app")).unwrap();
    fs::write(source.join("app/0.log"), "a line\n").unwrap();
    fs::set_permissions(source.join("app/0.log"), fs::Permissions::from_mode(0o640)).unwrap();

    assert_eq!(fs::read_to_string(node.see(&target).join("app/0.log")).unwrap(), "a line\n");
    let file = target.join("app/0.log").display().to_string();
    assert!(node.run_as_sidecar("cat", &[&file]));
    assert!(!node.run("sh", &["-c", &format!("echo x >> {file}")]), "not even root");
    let mounts = node.mounts(&target);
    assert_eq!(mounts.len(), 1);
    assert!(mounts[0].starts_with("ro,nosuid,nodev,noexec"), "{mounts:?}");

    client.publish(&node, &volume).await.unwrap();
    assert_eq!(node.mounts(&target), mounts, "it is there already");

    client.unpublish(&node, &volume).await.unwrap();
    assert!(node.mounts(&target).is_empty() && !node.see(&target).exists());
    assert!(source.join("app/0.log").exists(), "logs are the kubelet's");
    client.unpublish(&node, &volume).await.unwrap();
}

#[tokio::test]
async fn state_is_the_sidecars_own_and_goes_with_the_pod() {
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let (mine, other) = (Volume::state(1), Volume::state(2));
    for volume in [&mine, &other] {
        node.make_pod(volume);
        client.publish(&node, volume).await.unwrap();
    }
    let target = mine.target(&node);
    assert_eq!(mode(&node.see(&target)), 0o770);
    let file = target.join("journal").display().to_string();
    assert!(node.run_as_sidecar("sh", &["-c", &format!("echo kept > {file} && ln -s /etc/hostname {file}.link")]));
    assert!(node.mounts(&target)[0].starts_with("rw,"), "{:?}", node.mounts(&target));
    assert!(!node.see(&other.target(&node)).join("journal").exists(), "each pod has its own");

    client.unpublish(&node, &mine).await.unwrap();
    assert!(!node.layout().states().join(&mine.uid).exists() && !node.see(&target).exists());
    assert!(Path::new("/etc/hostname").exists(), "a link in it is not followed");
    assert!(other.source(&node).exists());
}

#[tokio::test]
async fn a_call_that_is_not_served_is_refused_with_its_reason_and_changes_nothing() {
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let volume = Volume::logs(1);
    node.make_pod(&volume);

    let mut of_another = volume.publish(&node);
    of_another.volume_context.insert("csi.storage.k8s.io/pod.uid".into(), Volume::logs(2).uid);
    let mut everything = volume.publish(&node);
    everything.volume_context.insert("content".into(), "../..".into());
    let mut elsewhere = volume.publish(&node);
    elsewhere.target_path = "/etc".into();
    for (request, words) in
        [(of_another, "target_path is of pod"), (everything, "write content: logs"), (elsewhere, "\"/etc\"")]
    {
        let status = client.call::<_, Empty>(PUBLISH, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(words), "{}", status.message());
    }

    let huge = PublishRequest { volume_id: "x".repeat(1 << 20), ..volume.publish(&node) };
    assert_eq!(client.call::<_, Empty>(PUBLISH, huge).await.unwrap_err().code(), Code::OutOfRange);
    // Not this message at all: field 4 is a number there.
    let other = indelible_csi::messages::BoolValue { value: true };
    assert_eq!(client.call::<_, Empty>(PUBLISH, other).await.unwrap_err().code(), Code::Internal);
    let staged = client.call::<_, Empty>("/csi.v1.Node/NodeStageVolume", Empty {}).await.unwrap_err();
    assert_eq!(staged.code(), Code::Unimplemented);
    let of_the_other_socket = client.call::<_, Empty>("/pluginregistration.Registration/GetInfo", Empty {}).await;
    assert_eq!(of_the_other_socket.unwrap_err().code(), Code::Unimplemented);

    assert_eq!(node.volumes(), 0);
    assert!(!volume.source(&node).exists() && !volume.target(&node).exists());
    let page = driver.get("/metrics");
    let refused = "indelible_csi_operations_total{operation=\"publish\",outcome=\"refused\"} 3";
    assert!(page.contains(refused), "{page}");
}

#[tokio::test]
async fn the_driver_says_who_and_where_it_is() {
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let info: PluginInfoResponse = client.call("/csi.v1.Identity/GetPluginInfo", Empty {}).await.unwrap();
    assert_eq!(info.name, "logs.csi.indelible.dev");
    let ready: ProbeResponse = client.call("/csi.v1.Identity/Probe", Empty {}).await.unwrap();
    assert!(ready.ready.unwrap().value);
    let place: NodeInfoResponse = client.call("/csi.v1.Node/NodeGetInfo", Empty {}).await.unwrap();
    assert_eq!(place.node_id, "n1");
    for path in ["/csi.v1.Identity/GetPluginCapabilities", "/csi.v1.Node/NodeGetCapabilities"] {
        client.call::<_, Empty>(path, Empty {}).await.unwrap();
    }
}
