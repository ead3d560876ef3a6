//! Which chain a container's output goes into: a new one, the last run's, or another incarnation (format 1.2).

use indelible_chain::control::ResumeReason;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::{Head, Time};

use super::chain::Chain;
use super::{Edges, Ending, Look, Tail, Turn, nanos};
use crate::capture::{Output, Pod};
use crate::decision::{Origin, Resumed};
use crate::failpoint::failpoint;
use crate::incarnation::{Beside, Trust, judge, next_genesis, take_over};
use crate::journal::{Journal, JournalError, Loaded, State};
use crate::limits::{ASK_TIMEOUT, REJECTED_INTERVAL};
use crate::lines::Assembler;
use crate::trouble::Trouble;

/// How far a tail is on its way into a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Without state: its directory is to be listed.
    New,
    /// There was a state that cannot be read.
    Lost,
    /// With state: its directory is to be listed, so that it can be judged.
    Loaded {
        /// How much of the state could be read.
        trust: Trust,
        /// Since when a file is there that cannot be opened.
        refused: Option<Time>,
    },
    /// Without state: collectors are asked whether they know the chain.
    Asking {
        /// Since when.
        since: Time,
        /// What they said.
        known: Option<bool>,
    },
    /// Reading and linking.
    Open,
    /// Rejected too soon after the last time: bytes are held.
    Suspended,
    /// Its FINAL was receipted, and the sidecar terminates.
    Closed,
}

/// What the first listing showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum First {
    /// Nothing, or nothing but an unrotated `0.log`: everything the container printed is there.
    Fresh,
    /// More: the container ran before it was looked at.
    Under,
}

impl Tail {
    /// A container of which `found` was in the state directory. Fails only if the pod's names do not fit a genesis.
    pub fn new(
        container: &str,
        pod: &Pod,
        boot_id: &str,
        found: Option<Loaded>,
    ) -> Result<Self, indelible_chain::bytes::DecodeError> {
        let origin = Origin {
            genesis: first_genesis(container, pod),
            boot_id: boot_id.into(),
            resumed: None,
            rejected_at: None,
        };
        let draft = Journal::draft(container.into(), State::new(origin)?);
        let loaded = |state: State| Journal::found(container.into(), state);
        let (stage, journal) = match found {
            None => (Stage::New, draft),
            Some(Loaded::Lost) => (Stage::Lost, draft),
            Some(Loaded::Damaged(state)) => (Stage::Loaded { trust: Trust::Damaged, refused: None }, loaded(*state)),
            Some(Loaded::Sound(state)) => (Stage::Loaded { trust: Trust::Whole, refused: None }, loaded(*state)),
        };
        let place = journal.state().cursor.place;
        Ok(Self {
            container: container.into(),
            stage,
            journal,
            held: std::collections::BTreeMap::new(),
            unopened: std::collections::BTreeMap::new(),
            aliases: std::collections::BTreeMap::new(),
            named: std::collections::BTreeSet::new(),
            first: None,
            beside: Beside::Follow,
            hinted: std::collections::BTreeSet::new(),
            place,
            long: None,
            lines: Assembler::default(),
            chain: None,
            succeeded: None,
            failing: None,
            file_end: None,
            look: Look::Due,
            unseen: super::unseen::Unseen::default(),
            unlisted: Trouble::default(),
            unwritten: Trouble::default(),
            crowded: Trouble::default(),
            turn: Turn::Idle,
            retry_at: None,
        })
    }

    /// Takes the next steps towards an open chain.
    pub(super) fn begin(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        let Some(first) = self.first else { return Ok(()) };
        match self.stage {
            Stage::New if first == First::Fresh => {
                // Asking is introducing, so a crash after this lets the next run know who it was that asked.
                let asked = self.journal.ask(e.store, e.sealer.session())?;
                self.stage = Stage::Asking { since: e.now, known: None };
                let genesis = self.journal.state().origin.genesis.clone();
                e.out.push(Output::Ask { container: self.container.clone(), genesis, asked });
                Ok(())
            }
            Stage::New | Stage::Lost | Stage::Asking { known: Some(true), .. } => self.begin_lost(e),
            Stage::Asking { known: Some(false), .. } => self.begin_with(e, self.journal.state().clone()),
            Stage::Asking { since, known: None } if !(0..nanos(ASK_TIMEOUT)).contains(&e.now.since(since)) => {
                self.begin_with(e, self.journal.state().clone())
            }
            Stage::Loaded { trust, .. } => {
                match judge(self.journal.state(), trust, e.boot_id, self.beside, |file| self.readable(file)) {
                    None => self.begin_with(e, self.journal.state().clone()),
                    Some(reason) => self.replace(e, reason),
                }
            }
            Stage::Suspended if self.may_be_rejected(e.now) => self.replace(e, ResumeReason::Rejected),
            Stage::Asking { known: None, .. } | Stage::Open | Stage::Suspended | Stage::Closed => Ok(()),
        }
    }

    /// The container ran before there was a state that says what was said of it.
    fn begin_lost(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        let State { origin, table, .. } = self.journal.state().clone();
        let resumed = Some(Resumed { reason: ResumeReason::StateLost, from: None });
        let genesis = next_genesis(&origin.genesis, e.now);
        let state = State::new(Origin { genesis, resumed, ..origin }).expect("only the incarnation was changed");
        self.begin_with(e, State { table, ..state })?;
        e.stats.count_resumed(ResumeReason::StateLost);
        Ok(())
    }

    /// Another chain takes over from the one that was.
    pub(super) fn replace(&mut self, e: &mut Edges<'_>, reason: ResumeReason) -> Result<(), JournalError> {
        let state = take_over(self.journal.state(), reason, e.boot_id, e.now, |file| self.readable(file))
            .expect("only the incarnation was changed");
        let replaced = self.chain.as_ref().filter(|chain| chain.is_introduced()).map(Chain::id);
        self.begin_with(e, state)?;
        tracing::warn!(container = self.container, reason = reason.word(), "a new incarnation of the chain begins");
        e.stats.count_resumed(reason);
        // One that was not heard is begun again under its own id.
        e.out.extend(replaced.filter(|replaced| self.chain_id() != Some(*replaced)).map(Output::Closed));
        Ok(())
    }

    /// Writes the state down and opens the chain at its cursor.
    fn begin_with(&mut self, e: &mut Edges<'_>, state: State) -> Result<(), JournalError> {
        failpoint("begin");
        // A crash before this decides anew in the next run; nobody has seen the chain. One after it goes on with it.
        self.journal.begin(e.store, state)?;
        failpoint("begun");
        let state = self.journal.state();
        let genesis = state.origin.genesis.clone();
        let (chain, head) = (genesis.chain_id().expect("the state was made with it"), state.cursor.head);
        let resumed = state.origin.resumed.filter(|_| head == Head::start_of(chain));
        self.place = state.cursor.place;
        self.lines = Assembler::new(state.cursor.lines.clone());
        (self.long, self.succeeded, self.failing, self.file_end) = (None, None, None, None);
        let mut opened = Chain::new(chain, head);
        self.stage = Stage::Open;
        self.turn = Turn::More;
        let incarnation = genesis.incarnation;
        match resumed {
            // Before its record 0 is handed out, nobody need know of it.
            Some(_) => opened.introduce_later(genesis),
            None => e.out.push(Output::Introduce { chain, genesis, head }),
        }
        self.chain = Some(opened);
        if let (Some(resumed), Some(mut linker)) = (resumed, self.linker(e)) {
            let time = Time::from_nanos(i64::try_from(incarnation).unwrap_or(i64::MAX));
            linker.say(time, &resumed.control());
            // Alone in its batch, which goes first: see `hand_out`.
            self.seal(e);
        }
        self.forget();
        Ok(())
    }

    /// The answer to [`Output::Ask`].
    pub fn known(&mut self, answer: bool) {
        if let Stage::Asking { known, .. } = &mut self.stage {
            *known = Some(answer);
        }
    }

    /// Two collectors refused the chain.
    pub fn rejected(&mut self) {
        if self.stage == Stage::Open {
            // What was linked or handed out and not receipted is forgotten, and read again from the cursor.
            self.chain = None;
            self.place = self.journal.state().cursor.place;
            self.long = None;
            self.stage = Stage::Suspended;
        }
    }

    fn may_be_rejected(&self, now: Time) -> bool {
        let last = self.journal.state().origin.rejected_at;
        last.is_none_or(|last| !(0..nanos(REJECTED_INTERVAL)).contains(&now.since(last)))
    }

    /// The chain's FINAL is receipted.
    pub(super) fn closed(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        match e.ending {
            Ending::Yes => {
                e.out.extend(self.chain_id().map(Output::Closed));
                self.stage = Stage::Closed;
                Ok(())
            }
            // An earlier run had ended it: what is printed since goes into the next.
            Ending::No => self.replace(e, ResumeReason::AfterEnd),
        }
    }

    /// Whether it was rejected too soon after the last time.
    pub fn is_suspended(&self) -> bool {
        self.stage == Stage::Suspended
    }

    /// Whether its FINAL was receipted.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Whether its directory was listed and its files are open.
    pub fn is_armed(&self) -> bool {
        self.first.is_some()
    }
}

fn first_genesis(container: &str, pod: &Pod) -> Genesis {
    let Pod { cluster_uid, namespace, name, uid } = pod.clone();
    Genesis {
        capture: Capture::CriLogFile,
        cluster_uid,
        namespace,
        pod_name: name,
        pod_uid: uid,
        container: container.into(),
        path: String::new(),
        incarnation: 0,
    }
}
