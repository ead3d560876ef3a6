//! The evidence of a run beside the oracle's second opinion.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use indelible_chain::control::END_PAYLOAD;
use jiff::Timestamp;

use super::lives::Lives;
use super::takeover::{Disk, Takeover, follow};
use crate::evidence::StoredChain;
use crate::oracle;
use crate::trace::{LogFile, Trace};
use crate::world::Answer;

/// What is left when a run is over.
#[derive(Debug)]
pub struct Judgement {
    trace: Arc<Trace>,
    chains: Vec<StoredChain>,
    lives: Vec<Lives>,
    moments: Vec<Range<Timestamp>>,
    /// What `indelible verify` said.
    pub answer: Answer,
    /// How many logs hold batches.
    pub logs_used: usize,
    /// How many chains took over from another.
    pub resumed: usize,
}

impl Judgement {
    pub(super) fn new(
        trace: &Arc<Trace>,
        chains: Vec<StoredChain>,
        answer: Answer,
        (lives, moments): (Vec<Lives>, Vec<Range<Timestamp>>),
    ) -> Self {
        let logs_used = chains.iter().flat_map(|chain| &chain.logs).collect::<BTreeSet<_>>().len();
        let resumed = chains.iter().filter(|chain| chain.genesis.incarnation > 0).count();
        Self { trace: Arc::clone(trace), chains, lives, moments, answer, logs_used, resumed }
    }

    /// The chains of a container, in order of incarnation.
    fn chains_of(&self, container: &str) -> Vec<&StoredChain> {
        let mut chains: Vec<_> = self.chains.iter().filter(|chain| chain.container() == container).collect();
        chains.sort_by_key(|chain| chain.genesis.incarnation);
        chains
    }

    /// The payloads of all lines of a container, in order, over its incarnations.
    pub fn lines_of(&self, container: &str) -> Vec<Vec<u8>> {
        let records = self.chains_of(container).into_iter().flat_map(|chain| chain.records.values());
        records.filter(|record| record.source != oracle::CONTROL).map(|record| record.payload.clone()).collect()
    }

    /// Every container has one chain, with exactly the recorded head and then its end.
    ///
    /// # Panics
    /// If that is not so.
    pub fn assert_exact(&self) {
        for container in self.trace.heads().keys() {
            let chains = self.chains_of(container);
            assert_eq!(chains.len(), 1, "{container} has chains {:?}", starts(&chains));
            self.assert_recorded(container, chains[0]);
        }
    }

    /// A chain has exactly the recorded head of its container and then its end.
    fn assert_recorded(&self, container: &str, chain: &StoredChain) {
        let expected = &self.trace.heads()[container];
        let records = chain.whole().unwrap_or_else(|error| panic!("{error}"));
        let (end, lines) = records.split_last().expect("a chain has an end");
        assert_eq!(end.payload, END_PAYLOAD, "{container}");
        assert_eq!(lines.len() as u64, expected.records, "{container}: number of records");
        assert_eq!(hex(&lines.last().expect("there are lines").link), expected.link, "{container}: head");
    }

    /// Each container has the recorded head, or chains that took over from each other, each at the receipted head of the
    /// one before it, and of which only lines are missing that had left the disk unreceipted. The verifier tells each.
    ///
    /// # Panics
    /// If that is not so.
    pub fn assert_nothing_lost_but_what_had_left_the_disk(&self) {
        for container in self.trace.heads().keys() {
            let gone = |log: &LogFile| log.gone_by.map(|number| self.moments[number].clone());
            let disk =
                Disk::new(self.trace.files(container), self.trace.log_files(container).iter().map(gone).collect());
            let pod = self.trace.pods().iter().position(|pod| container.starts_with(&pod.directory));
            let lives = &self.lives[pod.expect("a container is of a pod")];
            let chains = self.chains_of(container);
            let takeovers = follow(&disk, &chains, |at| lives.looked(at));
            let takeovers = takeovers.unwrap_or_else(|error| panic!("{container}: {error:#}"));
            for takeover in &takeovers {
                self.assert_tells(container, takeover);
            }
            if takeovers.is_empty() {
                self.assert_recorded(container, chains[0]);
            }
        }
        let told = self.answer.findings.iter().filter(|finding| finding.class == "resumed").count();
        assert_eq!(told, self.resumed, "{}", self.answer.texts());
    }

    /// The verifier says where a chain took over.
    fn assert_tells(&self, container: &str, takeover: &Takeover) {
        println!("{container}: {takeover:?}");
        let Takeover { chain, reason, from, .. } = takeover;
        let mut findings = self.answer.findings.iter().filter(|finding| finding.class == "resumed");
        let told = findings.find(|finding| finding.chain_id == Some(chain.to_string()));
        let told = told.unwrap_or_else(|| panic!("{container}: nothing tells {takeover:?}: {}", self.answer.texts()));
        let at = from.map_or_else(String::new, |(_, head)| format!("at record {} ", head.next_seq));
        assert!(told.text.contains(&at) && told.text.contains(reason.word()), "{takeover:?} is told as: {}", told.text);
        assert_eq!(told.level == "fail", from.is_some(), "{takeover:?} is told as: {}", told.text);
    }
}

fn starts(chains: &[&StoredChain]) -> Vec<String> {
    let first = |chain: &&StoredChain| chain.records.values().next().map(|record| record.payload.clone());
    chains.iter().map(|chain| String::from_utf8_lossy(&first(chain).unwrap_or_default()).into_owned()).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
