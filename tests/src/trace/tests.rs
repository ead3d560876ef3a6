//! The recording, and its replay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use super::*;

#[test]
fn the_recording_has_four_pods_and_a_head_for_each_of_their_containers() {
    let trace = Trace::recorded().unwrap();
    let names: Vec<_> = trace.pods().iter().map(|pod| (&*pod.namespace, &*pod.pod)).collect();
    assert_eq!(names, [("default", "rotate"), ("default", "crash"), ("default", "multi"), ("default", "doomed")]);
    let containers: Vec<_> = trace
        .pods()
        .iter()
        .flat_map(|pod| pod.containers.iter().map(|container| format!("{}/{container}", pod.directory)))
        .collect();
    assert_eq!(containers.len(), trace.heads().len());
    for container in containers {
        let head = &trace.heads()[&container];
        assert_eq!(trace.log_files(&container).len() as u64, head.files, "{container}");
        let restarts: BTreeSet<_> = trace.log_files(&container).iter().map(|log| &log.name).collect();
        assert_eq!(restarts.len() as u64, head.restarts, "{container}");
        let length: usize = trace.files(&container).iter().map(|file| file.bytes.len()).sum();
        assert_eq!(trace.expected_bytes(&container).len(), length);
    }
    assert_eq!(trace.duration().as_secs(), 93);
    assert!(trace.operations().is_sorted_by_key(|operation| operation.at));
}

#[test]
fn bytes_are_gone_when_the_last_file_that_holds_them_is() {
    let trace = Trace::recorded().unwrap();
    for container in trace.heads().keys() {
        for log in trace.log_files(container) {
            assert!(log.gone.is_none_or(|gone| gone > log.created), "{container}");
            let doomed = container.starts_with("default_doomed_");
            assert!(!doomed || log.gone.is_some(), "a deleted pod leaves nothing");
        }
    }
    let rotate = trace.heads().keys().find(|container| container.starts_with("default_rotate_")).unwrap();
    let there = trace.log_files(rotate).iter().filter(|log| log.gone.is_none()).count();
    assert_eq!(there, 3, "one packed, one rotated, one live");
}

#[test]
fn a_pod_is_gone_when_its_log_files_are_though_its_directory_stays() {
    let trace = Trace::recorded().unwrap();
    let gone: Vec<_> = trace.pods().iter().map(|pod| (&*pod.pod, trace.gone(pod).map(|at| at.as_secs()))).collect();
    assert_eq!(gone, [("rotate", None), ("crash", None), ("multi", None), ("doomed", Some(32))]);
}

#[test]
fn a_replay_leaves_on_disk_what_the_recording_left() {
    let trace = Arc::new(Trace::recorded().unwrap());
    let root = tempfile::tempdir().unwrap();
    let replay = Replay::start(&trace, root.path(), Speed::times(1e6).unwrap());
    let Replayed { progress: end, moments } = replay.join().unwrap();
    assert_eq!(moments.len(), end.operations);
    assert!(moments.is_sorted_by(|one, next| one.start <= one.end && one.end <= next.start));
    assert_eq!((end.operations, end.ended), (trace.operations().len(), true));

    for container in trace.heads().keys() {
        let names = |dir| fs::read_dir(dir).unwrap().map(|item| item.unwrap());
        let directory = root.path().join(container);
        if !directory.exists() {
            assert!(trace.log_files(container).iter().all(|log| log.gone.is_some()));
            continue;
        }
        let plain: BTreeMap<_, _> = names(directory)
            .map(|item| (item.file_name().into_string().unwrap(), fs::read(item.path()).unwrap()))
            .filter(|(name, _)| !name.contains(".gz"))
            .collect();
        assert!(!plain.is_empty());
        for (name, bytes) in plain {
            assert!(trace.log_files(container).iter().any(|log| log.bytes == bytes), "{container}/{name}");
        }
    }
}

#[test]
fn a_replay_can_be_waited_for_and_stopped() {
    let trace = Arc::new(Trace::recorded().unwrap());
    let root = tempfile::tempdir().unwrap();
    let replay = Replay::start(&trace, root.path(), Speed::times(10.0).unwrap());
    let seen = replay.wait_until(Duration::from_secs(2));
    assert!(seen.at >= Duration::from_millis(1_900) && !seen.ended);
    assert!(root.path().join(&trace.pods()[0].directory).join("app/0.log").exists());
    let end = replay.stop().unwrap().progress;
    assert!(end.ended && end.operations >= seen.operations && end.operations < trace.operations().len());
}

#[test]
fn a_replay_that_fails_says_where_and_ends() {
    let trace = Arc::new(Trace::recorded().unwrap());
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join(&trace.pods()[1].directory), "in the way").unwrap();
    let replay = Replay::start(&trace, root.path(), Speed::times(1e6).unwrap());
    assert_eq!(replay.wait_until(trace.duration()).operations, 1);
    assert!(format!("{:#}", replay.join().unwrap_err()).contains("operation 1"));
}
