//! What becomes of connections: lost ones, refused ones, outages, and how many there are.

use super::*;
use crate::forward::{Failure, Notice};
use crate::limits::MAX_IN_FLIGHT;

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
fn a_wake_that_comes_while_other_work_is_done_is_not_forgotten() {
    let (mut world, chain) = ready(&[A], 1);
    world.seal(chain, 0);
    let open = world.batch();
    world.answer_status(&open, 503);
    let due = world.forward.next_wake().unwrap();
    assert!(due > world.moment());
    world.now += SECOND;
    assert_eq!(world.forward.next_wake(), Some(due));
    world.tick();
    assert_eq!(world.batches().len(), 1);
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

#[test]
fn an_idle_session_wakes_for_heartbeats_only() {
    let (mut world, _) = ready(&[A, B, C], 1);
    let mut wakes = 0;
    let end = world.now + SECOND * 300;
    while world.now < end {
        world.now = world.forward.next_wake().unwrap().since(crate::forward::moment::Moment::default());
        world.tick();
        world.settle();
        wakes += 1;
    }
    assert!(wakes <= 12, "{wakes} wakes in five minutes");
}
