//! Starting: the first time, after a shutdown, after crashes; and reading back what was stored.

use indelible_chain::id::{LeafIndex, Seq, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::statement::{SealReason, Statement};

use super::log::{Log, START, all_of, options};
use super::pod::Pod;
use crate::store::Append;
use crate::store::append::AppendError;
use crate::store::files::memory::Restart;
use crate::store::read::{self, FrameReader};

fn statements(log: &Log) -> Vec<Statement> {
    log.frames().iter().filter_map(super::log::Frame::statement).collect()
}

#[test]
fn a_new_log_says_that_it_started_and_has_a_checkpoint_over_that() {
    let log = Log::new(options());
    assert_eq!(statements(&log), [Statement::Started { software: "collector/test".into() }]);
    let shown = log.opened().tree.shown().view();
    assert_eq!(shown.published.size, 1);
    let origin = log.opened().directory.identity.origin().to_owned();
    assert!(origin.starts_with("test/log-"));
    assert!(shown.published.note.starts_with(origin.as_bytes()));
    log.check();
}

#[test]
fn what_was_appended_is_read_back_with_its_bodies_in_log_order() {
    let mut log = Log::new(options());
    let pod = Pod::new(1, 0);
    let items = vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 3).item(), pod.batch(3, 2).item()];
    let answers = log.commit(items).unwrap();
    let indexes: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().get().index.get()).collect();
    assert_eq!(indexes, [1, 2, 3, 4]);
    let frames = log.frames();
    assert_eq!(frames[1].body, b"token");
    assert_eq!(frames[3].body, pod.batch(0, 3).body);
    assert!(matches!(frames[4].leaf(), Leaf::Batch { commitment, .. } if commitment == pod.batch(3, 2).commitment));
    let receipt = answers[3].as_ref().unwrap().receipt(&log.opened().directory.identity);
    assert!(receipt.is_signed_by(&log.opened().directory.identity.key().public()));
    log.tick().unwrap();
    log.check();
}

#[test]
fn a_known_item_gets_its_first_place_again_in_the_same_group_later_and_after_a_restart() {
    let mut log = Log::new(options());
    let pod = Pod::new(1, 0);
    let twice = || vec![pod.session_item(), pod.session_item(), pod.genesis_item(), pod.genesis_item()];
    log.commit(twice()).unwrap();
    log.commit(vec![pod.batch(0, 3).item(), pod.batch(0, 3).item(), pod.batch(3, 1).item()]).unwrap();
    let size = log.durable();
    for restart in [None, Some(Restart::Process), Some(Restart::Power)] {
        let started = restart.map(|how| log.restart(how).unwrap()).is_some();
        log.commit(twice()).unwrap();
        let answer = log.append(pod.batch(0, 3).item()).unwrap();
        assert_eq!((answer.index.get(), answer.fresh), (3, false));
        assert_eq!(log.durable(), log.frames().len() as u64);
        assert!(log.durable() <= size + 2, "nothing was stored twice: {started}");
    }
    log.check();
}

#[test]
fn a_sealed_log_that_is_opened_again_goes_on_with_statement_1() {
    let mut log = Log::new(options());
    log.opened.as_mut().unwrap().writer.say(vec![Statement::Sealed { reason: SealReason::Shutdown }]).unwrap();
    log.tick().unwrap();
    log.restart(Restart::Process).unwrap();
    let started = Statement::Started { software: "collector/test".into() };
    assert_eq!(statements(&log), [started.clone(), Statement::Sealed { reason: SealReason::Shutdown }, started]);
    log.check();
}

#[test]
fn received_at_does_not_fall_when_the_clock_does_nor_over_a_restart() {
    let mut log = Log::new(options());
    let pod = Pod::new(1, 0);
    log.append(pod.session_item()).unwrap();
    log.clock.set(Time::from_nanos(5));
    log.append(pod.genesis_item()).unwrap();
    log.restart(Restart::Power).unwrap();
    log.append(pod.batch(0, 1).item()).unwrap();
    log.check();
    assert!(log.frames().last().unwrap().leaf().received_at().unwrap() >= START);
}

#[test]
fn a_session_whose_token_is_over_at_the_logs_time_is_refused_though_the_clock_says_otherwise() {
    let mut log = Log::new(options());
    let (a, b) = (Pod::new(1, 0), Pod::new(2, 0));
    let until = |seconds: i64| START.plus_nanos(seconds * Time::SECOND);
    log.append(a.session_until(until(60))).unwrap();
    log.clock.set(until(100));
    log.append(a.genesis_item()).unwrap();
    log.clock.set(until(30));
    let refused = log.append(b.session_until(until(60)));
    assert!(matches!(refused, Err(AppendError::TokenOver(id)) if id == b.id()), "{refused:?}");
    // What is known is known, and a token that lives on is taken.
    assert!(!log.append(a.session_until(until(60))).unwrap().fresh);
    assert!(log.append(b.session_until(until(101))).unwrap().fresh);
    log.check();
}

#[test]
fn a_log_without_a_leaf_for_a_minute_gives_a_sign_of_life() {
    let mut log = Log::new(options());
    let writer = |log: &mut Log| log.opened.as_mut().unwrap().writer.keep_alive().unwrap();
    log.clock.advance(59 * Time::SECOND);
    assert_eq!(writer(&mut log), Time::SECOND);
    assert_eq!(log.durable(), 1);
    log.clock.advance(Time::SECOND);
    assert_eq!(writer(&mut log), 60 * Time::SECOND);
    assert_eq!(statements(&log)[1], Statement::Clock { offset_ms: None });
}

#[test]
fn chains_and_their_batches_are_found_in_every_segment() {
    let mut log = Log::new(options());
    let pods: Vec<_> = (0..5).map(|n| Pod::new(n, 0)).collect();
    for pod in &pods {
        log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    }
    for round in 0..20 {
        for pod in &pods {
            log.append(pod.batch(round * 2, 2).item()).unwrap();
        }
    }
    assert!(log.opened().shared.state().sealed.len() > 3, "the log has several segments");
    let before = (chains_of(&log), log.frames());
    for how in [Restart::Process, Restart::Power] {
        log.restart(how).unwrap();
        assert_eq!(chains_of(&log), before.0);
        assert_eq!(log.frames()[..before.1.len()], before.1);
        for pod in &pods {
            let batches = batches_of(&log, pod, 0, u64::MAX);
            assert_eq!(batches.len(), 20);
            let range = batches_of(&log, pod, 7, 11);
            let firsts: Vec<_> = range.iter().map(|commitment| commitment.first_seq.get()).collect();
            assert_eq!(firsts, [6, 8, 10]);
            let chain = log.opened().shared.chain(pod.chain()).unwrap().unwrap();
            assert_eq!(chain.known.extent.unwrap().next_seq, Seq::new(40));
            assert_eq!(chain.held.unwrap().head, pod.head(40, "word").link);
        }
        assert!(log.opened().shared.chain(Pod::new(77, 0).chain()).unwrap().is_none());
    }
    log.check();
}

pub fn chains_of(log: &Log) -> Vec<crate::store::KnownChain> {
    let mut chains = Vec::new();
    read::chains(&log.opened().shared, None, &mut |chain| {
        chains.push(chain);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    chains
}

pub fn batches_of(log: &Log, pod: &Pod, from: u64, to: u64) -> Vec<indelible_chain::batch::Commitment> {
    let shared = log.opened().shared.clone();
    let reader = FrameReader::of_chain(shared, pod.chain(), Seq::new(from), Seq::new(to));
    let batches = all_of(reader).into_iter().map(|frame| match frame.leaf() {
        Leaf::Batch { commitment, .. } => commitment,
        other => panic!("{other:?} is no batch"),
    });
    batches.collect()
}

#[test]
fn a_segment_that_is_followed_by_another_takes_no_more_of_the_volume_than_it_has_bytes() {
    let mut log = Log::new(crate::store::Options { segment_bytes: 1 << 20, ..options() });
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    let first = "segments/00000000000000000000.seg";
    assert_eq!(log.files.taken()[first], 1 << 20);
    log.opened.as_mut().unwrap().writer.roll().unwrap();
    let length = log.files.contents()[first].len() as u64;
    assert_eq!(log.files.taken()[first], length);
    assert_eq!(log.files.taken()["segments/00000000000000000003.seg"], 1 << 20);
    log.append(pod.batch(0, 1).item()).unwrap();
    log.restart(Restart::Power).unwrap();
    log.check();
}

#[test]
fn the_list_of_chains_goes_on_after_any_of_them() {
    let mut log = Log::new(options());
    for n in 0..40 {
        let pod = Pod::new(n, 0);
        log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    }
    let all: Vec<_> = chains_of(&log).iter().map(|chain| chain.chain).collect();
    assert_eq!(all.len(), 40);
    assert!(all.is_sorted());
    for (n, after) in all.iter().enumerate() {
        let mut next = None;
        read::chains(&log.opened().shared, Some(*after), &mut |chain| {
            next = Some(chain.chain);
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(next.as_ref(), all.get(n + 1));
    }
}

#[test]
fn what_was_forgotten_is_found_on_disk_and_decided_alike() {
    let mut log = Log::new(crate::store::Options { remembered: std::time::Duration::ZERO, ..options() });
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    for n in 0..30 {
        log.append(pod.batch(n, 1).item()).unwrap();
    }
    assert!(log.opened().shared.state().index.chains.len() <= 1);
    let again = log.append(pod.batch(4, 1).item()).unwrap();
    assert_eq!((again.index.get(), again.fresh), (7, false));
    let conflict = log.append(pod.fork(4, 1, "other").item()).unwrap();
    assert_eq!(conflict.conflict, Some(LeafIndex::new(7)));
    log.check();
}

#[test]
fn sixteen_conflicts_are_stored_with_a_statement_each_and_then_none() {
    let mut log = Log::new(options());
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 4).item()]).unwrap();
    for n in 0..16u32 {
        let fork = pod.fork(2, 2, &format!("other {n}"));
        let answer = log.append(fork.item()).unwrap();
        assert_eq!(answer.conflict, Some(LeafIndex::new(3)));
        let said = log.frames().last().unwrap().statement();
        let (chain, seq, first, second) = (pod.chain(), Seq::new(3), LeafIndex::new(3), answer.index);
        assert_eq!(said, Some(Statement::Conflict { chain, seq, first, second }));
        if n % 5 == 0 {
            log.restart(Restart::Power).unwrap();
        }
    }
    let size = log.durable();
    let refused = log.append(pod.fork(2, 2, "one more").item());
    assert!(matches!(refused, Err(AppendError::TooManyConflicts { .. })));
    assert_eq!(log.durable(), size);
    // What agrees is still taken, and so is what was stored as a conflict.
    assert!(log.append(pod.batch(4, 1).item()).unwrap().fresh);
    assert!(!log.append(pod.fork(2, 2, "other 3").item()).unwrap().fresh);
    log.check();
}

#[test]
fn a_batch_that_contradicts_is_answered_the_same_conflict_whenever_it_is_sent_again() {
    let mut log = Log::new(options());
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 4).item()]).unwrap();
    let fork = || pod.fork(2, 2, "other").item();
    let answers = log.commit(vec![fork(), fork()]).unwrap();
    let conflicts: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().get().conflict).collect();
    assert_eq!(conflicts, [Some(LeafIndex::new(3)); 2]);
    // A third branch at the same place contradicts both, and changes nothing for the second.
    log.append(pod.fork(2, 2, "third").item()).unwrap();
    for n in 4..40 {
        log.append(pod.batch(n, 1).item()).unwrap();
    }
    assert!(log.opened().shared.state().sealed.len() > 1, "the fork is in a sealed segment");
    for how in [None, Some(Restart::Process), Some(Restart::Power)] {
        how.map_or(Ok(()), |how| log.restart(how)).unwrap();
        let again = log.append(fork()).unwrap();
        assert_eq!((again.index.get(), again.fresh, again.conflict), (4, false, Some(LeafIndex::new(3))));
        let agreed = log.append(pod.batch(0, 4).item()).unwrap();
        assert_eq!((agreed.fresh, agreed.conflict), (false, None));
    }
    log.check();
}

#[test]
fn what_is_not_introduced_or_of_another_pod_is_refused_and_not_stored() {
    let mut log = Log::new(options());
    let (a, b) = (Pod::new(1, 0), Pod::new(2, 0));
    assert!(matches!(log.append(a.genesis_item()), Err(AppendError::SessionNotIntroduced(id)) if id == a.id()));
    log.commit(vec![a.session_item(), b.session_item()]).unwrap();
    assert!(matches!(log.append(a.batch(0, 1).item()), Err(AppendError::ChainNotIntroduced(id)) if id == a.chain()));
    let foreign = Append::Genesis { genesis: a.genesis.clone(), session: b.id() };
    assert!(matches!(log.append(foreign), Err(AppendError::Foreign { .. })));
    log.append(a.genesis_item()).unwrap();
    let size = log.durable();
    let mut in_a_s_chain = Pod::new(2, 0);
    in_a_s_chain.genesis = a.genesis.clone();
    assert!(matches!(log.append(in_a_s_chain.batch(0, 1).item()), Err(AppendError::Foreign { .. })));
    assert_eq!(log.durable(), size);
    log.check();
}

#[test]
fn a_full_volume_takes_nothing_new_but_answers_what_is_known_and_can_be_read() {
    let mut log = Log::new(crate::store::Options { min_free_bytes: 1000, ..options() });
    let pod = Pod::new(1, 0);
    log.append(pod.session_item()).unwrap();
    log.files.set_free(999);
    assert!(matches!(log.append(pod.genesis_item()), Err(AppendError::NoSpace { free: 999, limit: 1000 })));
    assert!(!log.append(pod.session_item()).unwrap().fresh);
    assert_eq!(log.frames().len(), 2);
    log.files.set_free(1000);
    log.append(pod.genesis_item()).unwrap();
    log.check();
}

#[test]
fn two_starts_of_one_directory_know_the_same() {
    let mut log = Log::new(options());
    for n in 0..8 {
        let pod = Pod::new(n, 0);
        log.commit(vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 2).item()]).unwrap();
        log.append(pod.fork(1, 1, "other").item()).unwrap();
        log.append(pod.batch(1, 5).item()).unwrap();
    }
    let running = (log.opened().shared.state().table.clone(), chains_of(&log));
    let files = log.files.restarted(Restart::Process);
    let mut other = Log { files, ..Log::closed(options()) };
    other.open().unwrap();
    let mut table = other.opened().shared.state().table.clone();
    assert_eq!(chains_of(&other), running.1);
    // But for the statement that it started, the table is the one that grew.
    table.count -= 1;
    table.last_time = running.0.last_time;
    assert_eq!(table.sessions, running.0.sessions);
    assert_eq!(table.chains, running.0.chains);
    assert_eq!(table.count, running.0.count);
    assert!(table.offsets.starts_with(&running.0.offsets));
}

#[test]
fn a_successor_names_the_last_checkpoint_of_the_log_before_it() {
    let mut old = Log::new(options());
    old.tick().unwrap();
    let note = old.files.contents()["checkpoint"].clone();
    let mut log = Log::closed(options());
    log.files.place("predecessor", &note);
    log.open().unwrap();
    let published = old.opened().tree.shown().view().published.clone();
    let origin = old.opened().directory.identity.origin().to_owned();
    let successor = Statement::SuccessorOf { origin, size: published.size, root: published.root };
    assert_eq!(statements(&log)[1..], [successor]);
    log.restart(Restart::Power).unwrap();
    assert_eq!(statements(&log).len(), 3, "it is said once");
    log.check();
}

#[test]
fn hundreds_of_leaves_make_tiles_and_bundles_that_survive() {
    let mut log = Log::new(crate::store::Options { segment_bytes: 1 << 16, ..options() });
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    for round in 0..7u64 {
        let batches = (0..100).map(|n| pod.batch_at(round * 100 + n));
        log.commit(batches.collect()).unwrap();
        log.clock.advance(61 * Time::SECOND);
        log.tick().unwrap();
    }
    log.check();
    let shown = log.opened().tree.shown();
    assert_eq!(shown.kept(0, 100).len(), 8);
    assert_eq!(shown.kept(1, 3).len(), 3);
    assert!(log.files.contents().contains_key("tile/0/001"));
    assert!(log.files.contents().contains_key("tile/entries/001"));
    log.restart(Restart::Power).unwrap();
    log.check();
    // A tile that was lost is made again from the leaves.
    log.files.remove("tile/0/000");
    log.restart(Restart::Power).unwrap();
    let frames = log.frames();
    let hashes = frames.iter().map(|frame| indelible_chain::merkle::leaf_hash(&frame.leaf)).collect();
    log.check_tiles(&frames, &hashes);
}

#[test]
fn a_frame_that_was_damaged_while_the_log_runs_is_given_as_it_is_and_so_is_what_lies_behind_it() {
    let mut log = Log::new(crate::store::Options { segment_bytes: 1 << 20, ..options() });
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 2).item(), pod.batch(2, 2).item()]).unwrap();
    let before = log.frames();
    let path = "segments/00000000000000000000.seg";
    let body = &before[3].body;
    let at = log.files.contents()[path].windows(body.len()).position(|bytes| bytes == body).unwrap();
    log.files.tamper(path, |bytes| bytes[at + 20] ^= 1);
    let after = log.frames();
    assert_eq!((after.len(), &after[..3], &after[4]), (before.len(), &before[..3], &before[4]));
    assert_eq!(after[3].leaf, before[3].leaf);
    assert_ne!(after[3].body, before[3].body);
}
