//! What can be read as a log: segment after segment, and what can be told of one that is damaged or grows.

use super::*;

#[test]
fn a_log_that_was_damaged_or_lacks_a_segment_cannot_be_judged() {
    let path = |n: usize| format!("segments/{n:020}.seg");
    let error = Scene::whole().judge_changed(|images| {
        let mut bytes = images[0].get(&path(0)).unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        images[0].put(&path(0), bytes);
    });
    assert!(format!("{:#}", error.unwrap_err()).contains("has another checksum"));
    let error = Scene::whole().judge_changed(|images| {
        let bytes = images[0].remove(&path(0)).unwrap();
        images[0].put(&path(7), bytes);
    });
    assert!(format!("{:#}", error.unwrap_err()).contains("begins at 7, not at 0"));
}

#[test]
fn a_log_goes_on_from_one_segment_to_the_next() {
    let judged = |change: fn(&mut [Image; 2])| {
        let mut scene = Scene::new();
        // One byte is enough for a segment.
        scene.logs[0] = Writer::new(&mut Rng::new(6, 0), "c", 1, NOW);
        let mut chain = scene.chain(0, None, &all());
        chain.say(NOW, END);
        for range in [0..6, 6..7, 7..21] {
            scene.store(0, &chain, range);
            scene.logs[0].group();
        }
        scene.judge_changed(change)
    };
    let verdict = judged(|_| ()).unwrap();
    assert_eq!((verdict.wrong, verdict.held, verdict.batches), (vec![], 20, 3));
    // Leaves 0 to 2 are the start, the chain and the first batch.
    let error = judged(|images| assert!(images[0].remove(&format!("segments/{:020}.seg", 3)).is_some())).unwrap_err();
    assert!(format!("{error:#}").contains("begins at 4, not at 3"), "{error:#}");
}

#[test]
fn zeros_behind_the_last_frame_are_room_for_more() {
    let verdict = Scene::whole().judge_changed(|images| {
        let path = format!("segments/{:020}.seg", 0);
        let mut bytes = images[0].get(&path).unwrap().to_vec();
        bytes.extend([0; 4096]);
        images[0].put(&path, bytes);
    });
    assert_eq!(verdict.unwrap().wrong, [""; 0]);
}

#[test]
fn the_newest_segment_is_read_up_to_what_is_being_written() {
    let mut scene = Scene::new();
    let chain = scene.chain(0, None, &all());
    // One byte is enough for a segment.
    let mut log = Writer::new(&mut Rng::new(6, 0), "c", 1, NOW);
    log.batch(&chain.seal(&scene.session, 0, 6), NOW);
    log.group();
    for (first, next) in [(6, 9), (9, 15), (15, 20)] {
        log.batch(&chain.seal(&scene.session, first, next), NOW);
    }
    let mut image = log.directory();
    let path = image.paths().filter(|path| path.starts_with("segments/")).max().unwrap().to_owned();
    let bytes = image.get(&path).unwrap();
    image.put(&path, bytes[..bytes.len() - 1].to_vec());
    let dir = tempfile::tempdir().unwrap();
    image.write(dir.path(), None).unwrap();
    let log = Log::newest(3, dir.path()).unwrap();
    let batches: Vec<_> = log.batches.iter().map(|batch| (batch.log, batch.first, batch.count)).collect();
    assert_eq!(batches, [(3, 6, 3), (3, 9, 6)]);
    assert_eq!(log.records(&log.batches[1]).unwrap().len(), 6);
}
