//! What answers to batches do: the rows of section 5's table, copies, prefixes, receipts.

use std::collections::BTreeSet;

use super::*;
use crate::forward::Notice;
use crate::limits::MAX_LOOK_AHEAD;

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
fn a_collector_that_asked_for_time_keeps_it_whatever_was_under_way_says_after_that() {
    let (mut world, chain) = ready(&[A], 1);
    for _ in 0..4 {
        world.seal(chain, 0);
    }
    let [busy, well, shorter, broken] = std::array::from_fn(|_| world.batch());
    let asks = |status, secs| Ok(Answer { status, retry_after: Some(SECOND * secs), ..Answer::default() });
    world.answer_status(&busy, 429);
    world.answer(&shorter, asks(429, 20));
    world.answer_well(&well);
    world.answer(&broken, asks(503, 1));
    assert!(!world.notices.iter().any(|notice| matches!(notice, Notice::Usable(_))), "{:?}", world.notices);
    world.pass(SECOND * 19);
    assert!(world.requests.is_empty(), "it was asked to wait: {:?}", world.requests);
    world.pass(SECOND * 4);
    world.settle();
    assert_eq!(world.receipted_to(chain), 4);
    assert!(matches!(world.notices.last(), Some(Notice::Usable(_))));
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
fn chains_whose_batches_can_go_nowhere_do_not_keep_those_of_another_from_going() {
    let (mut world, chain) = ready(&[A], 1);
    let names = ["stuck-0", "stuck-1", "stuck-2", "stuck-3"];
    for name in names {
        let stuck = world.introduce(name);
        let open = world.request(|open| matches!(open.call, Call::Chain { .. })).unwrap();
        world.answer(&open, Ok(Answer { status: 429, retry_after: Some(SECOND * 300), ..Answer::default() }));
        for _ in 0..MAX_LOOK_AHEAD / names.len() {
            world.seal(stuck, 0);
        }
    }
    assert!(world.batches().is_empty());
    world.seal(chain, 0);
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
}

#[test]
fn a_token_that_is_refused_is_asked_for_until_it_is_accepted() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    let open = world.batch();
    assert!(!world.forward.is_unauthorized());
    world.answer_status(&open, 401);
    assert!(world.forward.is_unauthorized());
    world.apply(crate::forward::Event::TokenChanged);
    assert!(world.forward.is_unauthorized(), "nobody has accepted it yet");
    world.settle();
    assert_eq!(world.receipted_to(chain), 1);
    assert!(!world.forward.is_unauthorized());
}

#[test]
fn the_lag_of_records_counts_from_when_they_were_printed_until_they_are_receipted() {
    let (mut world, chain) = ready(&[A], 1);
    world.pass(SECOND * 9);
    let lags = |world: &World| {
        let gauges = world.forward.gauges(world.clocks());
        (gauges.lag.as_secs(), gauges.record_lag.as_millis().div_ceil(1_000))
    };
    assert_eq!(lags(&world), (0, 0));
    // Its first record is of the first nanosecond of this world.
    world.seal(chain, 0);
    assert_eq!(lags(&world), (0, 9));
    world.settle();
    assert_eq!(lags(&world), (0, 0));
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
