//! `indelible logs`: the records of chains that were verified on the way, exactly the bytes that containers printed.
//!
//! First everything is judged; then the batches that take part in their chains are read once more and held against what
//! was judged, so that a source that changes its mind between the two readings shows nothing. Across chains the oldest
//! record comes first. What does not verify is not shown; it is said on stderr, and the exit code tells.

mod follow;
mod followed;
mod joined;
mod lines;
mod merge;
mod runs;
mod vouched;

use std::io::Write;

use indelible_chain::verify::Finding;
use tokio::runtime::Handle;

use crate::args::{FilterArgs, LogsArgs};
use crate::case::Case;
use crate::clock;
use crate::exit::{CommandError, unless_shown, worse};
use crate::terms::scope;
use crate::text::lines;
use crate::verify::judged;

use joined::Joined;
pub use lines::{Format, Printer, word};
pub use merge::print;

/// Runs the command; gives the exit code.
pub fn run(args: &LogsArgs, runtime: &Handle) -> Result<u8, CommandError> {
    show(args, runtime, std::io::stdout().lock())
}

/// Shows the records on `out`; gives the exit code.
fn show<W: Write>(args: &LogsArgs, runtime: &Handle, out: W) -> Result<u8, CommandError> {
    let now = clock::now();
    let LogsArgs { source, trust, evidence, .. } = args;
    let case = Case::new(source, trust, evidence, &judged_filter(args), now, runtime)?;
    let Case { policy, tokens, terms, mut sources, mut opener } = case;
    let outcome = judged(terms, args.evidence.offline, &mut sources, &mut opener)?;
    for finding in &outcome.report.findings {
        say(finding);
    }
    let format = Format { timestamps: args.timestamps, prefix: args.prefix, json: args.json };
    let scope = scope(&args.filter, args.evidence.now.map_or(now, |when| when.resolve(now)));
    let mut printer = Printer::new(out, format, scope);
    let printed = print(&outcome, &mut sources, &mut printer)?;
    let exit = worse(outcome.report.exit, printed.exit);
    let written = printed.broken.map_or(Ok(()), Err);
    if args.follow {
        if let Err(e) = written.and_then(|()| printer.flush()) {
            return Ok(unless_shown(exit, Err(e)));
        }
        let joined = Joined::new(outcome.introduced, printed.runs, tokens, exit)?;
        let logs = follow::Logs { sources, judged: outcome.logs, report: &outcome.report };
        return Ok(follow::run(logs, joined, &policy, &mut printer, runtime));
    }
    Ok(unless_shown(exit, written.and_then(|()| printer.end())))
}

/// What the judge is asked for. What is followed goes on from where each chain ends, and a chain that was quiet in the
/// range of times may go on in it: its end must be known. The range is the printer's alone then.
fn judged_filter(args: &LogsArgs) -> FilterArgs {
    let mut filter = args.filter.clone();
    if args.follow {
        (filter.since, filter.until) = (None, None);
    }
    filter
}

/// A finding on stderr, so that stdout stays what the containers printed.
fn say(finding: &Finding) {
    let mut err = anstream::stderr().lock();
    let (level, class) = (finding.level.word(), finding.class.word());
    let text = lines(&finding.text).replace('\n', "\n  ");
    let _ = writeln!(err, "indelible: {level} {class}: {text}"); // nobody reads stderr: the exit code still tells
}

#[cfg(test)]
mod tests {
    use indelible_chain::id::LeafIndex;
    use indelible_chain::verify::Scope;

    use super::*;
    use crate::args::{self, Command};
    use crate::clock::rfc3339;
    use crate::demo::issuer::Issuer;
    use crate::judging::{Named, judge};
    use crate::source::Source;
    use crate::source::directory::Directory;
    use crate::terms::{policy, terms};
    use crate::testlog::{NOW, TestLog};

    const PLAIN: Format = Format { timestamps: false, prefix: false, json: false };

    /// An output whose reader has gone away.
    pub struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    fn args(log: &TestLog, flags: &[&str]) -> LogsArgs {
        let (path, key) = (log.path().to_str().unwrap(), log.vkey());
        let line = ["indelible", "logs", path, "--log-key", &key].into_iter().chain(flags.iter().copied());
        match args::parse(line.map(Into::into)) {
            Ok(args::Arguments { command: Command::Logs(args) }) => args,
            _ => panic!("it is a command line of logs"),
        }
    }

    #[test]
    fn what_is_false_is_told_even_if_nobody_reads_the_records() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (changes, follow, exit) in [(true, "--prefix", 1), (true, "--follow", 1), (false, "--prefix", 4)] {
            let log = TestLog::new(2, &Issuer::new().unwrap());
            std::fs::write(log.path().join("version"), "1 test\n").unwrap();
            if changes {
                let mut bytes = std::fs::read(log.segment()).unwrap();
                bytes[log.frames[4].1 - 1] ^= 1;
                std::fs::write(log.segment(), bytes).unwrap();
            }
            let args = args(&log, &[follow]);
            assert_eq!(show(&args, runtime.handle(), Broken).unwrap(), exit, "{follow}");
        }
    }

    #[test]
    fn a_chain_that_was_quiet_in_the_range_of_times_is_followed_from_its_end() {
        let log = TestLog::new(2, &Issuer::new().unwrap());
        let (first, second) = (3, 4);
        log.sign_first(second);
        let args = args(&log, &["--follow", "--since", &rfc3339(NOW.plus_nanos(1))]);
        let (terms, _) =
            terms(policy(&args.trust).unwrap().unwrap(), &args.evidence, &judged_filter(&args), None, NOW).unwrap();
        let mut sources = [Named::Open(Source::Directory(Box::new(Directory::open(log.path()).unwrap())))];
        let outcome = judge(&mut sources, terms).unwrap();
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, PLAIN, scope(&args.filter, NOW));
        let printed = print(&outcome, &mut sources, &mut printer).unwrap();
        printer.end().unwrap();
        drop(printer);
        assert_eq!(out, b"", "leaf {first} is from before");

        let mut printer = Printer::new(&mut out, PLAIN, Scope::default());
        let mut joined = Joined::new(outcome.introduced, printed.runs, None, 0).unwrap();
        let mut again = Directory::open(log.path()).unwrap();
        again.frames(0, log.size(), &mut |_| ()).unwrap();
        let frame = again.frame(LeafIndex::new(second as u64)).unwrap().unwrap();
        joined.frame("test", &frame, &mut printer).unwrap();
        printer.end().unwrap();
        drop(printer);
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3, "the next batch is shown as it comes");
    }
}
