//! What is served, what is refused with which words, and that nothing else gets through.

use std::path::{Component, Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::messages::{Capability, Empty, MountAccess};

fn layout() -> Layout {
    Layout { kubelet: PathBuf::from("/var/lib/kubelet"), pod_logs: PathBuf::from("/var/log/pods") }
}

const POD: &str = "0a1b2c3d-0000-4000-8000-00000000000f";

fn path(uid: &str, volume: &str) -> String {
    format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/{volume}/mount")
}

/// As the kubelet calls for an inline volume.
fn request(content: &str) -> PublishRequest {
    let context = [
        (UID, POD),
        (NAME, "web-7d4b9c.x"),
        (NAMESPACE, "shop"),
        (EPHEMERAL, "true"),
        ("csi.storage.k8s.io/serviceAccount.name", "default"),
        (CONTENT, content),
    ];
    PublishRequest {
        volume_id: format!("csi-{}", "a".repeat(64)),
        target_path: path(POD, "indelible-logs"),
        volume_capability: Some(Capability { access: Some(Access::Mount(MountAccess::default())) }),
        readonly: content == "logs",
        volume_context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..PublishRequest::default()
    }
}

fn refusal(change: impl FnOnce(&mut PublishRequest)) -> String {
    let mut request = request("logs");
    change(&mut request);
    publish(&layout(), &request).unwrap_err().to_string()
}

fn set(request: &mut PublishRequest, key: &str, value: &str) {
    request.volume_context.insert(key.to_owned(), value.to_owned());
}

#[test]
fn a_pods_own_logs_and_a_place_for_state_are_served() {
    let logs = publish(&layout(), &request("logs")).unwrap();
    let Content::Logs(directory) = &logs.content else { panic!("{logs:?}") };
    assert_eq!(layout().logs(directory), Path::new(&format!("/var/log/pods/shop_web-7d4b9c.x_{POD}")));
    assert_eq!(layout().target(&logs.target), Path::new(&path(POD, "indelible-logs")));

    let state = publish(&layout(), &request("state")).unwrap();
    assert_eq!(state.content, Content::State);
    let unpublish_of = UnpublishRequest { volume_id: "csi-1".to_owned(), target_path: path(POD, "indelible-logs") };
    assert_eq!(unpublish(&layout(), &unpublish_of).unwrap(), state.target);
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    for (text, words) in [
        (refusal(|r| r.volume_id.clear()), "volume_id has 0 bytes"),
        (refusal(|r| r.volume_id = "x".repeat(129)), "volume_id has 129 bytes"),
        (refusal(|r| r.target_path = "/etc".to_owned()), "target_path \"/etc\" is not /var/lib/kubelet/pods/"),
        (refusal(|r| r.target_path.push('/')), "give --kubelet-dir"),
        (refusal(|r| r.secrets = [("a".to_owned(), "b".to_owned())].into()), "nodePublishSecretRef is given"),
        (refusal(|r| r.staging_target_path = "/x".to_owned()), "a staging path is given"),
        (refusal(|r| r.publish_context = [("a".to_owned(), "b".to_owned())].into()), "a publish context is given"),
        (refusal(|r| drop(r.volume_context.remove(UID))), "podInfoOnMount: true"),
        (refusal(|r| drop(r.volume_context.remove(EPHEMERAL))), "podInfoOnMount: true"),
        (refusal(|r| set(r, EPHEMERAL, "false")), "no PersistentVolume"),
        (refusal(|r| set(r, UID, "0a1b2c3d-0000-4000-8000-000000000000")), "target_path is of pod 0a1b2c3d"),
        (refusal(|r| set(r, NAME, "..")), "pod \"..\": it has lower-case letters"),
        (refusal(|r| set(r, NAME, "a/b")), "pod \"a/b\""),
        (refusal(|r| set(r, NAMESPACE, "")), "namespace \"\": it has 1 to 63 characters"),
        (refusal(|r| set(r, NAMESPACE, "a_b")), "namespace \"a_b\""),
        (
            refusal(|r| set(r, CONTENT, "everything")),
            "content is \"everything\"; write content: logs or content: state",
        ),
        (refusal(|r| drop(r.volume_context.remove(CONTENT))), "content is missing"),
        (refusal(|r| set(r, "contents", "logs")), "attribute \"contents\" is not known"),
        (refusal(|r| set(r, CONTENT, "state")), "leave readOnly out"),
    ] {
        assert!(text.contains(words), "{text} should say {words}");
    }
}

#[test]
fn no_device_no_options_and_no_type_are_taken() {
    let with = |access| refusal(|request| request.volume_capability = Some(Capability { access: Some(access) }));
    let mount = |mount: MountAccess| with(Access::Mount(mount));
    assert!(refusal(|request| request.volume_capability = None).contains("no volume_capability"));
    assert!(with(Access::Block(Empty {})).starts_with("block access is given"));
    assert!(mount(MountAccess { fs_type: "ext4".to_owned(), ..Default::default() }).starts_with("fsType"));
    assert!(
        mount(MountAccess { mount_flags: vec!["dev".to_owned()], ..Default::default() }).starts_with("a mount option")
    );
    let group = MountAccess { volume_mount_group: "0".to_owned(), ..Default::default() };
    assert!(mount(group).starts_with("a mount group"));
}

#[test]
fn what_is_shown_of_a_value_is_bounded_and_escaped() {
    let text = refusal(|request| set(request, CONTENT, &"é\n".repeat(1000)));
    assert!(text.len() < 500 && !text.contains('\n'), "{text}");
}

/// Texts near to what is served, and far from it.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(POD.to_owned()),
        Just("shop".to_owned()),
        "[a-z0-9._/-]{0,12}",
        "\\PC{0,12}",
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
    ]
}

fn targets() -> impl Strategy<Value = String> {
    let bent = (names(), names()).prop_map(|(uid, volume)| path(&uid, &volume));
    let parts = prop_oneof![names(), Just("volumes".to_owned()), Just("kubernetes.io~csi".to_owned())];
    let other = vec(parts, 0..8).prop_map(|parts| format!("/var/lib/kubelet/pods/{}", parts.join("/")));
    prop_oneof![Just(path(POD, "indelible-logs")), bent, other, "\\PC{0,40}"]
}

fn contexts() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![Just(UID), Just(NAME), Just(NAMESPACE), Just(EPHEMERAL), Just(CONTENT), Just("other")];
    let value = prop_oneof![names(), Just("true".to_owned()), Just("logs".to_owned()), Just("state".to_owned())];
    (btree_map(key.prop_map(str::to_owned), value, 0..7), any::<bool>()).prop_map(|(mut changed, whole)| {
        if whole {
            let mut context = request("logs").volume_context;
            context.append(&mut changed);
            changed = context;
        }
        changed
    })
}

/// A path that names one directory right below another.
fn is_child_of(path: &Path, parent: &Path) -> bool {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    plain && path.parent() == Some(parent)
}

proptest! {
    #[test]
    fn whatever_is_asked_only_the_pods_own_places_are_touched(
        id in "\\PC{0,4}", target_path in targets(), volume_context in contexts(), readonly: bool,
    ) {
        let request = PublishRequest { volume_id: id, target_path: target_path.clone(), volume_context, readonly, ..request("logs") };
        if let Ok(publish) = publish(&layout(), &request) {
            let said = |key: &str| request.volume_context[key].clone();
            let (uid, name, namespace) = (said(UID), said(NAME), said(NAMESPACE));
            prop_assert_eq!(layout().target(&publish.target), PathBuf::from(&target_path));
            let pod = format!("/pods/{uid}/volumes/");
            prop_assert!(target_path.contains(&pod));
            prop_assert!(is_child_of(&layout().volume(&publish.target), &layout().pods().join(&uid).join("volumes/kubernetes.io~csi")));
            prop_assert!(is_child_of(&layout().state(&publish.target.uid, &publish.target.volume), &layout().states().join(&uid)));
            if let Content::Logs(directory) = &publish.content {
                let logs = layout().logs(directory);
                prop_assert!(is_child_of(&logs, &layout().pod_logs));
                prop_assert_eq!(logs.file_name().unwrap().to_str().unwrap(), format!("{namespace}_{name}_{uid}"));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        use prost::Message as _;
        if let Ok(request) = PublishRequest::decode(&*bytes) {
            let _ = publish(&layout(), &request);
        }
        if let Ok(request) = UnpublishRequest::decode(&*bytes) {
            prop_assert!(unpublish(&layout(), &request).is_err());
        }
    }

    #[test]
    fn a_pods_own_publish_is_served_whatever_its_names(
        namespace in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        name in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){0,4}",
        uid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ) {
        let mut request = request("logs");
        request.target_path = path(&uid, "indelible-logs");
        set(&mut request, UID, &uid);
        set(&mut request, NAME, &name);
        set(&mut request, NAMESPACE, &namespace);
        prop_assert!(publish(&layout(), &request).is_ok());
    }
}
