//! Heartbeats, the end, and tokens that are renewed.

use std::collections::BTreeSet;

use indelible_chain::digest::Digest;
use indelible_chain::id::{Head, Seq};

use super::*;
use crate::capture::Output;
use crate::forward::Event;

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
    // The log that gave none has the receipt of the other in each, since it keeps one of many heartbeats.
    for (place, beat) in beats {
        let origins: Vec<&String> = beat.receipts.iter().map(|(origin, _)| origin).collect();
        let others: Vec<&String> =
            origins.iter().copied().filter(|of| **of != world.logs[place].identity.origin).collect();
        assert_eq!(origins, others);
    }
    let carried: BTreeSet<(&String, usize)> = beats.iter().map(|(place, beat)| (place, beat.receipts.len())).collect();
    assert_eq!(carried.iter().map(|(_, count)| count).sum::<usize>(), 1, "{carried:?}");
    assert_eq!(carried.len(), 2, "the same in each: {carried:?}");
}

#[test]
fn a_quiet_chain_of_an_earlier_session_is_stated_with_the_head_that_was_receipted_then() {
    let (mut world, chain) = ready(&[A], 1);
    let genesis = world.chains[&chain].clone();
    let head = Head { next_seq: Seq::new(7), link: Digest::sha256(b"seventh") };
    world.apply(Event::Output(Output::Closed(chain)));
    world.apply(Event::Output(Output::Introduce { chain, genesis, head }));
    world.settle_introductions();
    world.pass(SECOND * 30);
    world.settle_introductions();
    assert_eq!(world.heartbeats.last().unwrap().1.heads, [(chain, head)]);
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
