//! What a kubelet 1.36 really did to the log directories of four pods, through all of capture.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::Pod;
use super::rig::Rig;
use crate::logdir::memory::MemoryFile;

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn events() -> Vec<serde_json::Value> {
    let text = zstd::decode_all(data("kubelet-trace.jsonl.zst").as_slice()).unwrap();
    text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

fn bytes(event: &serde_json::Value) -> Vec<u8> {
    fn value(c: u8) -> Option<u32> {
        Some(match c {
            b'A'..=b'Z' => u32::from(c - b'A'),
            b'a'..=b'z' => u32::from(c - b'a') + 26,
            b'0'..=b'9' => u32::from(c - b'0') + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    }
    if let Some(text) = event["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    let mut out = Vec::new();
    for four in event["base64"].as_str().unwrap().as_bytes().chunks(4) {
        let digits: Vec<u32> = four.iter().map_while(|c| value(*c)).collect();
        let n = digits.iter().fold(0, |n, d| n << 6 | d) << (6 * (4 - digits.len()));
        out.extend(&n.to_be_bytes()[1..digits.len()]);
    }
    out
}

/// The trace of one pod: `<namespace>_<pod>_<uid>`. Capture works after each event that `works` picks.
fn replay(pod: &str, mut works: impl FnMut(&mut Rig, usize)) -> Rig {
    let mut rig = Rig::new();
    let [namespace, name, uid] = pod.split('_').collect::<Vec<_>>().try_into().unwrap();
    let pod_of = Pod { cluster_uid: String::new(), namespace: namespace.into(), name: name.into(), uid: uid.into() };
    rig.settings.pod = pod_of;
    rig.start();
    let mut files: BTreeMap<u64, Rc<MemoryFile>> = BTreeMap::new();
    let mut last = 0.0;
    for (n, event) in events().iter().enumerate() {
        let path = event["path"].as_str().map(|path| path.split('/').collect::<Vec<_>>());
        let file = event["file"].as_u64();
        if path.as_ref().is_some_and(|path| path[0] != pod) || path.is_none() && !files.contains_key(&file.unwrap()) {
            continue;
        }
        let t = event["t"].as_f64().unwrap();
        rig.pass(Duration::from_secs_f64(t - last));
        last = t;
        match (event["op"].as_str().unwrap(), path.as_deref()) {
            ("mkdir", Some([_, container])) => rig.logs.make(container),
            ("create", Some([_, container, name])) => {
                files.insert(file.unwrap(), rig.logs.append(container, name, b""));
            }
            ("append", _) => files[&file.unwrap()].add(&bytes(event)),
            ("rename", Some([_, container, name])) => {
                let to = event["to"].as_str().unwrap().rsplit('/').next().unwrap();
                rig.logs.rename(container, name, to);
            }
            ("unlink", Some([_, container, name])) => rig.logs.remove(container, name),
            ("rmdir", Some([_, container])) => rig.logs.remove_container(container),
            _ => {}
        }
        works(&mut rig, n);
    }
    rig
}

/// Compares with what the rules make of the trace, which knows no `end`.
fn check(pod: &str, rig: &Rig) {
    let heads: serde_json::Value = serde_json::from_slice(&data("kubelet-trace.heads.json")).unwrap();
    let mut compared = 0;
    for (path, expected) in heads.as_object().unwrap() {
        let Some(container) = path.strip_prefix(pod).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let mut chains = rig.stored.values().filter(|s| s.genesis.as_ref().is_some_and(|g| g.container == container));
        let stored = chains.next().unwrap();
        assert!(chains.next().is_none(), "{path}: one chain");
        let (end, records) = stored.records.split_last().unwrap();
        assert_eq!(end.payload, indelible_chain::control::END_PAYLOAD);
        assert_eq!(records.len() as u64, expected["records"].as_u64().unwrap(), "{path}");
        assert_eq!(records.last().unwrap().link.to_string(), expected["link"].as_str().unwrap(), "{path}");
        compared += 1;
    }
    assert!(compared > 0);
}

const PODS: [&str; 4] = [
    "default_crash_8b7f7ae3-4d70-456d-a756-defc7414d4f4",
    "default_doomed_8bc8d3b8-1599-4993-804f-99891c102bd2",
    "default_multi_a70a9bd8-0ef5-4ff0-851d-26abc17877c3",
    "default_rotate_d10c0fa6-769f-43ff-ad31-abe4d83e0675",
];

#[test]
fn the_recorded_trace_gives_its_heads() {
    for pod in PODS {
        let mut rig = replay(pod, |rig, n| {
            rig.settle();
            rig.receipt(if n % 3 == 0 { usize::MAX } else { 0 });
        });
        rig.terminate();
        check(pod, &rig);
    }
}

#[test]
fn the_recorded_trace_gives_its_heads_through_kills_of_a_sidecar_that_keeps_up() {
    for pod in PODS {
        let mut turns = 0;
        let mut rig = replay(pod, |rig, _| {
            turns += 1;
            rig.settle();
            if turns % 5 == 0 {
                rig.receipt(1 + turns % 7);
            }
            if turns % 97 == 0 {
                // Sealed, handed out, receipted and written down; open lines and parts of lines are not.
                rig.drain();
                rig.kill();
                rig.start();
            }
            if turns % 61 == 0 {
                // Some of it repeated by the next run: everything from the cursor on still has a name or is held.
                rig.flush();
            }
        });
        rig.terminate();
        assert!(turns > 100, "{pod}: {turns}");
        check(pod, &rig);
    }
}

#[test]
fn kills_at_any_time_never_make_a_fork_and_never_a_hole_that_is_not_declared() {
    for (pod, period) in PODS.into_iter().zip([23, 211, 37, 409]) {
        let mut turns = 0;
        let mut rig = replay(pod, |rig, n| {
            turns += 1;
            rig.settle();
            rig.receipt(n % 2);
            if turns % period == 0 {
                rig.kill();
                rig.start();
            }
        });
        rig.terminate();
        // The rig has refused forks and holes; chains after the first of a container say why they took over.
        for stored in rig.stored.values().filter(|s| s.genesis.as_ref().is_some_and(|g| g.incarnation > 0)) {
            let control = stored.records[0].control();
            assert!(
                matches!(control, Some(indelible_chain::control::Control::Resumed { from: Some(_), .. })),
                "{control:?}"
            );
        }
    }
}
