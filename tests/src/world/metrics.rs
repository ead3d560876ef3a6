//! What a process prints at `/metrics`, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How long a scrape may take.
const BOUND: Duration = Duration::from_secs(30);

/// One scrape.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Asks a page.
    pub fn scrape(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(BOUND))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        Ok(Self { text: body.to_owned() })
    }

    /// The samples of this name: labels as they are printed, and value.
    pub fn samples(&self, name: &str) -> Vec<(&str, f64)> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix(name));
        let sample = |line: &'_ str| -> Option<(usize, f64)> {
            let labels = if line.starts_with('{') { line.find('}')? + 1 } else { 0 };
            Some((labels, line[labels..].strip_prefix(' ')?.split(' ').next()?.parse().ok()?))
        };
        lines.filter_map(|line| sample(line).map(|(labels, value)| (&line[..labels], value))).collect()
    }

    /// The sum of the samples of this name whose labels contain all of these texts.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.samples(name).into_iter();
        samples.filter(|(found, _)| labels.iter().all(|label| found.contains(label))).map(|(_, value)| value).sum()
    }

    /// Each metric as its samples are called, without what a histogram adds, and its type.
    pub fn types(&self) -> BTreeMap<String, String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let called = |(name, kind): (&str, &str)| {
            let end = if kind == "counter" { "_total" } else { "" };
            (format!("{name}{end}"), kind.to_owned())
        };
        types.map(called).collect()
    }

    /// The labels that samples of this name have, and their values.
    pub fn labels(&self, name: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (found, _) in self.samples(name) {
            let pairs = found.trim_matches(['{', '}']).split(',').filter_map(|pair| pair.split_once('='));
            for (label, value) in pairs {
                labels.entry(label).or_default().insert(value.trim_matches('"'));
            }
        }
        labels
    }
}

/// The address that a process says its metrics are served at: what follows `word` in its log.
pub(super) fn address(log: &str, word: &str) -> Option<String> {
    let (_, rest) = log.rsplit_once(word)?;
    Some(rest.split_whitespace().next()?.to_owned())
}
