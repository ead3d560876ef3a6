//! Registration, the end, and thousands of volumes.

use std::fs;

use indelible_csi::messages::{Empty, PluginInfo, RegistrationStatus};

use crate::support::{Node, Volume};

#[tokio::test]
async fn the_kubelet_is_told_where_to_call_and_readiness_is_its_word() {
    let node = Node::new();
    let driver = node.start();
    let mut kubelet = driver.registration().await;
    let info: PluginInfo = kubelet.call("/pluginregistration.Registration/GetInfo", Empty {}).await.unwrap();
    assert_eq!((&*info.r#type, &*info.name), ("CSIPlugin", "logs.csi.indelible.dev"));
    assert_eq!(info.endpoint, node.layout().endpoint().display().to_string());
    assert_eq!(info.supported_versions, ["1.0.0"]);
    assert!(driver.get("/livez").starts_with("HTTP/1.1 200"));
    assert!(driver.get("/readyz").starts_with("HTTP/1.1 503"));

    let mut notify = async |plugin_registered, error: &str| {
        let status = RegistrationStatus { plugin_registered, error: error.to_owned() };
        kubelet.call::<_, Empty>("/pluginregistration.Registration/NotifyRegistrationStatus", status).await.unwrap();
    };
    notify(true, "").await;
    assert!(driver.get("/readyz").starts_with("HTTP/1.1 200"));
    notify(false, "another driver has this name").await;
    assert!(driver.get("/readyz").starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn sockets_are_roots_alone_go_at_the_end_and_replace_those_of_the_dead() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::new();
    let sockets = [node.layout().endpoint(), node.layout().registration()];
    node.start().kill();
    assert!(sockets.iter().all(|socket| socket.exists()), "a dead driver's");

    let driver = node.start();
    for socket in &sockets {
        assert_eq!(fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A connection that stays open does not hold up the end.
    let mut client = driver.client().await;
    client.call::<_, Empty>("/csi.v1.Node/NodeGetCapabilities", Empty {}).await.unwrap();
    assert!(driver.terminate());
    assert!(sockets.iter().all(|socket| !socket.exists()));
}

#[tokio::test]
async fn thousands_of_volumes_come_and_go_and_leave_nothing() {
    const PODS: usize = 1000;
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let volumes: Vec<Volume> = (0..PODS).flat_map(|pod| [Volume::logs(pod), Volume::state(pod)]).collect();
    for volume in &volumes {
        node.make_pod(volume);
        client.publish(&node, volume).await.unwrap();
    }
    assert_eq!(node.volumes(), 2 * PODS);
    for volume in &volumes {
        client.unpublish(&node, volume).await.unwrap();
    }
    assert_eq!(node.volumes(), 0);
    assert_eq!(fs::read_dir(node.layout().states()).unwrap().count(), 0);
    assert!(driver.resident_kib() < 24 << 10, "{} KiB", driver.resident_kib());
}
