//! Honest histories raise nothing, and what several classes together must say.

use proptest::prelude::*;

use super::testing::{Chain, Log, Sealed, Sidecar, World, assert_honest, at, found, seq};
use super::{Class, Known, KnownBy, Level};
use crate::control::{Control, ResumeReason};
use crate::digest::Digest;
use crate::id::Time;
use crate::note::NoteSigner;
use crate::statement::Statement;

#[test]
fn an_honest_pod_raises_nothing() {
    let shop = World::shop();
    let report = shop.world.judge();
    assert_honest(&report);
    let [chain] = report.chains.as_slice() else { panic!("{:?}", report.chains) };
    assert_eq!((chain.records, chain.next_seq, chain.closed), (41, seq(41), true));
    assert_eq!((chain.namespace.as_str(), chain.pod.as_str(), chain.container.as_str()), ("shop", "cart-0", "app"));
    assert_eq!(chain.head, shop.chain.head.link);
    assert_eq!((report.counts.records, report.counts.batches, report.counts.duplicates), (41, 5, 0));
    assert!(report.logs.iter().all(|log| log.sealed && log.newest_leaf_time == Some(at(60))));
    let [route] = report.routes.as_slice() else { panic!("{:?}", report.routes) };
    let froms: Vec<u64> = route.stretches.iter().map(|stretch| stretch.from_seq.get()).collect();
    assert_eq!(froms, [0, 10, 20, 30, 40]);
}

#[test]
fn a_removed_middle_batch_is_named_by_pod_container_time_and_collector() {
    let mut shop = World::shop();
    shop.world.logs[1].entries.remove(3);
    let report = shop.world.judge();
    assert_eq!(found(&report), [(Class::BadLeaf, Level::Fail)]);
    assert_eq!(report.exit, 1);
    let text = &report.findings[0].text;
    for part in ["records 10 to 19", "container app of pod shop/cart-0", "shop/c1-", "./c1", "2026-"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_finding_that_an_authority_accepted_is_shown_and_not_counted() {
    let authority = NoteSigner::new("operator".parse().unwrap(), &[9; 32]);
    for is_known in [false, true] {
        let mut shop = World::shop_before_signing();
        let id = super::finding_id(Class::Gap, "", Some(shop.chain.id), "10-19");
        shop.world.logs[1].entries.remove(3);
        let statement = Statement::Accepted { finding: id, by: "ann".into(), reason: "outage of the 23rd".into() };
        shop.world.logs[0].authority(&authority, statement, at(40));
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(3600);
        shop.world.terms.authorities.extend(is_known.then(|| authority.verifier_key().clone()));
        let report = shop.world.judge();
        assert_eq!((report.findings.len(), report.exit), (1, if is_known { 0 } else { 2 }));
        let accepted = report.findings[0].accepted.as_deref().unwrap_or_default();
        assert_eq!(accepted.contains("ann") && accepted.contains("outage of the 23rd"), is_known);
    }
}

#[test]
fn dropping_the_last_batches_and_signing_again_is_seen_by_what_was_known_before() {
    let mut shop = World::shop();
    let note = shop.world.logs[0].notes[0].1.clone();
    shop.world.terms.known.push(Known { by: KnownBy::Operator, label: "seen".into(), note });
    shop.world.logs[0].entries.truncate(5);
    shop.world.logs[0].kind = super::SourceKind::Collector;
    shop.world.logs[0].sign_anew();
    let report = shop.world.judge();
    assert_eq!(report.exit, 1);
    assert!(found(&report).contains(&(Class::Rewritten, Level::Fail)));
}

#[test]
fn every_text_says_something_to_do_or_to_know_and_no_finding_is_told_twice() {
    let mut shop = World::shop();
    shop.world.logs[1].entries.remove(3);
    shop.world.logs[0].entries[4].body[30] ^= 1;
    let report = shop.world.judge();
    let mut ids: Vec<_> = report.findings.iter().map(|finding| &finding.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), report.findings.len());
    assert!(report.findings.iter().all(|finding| finding.text.len() > 60 && finding.text.ends_with('.')));
}

#[test]
fn numbers_that_only_a_liar_would_sign_end_in_findings_and_nowhere_else() {
    // A log that claims 2^64 − 1 leaves and shows none of the last; heads at the end of all positions; times at the ends.
    let mut shop = World::shop_before_signing();
    let witness = crate::cosignature::Cosigner::new("w1".parse().unwrap(), &[99; 32]);
    shop.world.ask_for(&witness);
    for next in [u64::MAX, u64::MAX - 1, 1 << 62] {
        let head = crate::id::Head { next_seq: seq(next), link: Digest::sha256(b"far") };
        for time in [i64::MAX, i64::MIN, 0] {
            let time = Time::from_nanos(time);
            let beat = shop.sidecar.heartbeat(&[(shop.chain.id, head)], time);
            shop.world.logs[0].heartbeats(&[beat], time);
        }
        let other = Chain::of(&shop.sidecar, "proxy", next);
        shop.world.logs[1].heartbeats(&[shop.sidecar.heartbeat(&[(other.id, head)], at(40))], at(41));
    }
    shop.world.logs[0].sign();
    let checkpoint = crate::checkpoint::Checkpoint::new(shop.world.logs[1].origin(), u64::MAX, Digest::sha256(b"root"));
    let note = checkpoint.sign(&shop.world.logs[1].signer).unwrap().to_string().into_bytes();
    shop.world.logs[1].notes = vec![("checkpoint".into(), note)];
    for now in [i64::MAX, i64::MIN, 0] {
        let mut again = World::of(2);
        again.logs = std::mem::take(&mut shop.world.logs);
        again.ask_for(&witness);
        again.terms.now = Time::from_nanos(now);
        let (report, logs) = again.judge_keeping();
        assert_eq!(report.exit, 1);
        shop.world.logs = logs;
    }
}

#[test]
fn two_links_far_beyond_everything_else_are_a_fork_that_is_found_at_once() {
    let mut shop = World::shop_before_signing();
    let mut chain = Chain::of(&shop.sidecar, "proxy", 0);
    shop.world.logs[0].genesis(&chain, &shop.sidecar, at(33));
    shop.world.logs[0].batch(&chain.lines(&shop.sidecar, 3, at(34)), at(35));
    chain.head = crate::id::Head { next_seq: seq(1 << 61), link: Digest::sha256(b"far") };
    let other = crate::id::Head { next_seq: chain.head.next_seq, link: Digest::sha256(b"other") };
    shop.world.logs[0].batch(&chain.lines(&shop.sidecar, 1, at(36)), at(37));
    shop.world.logs[0].heartbeats(&[shop.sidecar.heartbeat(&[(chain.id, other)], at(38))], at(39));
    shop.world.sign_all();
    assert!(found(&shop.world.judge()).contains(&(Class::Fork, Level::Fail)));
}

#[test]
fn what_a_source_calls_itself_is_not_repeated_unless_it_names_a_log() {
    let endless = "x ".repeat(100_000);
    let report = World::shop().world.judge_with(|judge| {
        let source = judge.source("c9", super::SourceKind::Collector);
        judge.unreadable(source, Some(&endless), "it does not answer");
    });
    assert_eq!(report.exit, 4);
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.text.len() < 1000 && finding.log.as_ref().is_none_or(|log| log.len() < 1000))
    );
}

#[test]
fn a_log_without_a_signature_is_not_one_whose_key_is_unknown() {
    // Stripped: the policy has the key that the log's name is of, and the log did not sign.
    let mut shop = World::shop();
    for log in &mut shop.world.logs {
        for (_, note) in &mut log.notes {
            let end = note.windows(2).position(|bytes| bytes == b"\n\n").unwrap();
            note.truncate(end + 2);
        }
    }
    let report = shop.world.judge();
    assert_eq!(report.exit, 1);
    assert!(found(&report).contains(&(Class::BadCheckpoint, Level::Fail)), "{:#?}", report.findings);
    // Signed by another key than the policy has, as A13 wants it: nobody can say.
    let mut shop = World::shop();
    let keys = (40..42).map(|seed| Log::new("shop/c0", seed).signer.verifier_key().clone());
    shop.world.terms.policy = crate::policy::Policy::from_log_keys(keys).unwrap();
    assert_eq!(shop.world.judge().exit, 4);
}

#[test]
fn a_chain_of_which_only_a_wrong_beginning_is_signed_is_forged_even_without_its_body() {
    let mut shop = World::shop_before_signing();
    let mut chain = Chain::of(&shop.sidecar, "proxy", 0);
    chain.head.link = Digest::sha256(b"elsewhere");
    let batch = chain.lines(&shop.sidecar, 3, at(34));
    shop.world.logs[0].genesis(&chain, &shop.sidecar, at(33));
    let index = shop.world.logs[0].batch(&batch, at(35));
    let entry = &mut shop.world.logs[0].entries[usize::try_from(index.get()).unwrap()];
    entry.codec = crate::stored::Codec::Withheld;
    entry.body.clear();
    shop.world.sign_all();
    assert_eq!(found(&shop.world.judge()), [(Class::Forged, Level::Fail)]);
}

/// One step of an honest history.
#[derive(Clone, Debug)]
enum Step {
    /// The container prints so many lines and the sidecar sends them to this log.
    Print { lines: u64, log: usize },
    /// The last batch is sent again, to this log: an answer was lost.
    Repeat { log: usize },
    /// The sidecar is killed; the next one reads again from so many batches before, and cuts otherwise.
    Crash { back: usize, cut: u64, log: usize },
    /// The sidecar's state is gone or the node was booted: a new chain takes over.
    Resume { reason: u8, log: usize },
    /// A heartbeat with all heads.
    Beat { log: usize },
    /// A log is stopped and starts again, with a torn tail set aside.
    Restart { log: usize },
    /// A log signs what it has.
    Sign { log: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let log = 0..3usize;
    prop_oneof![
        6 => (1..30u64, log.clone()).prop_map(|(lines, log)| Step::Print { lines, log }),
        1 => log.clone().prop_map(|log| Step::Repeat { log }),
        1 => (0..4usize, 1..20u64, log.clone()).prop_map(|(back, cut, log)| Step::Crash { back, cut, log }),
        1 => (0..3u8, log.clone()).prop_map(|(reason, log)| Step::Resume { reason, log }),
        2 => log.clone().prop_map(|log| Step::Beat { log }),
        1 => log.clone().prop_map(|log| Step::Restart { log }),
        2 => log.prop_map(|log| Step::Sign { log }),
    ]
}

/// A pod and its pool, living through steps.
struct History {
    world: World,
    sidecar: Sidecar,
    chain: Chain,
    /// What the container printed, by position, and when.
    lines: Vec<(String, Time)>,
    /// All batches of the chain, in order.
    sent: Vec<Sealed>,
    seconds: i64,
    sessions: u8,
    /// Whether anything was warned of by the history itself.
    is_explained: bool,
}

impl History {
    fn new(logs: u8) -> Self {
        let mut world = World::of(logs);
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let chain = Chain::of(&sidecar, "app", 0);
        world.logs.iter_mut().for_each(|log| log.introduce(&sidecar, at(2)));
        world.logs.iter_mut().for_each(|log| log.genesis(&chain, &sidecar, at(3)));
        let (lines, sent) = (Vec::new(), Vec::new());
        Self { world, sidecar, chain, lines, sent, seconds: 3, sessions: 1, is_explained: false }
    }

    fn tick(&mut self) -> Time {
        self.seconds += 1;
        at(self.seconds)
    }

    fn log(&mut self, log: usize) -> &mut Log {
        let count = self.world.logs.len();
        &mut self.world.logs[log % count]
    }

    /// Sends what was printed from the chain's head on, in cuts of this length.
    fn send(&mut self, cut: u64, log: usize) {
        loop {
            let first = usize::try_from(self.chain.head.next_seq.get()).unwrap();
            if first >= self.lines.len() {
                return;
            }
            let last = self.lines.len().min(first + usize::try_from(cut).unwrap());
            let records: Vec<_> =
                self.lines[first..last].iter().map(|(line, time)| super::testing::stdout(line, *time)).collect();
            let batch = self.chain.seal(&self.sidecar, &records);
            let time = self.tick();
            self.log(log).batch(&batch, time);
            self.sent.push(batch);
        }
    }

    fn live(&mut self, step: &Step) {
        let time = self.tick();
        match *step {
            Step::Print { lines, log } => {
                let first = self.lines.len();
                self.lines.extend((0..lines).map(|n| (format!("line {}", first as u64 + n), time)));
                self.send(lines, log);
            }
            Step::Repeat { log } => {
                if let Some(batch) = self.sent.last().cloned() {
                    self.log(log).batch(&batch, time);
                }
            }
            Step::Crash { back, cut, log } => {
                // The record that says from where a chain took over is a decision: it is not made again.
                let from = self.sent.len().saturating_sub(back).max(usize::from(self.chain.genesis.incarnation > 0));
                self.restart_sidecar(time);
                if let Some(batch) = self.sent.get(from) {
                    self.chain.head = batch.commitment.head_before();
                    self.send(cut, log);
                }
            }
            Step::Resume { reason, log } => self.resume(reason, log, time),
            Step::Beat { log } => {
                let beat = self.sidecar.heartbeat(&[(self.chain.id, self.chain.head)], time);
                self.log(log).heartbeats(&[beat], time);
            }
            Step::Restart { log } => {
                self.log(log).seal(time);
                self.log(log).start(time);
                self.log(log).say(Statement::Recovered { bytes: 7, sha256: Digest::sha256(b"torn") }, time);
            }
            Step::Sign { log } => self.log(log).sign(),
        }
    }

    fn restart_sidecar(&mut self, time: Time) {
        self.sessions += 1;
        self.sidecar = Sidecar::of("cart-0", self.sessions, time);
        let sidecar = &self.sidecar;
        self.world.logs.iter_mut().for_each(|log| log.introduce(sidecar, time));
    }

    fn resume(&mut self, reason: u8, log: usize, time: Time) {
        let reason = [ResumeReason::AfterEnd, ResumeReason::Reboot, ResumeReason::StateLost][usize::from(reason)];
        self.is_explained |= reason != ResumeReason::AfterEnd;
        self.restart_sidecar(time);
        let from = Some((self.chain.id, self.chain.head));
        self.chain = Chain::of(&self.sidecar, "app", time.nanos().unsigned_abs());
        let (chain, sidecar) = (&self.chain, &self.sidecar);
        self.world.logs.iter_mut().for_each(|log| log.genesis(chain, sidecar, time));
        let batch = self.chain.control(&self.sidecar, &Control::Resumed { reason, from }, time);
        self.log(log).batch(&batch, time);
        self.lines = vec![(String::new(), time)];
        self.sent = vec![batch];
    }

    fn end(mut self) -> World {
        let time = self.tick();
        let end = self.chain.end(&self.sidecar, time);
        self.log(0).batch(&end, time);
        let beat = self.sidecar.heartbeat(&[(self.chain.id, self.chain.head)], time);
        self.log(1).heartbeats(&[beat], time);
        self.world.logs.iter_mut().for_each(|log| log.seal(time));
        self.world.terms.now = at(self.seconds + 3600);
        self.world.terms.accept_declared_gaps = true;
        self.world.vouch();
        self.world
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn honest_histories_raise_nothing_but_what_they_explain(
        logs in 1..=3u8,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut history = History::new(logs);
        for step in &steps {
            history.live(step);
        }
        let is_explained = history.is_explained;
        let printed = history.chain.head;
        let report = history.end().judge();
        for finding in &report.findings {
            prop_assert_eq!((finding.class, finding.level), (Class::Resumed, Level::Warn), "{}", finding.text);
        }
        prop_assert_eq!(report.exit, 0);
        prop_assert!(is_explained || report.findings.is_empty());
        prop_assert!(report.chains.iter().all(|chain| chain.closed));
        prop_assert!(report.chains.iter().any(|chain| chain.next_seq == printed.next_seq.plus(1)));
        for route in &report.routes {
            // Each position once, none left out.
            let chain = report.chains.iter().find(|chain| chain.chain_id == route.chain_id).unwrap();
            let mut next = seq(0);
            for stretch in &route.stretches {
                prop_assert_eq!(stretch.from_seq, next);
                prop_assert!(stretch.first_seq <= next && next < stretch.next_seq);
                next = stretch.next_seq;
            }
            prop_assert_eq!(next, chain.next_seq);
        }
    }

    #[test]
    fn what_one_log_changes_or_loses_is_never_a_pass(
        steps in prop::collection::vec(step(), 5..30),
        victim in 0..3usize,
        at_leaf: prop::sample::Index,
        change in 0..4u8,
        byte: prop::sample::Index,
    ) {
        let mut history = History::new(3);
        for step in &steps {
            history.live(step);
        }
        let mut world = history.end();
        let entries = &mut world.logs[victim].entries;
        let index = at_leaf.index(entries.len() - 1);
        match change {
            0 => drop(entries.remove(index)),
            1 => {
                let entry = &mut entries[index];
                let bytes = if entry.body.is_empty() { &mut entry.leaf } else { &mut entry.body };
                let byte = byte.index(bytes.len());
                bytes[byte] ^= 1;
            }
            2 => {
                let leaf = &mut entries[index].leaf;
                let byte = byte.index(leaf.len());
                leaf[byte] ^= 0x80;
            }
            _ => entries.truncate(index),
        }
        let report = world.judge();
        prop_assert_eq!(report.exit, 1, "{:#?}", report.findings);
        let origin = report.logs[victim].origin.clone();
        prop_assert!(report.findings.iter().any(|f| f.log.as_deref() == Some(&origin) && f.level == Level::Fail));
    }
}
