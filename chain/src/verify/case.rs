//! All facts together, ready to be judged: which batches take part, the joined chains, which chain takes over from which.
//!
//! A [`Case`] is built from the facts without changing them, once for each round of the second reading and once for the
//! report. Owns the rules by which a batch takes part (the third column of the table's rows `foreign`, `unintroduced`
//! and `forged`) and the names of things for people; what is reported about them is the classes'.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::genesis::Genesis;
use crate::id::{ChainId, Seq, Time};
use crate::session::Session;

use super::blame::Blame;
use super::classes::rewritten::{Rewrite, rewrites};
use super::facts::{BatchFact, ChainNo, Facts, SessionNo, View, ViewId};
use super::fork::{Agreement, Comparison, Evidence, Questions, evidence};
use super::join::{Joined, Stated, Stater};
use super::judge::Links;
use super::prepare::{Body, Resumed, Signed};
use super::quorum::{Witnessed, witnessed};
use super::settle::Standing;
use super::sources::Sources;
use super::terms::{Scope, Terms};
use super::text::Utc;

/// Whether a batch takes part in its chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// It does.
    TakesPart,
    /// By its commitment alone: the body is not there to be checked.
    Unproven,
    /// Its signature, or what it says of its body, does not hold.
    Forged,
    /// Its body is damaged.
    BadBody,
    /// Its session is another pod's.
    Foreign,
    /// Its session was introduced by another pod's token only.
    ByForeign,
    /// No log in evidence introduces its session, or its chain.
    Unknown,
}

/// A chain that says in its record 0 that it takes over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takeover {
    /// The batch that says so.
    pub(super) batch: usize,
    /// The chain that takes over.
    pub(super) chain: ChainNo,
    pub(super) says: Resumed,
    /// The chain that it names, if it names one of the same container.
    pub(super) target: Option<ChainNo>,
}

/// The facts, joined.
pub(super) struct Case<'a> {
    pub(super) terms: &'a Terms,
    pub(super) facts: &'a Facts,
    pub(super) links: &'a Links,
    /// By batch number.
    pub(super) admissions: Vec<Admission>,
    /// By chain number.
    pub(super) joined: Vec<Joined>,
    pub(super) takeovers: Vec<Takeover>,
    /// Numbers of the takeovers that close a chain, by that chain.
    pub(super) closed_by: BTreeMap<ChainNo, Vec<usize>>,
    /// By view number; filled for the report.
    pub(super) standings: Vec<Standing>,
    /// Filled for the report.
    pub(super) sources: Sources<'a>,
    /// By view number; filled for the report.
    pub(super) rewrites: Vec<Vec<Rewrite>>,
    /// What a quorum of witnesses has seen of each view; filled for the report.
    pub(super) witnessed: Vec<Option<Witnessed>>,
    /// Filled for the report.
    pub(super) blame: Blame,
    /// Chains by container, by incarnation: under the id that the container's first chain has.
    containers: HashMap<ChainId, Vec<ChainNo>>,
}

impl<'a> Case<'a> {
    /// Joins what was read.
    pub(super) fn new(terms: &'a Terms, facts: &'a Facts, links: &'a Links) -> Self {
        let admissions = facts.batches.iter().map(|batch| admission(facts, batch)).collect();
        let mut case = Self {
            terms,
            facts,
            links,
            admissions,
            joined: Vec::new(),
            takeovers: Vec::new(),
            closed_by: BTreeMap::new(),
            standings: Vec::new(),
            sources: Sources::default(),
            rewrites: Vec::new(),
            witnessed: Vec::new(),
            blame: Blame::default(),
            containers: HashMap::new(),
        };
        for chain in case.numbers() {
            if let Some(genesis) = case.genesis(chain) {
                case.containers.entry(container(genesis)).or_default().push(chain);
            }
        }
        for chains in case.containers.values_mut() {
            chains.sort_by_key(|chain| facts.of_chain(*chain).genesis.as_ref().map(|genesis| genesis.incarnation));
        }
        case.find_takeovers();
        case.join_all();
        case
    }

    /// Everything that a report needs: how each log stands, what others claim of it, who answers for what is missing.
    pub(super) fn settle(mut self) -> Self {
        let standing = |view: &View| {
            let unreadable = &self.facts.sources[view.source.0].unreadable;
            let is_this = |origin: &Option<String>| origin.as_ref().is_none_or(|origin| *origin == view.origin);
            Standing::of(view, !unreadable.iter().any(|(origin, _)| is_this(origin)))
        };
        self.standings = self.facts.views.iter().map(standing).collect();
        self.sources = Sources::of(&self);
        self.rewrites = (0..self.facts.views.len()).map(|view| rewrites(&self, ViewId(view))).collect();
        self.witnessed = (0..self.facts.views.len()).map(|view| witnessed(&self, ViewId(view))).collect();
        self.blame = Blame::of(&self);
        self
    }

    fn find_takeovers(&mut self) {
        for (number, batch) in self.facts.batches.iter().enumerate() {
            let Some(says) = batch.resumed.filter(|_| self.admissions[number] == Admission::TakesPart) else {
                continue;
            };
            let genesis = self.genesis(batch.chain).expect("a batch takes part only if its chain is introduced");
            // In a chain that took over from none, the record means nothing.
            if genesis.incarnation == 0 {
                continue;
            }
            let named = says.from.and_then(|(id, _)| self.facts.chain_no(&id));
            let target = named.filter(|named| {
                *named != batch.chain && self.genesis(*named).is_none_or(|of| container(of) == container(genesis))
            });
            self.takeovers.push(Takeover { batch: number, chain: batch.chain, says, target });
        }
        // The same batch in two logs takes over once.
        self.takeovers.sort_by_key(|takeover| {
            (takeover.chain, self.facts.batches[takeover.batch].commitment.session, takeover.batch)
        });
        self.takeovers.dedup_by_key(|takeover| (takeover.chain, takeover.says.from.map(|(id, head)| (id, head.link))));
        // Of several that name none, the latest incarnation closes what all of them do.
        let mut latest: HashMap<ChainId, (u64, usize)> = HashMap::new();
        for (number, takeover) in self.takeovers.iter().enumerate() {
            match (takeover.says.from, takeover.target, self.genesis(takeover.chain)) {
                (Some(_), Some(target), _) => self.closed_by.entry(target).or_default().push(number),
                (Some(_), None, _) | (None, _, None) => {}
                (None, _, Some(genesis)) => {
                    let latest = latest.entry(container(genesis)).or_default();
                    *latest = (*latest).max((genesis.incarnation, number));
                }
            }
        }
        for (_, number) in latest.into_values() {
            for earlier in self.earlier(self.takeovers[number].chain).to_vec() {
                self.closed_by.entry(earlier).or_default().push(number);
            }
        }
    }

    /// The earlier chains of a chain's container.
    pub(super) fn earlier(&self, chain: ChainNo) -> &[ChainNo] {
        let Some(genesis) = self.genesis(chain) else { return &[] };
        let chains = self.containers.get(&container(genesis)).map_or(&[][..], Vec::as_slice);
        let is_earlier = |of: &ChainNo| self.genesis(*of).is_some_and(|of| of.incarnation < genesis.incarnation);
        &chains[..chains.partition_point(is_earlier)]
    }

    fn join_all(&mut self) {
        let mut batches: Vec<Vec<usize>> = vec![Vec::new(); self.facts.chains.len()];
        for (number, batch) in self.facts.batches.iter().enumerate() {
            batches[batch.chain.0 as usize].push(number);
        }
        let mut stated: Vec<Vec<Stated>> = vec![Vec::new(); self.facts.chains.len()];
        for (number, head) in self.facts.heads.iter().enumerate() {
            let counts = self.speaks_for(head.session, head.chain) && self.is_attested(head.session);
            if head.next_seq > Seq::ZERO && counts {
                let (next, link, received_at) = (head.next_seq, head.link, head.received_at);
                let by = Stater::Heartbeat(number);
                stated[head.chain.0 as usize].push(Stated { next, link, received_at, by });
            }
        }
        for takeover in &self.takeovers {
            if let (Some(target), Some((_, head))) = (takeover.target, takeover.says.from)
                && head.next_seq > Seq::ZERO
            {
                let received_at = self.facts.batches[takeover.batch].received_at;
                let by = Stater::Resumed(takeover.batch);
                stated[target.0 as usize].push(Stated { next: head.next_seq, link: head.link, received_at, by });
            }
        }
        self.joined = (self.numbers().zip(batches.iter().zip(stated)))
            .map(|(chain, (batches, stated))| self.join(chain, batches, stated, self.never_missing(chain)))
            .collect();
    }

    /// The position from which on nothing of a chain is missing, because a chain that names it took over there.
    fn never_missing(&self, chain: ChainNo) -> Option<Seq> {
        let closing = self.closed_by.get(&chain)?;
        closing.iter().filter_map(|number| self.takeovers[*number].says.from.map(|(_, head)| head.next_seq)).min()
    }

    /// The inner links that are needed.
    pub(super) fn questions(&self) -> BTreeMap<usize, Vec<Seq>> {
        let mut questions = Questions::new();
        for joined in &self.joined {
            if let Agreement::Asks(asked) = Comparison::of(self, joined, self.links).run() {
                merge(&mut questions, asked);
            }
        }
        for takeover in &self.takeovers {
            if let (Some(target), Some((_, head))) = (takeover.target, takeover.says.from)
                && let Evidence::Asks(asked) = evidence(self, self.of(target), self.links, head.next_seq, head.link)
            {
                merge(&mut questions, asked);
            }
        }
        questions.into_iter().map(|(batch, seqs)| (batch, seqs.into_iter().collect())).collect()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = ChainNo> + use<> {
        let count = u32::try_from(self.facts.chains.len()).expect("chains are numbered in 32 bits");
        (0..count).map(ChainNo)
    }

    pub(super) fn of(&self, chain: ChainNo) -> &Joined {
        &self.joined[chain.0 as usize]
    }

    pub(super) fn genesis(&self, chain: ChainNo) -> Option<&'a Genesis> {
        self.facts.of_chain(chain).genesis.as_deref()
    }

    pub(super) fn session(&self, session: SessionNo) -> Option<&'a Session> {
        self.facts.of_session(session).session.as_deref()
    }

    /// Whether a session's word counts for a chain: it is of the same pod, as far as that can be told.
    pub(super) fn speaks_for(&self, session: SessionNo, chain: ChainNo) -> bool {
        let Some(session) = self.session(session) else { return false };
        self.genesis(chain).is_none_or(|genesis| session.owns(genesis))
    }

    /// Whether a pod's own token introduced a session, as far as any log in evidence says.
    pub(super) fn is_attested(&self, session: SessionNo) -> bool {
        self.facts.of_session(session).is_attested()
    }

    /// Sessions that speak of a chain, by batches or heartbeats.
    pub(super) fn speakers(&self, chain: ChainNo) -> BTreeSet<SessionNo> {
        let joined = self.of(chain);
        let batches = joined.batches().map(|number| self.facts.batches[number].session);
        let heads = joined.stated.iter().filter_map(|stated| match stated.by {
            Stater::Heartbeat(head) => Some(self.facts.heads[head].session),
            Stater::Resumed(_) => None,
        });
        batches.chain(heads).collect()
    }

    /// Whether a chain is shown and judged.
    pub(super) fn in_scope(&self, chain: ChainNo) -> bool {
        let scope = &self.terms.scope;
        let Scope { namespace, pod, container, since, until } = scope;
        let speaker = || self.speakers(chain).iter().find_map(|session| self.session(*session));
        let named = if let Some(genesis) = self.genesis(chain) {
            scope.names(genesis)
        } else {
            // The container of a chain that nothing introduces is unknown; if nobody speaks for it, the pod too.
            let is_pod = |session| self.pod_in_scope(session);
            container.is_none() && speaker().map_or(namespace.is_none() && pod.is_none(), is_pod)
        };
        let mut times = self.of(chain).batches().map(|number| {
            let c = &self.facts.batches[number].commitment;
            (c.first_time.min(c.last_time), c.first_time.max(c.last_time))
        });
        let in_time = |(from, to): (Time, Time)| since.is_none_or(|s| to >= s) && until.is_none_or(|u| from <= u);
        named && (since.is_none() && until.is_none() || self.of(chain).edges.is_empty() || times.any(in_time))
    }

    /// Whether a session's pod is shown and judged.
    pub(super) fn pod_in_scope(&self, session: &Session) -> bool {
        self.terms.scope.names_pod(&session.namespace, &session.pod_name)
    }
}

/// Names for people.
impl Case<'_> {
    /// "container app of pod shop/cart-0".
    pub(super) fn who(&self, chain: ChainNo) -> String {
        if let Some(genesis) = self.genesis(chain) {
            let Genesis { namespace, pod_name, container, incarnation, .. } = genesis;
            let again = match incarnation {
                0 => String::new(),
                _ => format!(" (taken over at {})", Utc(Time::from_nanos(incarnation.cast_signed()))),
            };
            return format!("container {container} of pod {namespace}/{pod_name}{again}");
        }
        let rejected = self.of(chain).rejected.iter().map(|number| self.facts.batches[*number].session);
        let takeover = self.closed_by.get(&chain).into_iter().flatten().map(|number| &self.takeovers[*number]);
        let successor = takeover.map(|takeover| self.facts.batches[takeover.batch].session);
        let mut sessions = self.speakers(chain).into_iter().chain(rejected).chain(successor);
        match sessions.find_map(|session| self.session(session)) {
            Some(session) => {
                let Session { namespace, pod_name, .. } = session;
                format!("a container of pod {namespace}/{pod_name} that no log in the sources introduces")
            }
            None => {
                format!("a container that no log in the sources introduces (chain {})", self.facts.of_chain(chain).id)
            }
        }
    }

    /// "the sidecar of pod shop/cart-0 (session started at …)".
    pub(super) fn sidecar(&self, session: SessionNo) -> String {
        match self.session(session) {
            Some(session) => {
                let Session { namespace, pod_name, started_at, .. } = session;
                format!("the sidecar of pod {namespace}/{pod_name} that started at {}", Utc(*started_at))
            }
            None => format!("an unknown sidecar (session {})", self.facts.of_session(session).id),
        }
    }

    /// "log demo/c0-0 (./c0)".
    pub(super) fn log(&self, view: ViewId) -> String {
        format!("log {} ({})", self.origin(view), self.facts.source_of(view).label)
    }

    pub(super) fn origin(&self, view: ViewId) -> &str {
        &self.facts.view(view).origin
    }

    /// "leaf 17 of log demo/c0-0 (./c0)".
    pub(super) fn leaf(&self, batch: usize) -> String {
        let place = self.facts.batches[batch].place;
        format!("leaf {} of {}", place.index, self.log(place.view))
    }
}

fn merge(questions: &mut Questions, more: Questions) {
    for (batch, seqs) in more {
        questions.entry(batch).or_default().extend(seqs);
    }
}

/// What a container's chains have in common: the id of the first of them.
fn container(genesis: &Genesis) -> ChainId {
    let first = Genesis { incarnation: 0, ..genesis.clone() };
    first.chain_id().expect("a genesis that was decoded is within the limits")
}

/// Whether a batch that begins a chain begins with the chain's own id.
fn begins_right(batch: &BatchFact) -> bool {
    let c = &batch.commitment;
    c.first_seq > Seq::ZERO || c.prev_link == *c.chain.digest()
}

fn admission(facts: &Facts, batch: &BatchFact) -> Admission {
    let sessions = facts.of_session(batch.session);
    let (Some(session), Some(genesis)) = (&sessions.session, &facts.of_chain(batch.chain).genesis) else {
        return match batch.signed {
            Signed::No => Admission::Forged,
            Signed::Yes | Signed::KeyUnknown => Admission::Unknown,
        };
    };
    match (batch.signed, &batch.body) {
        (Signed::No, _) => return if batch.is_flawed { Admission::BadBody } else { Admission::Forged },
        (Signed::KeyUnknown, _) => return Admission::Unknown,
        // Known to hold with the body; without it this is all that can be said of a chain's beginning.
        (Signed::Yes, _) if !begins_right(batch) => return Admission::Forged,
        (Signed::Yes, Body::Damaged(_)) => return Admission::BadBody,
        (Signed::Yes, Body::Contradicts(_)) if batch.is_flawed => return Admission::BadBody,
        (Signed::Yes, Body::Contradicts(_)) => return Admission::Forged,
        (Signed::Yes, Body::Holds | Body::NotGiven | Body::Pruned | Body::Sparse) => {}
    }
    if !session.owns(genesis) {
        return Admission::Foreign;
    }
    if !sessions.is_attested() {
        return Admission::ByForeign;
    }
    if batch.body == Body::Holds { Admission::TakesPart } else { Admission::Unproven }
}
