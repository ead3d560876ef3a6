//! The core's decisions as tables of events and effects, and as a property over everything that can go wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::id::Head;
use proptest::prelude::*;

use super::world::{Open, World, genesis};
use super::{Answer, Call, Event, Failure, Notice};
use crate::capture::Output;
use crate::limits::{ASK_TIMEOUT, FIRST_BATCHES, MAX_IN_FLIGHT};

const A: &str = "https://a:1";
const B: &str = "https://b:1";
const C: &str = "https://c:1";
const SECOND: Duration = Duration::from_secs(1);

fn is_batch(open: &Open) -> bool {
    matches!(open.call, Call::Batch(_))
}

/// A session that is connected, introduced, and has one chain.
fn ready(collectors: &[&str], copies: usize) -> (World, indelible_chain::id::ChainId) {
    let mut world = World::new(collectors, copies, 1);
    let chain = world.introduce("app");
    world.settle();
    (world, chain)
}

fn busy(world: &mut World, chain: indelible_chain::id::ChainId) {
    for _ in 0..FIRST_BATCHES {
        world.seal(chain, 40 << 10);
        world.settle();
    }
    world.pass(SECOND);
    world.settle();
}

#[test]
fn the_pool_is_asked_first_then_the_session_then_the_chain_then_the_batch() {
    let mut world = World::new(&[A], 1, 1);
    let chain = world.introduce("app");
    world.seal(chain, 0);
    world.accept();
    for step in 0..4 {
        assert_eq!(world.requests.len(), 1, "{:?}", world.requests);
        let open = world.request(|_| true).unwrap();
        let order = match &open.call {
            Call::Pool => 0,
            Call::Session => 1,
            Call::Chain { .. } => 2,
            Call::Batch(_) => 3,
            Call::Heartbeat(_) => 9,
        };
        assert_eq!(order, step);
        assert_eq!(world.receipted_to(chain), 0);
        world.answer_well(&open);
    }
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn the_first_batches_go_to_one_collector_and_later_ones_to_both() {
    let (mut world, chain) = ready(&[A, B, C], 1);
    assert_eq!(world.connected.len(), 2, "quiet sessions keep two connections");
    let mut places = BTreeSet::new();
    for n in 0..40 {
        world.seal(chain, 300);
        world.settle_introductions();
        let open = world.batch();
        places.insert(open.endpoint.clone());
        assert!(n >= FIRST_BATCHES || places.len() == 1, "batch {n}");
        world.answer_well(&open);
        world.settle();
    }
    assert_eq!(places.len(), 2);
}

#[test]
fn different_sessions_choose_different_collectors_first() {
    let first = |seed| {
        let mut world = World::new(&[A, B, C], 1, seed);
        let chain = world.introduce("app");
        world.settle();
        world.seal(chain, 0);
        world.batch().endpoint
    };
    assert_eq!((0..40).map(first).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_busy_session_connects_to_every_collector_and_a_quiet_one_to_two_again() {
    let (mut world, chain) = ready(&[A, B, C], 1);
    busy(&mut world, chain);
    assert_eq!(world.connected.len(), 3);
    world.pass(SECOND * 61);
    world.settle();
    assert_eq!(world.connected.len(), 2);
}

#[test]
fn a_collector_that_asks_for_time_gets_it_and_the_batch_goes_to_another_at_once() {
    for status in [429, 503, 507, 500, 401, 403] {
        let (mut world, chain) = ready(&[A, B], 1);
        world.seal(chain, 0);
        let open = world.batch();
        let answer = Answer { status, retry_after: Some(SECOND * 20), ..Answer::default() };
        world.answer(&open, Ok(answer));
        world.settle_introductions();
        let other = world.batch();
        assert_ne!(other.endpoint, open.endpoint, "{status}");
        world.answer_well(&other);
        assert_eq!(world.receipted_to(chain), 1);
        for _ in 0..10 {
            world.seal(chain, 0);
            world.settle_introductions();
            let next = world.batch();
            assert_eq!(next.endpoint, other.endpoint, "{status}: it was asked to wait");
            world.answer_well(&next);
        }
    }
}

#[test]
fn a_batch_that_one_collector_cannot_take_goes_to_another_and_the_collector_keeps_getting_others() {
    for status in [400, 413] {
        let (mut world, chain) = ready(&[A, B], 1);
        world.seal(chain, 0);
        let open = world.batch();
        world.answer_status(&open, status);
        world.settle_introductions();
        let other = world.batch();
        assert_ne!(other.endpoint, open.endpoint);
        world.answer_well(&other);
        world.seal(chain, 0);
        assert_eq!(world.batch().endpoint, open.endpoint, "{status}: home still");
    }
}

#[test]
fn the_only_collector_is_tried_again_after_a_pause() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    let open = world.batch();
    world.answer_status(&open, 503);
    assert!(world.batches().is_empty());
    world.pass(SECOND);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn after_412_session_and_chain_are_introduced_and_the_same_bytes_are_sent_again() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    let first = world.batch();
    let Call::Batch(bytes) = &first.call else { panic!() };
    world.answer_status(&first, 412);
    let session = world.request(|open| matches!(open.call, Call::Session)).expect("the session again");
    world.answer_well(&session);
    let again = world.request(|open| matches!(open.call, Call::Chain { .. })).expect("the chain again");
    assert!(world.batches().is_empty());
    world.answer_well(&again);
    let second = world.batch();
    assert!(matches!(&second.call, Call::Batch(again) if again == bytes));
    // A collector that forgets at once again is left alone for a while.
    world.answer_status(&second, 412);
    world.settle_introductions();
    assert!(world.batches().is_empty());
    world.pass(SECOND);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn two_collectors_that_judge_a_batch_end_its_chain_and_one_does_not() {
    for (first, second) in [(409, 422), (422, 422), (409, 409)] {
        let (mut world, chain) = ready(&[A, B, C], 1);
        world.seal(chain, 0);
        let other = world.introduce("other");
        world.settle_introductions();
        world.seal(chain, 0);
        let open = world.batch();
        world.answer_status(&open, first);
        assert!(world.rejected.is_empty());
        world.settle_introductions();
        let Call::Batch(bytes) = open.call else { panic!() };
        let again = world.request(|open| matches!(&open.call, Call::Batch(b) if *b == bytes)).unwrap();
        assert_ne!(again.endpoint, open.endpoint);
        world.answer_status(&again, second);
        assert_eq!(world.rejected, [chain]);
        world.settle();
        assert_eq!(world.receipted_to(chain), 0, "the rest of the chain is dropped");
        world.seal(other, 0);
        world.settle();
        assert_eq!(world.receipted_to(other), 1, "other chains go on");
    }
}

#[test]
fn where_there_is_one_collector_its_judgement_is_enough() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    let open = world.batch();
    world.answer_status(&open, 422);
    assert_eq!(world.rejected, [chain]);
}

#[test]
fn one_judgement_of_two_collectors_is_outvoted_by_a_receipt() {
    let (mut world, chain) = ready(&[A, B], 1);
    world.seal(chain, 0);
    let open = world.batch();
    world.answer_status(&open, 409);
    world.settle();
    assert_eq!((world.receipted_to(chain), world.rejected.len()), (1, 0));
}

#[test]
fn copies_are_receipts_of_different_logs_and_only_prefixes_are_reported() {
    let (mut world, chain) = ready(&[A, B, C], 2);
    world.seal(chain, 0);
    let second = world.seal(chain, 0);
    world.settle_introductions();
    let open: Vec<Open> = std::iter::from_fn(|| world.request(is_batch)).collect();
    let first = |open: &Open| matches!(&open.call, Call::Batch(bytes) if bytes[66..74] == [0; 8]);
    let (ones, twos): (Vec<Open>, Vec<Open>) = open.into_iter().partition(first);
    assert_eq!((ones.len(), twos.len()), (2, 2));
    assert_ne!(ones[0].endpoint, ones[1].endpoint);
    for open in &twos {
        world.answer_well(open);
    }
    world.answer_well(&ones[0]);
    assert_eq!(world.receipted_to(chain), 0, "the first batch has one receipt of two");
    world.answer_well(&ones[1]);
    assert_eq!(world.receipted.get(&chain), Some(&second));
}

#[test]
fn more_copies_than_logs_are_as_many_as_there_are_logs() {
    let (mut world, chain) = ready(&[A, B], 3);
    world.seal(chain, 0);
    world.settle_introductions();
    assert_eq!(world.batches().len(), 2);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn before_the_pools_size_is_known_a_batch_waits_for_all_its_copies() {
    let mut world = World::new(&[A], 2, 1);
    let chain = world.introduce("app");
    world.seal(chain, 0);
    world.accept();
    let pool = world.request(|open| matches!(open.call, Call::Pool)).unwrap();
    world.answer_status(&pool, 500);
    world.pass(SECOND / 20);
    while let Some(open) = world.request(|open| !matches!(open.call, Call::Pool)) {
        world.answer_well(&open);
    }
    assert_eq!(world.receipted_to(chain), 0, "one receipt, and nobody said that there is only one log");
    world.pass(SECOND * 20);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1, "now the pool has said so");
}

#[test]
fn a_wrong_receipt_is_a_failure_of_that_collector_and_never_counts() {
    let (mut world, chain) = ready(&[A, B], 1);
    world.seal(chain, 0);
    let open = world.batch();
    let good = world.good(&open);
    let mut forged = good.body.to_vec();
    forged[144] ^= 1;
    world.answer(&open, Ok(Answer { body: forged.into(), ..good }));
    assert_eq!(world.receipted_to(chain), 0);
    assert_eq!(world.forward.tally().receipts_refused, 1);
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::BadReceipt { .. })));
    world.settle_introductions();
    let other = world.batch();
    assert_ne!(other.endpoint, open.endpoint);
    world.answer_well(&other);
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn a_conflict_is_counted_and_changes_nothing() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    let open = world.batch();
    let answer = world.good(&open);
    world.answer(&open, Ok(Answer { conflict: Some(3), ..answer }));
    assert_eq!((world.receipted_to(chain), world.forward.tally().conflicts), (1, 1));
    assert!(world.rejected.is_empty());
}

#[test]
fn what_was_in_flight_on_a_lost_connection_goes_elsewhere_at_once() {
    let (mut world, chain) = ready(&[A, B], 1);
    for _ in 0..3 {
        world.seal(chain, 0);
    }
    let place = world.batches()[0].endpoint.clone();
    world.cut(&place);
    world.settle_introductions();
    assert_eq!(world.batches().len(), 3);
    assert!(world.batches().iter().all(|open| open.endpoint != place));
    world.settle();
    assert_eq!(world.receipted_to(chain), 3);
}

#[test]
fn a_request_without_an_answer_in_time_ends_the_connection() {
    let (mut world, chain) = ready(&[A, B], 1);
    world.seal(chain, 0);
    let open = world.batch();
    world.answer(&open, Err(Failure::Timeout));
    assert!(!world.urls().contains(&open.endpoint));
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn an_idle_session_reconnects_within_ten_seconds_but_not_at_once() {
    let late = |seed| {
        let mut world = World::new(&[A, B], 1, seed);
        world.introduce("app");
        world.settle();
        world.cut(A);
        assert!(world.connecting.is_empty(), "nothing waits");
        world.pass(SECOND / 2);
        let late = world.connecting.is_empty();
        world.pass(SECOND * 10);
        world.settle();
        assert!(world.urls().contains(A));
        late
    };
    let late = (0..20).filter(|seed| late(*seed)).count();
    assert!((15..=20).contains(&late), "{late} of 20 waited for more than half a second");
}

#[test]
fn with_batches_waiting_and_no_other_collector_the_connection_is_made_at_once() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    world.cut(A);
    world.pass(SECOND / 5);
    assert_eq!(world.connecting.len(), 1);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn a_collector_that_cannot_be_reached_is_said_once_and_replaced() {
    let mut world = World::new(&[A, B, C], 1, 1);
    let chain = world.introduce("app");
    world.seal(chain, 0);
    for _ in 0..30 {
        world.refuse(A);
        world.pass(SECOND);
        world.accept();
        while let Some(open) = world.request(|_| true) {
            world.answer_well(&open);
        }
    }
    assert_eq!(world.receipted_to(chain), 1);
    assert_eq!(world.urls(), [B, C].map(str::to_owned).into());
    let about_a = |notice: &&Notice| matches!(notice, Notice::Unusable { endpoint, .. } if endpoint.to_string() == A);
    assert!(world.notices.iter().filter(about_a).count() <= 1);
}

#[test]
fn an_outage_of_all_ends_with_everything_delivered_and_told_once() {
    let (mut world, chain) = ready(&[A, B], 1);
    world.cut(A);
    world.cut(B);
    let mut tries = 0;
    for _ in 0..60 {
        world.seal(chain, 0);
        world.pass(SECOND);
        tries += world.connecting.len();
        world.refuse(A);
        world.refuse(B);
    }
    assert!((10..100).contains(&tries), "{tries} tries in a minute");
    assert_eq!(world.notices.len(), 2, "{:?}", world.notices);
    world.pass(SECOND * 11);
    world.settle();
    assert_eq!(world.receipted_to(chain), 60);
    assert_eq!(world.notices.len(), 4, "each can be used again: {:?}", world.notices);
}

#[test]
fn no_collector_gets_more_than_its_share_in_flight() {
    let (mut world, chain) = ready(&[A, B], 1);
    for _ in 0..3 * MAX_IN_FLIGHT {
        world.seal(chain, 0);
    }
    world.settle_introductions();
    assert_eq!(world.batches().len(), 2 * MAX_IN_FLIGHT);
    world.settle();
    assert_eq!(world.receipted_to(chain), 3 * MAX_IN_FLIGHT as u64);
}

fn list(epoch: u64, collectors: &[&str]) -> Answer {
    let collectors = collectors.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"epoch":{epoch},"server_name":"pool","collectors":[{collectors}],"ca_pem":""}}"#);
    Answer { status: 200, body: Bytes::from(body), ..Answer::default() }
}

/// Answers the question for the pool's list, which must have been asked.
fn give_list(world: &mut World, answer: Answer) {
    let open = world.request(|open| matches!(open.call, Call::Pool)).expect("the list is asked for");
    world.answer(&open, Ok(answer));
}

#[test]
fn the_pools_own_list_takes_over_before_anything_is_introduced() {
    let mut world = World::new(&["https://service:1"], 1, 1);
    for url in [A, B, C] {
        world.add_log(url);
    }
    let chain = world.introduce("app");
    world.seal(chain, 0);
    world.accept();
    give_list(&mut world, list(1, &[A, B, C]));
    assert_eq!(world.connecting.len(), 2);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
    assert!(!world.urls().contains("https://service:1"), "{:?}", world.urls());
    assert_eq!(world.logs["https://service:1"].next, 0, "nothing was introduced there");
}

#[test]
fn a_greater_epoch_brings_the_new_list_and_an_empty_one_removes_nothing() {
    let mut world = World::new(&[A], 1, 1);
    for url in [B, C] {
        world.add_log(url);
    }
    let chain = world.introduce("app");
    world.accept();
    give_list(&mut world, list(4, &[A, B]));
    world.settle();
    let seal = |world: &mut World, epoch| {
        world.seal(chain, 0);
        world.settle_introductions();
        let open = world.batch();
        let answer = world.good(&open);
        world.answer(&open, Ok(Answer { epoch: Some(epoch), ..answer }));
    };
    seal(&mut world, 4);
    assert!(world.requests.is_empty(), "an epoch that is known asks for nothing");
    seal(&mut world, 5);
    give_list(&mut world, list(5, &[]));
    world.settle();
    assert_eq!(world.urls().len(), 2);
    seal(&mut world, 6);
    give_list(&mut world, list(6, &[C, B]));
    world.settle();
    assert_eq!(world.urls(), [B, C].map(str::to_owned).into());
}

#[test]
fn a_collector_that_leaves_the_pool_finishes_what_it_has() {
    let mut world = World::new(&["https://service:1"], 1, 1);
    for url in [A, B] {
        world.add_log(url);
    }
    let chain = world.introduce("app");
    world.accept();
    give_list(&mut world, list(1, &[A]));
    world.settle_introductions();
    world.seal(chain, 0);
    world.seal(chain, 0);
    let open = world.batch();
    assert_eq!(open.endpoint, A);
    let answer = world.good(&open);
    world.answer(&open, Ok(Answer { epoch: Some(2), ..answer }));
    give_list(&mut world, list(2, &[B]));
    assert!(world.urls().contains(A), "one batch is still in flight there");
    world.settle();
    assert_eq!(world.receipted_to(chain), 2);
    assert_eq!(world.urls(), [B.to_owned()].into());
}

#[test]
fn when_no_member_can_be_reached_the_configured_ones_are_asked_again() {
    let mut world = World::new(&["https://service:1"], 1, 1);
    for url in [A, B] {
        world.add_log(url);
    }
    let chain = world.introduce("app");
    world.accept();
    give_list(&mut world, list(1, &[A]));
    world.settle();
    world.cut(A);
    world.seal(chain, 0);
    for _ in 0..20 {
        world.refuse(A);
        world.pass(SECOND);
    }
    world.accept();
    give_list(&mut world, list(2, &[B]));
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

fn ask(world: &mut World) {
    world.apply(Event::Output(Output::Ask { container: "app".into(), genesis: genesis("app") }));
}

#[test]
fn a_chain_is_new_when_two_collectors_say_so() {
    let mut world = World::new(&[A, B, C], 1, 1);
    ask(&mut world);
    world.settle();
    assert_eq!(world.known, [("app".to_owned(), false)]);
    let chains = |world: &World| world.requests.iter().filter(|open| matches!(open.call, Call::Chain { .. })).count();
    assert_eq!(chains(&world), 0);
    // It was introduced by asking.
    let chain = world.introduce("app");
    world.seal(chain, 0);
    assert_eq!((chains(&world), world.batches().len()), (0, 1));
}

#[test]
fn one_collector_that_knows_a_chain_is_enough() {
    let mut world = World::new(&[A, B, C], 1, 1);
    ask(&mut world);
    world.accept();
    while let Some(open) = world.request(|open| !matches!(open.call, Call::Chain { .. })) {
        world.answer_well(&open);
        world.accept();
    }
    let open = world.request(|open| matches!(open.call, Call::Chain { .. })).unwrap();
    let answer = world.good(&open);
    world.answer(&open, Ok(Answer { status: 200, ..answer }));
    assert_eq!(world.known, [("app".to_owned(), true)]);
    world.settle();
    assert_eq!(world.known.len(), 1);
}

#[test]
fn silence_for_five_seconds_is_a_no_and_the_only_collector_decides_alone() {
    let mut world = World::new(&[A, B], 1, 1);
    ask(&mut world);
    world.pass(ASK_TIMEOUT * 99 / 100);
    assert!(world.known.is_empty());
    world.pass(ASK_TIMEOUT / 100);
    assert_eq!(world.known, [("app".to_owned(), false)]);

    let mut world = World::new(&[A], 1, 1);
    ask(&mut world);
    world.settle();
    assert_eq!(world.known, [("app".to_owned(), false)]);
}

#[test]
fn heartbeats_alternate_state_receipted_heads_and_carry_receipts_of_the_other_log() {
    let (mut world, chain) = ready(&[A, B], 1);
    let silent = world.introduce("silent");
    world.settle();
    let head = world.seal(chain, 0);
    world.settle();
    world.seal(chain, 0); // on its way, not receipted
    for _ in 0..4 {
        world.pass(SECOND * 30);
        world.settle_introductions();
    }
    let beats = &world.heartbeats;
    assert_eq!(beats.len(), 4);
    let mut heads = vec![(chain, head), (silent, Head::start_of(silent))];
    heads.sort_by_key(|(chain, _)| *chain);
    for ((place, beat), (next, _)) in beats.iter().zip(&beats[1..]) {
        assert_eq!(beat.heads, heads);
        assert_ne!(place, next);
    }
    let carried: Vec<usize> = beats.iter().map(|(_, beat)| beat.receipts.len()).collect();
    assert_eq!(carried.iter().sum::<usize>(), 1, "the one receipt is told the other log once: {carried:?}");
    let (place, beat) = beats.iter().find(|(_, beat)| beat.receipts.len() == 1).unwrap();
    assert_ne!(beat.receipts[0].0, world.logs[place].identity.origin);
}

#[test]
fn a_chain_is_known_to_a_log_before_a_heartbeat_names_it_there() {
    let (mut world, _) = ready(&[A, B], 1);
    for _ in 0..2 {
        world.pass(SECOND * 30);
        while let Some(open) = world.request(|_| true) {
            let (is_chain, is_beat) =
                (matches!(open.call, Call::Chain { .. }), matches!(open.call, Call::Heartbeat(_)));
            assert!(is_chain || is_beat);
            assert!(!is_chain || world.requests.is_empty(), "the heartbeat waits for the introduction");
            world.answer_well(&open);
        }
    }
    assert_eq!(world.heartbeats.len(), 2);
}

#[test]
fn one_of_the_two_that_get_heartbeats_changes_with_the_hours() {
    let urls: Vec<String> = (0..6).map(|n| format!("https://c{n}:1")).collect();
    let mut world = World::new(&urls.iter().map(String::as_str).collect::<Vec<_>>(), 1, 1);
    world.introduce("app");
    world.settle();
    let mut pairs = BTreeSet::new();
    for _ in 0..12 {
        let from = world.heartbeats.len();
        for _ in 0..120 {
            world.pass(SECOND * 30);
            world.settle();
        }
        let pair: BTreeSet<String> = world.heartbeats[from + 2..].iter().map(|(place, _)| place.clone()).collect();
        assert!(pair.len() <= 3, "{pair:?}");
        pairs.insert(pair);
    }
    assert!(pairs.len() >= 4, "{pairs:?}");
}

#[test]
fn after_the_last_final_there_is_one_more_heartbeat_and_then_it_is_over() {
    let (mut world, chain) = ready(&[A, B], 1);
    world.seal(chain, 0);
    world.settle();
    world.apply(Event::Output(Output::Closed(chain)));
    assert!(!world.forward.is_done());
    world.apply(Event::Drain);
    world.settle();
    assert!(world.forward.is_done());
    assert_eq!(world.heartbeats.len(), 1);
    assert_eq!(world.heartbeats[0].1.heads, []);
}

#[test]
fn the_last_heartbeat_is_tried_twice_and_then_it_is_over_all_the_same() {
    let (mut world, chain) = ready(&[A, B], 1);
    world.apply(Event::Output(Output::Closed(chain)));
    world.apply(Event::Drain);
    for _ in 0..2 {
        let open = world.request(|open| matches!(open.call, Call::Heartbeat(_))).expect("tried");
        world.answer_status(&open, 503);
    }
    assert!(world.forward.is_done());
    assert_eq!(world.forward.tally().heartbeats_failed, 2);
}

#[test]
fn a_new_token_is_tried_at_once_where_the_old_one_was_refused() {
    let mut world = World::new(&[A], 1, 1);
    let chain = world.introduce("app");
    world.seal(chain, 0);
    world.accept();
    for _ in 0..40 {
        while let Some(open) = world.request(|_| true) {
            world.answer_status(&open, 401);
        }
        world.pass(SECOND);
    }
    while let Some(open) = world.request(|_| true) {
        world.answer_status(&open, 401);
    }
    world.apply(Event::TokenChanged);
    assert!(!world.requests.is_empty());
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn what_is_not_delivered_is_named_by_container_and_position() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    world.settle();
    world.seal(chain, 300);
    world.seal(chain, 0);
    let undelivered = world.forward.undelivered();
    assert_eq!(undelivered.len(), 1);
    let first = &undelivered[0];
    assert_eq!((first.container.as_str(), first.first_seq.get(), first.next_seq.get()), ("app", 1, 3));
    assert_eq!((first.batches, first.bytes), (2, 526));
}

#[test]
fn an_idle_session_wakes_for_heartbeats_only() {
    let (mut world, _) = ready(&[A, B, C], 1);
    let mut wakes = 0;
    let end = world.now + SECOND * 300;
    while world.now < end {
        world.now = world.forward.next_wake(world.moment()).unwrap().since(super::moment::Moment::default());
        world.tick();
        world.settle();
        wakes += 1;
    }
    assert!(wakes <= 12, "{wakes} wakes in five minutes");
}

/// What can happen to a session.
#[derive(Clone, Debug)]
enum Step {
    Seal { chain: usize, bytes: usize },
    Pass(u64),
    Accept,
    Refuse(usize),
    Cut(usize),
    Answer { which: usize, how: How },
    List(Vec<usize>),
}

#[derive(Clone, Debug)]
enum How {
    Well,
    Status(u16),
    Known,
    Garbage,
    Fail(Failure),
}

fn how() -> impl Strategy<Value = How> {
    let status = prop::sample::select(vec![400, 401, 403, 404, 412, 413, 429, 500, 503, 507]);
    prop_oneof![
        6 => Just(How::Well),
        3 => status.prop_map(How::Status),
        1 => Just(How::Known),
        1 => Just(How::Garbage),
        1 => Just(How::Fail(Failure::Transport)),
        1 => Just(How::Fail(Failure::Timeout)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 226..9_000_usize).prop_map(|(chain, bytes)| Step::Seal { chain, bytes }),
        3 => (1..4_000_u64).prop_map(Step::Pass),
        3 => Just(Step::Accept),
        1 => (0..4_usize).prop_map(Step::Refuse),
        1 => (0..4_usize).prop_map(Step::Cut),
        9 => (0..64_usize, how()).prop_map(|(which, how)| Step::Answer { which, how }),
        1 => prop::collection::vec(0..4_usize, 0..4).prop_map(Step::List),
    ]
}

const URLS: [&str; 4] = [A, B, C, "https://d:1"];

fn take(world: &mut World, step: Step, epoch: &mut u64) {
    match step {
        Step::Seal { chain, bytes } => {
            let chains: Vec<_> = world.chains.keys().copied().collect();
            world.seal(chains[chain], bytes);
        }
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::Accept => world.accept(),
        Step::Refuse(at) => world.refuse(URLS[at]),
        Step::Cut(at) => world.cut(URLS[at]),
        Step::Answer { which, how } => {
            if world.requests.is_empty() {
                return;
            }
            let open = world.requests.remove(which % world.requests.len());
            let answer = match how {
                How::Well => Ok(world.good(&open)),
                How::Status(status) => Ok(Answer { status, ..Answer::default() }),
                How::Known => Ok(Answer { status: 200, ..world.good(&open) }),
                How::Garbage => Ok(Answer { status: 200, body: Bytes::from_static(b"?"), ..Answer::default() }),
                How::Fail(failure) => Err(failure),
            };
            world.answer(&open, answer);
        }
        Step::List(members) => {
            *epoch += 1;
            let members: Vec<&str> = members.iter().map(|at| URLS[*at]).collect();
            if let Some(open) = world.request(|open| matches!(open.call, Call::Pool)) {
                world.answer(&open, Ok(list(*epoch, &members)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// The world asserts on the way that a prefix never goes back, that a batch is never twice in flight to one
    /// collector, and that nothing is sent on a connection that is not open.
    #[test]
    fn whatever_collectors_do_every_batch_is_queued_or_receipted_and_in_the_end_receipted(
        seed in any::<u64>(),
        copies in 1..=3_usize,
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(&URLS[..3], copies, seed);
        world.add_log(URLS[3]);
        let chains = ["x", "y", "z"].map(|name| world.introduce(name));
        let mut epoch = 0;
        let mut sealed = 0;
        for step in steps {
            sealed += u64::from(matches!(step, Step::Seal { .. }));
            take(&mut world, step, &mut epoch);
            let receipted: u64 = chains.iter().map(|chain| world.receipted_to(*chain)).sum();
            let gauges = world.forward.gauges(world.moment());
            prop_assert_eq!(receipted + gauges.unreceipted_batches, sealed);
            let mut in_flight = std::collections::BTreeMap::<_, usize>::new();
            for open in world.batches() {
                *in_flight.entry(open.collector).or_default() += 1;
            }
            prop_assert!(in_flight.values().all(|n| *n <= MAX_IN_FLIGHT));
        }
        for _ in 0..60 {
            world.settle();
            world.pass(SECOND * 10);
        }
        world.settle();
        let receipted: u64 = chains.iter().map(|chain| world.receipted_to(*chain)).sum();
        prop_assert_eq!(receipted, sealed, "{:?} {:?} {:?} {:?} {:?}", world.forward.parked, world.forward.wanted, world.forward.home, world.forward.starved, world.forward.collectors);
        prop_assert_eq!(world.forward.gauges(world.moment()).unreceipted_bytes, 0);
    }
}
