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

use std::io::Write;

use indelible_chain::policy::Policy;
use indelible_chain::verify::Finding;
use tokio::runtime::Handle;

use crate::args::LogsArgs;
use crate::clock;
use crate::exit::{CommandError, worse};
use crate::terms::{policy, scope, terms};
use crate::text::lines;
use crate::verify::{judged, open};

pub use lines::{Format, Printer, word};
pub use merge::print;

/// Runs the command; gives the exit code.
pub fn run(args: &LogsArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let policy: Policy = policy(&args.trust)?;
    let now = clock::now();
    let terms = terms(policy.clone(), &args.evidence, &args.filter, now)?;
    let (mut sources, mut opener) = open(&args.source, runtime)?;
    let outcome = judged(terms, args.evidence.offline, &mut sources, &mut opener)?;
    for finding in &outcome.report.findings {
        say(finding);
    }
    let format = Format { timestamps: args.timestamps, prefix: args.prefix, json: args.json };
    let scope = scope(&args.filter, args.evidence.now.map_or(now, |when| when.resolve(now)));
    let mut printer = Printer::new(std::io::stdout().lock(), format, scope);
    let printed = print(&outcome, &mut sources, &mut printer)?;
    let exit = worse(outcome.report.exit, printed.exit);
    if args.follow {
        printer.flush()?;
        return follow::run(sources, outcome, printed.runs, &policy, &mut printer, exit, runtime);
    }
    printer.end()?;
    Ok(exit)
}

/// A finding on stderr, so that stdout stays what the containers printed.
fn say(finding: &Finding) {
    let mut err = anstream::stderr().lock();
    let (level, class) = (finding.level.word(), finding.class.word());
    let text = lines(&finding.text).replace('\n', "\n  ");
    let _ = writeln!(err, "indelible: {level} {class}: {text}"); // nobody reads stderr: the exit code still tells
}
