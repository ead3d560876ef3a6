//! The store against a model: a plain list of leaves, searched from the front for each decision. Random lives with
//! repeats, overlaps, forks, ticks, crashes and restarts end with the same answers and the same log.

use indelible_chain::batch::Commitment;
use indelible_chain::id::{ChainId, LeafIndex, Seq, SessionId, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::statement::Statement;
use proptest::prelude::*;

use super::log::{Log, options};
use super::pod::Pod;
use crate::limits::CONFLICTS_PER_CHAIN;
use crate::store::Append;
use crate::store::append::{AppendError, Appended};
use crate::store::files::memory::Restart;
use crate::store::index::table::ends_of;

#[derive(Clone, Copy, Debug)]
enum What {
    Session,
    Genesis,
    Batch {
        from: u64,
        count: u64,
    },
    /// Going on from an agreed head with other words.
    Fork {
        from: u64,
        count: u64,
        word: u8,
    },
}

#[derive(Clone, Debug)]
enum Step {
    Group(Vec<(u32, u32, What)>),
    Tick,
    Restart(Restart),
    Pause,
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        1 => Just(What::Session),
        1 => Just(What::Genesis),
        6 => (0..8u64, 1..4u64).prop_map(|(from, count)| What::Batch { from, count }),
        3 => (0..8u64, 1..3u64, 0..30u8).prop_map(|(from, count, word)| What::Fork { from, count, word }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let restart = prop_oneof![
        Just(Restart::Process),
        Just(Restart::Power),
        any::<u8>().prop_map(Restart::PowerTorn),
        Just(Restart::PowerOutOfOrder),
    ];
    prop_oneof![
        8 => prop::collection::vec((0..3u32, 0..2u32, what()), 1..6).prop_map(Step::Group),
        2 => Just(Step::Tick),
        1 => restart.prop_map(Step::Restart),
        1 => Just(Step::Pause),
    ]
}

const MARK: u64 = indelible_chain::frame::MARK_BYTES as u64;

/// The model: all leaves, in order.
#[derive(Default)]
struct Model {
    leaves: Vec<Leaf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Fresh { index: u64, conflict: Option<u64> },
    Known { index: u64, conflict: Option<u64> },
    NoSession,
    NoChain,
    TooMany,
}

impl Model {
    fn session(&self, id: SessionId) -> Option<u64> {
        self.position(|leaf| matches!(leaf, Leaf::Session { session, .. } if session.id() == Ok(id)))
    }

    fn chain(&self, id: ChainId) -> Option<u64> {
        self.position(|leaf| matches!(leaf, Leaf::Genesis { genesis, .. } if genesis.chain_id() == Ok(id)))
    }

    fn position(&self, is: impl Fn(&Leaf) -> bool) -> Option<u64> {
        self.leaves.iter().position(is).map(|n| n as u64)
    }

    fn batches(&self, chain: ChainId) -> impl Iterator<Item = (u64, &Commitment)> {
        (0..).zip(&self.leaves).filter_map(move |(index, leaf)| match leaf {
            Leaf::Batch { commitment, .. } if commitment.chain == chain => Some((index, commitment)),
            _ => None,
        })
    }

    fn contradicted(&self, batch: &Commitment, before: u64) -> Option<(Seq, u64)> {
        ends_of(batch).find_map(|(seq, link)| {
            let earlier = self.batches(batch.chain).take_while(|(index, _)| *index < before);
            let stated = earlier.flat_map(|(index, stored)| ends_of(stored).map(move |end| (index, end)));
            let here: Vec<_> = stated.filter(|(_, (at, _))| *at == seq).collect();
            let agrees = here.iter().any(|(_, (_, stated))| *stated == link);
            here.first().filter(|_| !agrees).map(|(index, _)| (seq, *index))
        })
    }

    fn conflicts(&self, id: ChainId) -> usize {
        let is = |leaf: &&Leaf| matches!(leaf, Leaf::Statement { statement: Statement::Conflict { chain, .. }, .. } if *chain == id);
        self.leaves.iter().filter(is).count()
    }

    fn take(&mut self, item: &Append, time: Time) -> Expected {
        let index = self.leaves.len() as u64;
        let fresh = Expected::Fresh { index, conflict: None };
        match item {
            Append::Session { session, attested, .. } => {
                if let Some(index) = self.session(session.id().unwrap()) {
                    return Expected::Known { index, conflict: None };
                }
                let (session, attested) = (session.clone(), attested.clone());
                self.leaves.push(Leaf::Session { session, attested, received_at: time });
                fresh
            }
            Append::Genesis { genesis, session } => {
                if self.session(*session).is_none() {
                    return Expected::NoSession;
                }
                if let Some(index) = self.chain(genesis.chain_id().unwrap()) {
                    return Expected::Known { index, conflict: None };
                }
                self.leaves.push(Leaf::Genesis { genesis: genesis.clone(), session: *session, received_at: time });
                fresh
            }
            Append::Batch(upload) => self.take_batch(*upload.commitment(), time),
            Append::Authority(_) | Append::Liveness(_) => unreachable!("the model has none"),
        }
    }

    fn take_batch(&mut self, commitment: Commitment, time: Time) -> Expected {
        if self.session(commitment.session).is_none() {
            return Expected::NoSession;
        }
        if self.chain(commitment.chain).is_none() {
            return Expected::NoChain;
        }
        if let Some((index, _)) = self.batches(commitment.chain).find(|(_, stored)| **stored == commitment) {
            let conflict = self.contradicted(&commitment, index).map(|(_, other)| other);
            return Expected::Known { index, conflict };
        }
        let contradicted = self.contradicted(&commitment, u64::MAX);
        if contradicted.is_some() && self.conflicts(commitment.chain) >= CONFLICTS_PER_CHAIN as usize {
            return Expected::TooMany;
        }
        let index = self.leaves.len() as u64;
        self.leaves.push(Leaf::Batch { commitment, received_at: time });
        if let Some((seq, first)) = contradicted {
            let (first, second) = (LeafIndex::new(first), LeafIndex::new(index));
            let statement = Statement::Conflict { chain: commitment.chain, seq, first, second };
            self.leaves.push(Leaf::Statement { statement, time });
        }
        Expected::Fresh { index, conflict: contradicted.map(|(_, other)| other) }
    }
}

fn expected_of(answer: Result<Appended, AppendError>) -> Expected {
    match answer {
        Ok(appended) if appended.fresh => {
            Expected::Fresh { index: appended.index.get(), conflict: appended.conflict.map(LeafIndex::get) }
        }
        Ok(appended) => {
            Expected::Known { index: appended.index.get(), conflict: appended.conflict.map(LeafIndex::get) }
        }
        Err(AppendError::SessionNotIntroduced(_)) => Expected::NoSession,
        Err(AppendError::ChainNotIntroduced(_)) => Expected::NoChain,
        Err(AppendError::TooManyConflicts { .. }) => Expected::TooMany,
        Err(error) => panic!("{error}"),
    }
}

fn item(pod: u32, session: u32, what: What) -> Append {
    let pod = Pod::new(pod, session);
    match what {
        What::Session => pod.session_item(),
        What::Genesis => pod.genesis_item(),
        What::Batch { from, count } => pod.batch(from, count).item(),
        What::Fork { from, count, word } => pod.fork(from, count, &format!("other {word}")).item(),
    }
}

fn live(steps: Vec<Step>, segment_bytes: u64, remembered: std::time::Duration) {
    let mut log = Log::new(crate::store::Options { segment_bytes, remembered, ..options() });
    let mut model = Model { leaves: log.frames().iter().map(super::log::Frame::leaf).collect() };
    for step in steps {
        match step {
            Step::Group(items) => {
                let items: Vec<_> = items.into_iter().map(|(pod, session, what)| item(pod, session, what)).collect();
                let answers = log.commit(items.clone()).unwrap();
                let time = log.opened().shared.state().table.last_time;
                let answers = answers.into_iter().map(|answer| expected_of(answer.map(|durable| *durable.get())));
                for (item, answer) in items.iter().zip(answers) {
                    assert_eq!(answer, model.take(item, time));
                }
            }
            Step::Tick => assert!(!log.tick().unwrap()),
            Step::Restart(how) => {
                log.restart(how).unwrap();
                let said = log.frames_of(model.leaves.len() as u64, u64::MAX);
                let statements: Vec<_> = said.iter().filter_map(super::log::Frame::statement).collect();
                // The mark behind the last group is not synced, and may be torn.
                match &statements[..] {
                    [Statement::Started { .. }] => {}
                    [Statement::Started { .. }, Statement::Recovered { bytes, .. }] => assert!(*bytes <= MARK),
                    other => panic!("{other:?}"),
                }
                assert_eq!(statements.len(), said.len());
                model.leaves.extend(said.iter().map(super::log::Frame::leaf));
            }
            Step::Pause => log.clock.advance(100 * Time::SECOND),
        }
    }
    log.check();
    let leaves: Vec<_> = log.frames().iter().map(super::log::Frame::leaf).collect();
    let without_times = |leaf: &Leaf| match leaf {
        Leaf::Statement { statement, .. } => Leaf::Statement { statement: statement.clone(), time: Time::default() },
        leaf => leaf.clone(),
    };
    let (left, right): (Vec<_>, Vec<_>) =
        (leaves.iter().map(without_times).collect(), model.leaves.iter().map(without_times).collect());
    assert_eq!(left, right);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_life_is_that_of_a_plain_list(
        steps in prop::collection::vec(step(), 1..40),
        segment_bytes in prop::sample::select(vec![1024, 2048, 8192, 1 << 20]),
        remembered in prop::sample::select(vec![0, 90, 3600]),
    ) {
        live(steps, segment_bytes, std::time::Duration::from_secs(remembered));
    }
}
