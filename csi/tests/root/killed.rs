//! What a driver that dies leaves, and what the next one makes of it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Node, Volume, until};

#[tokio::test]
async fn a_driver_that_is_killed_between_any_two_steps_finds_what_it_did() {
    const PODS: usize = 60;
    let node = Arc::new(Node::new());
    let volumes: Vec<Volume> = (0..PODS).flat_map(|pod| [Volume::logs(pod), Volume::state(pod)]).collect();
    for volume in &volumes {
        node.make_pod(volume);
    }

    for round in 0..6 {
        let driver = node.start();
        let done = Arc::new(AtomicUsize::new(0));
        let client = driver.client().await;
        let calls: Vec<_> = volumes
            .chunks(30)
            .map(|volumes| {
                let (node, done, mut client) = (Arc::clone(&node), Arc::clone(&done), client.clone());
                let volumes = volumes.to_vec();
                tokio::spawn(async move {
                    for volume in &volumes {
                        // Every other round takes away again: the kill may fall into either.
                        let answer = match round % 2 {
                            0 => client.publish(&node, volume).await,
                            _ => client.unpublish(&node, volume).await,
                        };
                        if answer.is_err() {
                            return;
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        until("some calls are done", || done.load(Ordering::Relaxed) >= 11 + 7 * round).await;
        driver.kill();
        for call in calls {
            call.await.unwrap();
        }
    }

    let driver = node.start();
    let mut client = driver.client().await;
    for volume in &volumes {
        node.make_pod(volume);
        client.publish(&node, volume).await.unwrap();
        let (mounts, wanted) =
            (node.mounts(&volume.target(&node)), if volume.content == "logs" { "ro," } else { "rw," });
        assert!(mounts.len() == 1 && mounts[0].starts_with(wanted), "{volume:?}: {mounts:?}");
    }
    for volume in &volumes {
        client.unpublish(&node, volume).await.unwrap();
    }
    assert_eq!(node.volumes(), 0);
    assert_eq!(fs::read_dir(node.layout().states()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_mount_that_is_writable_or_of_another_directory_is_put_right() {
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let volume = Volume::logs(1);
    node.make_pod(&volume);
    let (source, target) = (volume.source(&node), volume.target(&node));
    let place = target.display().to_string();
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();

    // Somebody mounted the logs so that they can be written.
    assert!(node.run("mount", &["--bind", &source.display().to_string(), &place]));
    client.publish(&node, &volume).await.unwrap();
    assert!(node.mounts(&target).len() == 1 && node.mounts(&target)[0].starts_with("ro,"));

    // The log directory was removed and made again: the mount shows one that nobody writes to.
    fs::remove_dir(&source).unwrap();
    fs::create_dir(&source).unwrap();
    fs::write(source.join("0.log"), "new\n").unwrap();
    client.publish(&node, &volume).await.unwrap();
    assert_eq!(node.mounts(&target).len(), 1);
    assert_eq!(fs::read_to_string(node.see(&target).join("0.log")).unwrap(), "new\n");
    let page = driver.get("/metrics");
    assert!(page.contains("operations_total{operation=\"publish\",outcome=\"repaired\"} 2"), "{page}");

    // Two that raced lie on each other: both go.
    assert!(node.run("mount", &["--bind", &source.display().to_string(), &place]));
    client.unpublish(&node, &volume).await.unwrap();
    assert!(node.mounts(&target).is_empty() && !node.see(&target).exists());
}

#[tokio::test]
async fn after_a_boot_the_state_of_pods_that_are_still_there_is_kept_and_that_of_others_removed() {
    let mut node = Node::new();
    let (stays, gone) = (Volume::state(1), Volume::state(2));
    let driver = node.start();
    let mut client = driver.client().await;
    for volume in [&stays, &gone] {
        node.make_pod(volume);
        client.publish(&node, volume).await.unwrap();
        fs::write(node.see(&volume.target(&node)).join("journal"), "kept").unwrap();
    }
    driver.kill();
    node.boot();
    fs::remove_dir_all(node.layout().pods().join(&gone.uid)).unwrap();
    assert_eq!(node.volumes(), 0);

    let driver = node.start();
    assert!(!gone.source(&node).exists());
    driver.client().await.publish(&node, &stays).await.unwrap();
    assert_eq!(fs::read_to_string(node.see(&stays.target(&node)).join("journal")).unwrap(), "kept");
    let page = driver.get("/metrics");
    assert!(page.contains("states_swept_total 1") && page.contains("pods_with_state 1"), "{page}");
}

#[tokio::test]
async fn what_is_gone_or_in_use_is_unpublished_all_the_same() {
    let node = Node::new();
    let driver = node.start();
    let mut client = driver.client().await;
    let (gone, busy) = (Volume::state(1), Volume::state(2));
    for volume in [&gone, &busy] {
        node.make_pod(volume);
        client.publish(&node, volume).await.unwrap();
    }
    // Somebody cleaned up by hand.
    assert!(node.run("umount", &[&gone.target(&node).display().to_string()]));
    fs::remove_dir_all(node.see(&node.layout().pods().join(&gone.uid))).unwrap();
    client.unpublish(&node, &gone).await.unwrap();
    assert!(!gone.source(&node).exists());

    // A process that outlived its pod.
    let _open = fs::File::create(node.see(&busy.target(&node)).join("journal")).unwrap();
    client.unpublish(&node, &busy).await.unwrap();
    assert!(node.mounts(&busy.target(&node)).is_empty() && !busy.source(&node).exists());
}
