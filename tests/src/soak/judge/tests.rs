//! The judge finds what it is there to find, in evidence that is written by hand.

use super::*;
use crate::insider::{Leaf, leaves, resigned};
use crate::tamper::actor::{Batch, Chain as Story, Issuer, Pod, Session};
use crate::tamper::log::Log as Writer;
use crate::tamper::wire::sha256;
use crate::tamper::{Image, Rng};

mod missing;
mod segments;

const NOW: i64 = 1_790_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn script() -> Script {
    Script::new(3, "app", (80, 200))
}

fn at(seconds: i64) -> Timestamp {
    at_ms(seconds * 1000)
}

fn at_ms(milliseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond((NOW + milliseconds * SECOND / 1000).into()).unwrap()
}

const END: &str = r#"{"kind":"end","reason":"terminated"}"#;

/// A pod whose evidence is written by hand, in two logs.
struct Scene {
    pod: Pod,
    session: Session,
    logs: [Writer; 2],
    written: Vec<Written>,
    deaths: Vec<Range<Timestamp>>,
    stops: Vec<Range<Timestamp>>,
    repeated: BTreeSet<(usize, Digest)>,
}

impl Scene {
    /// Lines 0 to 9 are in a file that left the disk after 10 s, 10 to 19 in one that is there.
    fn new() -> Self {
        let mut rng = Rng::new(5, 0);
        let pod = Pod { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let issuer = Issuer::new(&mut rng);
        let session = Session::new(&mut rng, &issuer, &pod, NOW);
        let logs = ["a", "b"].map(|name| Writer::new(&mut rng, name, 4096, NOW));
        let file = |first, gone| Written { first, next: first + 10, bytes: 1000, begun: at(0), gone };
        let written = vec![file(0, Some(at(10))), file(10, None)];
        let (deaths, stops, repeated) = (vec![at(5)..at(6)], Vec::new(), BTreeSet::new());
        let mut scene = Self { pod, session, logs, written, deaths, stops, repeated };
        for log in &mut scene.logs {
            log.session(&scene.pod, &scene.session, NOW);
        }
        scene
    }

    /// A chain that says these lines.
    fn chain(&mut self, incarnation: i64, first_words: Option<&str>, lines: &[u64]) -> Story {
        let incarnation = if incarnation == 0 { 0 } else { (NOW + incarnation * SECOND).unsigned_abs() };
        let mut chain = Story::new(&self.pod, "app", incarnation);
        for log in &mut self.logs {
            log.chain(&chain.genesis, &chain.id, &self.session.id, NOW);
        }
        if let Some(words) = first_words {
            chain.say(NOW, words);
        }
        for n in lines {
            let time = NOW + i64::try_from(*n).unwrap();
            chain.push(time, Script::source(*n), script().line(*n, time));
        }
        chain
    }

    fn store(&mut self, log: usize, chain: &Story, range: std::ops::Range<usize>) {
        let batch = chain.seal(&self.session, range.start, range.end);
        self.logs[log].batch(&batch, NOW);
    }

    fn judge(self) -> Verdict {
        self.judge_changed(|_| ()).unwrap()
    }

    /// Judges what is there once the directories were changed.
    fn judge_changed(self, change: impl FnOnce(&mut [Image; 2])) -> Result<Verdict> {
        let printed = Printed::Script { script: script(), files: self.written.clone() };
        self.judge_printed(printed, change)
    }

    fn judge_printed(mut self, printed: Printed, change: impl FnOnce(&mut [Image; 2])) -> Result<Verdict> {
        self.logs.iter_mut().for_each(Writer::group);
        let mut images = self.logs.each_ref().map(Writer::directory);
        change(&mut images);
        let dir = tempfile::tempdir().unwrap();
        let data = ["0", "1"].map(|name| dir.path().join(name));
        for (image, to) in images.iter().zip(&data) {
            image.write(to, None).unwrap();
        }
        let (deaths, stops) = (self.deaths, self.stops);
        let containers = vec![Container { name: "n_p_u/app".into(), printed, deaths, stops }];
        judge(&Case { data: data.into(), containers, repeated: self.repeated })
    }

    /// All lines in one chain of one log, and its end.
    fn whole() -> Self {
        let mut scene = Self::new();
        let mut chain = scene.chain(0, None, &all());
        chain.say(NOW, END);
        scene.store(0, &chain, 0..6);
        scene.store(0, &chain, 6..chain.len());
        scene
    }

    /// One chain with these lines and an end, as whole as it can be.
    fn of(lines: &[u64]) -> Verdict {
        let mut scene = Self::new();
        let mut chain = scene.chain(0, None, lines);
        chain.say(NOW, END);
        let half = chain.len() / 2;
        scene.store(0, &chain, 0..half);
        scene.store(1, &chain, half..chain.len());
        scene.judge()
    }

    /// One chain with lines 0 to 3, a gap that it declares at `said` milliseconds, and the lines from 10 on; nobody died.
    fn gapped(said: i64, change: impl FnOnce(&mut Self)) -> Verdict {
        let mut scene = Self::new();
        scene.deaths.clear();
        change(&mut scene);
        let mut chain = scene.chain(0, None, &[0, 1, 2, 3]);
        chain.say(
            NOW + said * SECOND / 1000,
            r#"{"kind":"gap","reason":"unreadable","file":"0.log.20261127-000000","bytes":null}"#,
        );
        for n in 10..20 {
            chain.push(NOW, Script::source(n), script().line(n, NOW));
        }
        chain.say(NOW, END);
        scene.store(0, &chain, 0..chain.len());
        scene.judge()
    }

    /// A chain that another one takes over from after line `last`, at `at` seconds; it begins with line `first`.
    fn taken_over(last: u64, first: u64, at: i64, change: impl FnOnce(&mut Self)) -> Verdict {
        Self::taken_over_because("file-gone", (last, first), at, change)
    }

    fn taken_over_because(reason: &str, (last, first): (u64, u64), at: i64, change: impl FnOnce(&mut Self)) -> Verdict {
        let mut scene = Self::new();
        change(&mut scene);
        let before = scene.chain(0, None, &(0..=last).collect::<Vec<_>>());
        scene.store(0, &before, 0..before.len());
        let (id, link) = (hex(&before.id), hex(&before.link(before.len())));
        let words = format!(
            r#"{{"kind":"resumed","reason":"{reason}","chain":"{id}","next_seq":{},"link":"{link}"}}"#,
            before.len()
        );
        let mut after = scene.chain(at, Some(&words), &(first..20).collect::<Vec<_>>());
        after.say(NOW, END);
        scene.store(1, &after, 0..after.len());
        scene.judge()
    }
}

fn all() -> Vec<u64> {
    (0..20).collect()
}

/// What a chain of a scene says of line `n`.
fn line(n: u64) -> Vec<u8> {
    script().line(n, NOW + i64::try_from(n).unwrap())
}

#[test]
fn what_is_whole_is_right() {
    let verdict = Scene::of(&all());
    assert_eq!((verdict.wrong, verdict.held, verdict.printed), (vec![], 20, 20));
    assert_eq!((verdict.lost, verdict.duplicated, verdict.forks, verdict.twice_bytes), (0, 0, 0, 0));
    // What a record has beside its payload are 14 bytes.
    let bytes: usize = all().into_iter().map(|n| 14 + line(n).len()).sum();
    assert_eq!((verdict.chains, verdict.batches, verdict.printed_bytes), (1, 2, 2000));
    assert_eq!(verdict.stored_bytes, (bytes + 14 + END.len()) as u64);
}

#[test]
fn a_verdict_is_a_table_for_people() {
    let verdict = Verdict {
        wrong: Vec::new(),
        printed: 101,
        printed_bytes: 12_345_678,
        held: 90,
        declared: 6,
        declared_bytes: 1_999_999,
        lost: 5,
        duplicated: 3,
        garbled: 0,
        forks: 2,
        stored_bytes: 4_000_000,
        twice_bytes: 1_500_000,
        repeated_bytes: 500_000,
        resumed: ["a".to_owned(), "b".to_owned()].into(),
        cautious: 1,
        gaps: BTreeSet::new(),
        chains: 7,
        batches: 31,
    };
    let table = [
        "lines printed                     101 (12.3 MB)",
        "lines held                        90",
        "lost                              5",
        "duplicated in the joined chains   3",
        "forks                             2",
        "declared: had left the disk       6 (1.9 MB)",
        "chains that took over             2",
        "of these, for caution             1",
        "bytes stored twice                40.00 % of 4.0 MB",
        "sent again by a second client     0.5 MB",
        "chains, batches                   7, 31",
    ];
    assert_eq!(verdict.table(), table.map(|row| format!("{row}\n")).concat());
}

#[test]
fn a_line_that_is_left_out_is_lost() {
    for left_out in [0, 7, 19] {
        let lines: Vec<u64> = all().into_iter().filter(|n| *n != left_out).collect();
        let verdict = Scene::of(&lines);
        assert_eq!((verdict.lost, verdict.duplicated, verdict.declared), (1, 0, 0), "{:?}", verdict.wrong);
        assert_eq!(verdict.wrong.len(), 1, "{:?}", verdict.wrong);
    }
}

#[test]
fn a_line_that_is_there_twice_is_told() {
    let mut lines = all();
    lines.insert(8, 3);
    let verdict = Scene::of(&lines);
    assert_eq!((verdict.lost, verdict.duplicated), (0, 1), "{:?}", verdict.wrong);
    assert_eq!(verdict.wrong.len(), 1, "{:?}", verdict.wrong);
}

#[test]
fn a_chain_without_an_end_is_told() {
    let mut scene = Scene::new();
    let chain = scene.chain(0, None, &all());
    scene.store(0, &chain, 0..chain.len());
    assert_eq!(scene.judge().wrong, ["n_p_u/app: its last chain has no end"]);
}

#[test]
fn a_chain_of_many_batches_that_other_lives_have_sent_again_in_other_pieces_is_whole() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &all());
    chain.say(NOW, END);
    for range in [0..3, 3..8, 8..15, 15..21] {
        scene.store(0, &chain, range);
    }
    for range in [1..4, 4..10, 9..13, 13..14, 14..20] {
        scene.store(1, &chain, range);
    }
    let verdict = scene.judge();
    assert_eq!((verdict.wrong, verdict.held, verdict.duplicated), (vec![], 20, 0));
    let bytes = |n: u64| 14 + line(n).len() as u64;
    assert_eq!(verdict.twice_bytes, (1..20).chain(9..10).map(bytes).sum::<u64>());
}

#[test]
fn a_batch_that_is_not_there_is_lost() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &all());
    chain.say(NOW, END);
    scene.store(0, &chain, 0..5);
    scene.store(1, &chain, 9..chain.len());
    let verdict = scene.judge();
    assert_eq!(verdict.wrong[0], format!("chain {} of n_p_u/app: positions 5 to 8 are missing", &hex(&chain.id)[..12]));
    // Four positions, and the lines from there on.
    assert_eq!((verdict.lost, verdict.held), (4 + 15, 5));
}

#[test]
fn the_same_positions_again_are_bytes_that_are_stored_twice_and_other_records_there_a_fork() {
    for other in [false, true] {
        let mut scene = Scene::new();
        let mut chain = scene.chain(0, None, &all());
        chain.say(NOW, END);
        scene.store(0, &chain, 0..chain.len());
        let again = if other { scene.chain(0, None, &(0..4).chain(5..9).collect::<Vec<_>>()) } else { chain };
        scene.store(1, &again, 2..8);
        let verdict = scene.judge();
        assert_eq!((verdict.forks, verdict.duplicated), (u64::from(other), 0), "{:?}", verdict.wrong);
        assert!(verdict.twice_bytes > 0 && verdict.wrong.len() == usize::from(other), "{:?}", verdict.wrong);
    }
}

#[test]
fn a_chain_takes_over_only_for_a_reason_that_a_run_has() {
    let because = |reason: &str| Scene::taken_over_because(reason, (9, 10), 12, |_| ());
    for reason in ["reboot", "rejected", "state-lost"] {
        assert_eq!(because(reason).wrong, [format!("n_p_u/app: a chain took over because of {reason}")]);
    }
    // The verifier has nothing to say of a chain that follows an end.
    for (reason, resumed) in [("file-gone", 1), ("after-end", 0)] {
        let verdict = because(reason);
        assert_eq!((verdict.wrong.len(), verdict.resumed.len(), verdict.cautious), (0, resumed, 0), "{reason}");
    }
    // Before anything is stored, a state that is lost is caution.
    let mut scene = Scene::new();
    let words = r#"{"kind":"resumed","reason":"state-lost","chain":"","next_seq":0,"link":""}"#;
    let mut chain = scene.chain(1, Some(words), &all());
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    let verdict = scene.judge();
    assert_eq!((verdict.wrong.len(), verdict.resumed.len(), verdict.cautious), (0, 1, 1), "{:?}", verdict.wrong);
}

#[test]
fn what_was_sent_before_another_chain_took_over_and_does_not_count_is_stored_twice() {
    let mut scene = Scene::new();
    let before = scene.chain(0, None, &(0..15).collect::<Vec<_>>());
    scene.store(0, &before, 0..10);
    scene.store(0, &before, 10..12);
    // Behind a hole.
    scene.store(0, &before, 13..15);
    let (id, link) = (hex(&before.id), hex(&before.link(10)));
    let words = format!(r#"{{"kind":"resumed","reason":"file-gone","chain":"{id}","next_seq":10,"link":"{link}"}}"#);
    let mut after = scene.chain(12, Some(&words), &(10..20).collect::<Vec<_>>());
    after.say(NOW, END);
    scene.store(1, &after, 0..after.len());
    let bytes = |n: u64| 14 + line(n).len() as u64;
    let verdict = scene.judge();
    assert_eq!((verdict.wrong.len(), verdict.held, verdict.duplicated), (0, 20, 0), "{:?}", verdict.wrong);
    assert_eq!(verdict.twice_bytes, [10, 11, 13, 14].map(bytes).iter().sum::<u64>());
}

#[test]
fn what_was_sent_again_on_purpose_is_counted_apart_in_whichever_log_it_is() {
    for on_purpose in [None, Some(0), Some(1)] {
        let mut scene = Scene::new();
        let mut chain = scene.chain(0, None, &all());
        chain.say(NOW, END);
        scene.store(0, &chain, 0..chain.len());
        scene.store(1, &chain, 0..chain.len());
        let commitment = chain.seal(&scene.session, 0, chain.len()).commitment;
        scene.repeated.extend(on_purpose.map(|log| (log, sha256(&commitment))));
        let verdict = scene.judge();
        assert_eq!((verdict.wrong.len(), verdict.held), (0, 20), "{:?}", verdict.wrong);
        assert!(verdict.twice_bytes > 0 && verdict.twice_bytes * 2 == verdict.stored_bytes);
        assert_eq!(verdict.repeated_bytes, on_purpose.map_or(0, |_| verdict.twice_bytes), "{on_purpose:?}");
        assert_eq!(verdict.twice_percent() > 99.0, on_purpose.is_none(), "{}", verdict.twice_percent());
    }
}

#[test]
fn a_record_that_was_never_printed_is_told() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &all());
    chain.push(NOW, 1, b"nobody printed this".to_vec());
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    let verdict = scene.judge();
    assert_eq!(verdict.wrong, ["n_p_u/app: a record that is no line that was printed: nobody printed this"]);
    assert_eq!((verdict.garbled, verdict.held), (1, 20));
}

#[test]
fn of_one_container_few_sentences_are_enough() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &all());
    for n in 0..8 {
        chain.push(NOW, 1, format!("nobody printed line {n}").into_bytes());
    }
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    let wrong = scene.judge().wrong;
    assert_eq!(wrong.len(), 5, "{wrong:?}");
    assert!(wrong[4].ends_with("nobody printed line 4"), "{wrong:?}");
}

#[test]
fn a_chain_that_nobody_printed_and_one_that_took_over_from_nothing_are_told() {
    let mut scene = Scene::new();
    let other = Story::new(&scene.pod, "other", 0);
    scene.logs[0].chain(&other.genesis, &other.id, &scene.session.id, NOW);
    let words = r#"{"kind":"resumed","reason":"file-gone","chain":"abcd","next_seq":7,"link":"00"}"#;
    let mut chain = scene.chain(12, Some(words), &all());
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    let wrong = scene.judge().wrong;
    assert_eq!(
        wrong,
        ["n_p_u/app: a chain took over from abcd, which is not there", "n_p_u/other has a chain and printed nothing"]
    );
}

#[test]
fn a_record_at_another_time_or_of_another_stream_is_not_the_line_that_was_printed() {
    let line = script().line(20, NOW);
    for (time, source) in [(NOW + 1, Script::source(20)), (NOW, Script::source(24))] {
        let mut scene = Scene::new();
        let mut chain = scene.chain(0, None, &all());
        chain.push(time, source, line.clone());
        chain.say(NOW, END);
        scene.store(0, &chain, 0..chain.len());
        scene.written[1].next = 21;
        let verdict = scene.judge();
        assert!(verdict.wrong[0].contains("a record that is no line that was printed"), "{:?}", verdict.wrong);
        assert_eq!((verdict.held, verdict.lost), (20, 1));
    }
}

#[test]
fn what_follows_an_end_takes_the_end_back() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &(0..19).collect::<Vec<_>>());
    chain.say(NOW, END);
    chain.push(NOW, Script::source(19), script().line(19, NOW));
    scene.store(0, &chain, 0..chain.len());
    assert_eq!(scene.judge().wrong, ["n_p_u/app: its last chain has no end"]);
}

#[test]
fn two_chains_that_take_over_from_one_leave_it_what_both_leave() {
    let mut scene = Scene::new();
    let before = scene.chain(0, None, &(0..15).collect::<Vec<_>>());
    scene.store(0, &before, 0..15);
    let words = |next: usize| {
        let (id, link) = (hex(&before.id), hex(&before.link(next)));
        format!(r#"{{"kind":"resumed","reason":"file-gone","chain":"{id}","next_seq":{next},"link":"{link}"}}"#)
    };
    let other = scene.chain(12, Some(&words(10)), &[]);
    scene.store(1, &other, 0..1);
    let mut after = scene.chain(14, Some(&words(12)), &(10..20).collect::<Vec<_>>());
    after.say(NOW, END);
    scene.store(1, &after, 0..after.len());
    let verdict = scene.judge();
    assert_eq!((verdict.wrong.len(), verdict.held, verdict.resumed.len()), (0, 20, 2), "{:?}", verdict.wrong);
}

#[test]
fn a_branch_that_begins_elsewhere_is_a_fork() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(0, None, &all());
    chain.say(NOW, END);
    scene.store(0, &chain, 0..chain.len());
    scene.store(1, &chain.with_another(2), 5..8);
    let verdict = scene.judge();
    assert_eq!((verdict.forks, verdict.wrong.len()), (1, 1), "{:?}", verdict.wrong);
    assert!(verdict.wrong[0].contains("two links before position 5"), "{:?}", verdict.wrong);
}

#[test]
fn a_fork_in_what_another_chain_took_over_from_is_told() {
    let mut scene = Scene::new();
    let before = scene.chain(0, None, &(0..15).collect::<Vec<_>>());
    scene.store(0, &before, 0..12);
    scene.store(1, &before.with_another(11), 12..15);
    let (id, link) = (hex(&before.id), hex(&before.link(10)));
    let words = format!(r#"{{"kind":"resumed","reason":"file-gone","chain":"{id}","next_seq":10,"link":"{link}"}}"#);
    let mut after = scene.chain(12, Some(&words), &(10..20).collect::<Vec<_>>());
    after.say(NOW, END);
    scene.store(1, &after, 0..after.len());
    let verdict = scene.judge();
    assert_eq!((verdict.forks, verdict.wrong.len()), (1, 1), "{:?}", verdict.wrong);
    assert!(verdict.wrong[0].contains("two links before position 12"), "{:?}", verdict.wrong);
}

#[test]
fn a_batch_that_is_not_what_it_says_is_told() {
    let changed = |change: fn(&mut Batch)| {
        let mut scene = Scene::new();
        let mut chain = scene.chain(0, None, &all());
        chain.say(NOW, END);
        let mut batch = chain.seal(&scene.session, 0, chain.len());
        change(&mut batch);
        scene.logs[0].batch(&batch, NOW);
        scene.judge_changed(|_| ())
    };
    // Behind version, flags, session, chain, first_seq: the count; behind that and prev_link the last link.
    for at in [2 + 64 + 8 + 3, 2 + 64 + 8 + 4 + 32] {
        let verdict = match at {
            77 => changed(|batch| batch.commitment[77] ^= 1),
            _ => changed(|batch| batch.commitment[110] ^= 1),
        };
        let wrong = verdict.unwrap().wrong;
        assert!(wrong.len() == 1 && wrong[0].ends_with("the batch at 0 is not what it says"), "{at}: {wrong:?}");
    }
    let error = changed(|batch| batch.commitment[161] ^= 1).unwrap_err();
    assert!(format!("{error:#}").contains("a body of "), "{error:#}");
}

/// Changes the leaves of the first log.
fn leaves_changed(change: impl FnOnce(&mut Vec<Leaf>)) -> Verdict {
    let whole = Scene::whole().judge_changed(|images| {
        let mut all: Vec<Leaf> = leaves(&images[0]).unwrap().into_iter().map(|(leaf, _)| leaf).collect();
        change(&mut all);
        images[0] = resigned(&images[0], &all).unwrap();
    });
    whole.unwrap()
}

#[test]
fn a_log_that_holds_a_batch_twice_or_one_of_no_chain_is_told() {
    assert_eq!(leaves_changed(|_| ()).wrong, [""; 0]);
    let verdict = leaves_changed(|leaves| leaves.push(leaves[leaves.len() - 1].clone()));
    assert_eq!(verdict.wrong, ["log 0 holds the same batch twice, at leaf 5"]);
    // The other log introduces that chain, too.
    let mut scene = Scene::whole();
    let stranger = Story::new(&Pod { name: "q".into(), ..scene.pod.clone() }, "app", 0);
    let mut stranger_says = stranger.clone();
    stranger_says.push(NOW, 1, b"hello".to_vec());
    scene.store(0, &stranger_says, 0..1);
    assert_eq!(scene.judge().wrong, ["log 0 holds a batch of no chain, at leaf 5"]);
}
