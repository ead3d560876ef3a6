//! From records to lines as they were printed: parts joined, a newline after each, prefixes and JSON where asked for.
//!
//! A line that the container did not end gets no newline: what the same container prints next follows it directly, and
//! only where something else comes next (another container, a prefix) does that begin on a line of its own. Parts round
//! a hole are not joined. Control records are the sidecar's own words and are shown in JSON only. Bytes of a payload are never changed; in JSON
//! those that are not UTF-8 are in base64.

use std::collections::HashMap;
use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Seq};
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::verify::Scope;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::limits::{MAX_JOINED_BYTES, MAX_OPEN_BYTES};
use crate::text::one_line;

/// What is printed beside the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// The time first.
    pub timestamps: bool,
    /// The container first.
    pub prefix: bool,
    /// One object a line.
    pub json: bool,
}

/// Whose record it is.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The chain.
    pub chain: ChainId,
    /// Its container.
    pub genesis: &'a Genesis,
}

/// Prints records.
#[derive(Debug)]
pub struct Printer<W: Write> {
    out: io::BufWriter<W>,
    format: Format,
    scope: Scope,
    open: HashMap<(ChainId, Source, u8), Vec<u8>>,
    /// Bytes of all of them.
    open_bytes: usize,
    /// The position after the last record of each chain.
    next: HashMap<ChainId, Seq>,
    /// The chain whose line was printed last and has no end.
    unended: Option<ChainId>,
}

#[derive(Serialize)]
struct Json<'a> {
    time: String,
    namespace: &'a str,
    pod: &'a str,
    container: &'a str,
    chain_id: String,
    seq: u64,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<W: Write> Printer<W> {
    /// Prints what is in scope to `out`.
    pub fn new(out: W, format: Format, scope: Scope) -> Self {
        Self {
            out: io::BufWriter::with_capacity(64 * 1024, out),
            format,
            scope,
            open: HashMap::new(),
            open_bytes: 0,
            next: HashMap::new(),
            unended: None,
        }
    }

    /// Whether records of this container are asked for.
    pub fn wants(&self, genesis: &Genesis) -> bool {
        self.scope.names(genesis)
    }

    /// Whether records of a container of this pod may be asked for.
    pub fn wants_of(&self, namespace: &str, pod: &str) -> bool {
        self.scope.names_pod(namespace, pod)
    }

    /// Prints a record, or keeps it until the line that it is a part of ends.
    pub fn record(&mut self, whose: Whose<'_>, seq: Seq, record: &Record<'_>) -> io::Result<()> {
        if self.next.insert(whose.chain, seq.plus(1)).is_some_and(|due| due != seq) {
            self.end_of(whose.chain)?;
        }
        let before = self.scope.since.is_some_and(|since| record.time < since);
        let after = self.scope.until.is_some_and(|until| record.time >= until);
        if before || after {
            return Ok(());
        }
        if self.format.json {
            return self.json(whose, seq, record);
        }
        if record.source == Source::Control {
            return Ok(());
        }
        let key =
            (whose.chain, record.source, record.flags.bits() & !Flags::UNTERMINATED.bits() & !Flags::CONTINUES.bits());
        let mut line = self.open.remove(&key).unwrap_or_default();
        self.open_bytes -= line.len();
        if line.is_empty() {
            self.begin(&mut line, whose, record);
        }
        line.extend_from_slice(record.payload);
        let continues = record.flags.contains(Flags::CONTINUES);
        if continues && line.len() < MAX_JOINED_BYTES && self.open_bytes + line.len() < MAX_OPEN_BYTES {
            self.open_bytes += line.len();
            self.open.insert(key, line);
            return Ok(());
        }
        self.line(whose.chain, &line, !continues && !record.flags.contains(Flags::UNTERMINATED))
    }

    fn line(&mut self, chain: ChainId, line: &[u8], ends: bool) -> io::Result<()> {
        let begins = self.format.timestamps || self.format.prefix;
        if self.unended.take().is_some_and(|before| begins || before != chain) {
            self.out.write_all(b"\n")?;
        }
        self.out.write_all(line)?;
        if ends {
            return self.out.write_all(b"\n");
        }
        self.unended = Some(chain);
        Ok(())
    }

    fn begin(&self, line: &mut Vec<u8>, whose: Whose<'_>, record: &Record<'_>) {
        if self.format.timestamps {
            line.extend_from_slice(rfc3339(record.time).as_bytes());
            line.push(b' ');
        }
        if self.format.prefix {
            let Genesis { namespace, pod_name, container, .. } = whose.genesis;
            line.extend_from_slice(one_line(&format!("[{namespace}/{pod_name}/{container}] ")).as_bytes());
        }
    }

    fn json(&mut self, whose: Whose<'_>, seq: Seq, record: &Record<'_>) -> io::Result<()> {
        let flags = [
            (Flags::CONTINUES, "continues"),
            (Flags::UNTERMINATED, "unterminated"),
            (Flags::LATE, "late"),
            (Flags::MALFORMED, "malformed"),
        ];
        let text = std::str::from_utf8(record.payload).ok();
        let json = Json {
            time: rfc3339(record.time),
            namespace: &whose.genesis.namespace,
            pod: &whose.genesis.pod_name,
            container: &whose.genesis.container,
            chain_id: whose.chain.to_string(),
            seq: seq.get(),
            source: word(record.source),
            flags: flags.into_iter().filter(|(flag, _)| record.flags.contains(*flag)).map(|(_, word)| word).collect(),
            text,
            base64: text.is_none().then(|| BASE64_STANDARD.encode(record.payload)),
        };
        serde_json::to_writer(&mut self.out, &json)?;
        self.out.write_all(b"\n")
    }

    /// Prints the parts of a chain's lines that do not go on.
    fn end_of(&mut self, chain: ChainId) -> io::Result<()> {
        let mut open: Vec<_> = self.open.keys().filter(|(of, ..)| *of == chain).copied().collect();
        open.sort_by_key(|(_, source, flags)| (word(*source), *flags));
        for key in open {
            let line = self.open.remove(&key).unwrap_or_default();
            self.open_bytes -= line.len();
            self.line(chain, &line, false)?;
        }
        Ok(())
    }

    /// Prints the parts of lines that are left, and hands on what was printed.
    pub fn end(&mut self) -> io::Result<()> {
        let mut chains: Vec<ChainId> = self.open.keys().map(|(chain, ..)| *chain).collect();
        chains.sort_unstable();
        for chain in chains {
            self.end_of(chain)?;
        }
        self.flush()
    }

    /// Hands on what was printed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The word for a source.
pub const fn word(source: Source) -> &'static str {
    match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
        Source::Control => "control",
        Source::File => "file",
        Source::Api => "api",
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::genesis::Capture;
    use indelible_chain::id::Time;

    use super::*;

    fn genesis() -> Genesis {
        Genesis {
            capture: Capture::CriLogFile,
            cluster_uid: String::new(),
            namespace: "shop".into(),
            pod_name: "checkout".into(),
            pod_uid: "u".into(),
            container: "app".into(),
            path: String::new(),
            incarnation: 0,
        }
    }

    fn printed(format: Format, scope: Scope, records: &[(i64, Source, Flags, &[u8])]) -> String {
        let genesis = genesis();
        let whose = Whose { chain: genesis.chain_id().unwrap(), genesis: &genesis };
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, scope);
        for (n, (time, source, flags, payload)) in (0..).zip(records) {
            let time = Time::from_nanos(*time);
            let record = Record { time, source: *source, flags: *flags, payload };
            printer.record(whose, Seq::new(n), &record).unwrap();
        }
        printer.end().unwrap();
        drop(printer);
        String::from_utf8(out).unwrap()
    }

    const PLAIN: Format = Format { timestamps: false, prefix: false, json: false };

    #[test]
    fn parts_are_joined_by_stream_and_control_records_are_not_shown() {
        let records: &[(i64, Source, Flags, &[u8])] = &[
            (0, Source::Control, Flags::NONE, b"{}"),
            (1, Source::Stdout, Flags::CONTINUES, b"one "),
            (1, Source::Stderr, Flags::NONE, b"error"),
            (2, Source::Stdout, Flags::NONE, b"line"),
            (3, Source::Stdout, Flags::NONE, b""),
            (4, Source::Stdout, Flags::CONTINUES, b"never ended"),
        ];
        assert_eq!(printed(PLAIN, Scope::default(), records), "error\none line\n\nnever ended");
    }

    #[test]
    fn lines_begin_with_time_and_container_where_asked_for_and_keep_to_the_range() {
        let format = Format { timestamps: true, prefix: true, json: false };
        let scope = Scope { since: Some(Time::from_nanos(1)), until: Some(Time::from_nanos(2)), ..Scope::default() };
        let record = |time| (time, Source::Stdout, Flags::NONE, b"x".as_slice());
        let text = printed(format, scope, &[record(0), record(1), record(2)]);
        assert_eq!(text, "1970-01-01T00:00:00.000000001Z [shop/checkout/app] x\n");
    }

    #[test]
    fn a_line_that_was_not_ended_gets_no_newline_of_its_own() {
        let records: &[(i64, Source, Flags, &[u8])] = &[
            (0, Source::Stdout, Flags::NONE, b"one"),
            (1, Source::Stdout, Flags::UNTERMINATED, b"cut"),
            (2, Source::Stdout, Flags::NONE, b"next"),
            (3, Source::Stderr, Flags::UNTERMINATED, b"last"),
        ];
        assert_eq!(printed(PLAIN, Scope::default(), records), "one\ncutnext\nlast");
        let prefixed = printed(Format { prefix: true, ..PLAIN }, Scope::default(), records);
        let [one, cut, next, last] = ["one", "cut", "next", "last"].map(|line| format!("[shop/checkout/app] {line}"));
        assert_eq!(prefixed, format!("{one}\n{cut}\n{next}\n{last}"));
    }

    #[test]
    fn parts_round_a_hole_are_not_joined_and_another_container_begins_on_its_own_line() {
        let (one, mut other) = (genesis(), genesis());
        other.container = "sidecar".into();
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, PLAIN, Scope::default());
        let mut record = |genesis: &Genesis, seq, flags, payload: &[u8]| {
            let whose = Whose { chain: genesis.chain_id().unwrap(), genesis };
            let record = Record { time: Time::from_nanos(0), source: Source::Stdout, flags, payload };
            printer.record(whose, Seq::new(seq), &record).unwrap();
        };
        record(&one, 0, Flags::CONTINUES, b"before the hole");
        record(&other, 0, Flags::NONE, b"other");
        record(&one, 7, Flags::CONTINUES, b", after it ");
        record(&other, 1, Flags::NONE, b"other again");
        record(&one, 8, Flags::NONE, b"joined");
        printer.end().unwrap();
        drop(printer);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "other\nbefore the hole\nother again\n, after it joined\n");
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let format = Format { json: true, ..PLAIN };
        let records: &[(i64, Source, Flags, &[u8])] =
            &[(0, Source::Stderr, Flags::UNTERMINATED, b"\"q\""), (0, Source::Stdout, Flags::NONE, b"\xff")];
        let text = printed(format, Scope::default(), records);
        expect_test::expect![[r#"
            {"time":"1970-01-01T00:00:00Z","namespace":"shop","pod":"checkout","container":"app","chain_id":"CHAIN","seq":0,"source":"stderr","flags":["unterminated"],"text":"\"q\""}
            {"time":"1970-01-01T00:00:00Z","namespace":"shop","pod":"checkout","container":"app","chain_id":"CHAIN","seq":1,"source":"stdout","base64":"/w=="}
        "#]]
        .assert_eq(&text.replace(&genesis().chain_id().unwrap().to_string(), "CHAIN"));
    }
}
