//! Lines that are missing: which are declared, and excused because nobody could have read them, and which are lost.

use super::*;

#[test]
fn what_had_left_the_disk_after_the_sidecar_died_is_declared_and_counted_apart() {
    let verdict = Scene::taken_over(3, 10, 12, |_| ());
    assert_eq!((verdict.wrong.len(), verdict.lost, verdict.declared), (0, 0, 6), "{:?}", verdict.wrong);
    assert_eq!((verdict.declared_bytes, verdict.resumed.len()), (600, 1));
    // Of two files: six lines of one, three of the other.
    let verdict = Scene::taken_over(3, 13, 12, |scene| {
        scene.written[1].gone = Some(at(11));
        scene.written[1].bytes = 2000;
    });
    assert_eq!((verdict.wrong.len(), verdict.declared, verdict.declared_bytes), (0, 9, 1200), "{:?}", verdict.wrong);
}

/// The one sentence of a verdict in which lines are lost.
fn told(verdict: &Verdict, lost: u64) -> &str {
    assert_eq!((verdict.lost, verdict.declared, verdict.wrong.len()), (lost, 0, 1), "{:?}", verdict.wrong);
    &verdict.wrong[0]
}

#[test]
fn what_could_have_been_read_is_lost_although_it_is_declared() {
    // The next sidecar began before the file left the disk.
    assert!(told(&Scene::taken_over(3, 10, 7, |_| ()), 6).contains("left the disk at"));
    // Lines of a file that is still there.
    assert!(told(&Scene::taken_over(9, 12, 12, |_| ()), 2).contains("never left the disk"));
    // Of two files that hold missing lines only one has left the disk.
    assert!(told(&Scene::taken_over(3, 12, 12, |_| ()), 8).contains("never left the disk"));
    // Nobody killed the sidecar.
    assert!(told(&Scene::taken_over(3, 10, 12, |scene| scene.deaths.clear()), 6).contains("run all the time"));
    // It died before there was the file, by more than two processes may see that differently, or after it had been declared.
    let died = |ms| Scene::taken_over(3, 10, 12, |scene| scene.deaths = vec![at_ms(ms)..at_ms(ms + 50)]);
    assert_eq!(died(-100).declared, 6);
    assert!(told(&died(-101), 6).contains("run all the time"));
    for died in [-1, 13] {
        let verdict = Scene::taken_over(3, 10, 12, |scene| scene.deaths = vec![at(died)..at(died + 1)]);
        assert!(told(&verdict, 6).contains("run all the time"), "{died}");
    }
}

#[test]
fn what_left_the_disk_while_the_sidecar_was_stopped_is_declared_and_counted_apart() {
    // Two processes see the order of two moments differently by up to 100 ms.
    for stop in [at(9)..at(11), at(10)..at(11), at(8)..at(10), at_ms(10_100)..at(11), at(8)..at_ms(9_900)] {
        let verdict = Scene::gapped(12_000, |scene| scene.stops = vec![at(1)..at(2), stop.clone()]);
        assert_eq!((verdict.wrong.len(), verdict.lost), (0, 0), "{stop:?}: {:?}", verdict.wrong);
        assert_eq!((verdict.declared, verdict.declared_bytes, verdict.held), (6, 600, 14), "{stop:?}");
        assert_eq!((verdict.gaps.len(), verdict.resumed.len()), (1, 0), "{stop:?}");
    }
    // The chain that takes over says so, too.
    let verdict = Scene::taken_over(3, 10, 12, |scene| {
        scene.deaths.clear();
        scene.stops.push(at(9)..at(11));
    });
    assert_eq!((verdict.lost, verdict.declared, verdict.wrong.len()), (0, 6, 0), "{:?}", verdict.wrong);
}

#[test]
fn what_came_and_went_while_the_sidecar_was_dead_is_declared_and_counted_apart() {
    let judged = |death: Range<Timestamp>| {
        Scene::taken_over(3, 10, 12, |scene| {
            scene.written[0].begun = at(7);
            scene.deaths = vec![at(1)..at(2), death];
        })
    };
    for death in [at(5)..at(11), at(5)..at(10), at(5)..at_ms(9_900)] {
        let verdict = judged(death.clone());
        assert_eq!((verdict.lost, verdict.declared, verdict.wrong.len()), (0, 6, 0), "{death:?}: {:?}", verdict.wrong);
    }
    // The next sidecar was there before the file had left.
    for death in [at(5)..at_ms(9_899), at(5)..at(6)] {
        assert!(told(&judged(death.clone()), 6).contains("run all the time"), "{death:?}");
    }
}

#[test]
fn a_stop_is_no_reason_for_what_left_the_disk_before_it_or_after_it() {
    for stops in [vec![], vec![at(6)..at_ms(9_899)], vec![at_ms(10_101)..at(11)], vec![at(1)..at(2), at(11)..at(12)]] {
        let verdict = Scene::gapped(12_000, |scene| scene.stops.clone_from(&stops));
        assert!(told(&verdict, 6).contains("run all the time"), "{stops:?}");
    }
}

#[test]
fn a_stop_excuses_only_what_is_declared_once_it_has_left_the_disk() {
    let stopped = |scene: &mut Scene| scene.stops.push(at(9)..at(11));
    // It is said before the file left; and up to 100 ms before.
    assert!(told(&Scene::gapped(9_899, stopped), 6).contains("left the disk at"));
    assert_eq!(Scene::gapped(9_900, stopped).declared, 6);
    // The file is there.
    let verdict = Scene::gapped(12_000, |scene| {
        stopped(scene);
        scene.written[0].gone = None;
    });
    assert!(told(&verdict, 6).contains("never left the disk"));
    // Nothing declares it.
    let mut scene = Scene::new();
    stopped(&mut scene);
    let mut chain = scene.chain(0, None, &(0..4).chain(10..20).collect::<Vec<_>>());
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    assert!(told(&scene.judge(), 6).contains("nothing declares it"));
}

#[test]
fn what_is_declared_is_declared_once() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &[0, 1]);
    chain.say(NOW + 12 * SECOND, r#"{"kind":"gap","reason":"unreadable","file":"0.log","bytes":null}"#);
    for n in (4..7).chain(9..20) {
        chain.push(NOW, Script::source(n), script().line(n, NOW));
    }
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    let verdict = scene.judge();
    assert_eq!((verdict.declared, verdict.lost, verdict.wrong.len()), (2, 2, 1), "{:?}", verdict.wrong);
    assert!(verdict.wrong[0].contains("lines 7 to 8 are not there, and nothing declares it"), "{:?}", verdict.wrong);
}

#[test]
fn a_chain_that_took_over_may_say_a_gap_that_was_noticed_before_it() {
    // The file left after 10 s.
    for (taken_over, lost) in [(12, 0), (9, 6)] {
        let mut scene = Scene::new();
        let before = scene.chain(0, None, &[0, 1, 2, 3]);
        scene.store(0, &before, 0..before.len());
        let (id, link) = (hex(&before.id), hex(&before.link(before.len())));
        let words = format!(r#"{{"kind":"resumed","reason":"file-gone","chain":"{id}","next_seq":4,"link":"{link}"}}"#);
        let mut after = scene.chain(taken_over, Some(&words), &[]);
        after.say(NOW + 8 * SECOND, r#"{"kind":"gap","reason":"unreadable","file":"0.log","bytes":null}"#);
        for n in 10..20 {
            after.push(
                NOW + i64::try_from(n).unwrap(),
                Script::source(n),
                script().line(n, NOW + i64::try_from(n).unwrap()),
            );
        }
        after.say(NOW, END);
        scene.store(1, &after, 0..after.len());
        let verdict = scene.judge();
        assert_eq!((verdict.lost, verdict.declared), (lost, 6 - lost), "{:?}", verdict.wrong);
    }
}

#[test]
fn a_declaration_does_not_excuse_lines_behind_its_chain() {
    // It declares, and then comes another chain that does not, or nothing at all.
    for has_next in [false, true] {
        let mut scene = Scene::new();
        scene.written[1].gone = Some(at(11));
        let mut chain = scene.chain(0, None, &[0, 1, 2, 3]);
        chain.say(NOW + 12 * SECOND, r#"{"kind":"gap","reason":"unreadable","file":"0.log","bytes":null}"#);
        chain.say(NOW, END);
        scene.store(0, &chain, 0..chain.len());
        if has_next {
            let mut next = scene.chain(13, None, &(10..20).collect::<Vec<_>>());
            next.say(NOW, END);
            scene.store(1, &next, 0..next.len());
        }
        let verdict = scene.judge();
        assert!(told(&verdict, if has_next { 6 } else { 16 }).contains("nothing declares it"));
    }
}

/// Lines that a kubelet has written, as the oracle tells them: each in a file that had left the disk at its time.
fn recorded(gone: &[Option<Timestamp>]) -> Printed {
    let place = |offset| crate::oracle::Place { file: 0, offset };
    let line = |(time, payload): &(i64, &str)| Record {
        time: NOW + time,
        source: 1,
        flags: 0,
        payload: payload.as_bytes().to_vec(),
        bytes: place(0)..place(1),
    };
    let lines = [(0, "same"), (0, "same"), (2, "the last one"), (3, "another last one")];
    Printed::Recorded { lines: lines[..gone.len()].iter().map(line).collect(), gone: gone.into() }
}

/// What is held of recorded lines: `None` is a gap that is said after 12 s.
fn held(gone: &[Option<Timestamp>], records: &[(u8, i64, Option<&str>)]) -> Verdict {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &[]);
    for (source, time, payload) in records {
        match payload {
            Some(payload) => chain.push(NOW + time, *source, payload.as_bytes().to_vec()),
            None => chain.say(NOW + 12 * SECOND, r#"{"kind":"gap","reason":"unreadable","file":"0.log","bytes":null}"#),
        }
    }
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    scene.judge_printed(recorded(gone), |_| ()).unwrap()
}

#[test]
fn recorded_lines_may_be_alike_and_are_each_there_once() {
    let (same, last) = ((1, 0, Some("same")), (1, 2, Some("the last one")));
    let verdict = held(&[None; 3], &[same, same, last]);
    assert_eq!((verdict.wrong.len(), verdict.held, verdict.printed_bytes), (0, 3, 20), "{:?}", verdict.wrong);
    let verdict = held(&[None; 3], &[same, last]);
    assert!(told(&verdict, 1).contains("lines 1 to 1 are not there, and nothing declares it"));
    let verdict = held(&[None; 3], &[same, same, same, last]);
    assert_eq!((verdict.duplicated, verdict.lost, verdict.wrong.len()), (1, 0, 1), "{:?}", verdict.wrong);
    // At another time it is not that line.
    let verdict = held(&[None; 3], &[same, same, (1, 3, last.2)]);
    assert_eq!((verdict.held, verdict.lost, verdict.wrong.len()), (2, 1, 2), "{:?}", verdict.wrong);
}

#[test]
fn the_end_of_a_line_whose_beginning_is_gone_counts_as_missing_and_only_behind_what_says_so() {
    let (same, gap, rest) = ((1, 0, Some("same")), (3, 0, None), (1, 9, Some("last one")));
    let verdict = held(&[None, None, Some(at(10))], &[same, same, gap, rest]);
    assert_eq!((verdict.wrong.len(), verdict.held, verdict.declared), (0, 2, 1), "{:?}", verdict.wrong);
    assert_eq!(verdict.declared_bytes, 12);
    // A whole line of another stream may come between.
    let verdict = held(&[None, None, Some(at(10))], &[same, gap, same, rest]);
    assert_eq!((verdict.wrong.len(), verdict.held, verdict.declared), (0, 2, 1), "{:?}", verdict.wrong);
    let verdict = held(&[None, None, Some(at(10))], &[same, same, rest]);
    assert_eq!((verdict.held, verdict.declared, verdict.lost), (2, 0, 1), "{:?}", verdict.wrong);
    assert!(verdict.wrong[0].contains("a record that is no line that was printed: last one"), "{:?}", verdict.wrong);
    // Whole lines before it are missing, too.
    let gone = [None, None, Some(at(10)), Some(at(10))];
    let verdict = held(&gone, &[same, same, gap, (1, 9, Some("er last one"))]);
    assert_eq!((verdict.wrong.len(), verdict.held, verdict.declared), (0, 2, 2), "{:?}", verdict.wrong);
    // What could have been read is lost.
    let verdict = held(&[None; 3], &[same, same, gap, rest]);
    assert!(told(&verdict, 1).contains("never left the disk"));
    // It is of the same stream.
    let verdict = held(&[None, None, Some(at(10))], &[same, same, gap, (2, 9, rest.2)]);
    assert_eq!((verdict.held, verdict.declared, verdict.lost), (2, 0, 1), "{:?}", verdict.wrong);
    // Of each stream one line at most.
    let gone = [None, Some(at(10)), Some(at(10)), Some(at(10))];
    let verdict = held(&gone, &[same, gap, (1, 9, Some("ame")), rest, (1, 9, Some("er last one"))]);
    assert_eq!((verdict.declared, verdict.lost, verdict.wrong.len()), (2, 1, 2), "{:?}", verdict.wrong);
    assert!(verdict.wrong[0].contains("a record that is no line that was printed: er last one"), "{:?}", verdict.wrong);
}
