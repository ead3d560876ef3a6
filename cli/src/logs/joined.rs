//! Chains, joined over all logs that are followed.
//!
//! A batch is shown when its session signed it, its links lead to its end, and it meets what was shown of its chain.
//! What comes too early waits, up to a bound; then the chain goes on after the hole, and the hole is said. What does not
//! hold is said and not shown, and the exit code tells.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use anyhow::Result;
use indelible_chain::batch::Commitment;
use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, Seq};
use indelible_chain::leaf::Leaf;
use indelible_chain::record::Records;
use indelible_chain::session::Session;
use indelible_chain::stored::{Packer, Stored};

use super::lines::{Printer, Whose};
use super::merge::{Body, positions, unpack};
use super::runs::{Runs, Taken};
use super::vouched::flaw;
use crate::exit::{MISSING, TAMPERED, worse};
use crate::judging::Introduced;
use crate::limits::{MAX_HELD_BATCHES, MAX_HELD_BYTES};
use crate::source::OwnedFrame;
use crate::terminal::say;
use crate::text::{container, one_line};
use crate::tokens::IssuerKeys;

/// Where a batch is in its chain; of two for the same positions both are kept, unless they are the same.
type Place = (Seq, Seq, Digest);

/// The chains.
pub struct Joined {
    introduced: Introduced,
    runs: HashMap<ChainId, Runs>,
    held: HashMap<ChainId, BTreeMap<Place, (Commitment, Body)>>,
    held_bytes: usize,
    tokens: Option<IssuerKeys>,
    packer: Packer,
    exit: u8,
}

impl Joined {
    /// Goes on from what was shown, with the keys of who may vouch for sessions.
    pub fn new(
        introduced: Introduced,
        runs: HashMap<ChainId, Runs>,
        tokens: Option<IssuerKeys>,
        exit: u8,
    ) -> Result<Self> {
        let packer = Packer::new()?;
        Ok(Self { introduced, runs, held: HashMap::new(), held_bytes: 0, tokens, packer, exit })
    }

    /// The exit code, as things are.
    pub const fn exit(&self) -> u8 {
        self.exit
    }

    /// Says what is wrong, and that it counts.
    pub fn complain(&mut self, exit: u8, text: &str) {
        say(format_args!("fail: {}", one_line(text)));
        self.exit = worse(self.exit, exit);
    }

    /// Takes a leaf of a log, and shows what it makes possible.
    pub fn frame<W: Write>(&mut self, log: &str, frame: &OwnedFrame, printer: &mut Printer<W>) -> io::Result<()> {
        self.introduced.learn(&frame.leaf);
        let what = format!("leaf {} of {log}", frame.index);
        let stored = Stored { codec: frame.codec, bytes: &frame.body };
        let commitment = match Leaf::decode(&frame.leaf) {
            Ok(Leaf::Batch { commitment, .. }) => commitment,
            Ok(Leaf::Session { session, attested, received_at }) => {
                let Session { namespace, pod_name, .. } = &session;
                if printer.wants_of(namespace, pod_name)
                    && let Some(why) =
                        flaw((&session, &attested, received_at), stored, self.tokens.as_ref(), &mut self.packer)
                {
                    self.complain(TAMPERED, &format!("{what}, a session of pod {namespace}/{pod_name}: {why}"));
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let chain = commitment.chain;
        let Some(genesis) = self.introduced.chains.get(&chain) else {
            self.complain(
                TAMPERED,
                &format!("{what} is not shown: a batch of chain {chain}, which nothing introduced"),
            );
            return Ok(());
        };
        if !printer.wants(genesis) {
            return Ok(());
        }
        let session = self.introduced.sessions.get(&commitment.session);
        let signed = session.is_some_and(|s| s.owns(genesis) && commitment.is_signed_by(&s.public_key));
        let unpacked = unpack(&commitment, stored, &mut self.packer);
        match unpacked {
            Ok(body) if signed => self.hold(commitment, body),
            Ok(_) => self.complain(TAMPERED, &format!("{what} is not shown: no session of the pod signed it")),
            Err(why) => self.complain(TAMPERED, &format!("{what} is not shown: {why}")),
        }
        self.show(chain, printer)?;
        while self.held_bytes > MAX_HELD_BYTES || self.held.get(&chain).is_some_and(|of| of.len() > MAX_HELD_BATCHES) {
            if !self.skip(chain) {
                break; // what is held is of other chains, and within the bound without this one
            }
            self.show(chain, printer)?;
        }
        Ok(())
    }

    fn hold(&mut self, commitment: Commitment, body: Body) {
        self.held_bytes += body.len();
        let place = (commitment.first_seq, commitment.next_seq(), commitment.last_link);
        let before = self.held.entry(commitment.chain).or_default().insert(place, (commitment, body));
        self.held_bytes -= before.map_or(0, |(_, body)| body.len());
    }

    /// Shows the batches that meet what was shown.
    fn show<W: Write>(&mut self, chain: ChainId, printer: &mut Printer<W>) -> io::Result<()> {
        let Some(genesis) = self.introduced.chains.get(&chain).cloned() else { return Ok(()) };
        let Some(mut held) = self.held.remove(&chain) else { return Ok(()) };
        let mut met = true;
        while met {
            met = false;
            for (place, (commitment, body)) in std::mem::take(&mut held) {
                match self.runs.entry(chain).or_insert_with(|| Runs::new(chain)).take(&body.heads) {
                    Taken::Early => {
                        held.insert(place, (commitment, body));
                        continue;
                    }
                    Taken::Forks(at) => {
                        let of = container(&genesis);
                        self.complain(TAMPERED, &format!("{of}: two records before position {at}; one is not shown"));
                    }
                    Taken::Shows(ranges) => {
                        for (seq, at) in positions(&commitment, &body.bytes) {
                            let is_new = ranges.iter().any(|range| range.contains(&seq));
                            if is_new && let Some(Ok(record)) = Records::new(&body.bytes[at..]).next() {
                                printer.record(Whose { chain, genesis: &genesis }, seq, &record)?;
                            }
                        }
                    }
                }
                met = true;
                self.held_bytes -= body.len();
            }
        }
        if !held.is_empty() {
            self.held.insert(chain, held);
        }
        Ok(())
    }

    /// Goes on with a chain after a hole, since too much waits for it; whether anything did.
    fn skip(&mut self, chain: ChainId) -> bool {
        let held = self.held.get(&chain).and_then(BTreeMap::first_key_value);
        let Some((head, genesis)) =
            held.and_then(|(_, (of, _))| Some((of.head_before(), self.introduced.chains.get(&chain)?)))
        else {
            return false;
        };
        let of = container(genesis);
        let from = self.runs.entry(chain).or_insert_with(|| Runs::new(chain)).begin(head);
        let limits = format!("{MAX_HELD_BATCHES} batches of a container, {MAX_HELD_BYTES} bytes of all");
        self.complain(
            MISSING,
            &format!(
                "{of}: records {from} to {} have not come, and no more can wait for them ({limits}): what comes after \
                 them is shown; verify tells where they are",
                head.next_seq
            ),
        );
        true
    }

    /// Says what still waits, and what could not be compared.
    pub fn finish(&self) {
        for text in self.open() {
            say(text);
        }
    }

    fn open(&self) -> Vec<String> {
        let of = |chain| self.introduced.chains.get(chain).map_or_else(|| format!("chain {chain}"), container);
        let waits = self.held.iter().map(|(chain, held)| {
            let (of, first) = (of(chain), held.keys().next().map_or(Seq::ZERO, |(first, ..)| *first));
            format!("{of}: records from {first} on are not shown, those before them have not come yet")
        });
        let uncompared = self.runs.iter().filter(|(_, runs)| runs.uncompared() > 0).map(|(chain, runs)| {
            let (of, count) = (of(chain), runs.uncompared());
            format!("{of}: batches of what was shown that came again and were not compared: {count}; verify does")
        });
        waits.chain(uncompared).collect()
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::id::{Head, LeafIndex, Time};
    use indelible_chain::leaf::Attested;
    use indelible_chain::verify::Scope;

    use super::super::lines::Format;
    use super::*;
    use crate::demo::issuer::Issuer;
    use crate::limits::MAX_COMPARED_ENDS;
    use crate::source::directory::Directory;
    use crate::testlog::TestLog;

    /// The leaf of a log's first batch.
    const FIRST: u64 = 3;

    /// Takes these batches of a log in this order; gives what is printed, by batch, and the exit code.
    fn printed(batches: usize, order: impl IntoIterator<Item = u64>) -> (Vec<u64>, u8) {
        let (printed, joined) = printed_of(batches, order, |_, _| ());
        (printed, joined.exit())
    }

    /// The same of a log whose session leaf says something else.
    fn printed_of(
        batches: usize,
        order: impl IntoIterator<Item = u64>,
        change: fn(&mut Attested, &mut Time),
    ) -> (Vec<u64>, Joined) {
        let issuer = Issuer::new().unwrap();
        let keys = IssuerKeys::parse(issuer.jwks().as_bytes(), Issuer::AUDIENCE).unwrap();
        let log = TestLog::new(batches, &issuer);
        let mut directory = Directory::open(log.path()).unwrap();
        directory.frames(0, log.size(), &mut |_| ()).unwrap();
        let mut out = Vec::new();
        let format = Format { timestamps: false, prefix: false, json: false };
        let mut printer = Printer::new(&mut out, format, Scope::default());
        let mut joined = Joined::new(Introduced::default(), HashMap::new(), Some(keys), 0).unwrap();
        for index in (0..FIRST).chain(order.into_iter().map(|n| FIRST + n)) {
            let mut frame = directory.frame(LeafIndex::new(index)).unwrap().unwrap();
            if let Ok(Leaf::Session { session, mut attested, mut received_at }) = Leaf::decode(&frame.leaf) {
                change(&mut attested, &mut received_at);
                frame.leaf = Leaf::Session { session, attested, received_at }.encode().unwrap();
            }
            joined.frame("test", &frame, &mut printer).unwrap();
        }
        printer.end().unwrap();
        drop(printer);
        let text = String::from_utf8(out).unwrap();
        let batch = |line: &str| line.strip_prefix("line 0 of batch ").map(|n| n.parse().unwrap());
        (text.lines().filter_map(batch).collect(), joined)
    }

    #[test]
    fn a_batch_that_comes_too_early_waits_and_one_that_comes_again_is_not_shown_again() {
        assert_eq!(printed(4, [0, 2, 3, 0, 1, 2, 4]), (vec![0, 1, 2, 3], 0));
        assert_eq!(printed(4, [1, 3]), (vec![], 0), "still waiting");
    }

    #[test]
    fn what_waits_is_counted_with_the_links_of_its_records_and_no_more_when_it_is_shown() {
        let (_, joined) = printed_of(4, [1], |_, _| ());
        let (_, body) = joined.held.values().next().unwrap().values().next().unwrap();
        assert_eq!(body.heads.len(), 4);
        assert_eq!(joined.held_bytes, body.bytes.len() + 4 * size_of::<Head>());
        let (_, joined) = printed_of(4, [1, 1, 2, 0], |_, _| ());
        assert_eq!(joined.held_bytes, 0);
    }

    #[test]
    fn when_too_much_waits_for_a_hole_the_chain_goes_on_and_the_hole_can_still_be_filled() {
        let many = MAX_HELD_BATCHES as u64 + 4;
        let order = std::iter::once(0).chain(2..many).chain([1]);
        let shown = std::iter::once(0).chain(2..many).chain([1]).collect();
        assert_eq!(printed(MAX_HELD_BATCHES + 8, order), (shown, MISSING));
    }

    #[test]
    fn a_session_for_which_another_pod_is_attested_signs_nothing_that_is_shown() {
        let (shown, joined) = printed_of(2, [0, 1], |attested, _| attested.pod_uid = "u-2".into());
        assert_eq!((shown, joined.exit()), (vec![], TAMPERED));
    }

    #[test]
    fn a_session_whose_token_fails_or_is_another_one_than_the_leaf_says_is_exit_code_1() {
        let late = |_: &mut Attested, received_at: &mut Time| *received_at = received_at.plus_nanos(2 * Time::SECOND);
        let (shown, joined) = printed_of(2, [0, 1], late);
        assert_eq!((shown, joined.exit()), (vec![0, 1], TAMPERED));
        let another = |attested: &mut Attested, _: &mut Time| attested.token_digest = Digest::sha256(b"another");
        let (shown, joined) = printed_of(2, [0, 1], another);
        assert_eq!((shown, joined.exit()), (vec![0, 1], TAMPERED));
    }

    #[test]
    fn a_batch_that_comes_again_too_late_to_be_compared_is_said_at_the_end() {
        let many = MAX_COMPARED_ENDS as u64 + 1;
        let (shown, joined) = printed_of(MAX_COMPARED_ENDS + 1, (0..many).chain([1]), |_, _| ());
        assert_eq!((shown.len() as u64, joined.exit(), joined.open()), (many, 0, vec![]));
        let (shown, joined) = printed_of(MAX_COMPARED_ENDS + 1, (0..many).chain([0]), |_, _| ());
        assert_eq!((shown.len() as u64, joined.exit()), (many, 0));
        let said = joined.open().join("\n");
        assert!(said.starts_with("shop/checkout/app: ") && said.contains("not compared: 1;"), "{said}");
    }
}
