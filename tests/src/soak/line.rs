//! What a generator prints: each line follows from its container, its number and its time, and says the last two.
//!
//! So the judge needs no copy of what was written: it reads number and time from a line, makes the line again, and
//! compares all of it.

use crate::tamper::Rng;

/// Longest content that a runtime writes in one piece; longer lines are split (tags `P`, `F`).
pub const PIECE: usize = 16_384;

const WORDS: [&str; 32] = [
    "accepted", "order", "payment", "cart", "GET", "POST", "upstream", "timeout", "retry", "cache", "miss", "hit",
    "customer", "invoice", "shipped", "queued", "worker", "shard", "region", "eu-west", "us-east", "latency", "status",
    "granted", "denied", "session", "token", "refresh", "login", "logout", "export", "import",
];

/// What a container prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    key: u64,
    shortest: usize,
    longest: usize,
}

impl Script {
    /// The script of a container: lines of `shortest` to about `longest` bytes.
    pub fn new(seed: u64, container: &str, (shortest, longest): (usize, usize)) -> Self {
        let key = container.bytes().fold(seed, |key, byte| Rng::new(key, byte.into()).number());
        Self { key, shortest, longest }
    }

    /// Line `n`, printed at `time` (nanoseconds since the epoch).
    pub fn line(&self, n: u64, time: i64) -> Vec<u8> {
        let mut rng = Rng::new(self.key ^ time.unsigned_abs(), n);
        let length = rng.between(self.shortest, self.longest);
        let mut line = format!(r#"{{"n":{n},"t":{time},"id":"{:016x}","msg":""#, rng.number());
        while line.len() + 2 < length {
            let mut number = rng.number();
            for _ in 0..8 {
                line.push_str(WORDS[usize::try_from(number % 32).unwrap_or(0)]);
                line.push(' ');
                number >>= 5;
            }
        }
        line.push_str("\"}");
        line.into_bytes()
    }

    /// The stream that line `n` goes to: 1 standard output, 2 standard error.
    pub const fn source(n: u64) -> u8 {
        if n % 5 == 4 { 2 } else { 1 }
    }

    /// Number and time of a line, if it is one of this script's.
    pub fn recognise(&self, line: &[u8]) -> Option<(u64, i64)> {
        let head = std::str::from_utf8(line.get(..line.len().min(64))?).ok()?;
        let (n, rest) = head.strip_prefix(r#"{"n":"#)?.split_once(r#","t":"#)?;
        let (n, time) = (n.parse().ok()?, rest.split_once(',')?.0.parse().ok()?);
        (self.line(n, time) == line).then_some((n, time))
    }

    /// Appends line `n` as the runtime writes it: one raw line, or several if it is long.
    pub fn write(&self, n: u64, time: i64, out: &mut Vec<u8>) {
        let line = self.line(n, time);
        let stamp = jiff::Timestamp::from_nanosecond(time.into()).unwrap_or_default();
        let stream = if Self::source(n) == 2 { "stderr" } else { "stdout" };
        let mut rest = &line[..];
        loop {
            let (piece, after) = rest.split_at(rest.len().min(PIECE));
            let tag = if after.is_empty() { 'F' } else { 'P' };
            out.extend(format!("{stamp:.9} {stream} {tag} ").bytes());
            out.extend(piece);
            out.push(b'\n');
            if after.is_empty() {
                return;
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Ending, File, records};
    use crate::tamper::wire::{hex, sha256};

    #[test]
    fn a_line_is_recognised_as_it_was_written_and_not_after_any_change() {
        let script = Script::new(1, "app", (80, 300));
        for n in [0, 4, 123_456] {
            let time = 1_790_000_000_000_000_000 + i64::try_from(n).unwrap();
            let line = script.line(n, time);
            assert_eq!(script.recognise(&line), Some((n, time)));
            for at in 0..line.len() {
                let mut changed = line.clone();
                changed[at] ^= 1;
                assert_eq!(script.recognise(&changed), None, "byte {at} of line {n}");
            }
        }
        assert_eq!(Script::new(2, "app", (80, 300)).recognise(&script.line(0, 5)), None, "another seed's");
    }

    #[test]
    fn a_seed_prints_the_same_lines_in_each_version() {
        let script = Script::new(1, "app", (80, 300));
        let time = 1_790_000_000_000_000_000;
        let lines: Vec<_> = (0..2000).map(|n| script.line(n, time + i64::try_from(n).unwrap())).collect();
        assert_eq!(
            String::from_utf8_lossy(&lines[3]),
            r#"{"n":3,"t":1790000000000000003,"id":"888348c1204c1f4b","msg":"worker region latency upstream refresh status payment status "}"#
        );
        assert_eq!(hex(&sha256(&lines.concat())), "0eec40f3c991c5176f96598034ec363c9b318da6ff6d0a5856a4d672d8f2620f");
    }

    #[test]
    fn what_is_written_is_what_the_oracle_reads() {
        let (script, mut bytes) = (Script::new(1, "app", (80, 40_000)), Vec::new());
        let time = 1_790_000_000_000_000_000;
        for n in 0..20 {
            script.write(n, time + i64::try_from(n).unwrap(), &mut bytes);
        }
        let records = records(&[File { name: "0.log".into(), bytes }], Ending::Open);
        assert_eq!(records.len(), 1 + 20);
        for (n, record) in (0..).zip(&records[1..]) {
            let time = time + i64::try_from(n).unwrap();
            assert_eq!((record.time, record.source, record.flags), (time, if n % 5 == 4 { 2 } else { 1 }, 0), "{n}");
            assert_eq!(script.recognise(&record.payload), Some((n, time)));
        }
    }

    #[test]
    fn a_long_line_is_written_in_pieces() {
        let (script, mut out) = (Script::new(1, "app", (40_000, 40_000)), Vec::new());
        script.write(4, 1_790_000_000_000_000_000, &mut out);
        let tags: Vec<_> = out.split(|byte| *byte == b'\n').filter(|raw| !raw.is_empty()).map(|raw| raw[38]).collect();
        assert_eq!(String::from_utf8(tags).unwrap(), "PPF");
    }
}
