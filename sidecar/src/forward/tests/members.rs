//! Who the pool is: its own list, epochs, members that leave, and what its members know of a chain.

use indelible_chain::digest::Digest;
use indelible_chain::id::{SessionId, Time};
use indelible_chain::leaf::Leaf;

use super::*;
use crate::capture::Output;
use crate::forward::Event;
use crate::forward::world::{SESSION, genesis};
use crate::limits::{ASK_TIMEOUT, MAX_IN_FLIGHT};

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
fn what_waits_for_an_introduction_and_is_not_needed_any_more_takes_no_room_at_its_collector() {
    let mut world = World::new(&[A, B, C], 3, 1);
    world.accept();
    give_list(&mut world, list(1, &[A, B, C]));
    let slow = world.request(|open| open.endpoint == B && matches!(open.call, Call::Session)).unwrap();
    let chain = world.introduce("app");
    for _ in 0..MAX_IN_FLIGHT {
        world.seal(chain, 0);
    }
    while let Some(open) = world.request(|_| true) {
        let answer = world.good(&open);
        world.answer(&open, Ok(Answer { epoch: Some(2), ..answer }));
        if let Some(open) = world.request(|open| matches!(open.call, Call::Pool)) {
            // Not before all of them are on two logs and wait for the third.
            world.requests.push(open);
            if world.requests.len() == 1 {
                break;
            }
        }
    }
    assert_eq!(world.receipted_to(chain), 0);
    give_list(&mut world, list(2, &[A, B]));
    assert_eq!(world.receipted_to(chain), MAX_IN_FLIGHT as u64, "two logs are all there are");
    world.answer_well(&slow);
    world.settle();
    world.seal(chain, 0);
    world.settle_introductions();
    let places: Vec<&str> = world.batches().iter().map(|open| open.endpoint.as_str()).collect();
    assert!(places.contains(&B) && places.len() == 2, "{places:?}");
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
    ask_after(world, Vec::new());
}

/// Asks in a run that follows others, which died with the same question.
fn ask_after(world: &mut World, asked: Vec<SessionId>) {
    world.apply(Event::Output(Output::Ask { container: "app".into(), genesis: genesis("app"), asked }));
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
    let answer = known_since(&mut world, &open, SessionId::new(Digest::sha256(b"another run")));
    world.answer(&open, Ok(answer));
    assert_eq!(world.known, [("app".to_owned(), true)]);
    world.settle();
    assert_eq!(world.known.len(), 1);
}

/// The answer to a chain's introduction by who knows it since this session introduced it.
fn known_since(world: &mut World, open: &Open, session: SessionId) -> Answer {
    let leaf = Leaf::Genesis { genesis: genesis("app"), session, received_at: Time::from_nanos(9) };
    let body = world.receipt(&open.endpoint, &leaf);
    Answer { status: 200, body, ..world.good(open) }
}

/// Also by this run: the first answer was lost, and the question was asked again.
#[test]
fn a_chain_that_was_introduced_by_asking_is_new() {
    let by = |seed: u8| SessionId::new(Digest::sha256(&[seed]));
    for (introduced_by, known) in [(by(1), false), (by(2), false), (SESSION, false), (by(3), true)] {
        let mut world = World::new(&[A, B, C], 1, 1);
        ask_after(&mut world, vec![by(1), by(2)]);
        world.accept();
        while world.known.is_empty() {
            let open = world.request(|_| true).unwrap();
            let answer = match &open.call {
                Call::Chain { .. } => known_since(&mut world, &open, introduced_by),
                _ => world.good(&open),
            };
            world.answer(&open, Ok(answer));
            world.accept();
        }
        assert_eq!(world.known, [("app".to_owned(), known)]);
    }
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
