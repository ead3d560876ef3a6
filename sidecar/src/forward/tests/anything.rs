//! Random answers, timeouts, lost connections and changing pools, in any order.

use proptest::prelude::*;

use super::*;
use crate::forward::Failure;
use crate::limits::MAX_IN_FLIGHT;

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
            let gauges = world.forward.gauges(world.clocks());
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
        prop_assert_eq!(world.forward.gauges(world.clocks()).unreceipted_bytes, 0);
    }
}
