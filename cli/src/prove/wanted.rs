//! Which record is meant: `[CHAIN/]SEQ` or `[CHAIN/]TIME`.
//!
//! CHAIN is a chain's id or its first digits, as git takes a commit's; without it, `--namespace`, `--pod` and
//! `--container` say which chain. A time means the first record from then on that the container printed. What fits
//! several chains is refused with all of them named.

use std::fmt::Write as _;

use anyhow::Result;
use indelible_chain::batch::Commitment;
use indelible_chain::id::{ChainId, Seq, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::record::{Record, Records, Source as Printed};
use indelible_chain::stored::{Packer, Stored};
use indelible_chain::verify::{Frame, Scope};

use crate::clock::rfc3339;
use crate::exit::CommandError;
use crate::inventory::{Chain, Inventory};
use crate::judging::Named;
use crate::source::http::FetchError;
use crate::source::{Found, Source, SourceError};
use crate::text::{container, one_line};
use crate::values::{When, when};

/// Fewest digits of an id that name a chain.
const MIN_PREFIX: usize = 4;
/// Most chains that a message lists.
const MAX_CANDIDATES: usize = 20;

/// A record by its chain and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The chain.
    pub chain: ChainId,
    /// The position.
    pub seq: Seq,
}

/// A record as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The first digits of the chain's id.
    prefix: String,
    which: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Seq(Seq),
    From(When),
}

impl Wanted {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let (prefix, which) = text.split_once('/').map_or((None, text), |(prefix, which)| (Some(prefix), which));
        let seq = || which.parse::<u64>().ok().filter(|n| n.to_string() == which).map(|n| Which::Seq(Seq::new(n)));
        let which = seq().or_else(|| when(which).ok().map(Which::From));
        let is_prefix = |prefix: &str| {
            (MIN_PREFIX..=64).contains(&prefix.len()) && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match which {
            Some(which) if prefix.is_none_or(is_prefix) => {
                Ok(Self { prefix: prefix.unwrap_or_default().to_owned(), which })
            }
            _ => Err(CommandError::Usage(format!(
                "RECORD {}: expected CHAIN/SEQ or CHAIN/TIME, or SEQ or TIME alone with --namespace, --pod, \
                 --container; CHAIN is the first digits ({MIN_PREFIX} or more) of an id that indelible status shows, \
                 SEQ a number from 0, TIME as in --since",
                one_line(text)
            ))),
        }
    }

    /// Its position, if the command line alone says it: nothing has to be looked up then.
    pub fn exact(&self, scope: &Scope) -> Option<Position> {
        match self.which {
            Which::Seq(seq) if *scope == Scope::default() => Some(Position { chain: self.prefix.parse().ok()?, seq }),
            _ => None,
        }
    }

    /// The one chain that is meant.
    pub fn chain(&self, inventory: &Inventory, now: Time) -> Result<ChainId, NotOne> {
        let named = inventory.sorted().into_iter().filter(|(id, _)| id.to_string().starts_with(&self.prefix));
        let named: Vec<_> = named.collect();
        let mut holding: Vec<_> = named.iter().copied().filter(|(_, chain)| self.is_in(chain, now)).collect();
        if holding.is_empty() {
            holding = named.iter().copied().filter(|(_, chain)| self.is_before(chain, now)).collect();
        }
        match holding.as_slice() {
            [(id, _)] => Ok(**id),
            [] => Err(NotOne::None(candidates("no chain here has this record", &named, inventory))),
            _ => {
                let text = "several chains have such a record; put the first digits of one before it: CHAIN/…";
                Err(NotOne::Several(candidates(text, &holding, inventory)))
            }
        }
    }

    fn is_in(&self, chain: &Chain, now: Time) -> bool {
        match self.which {
            Which::Seq(seq) => seq.get() < chain.next_seq,
            Which::From(when) => {
                let time = when.resolve(now);
                chain.first.is_some_and(|first| first <= time) && chain.last.is_some_and(|last| time <= last)
            }
        }
    }

    /// Whether the time is before all records of a chain: the first from then on is its first one.
    fn is_before(&self, chain: &Chain, now: Time) -> bool {
        match self.which {
            Which::Seq(_) => false,
            Which::From(when) => chain.first.is_some_and(|first| when.resolve(now) < first),
        }
    }

    /// The position in that chain, `None` if no source shows it; and which sources could not be read, where it takes all
    /// of them to say it.
    pub fn seq(&self, chain: ChainId, sources: &mut [Named], now: Time) -> Result<(Option<Seq>, Vec<String>)> {
        let when = match self.which {
            Which::Seq(seq) => return Ok((Some(seq), Vec::new())),
            Which::From(when) => when.resolve(now),
        };
        let mut first = First { chain, from: when, packer: Packer::new()?, seq: None };
        let mut unread = Vec::new();
        for source in sources {
            let (label, read) = match source {
                Named::Closed { label, why } => (label.clone(), Err(why.clone())),
                Named::Open(source) => (source.label(), first.read(source).map_err(|e| e.to_string())),
            };
            if let Err(why) = read {
                unread.push(one_line(&format!("{label}: {why}")));
            }
        }
        Ok((first.seq, unread))
    }
}

/// Why there is not one chain.
#[derive(Debug)]
pub enum NotOne {
    /// None has the record.
    None(String),
    /// More than one has.
    Several(String),
}

fn candidates(text: &str, chains: &[(&ChainId, &Chain)], inventory: &Inventory) -> String {
    let mut out = text.to_owned();
    if chains.is_empty() {
        out.push_str("; indelible status lists all chains");
    }
    let digits = inventory.prefix_len();
    for (id, chain) in chains.iter().take(MAX_CANDIDATES) {
        let genesis = &chain.genesis;
        let whose = container(genesis);
        let (id, uid) = (&id.to_string()[..digits], one_line(&genesis.pod_uid));
        let _ = write!(out, "\n  {id}  {whose} (UID {uid}), {}", extent(chain)); // a String takes everything
    }
    if chains.len() > MAX_CANDIDATES {
        let _ = write!(out, "\n  and {} more; indelible status lists them", chains.len() - MAX_CANDIDATES);
    }
    out
}

fn extent(chain: &Chain) -> String {
    let Some(last) = chain.next_seq.checked_sub(1) else { return "no records".to_owned() };
    match (chain.first, chain.last) {
        (Some(first), Some(until)) => {
            format!("records 0 to {last}, {} to {}", rfc3339(first), rfc3339(until))
        }
        _ => format!("records 0 to {last}"),
    }
}

/// Looks for the first record from a time on.
struct First {
    chain: ChainId,
    from: Time,
    packer: Packer,
    seq: Option<Seq>,
}

impl First {
    fn read(&mut self, source: &mut Source) -> Result<(), SourceError> {
        match source {
            Source::Collector(collector) => {
                match collector.batches(&self.chain.to_string(), 0, u64::MAX, &mut |frame| self.look(&frame)) {
                    // It is there, and has none of the chain.
                    Err(FetchError::NotFound { .. }) => Ok(()),
                    read => Ok(read?),
                }
            }
            source @ Source::Directory(_) => source.frames(0, u64::MAX, &mut |found| {
                if let Found::Frame(frame) = found {
                    self.look(&frame);
                }
            }),
        }
    }

    fn look(&mut self, frame: &Frame<'_>) {
        let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(frame.leaf) else { return };
        if commitment.chain != self.chain || self.seq.is_some_and(|seq| seq <= commitment.first_seq) {
            return;
        }
        let found = self.find(&commitment, frame.body);
        self.seq = self.seq.into_iter().chain(found).min();
    }

    fn find(&mut self, commitment: &Commitment, stored: Stored<'_>) -> Option<Seq> {
        let body = self.packer.unpack(stored, commitment.body_len as usize).ok()?;
        let is_first = |record: &Record<'_>| record.time >= self.from && record.source != Printed::Control;
        let n = Records::new(body).map_while(Result::ok).position(|record| is_first(&record))?;
        Some(commitment.first_seq.plus(n as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::issuer::Issuer;
    use crate::source::directory::Directory;
    use crate::testlog::{NOW, TestLog};

    fn wanted(text: &str) -> Wanted {
        Wanted::parse(text).unwrap()
    }

    #[test]
    fn a_record_is_named_by_a_prefix_and_a_position_or_a_time() {
        for good in ["0", "17", "1h", "2026-01-31T12:00:00Z", "abcd/17", "0123abcd/1h30m"] {
            assert!(Wanted::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "abcd", "abcd/", "abc/1", "ABCD/1", "abcd/01", "abcd/-1", "/1", "abcd/1/2", "yesterday"] {
            let Err(CommandError::Usage(text)) = Wanted::parse(bad) else { panic!("{bad}") };
            assert!(text.starts_with("RECORD ") && text.contains("indelible status"), "{text}");
        }
    }

    fn listed() -> (TestLog, Inventory, Vec<Named>) {
        let log = TestLog::new(2, &Issuer::new().unwrap());
        let directory = Directory::open(log.path()).unwrap();
        let mut sources = vec![Named::Open(Source::Directory(Box::new(directory)))];
        let inventory = Inventory::of(&mut sources, &Scope::default(), NOW, 0);
        (log, inventory, sources)
    }

    #[test]
    fn a_prefix_names_its_chain_and_an_ambiguous_one_is_refused_with_the_candidates() {
        let (log, mut inventory, _) = listed();
        let id = log.chain.to_string();
        assert_eq!(wanted(&format!("{}/6", &id[..4])).chain(&inventory, NOW).ok(), Some(log.chain));
        assert_eq!(wanted("6").chain(&inventory, NOW).ok(), Some(log.chain), "there is one only");
        assert!(matches!(wanted("7").chain(&inventory, NOW), Err(NotOne::None(_))), "it has 7 records");

        let mut other = id.clone();
        other.replace_range(63.., if id.ends_with('0') { "1" } else { "0" });
        let chain = inventory.chains[&log.chain].clone();
        inventory.chains.insert(other.parse().unwrap(), chain);
        let Err(NotOne::Several(text)) = wanted(&format!("{}/6", &id[..8])).chain(&inventory, NOW) else { panic!() };
        assert!(text.contains(&id) && text.contains(&other) && text.contains("shop/checkout/app"), "{text}");
        assert_eq!(wanted(&format!("{id}/6")).chain(&inventory, NOW).ok(), Some(log.chain));
    }

    #[test]
    fn a_time_means_the_first_printed_record_from_then_on() {
        let (log, inventory, mut sources) = listed();
        let now = rfc3339(NOW);
        let time = wanted(&now);
        assert_eq!(time.chain(&inventory, NOW).ok(), Some(log.chain));
        assert_eq!(time.seq(log.chain, &mut sources, NOW).unwrap(), (Some(Seq::new(0)), vec![]));
        let before = wanted(&rfc3339(NOW.plus_nanos(-1)));
        assert_eq!(before.chain(&inventory, NOW).ok(), Some(log.chain), "its first record is from then on");
        let later = wanted(&rfc3339(NOW.plus_nanos(1)));
        assert!(matches!(later.chain(&inventory, NOW), Err(NotOne::None(_))));
        assert_eq!(later.seq(log.chain, &mut sources, NOW).unwrap(), (None, vec![]));
    }

    #[test]
    fn while_a_source_cannot_be_read_no_record_is_said_to_be_the_first_from_a_time_on() {
        let (log, _, mut sources) = listed();
        let position = |text: &str, sources: &mut [Named]| {
            super::super::position(&wanted(&format!("{}/{text}", log.chain)), &Scope::default(), sources).unwrap()
        };
        let now = rfc3339(NOW);
        assert_eq!(position(&now, &mut sources), Ok(Position { chain: log.chain, seq: Seq::ZERO }));
        sources.push(Named::Closed { label: "nowhere".into(), why: "no such directory".into() });
        let why = position(&now, &mut sources).unwrap_err();
        assert!(why.contains("nowhere: no such directory") && why.contains(&format!("{}/0", log.chain)), "{why}");
        assert_eq!(position("0", &mut sources), Ok(Position { chain: log.chain, seq: Seq::ZERO }));
    }
}
