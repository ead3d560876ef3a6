//! What is not there, or not what it is said to be: A5 and A13.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use indelible_tests::world::{World, verify};

use super::evidence::Evidence;

/// A5: two writers on one volume.
#[test]
fn a_second_collector_on_one_volume_refuses_and_the_first_goes_on() {
    let mut world = World::start(1).unwrap();
    let mut second = world.collectors[0].second().unwrap();
    let status = second.wait(Duration::from_secs(30)).unwrap();
    let said = second.stderr().unwrap();
    assert_eq!((status.code(), second.stdout().unwrap()), (Some(2), String::new()), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("in use") && said.contains(world.collectors[0].data().to_str().unwrap()), "{said}");
    world.seal().unwrap();
    let answer = world.verify(&[]).unwrap();
    assert_eq!((answer.verdicts["integrity"].as_str(), answer.texts()), ("pass", String::new()));
}

/// A13: an empty directory, a wrong key, a wrong policy: could not verify, which is neither a pass nor an accusation.
#[test]
fn what_cannot_be_judged_ends_with_exit_code_4() {
    let evidence = Evidence::new(2, 10);
    let dir = evidence.world.dir();
    let empty = dir.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let policy = evidence.world.policy().unwrap();
    let other = Evidence::new(1, 1);
    let strange = other.world.policy().unwrap();
    let by_policy = |path: &Path| vec![OsString::from("--policy"), path.into()];
    let cases = [
        (vec![empty.clone()], by_policy(&policy)),
        (vec![evidence.data[0].clone(), empty], by_policy(&policy)),
        (evidence.data.clone(), by_policy(&strange)),
        (evidence.data.clone(), vec!["--log-key".into(), other.world.collectors[0].vkey().into()]),
        (vec![dir.join("nothing")], by_policy(&policy)),
    ];
    for (sources, flags) in cases {
        let flags: Vec<&OsStr> = flags.iter().map(AsRef::as_ref).collect();
        let answer = verify(&sources, &flags).unwrap();
        assert_eq!(answer.code, 4, "{sources:?} {flags:?}: {}", answer.texts());
        assert!(answer.verdicts.values().all(|verdict| verdict != "fail"), "{}", answer.texts());
        assert_ne!(answer.verdicts["integrity"], "pass", "{}", answer.texts());
    }
}
