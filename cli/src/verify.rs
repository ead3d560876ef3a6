//! `indelible verify`: is this evidence whole, authentic, complete and recent?
//!
//! Reads what the flags name, leads the sources past the judge, remembers what held, and shows the report. It adds no
//! opinion of its own: verdicts, findings and the exit code are the judge's.

use std::io::Write;
use std::time::Instant;

use indelible_chain::policy::{Policy, Witness};
use indelible_chain::verify::{Known, KnownBy, Terms};
use tokio::runtime::Handle;

use crate::args::VerifyArgs;
use crate::case::Case;
use crate::exit::{self, CommandError};
use crate::judging::{Named, Outcome, judge};
use crate::limits::{MAX_CHECKPOINT_BYTES, WITNESS_TIME, WITNESSES_AT_ONCE};
use crate::remembered::Remembered;
use crate::source::Opener;
use crate::source::http::FetchError;
use crate::terminal::say;
use crate::text::one_line;
use crate::{clock, report, terminal};

/// Runs the command; gives the exit code.
pub fn run(args: &VerifyArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let VerifyArgs { source, trust, evidence, filter, json: _ } = args;
    let case = Case::new(source, trust, evidence, filter, clock::now(), runtime)?;
    let Case { terms, mut sources, mut opener, .. } = case;
    let report = judged(terms, evidence.offline, &mut sources, &mut opener)?.report;
    let text = if args.json {
        report::json::render(&report) + "\n"
    } else {
        report::people::render(&report, terminal::width())
    };
    let mut out = anstream::stdout().lock();
    let shown = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(exit::unless_shown(report.exit, shown))
}

/// Judges the sources, under what witnesses have seen unless `offline`, and remembers what held.
pub fn judged(
    (mut terms, remembered): (Terms, Option<Remembered>),
    offline: bool,
    sources: &mut [Named],
    opener: &mut Opener,
) -> Result<Outcome, CommandError> {
    if !offline {
        // Before anything is fetched from the logs: they must show at least what their witnesses have seen.
        let known = ask_witnesses(&terms.policy, opener);
        terms.known.extend(known);
    }
    let outcome = judge(sources, terms)?;
    if let Some(remembered) = remembered
        && let Err(e) = remembered.update(&outcome.report, &outcome.logs)
    {
        say(format_args!("--state: what was verified is not remembered: {e}"));
    }
    Ok(outcome)
}

/// The checkpoints that the policy's witnesses hold of its logs, in the policy's order. One that cannot be asked is said
/// and passed over: what it would have shown only makes the verdict stricter, and what it has not cosigned counts for
/// nothing.
fn ask_witnesses(policy: &Policy, opener: &Opener) -> Vec<Known> {
    let mut known = Vec::new();
    let asked: Vec<(&Witness, &str)> = policy.witnesses().iter().filter_map(|of| Some((of, of.url()?))).collect();
    for some in asked.chunks(WITNESSES_AT_ONCE) {
        // Side by side: one that is silent is not waited for more than once.
        let answers: Vec<Gave> = std::thread::scope(|scope| {
            let threads =
                some.iter().map(|(witness, url)| scope.spawn(move || ask_witness(policy, witness, url, opener)));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().expect("asking does not panic")).collect()
        });
        for ((witness, _), gave) in some.iter().zip(answers) {
            for why in gave.failed {
                say(format_args!("witness {} gave nothing: {why}; --offline asks none", one_line(witness.name())));
            }
            known.extend(gave.known);
        }
    }
    known
}

/// What a witness gave, and what went wrong.
#[derive(Default)]
struct Gave {
    known: Vec<Known>,
    failed: Vec<String>,
}

/// Asks a witness for each log of the policy. What it does not give of one log it may of another, unless it is not there
/// at all, or takes longer for all of them than anybody waits.
fn ask_witness(policy: &Policy, witness: &Witness, url: &str, opener: &Opener) -> Gave {
    let mut gave = Gave::default();
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[authority..].find('/').map_or(url.len(), |at| authority + at);
    let (base, path) = url.split_at(path_at);
    let mut client = match opener.witness(base) {
        Ok(client) => client,
        Err(e) => {
            gave.failed.push(e.to_string());
            return gave;
        }
    };
    let began = Instant::now();
    for log in policy.logs() {
        if began.elapsed() > WITNESS_TIME {
            gave.failed.push(format!("not all that was asked for within {} s", WITNESS_TIME.as_secs()));
            break;
        }
        let path = format!("{}/{}/checkpoint", path.trim_end_matches('/'), log.origin().log_id());
        match client.get(&path, MAX_CHECKPOINT_BYTES) {
            Ok(note) => {
                gave.known.push(Known { by: KnownBy::Witness, label: witness.name().to_owned(), note });
            }
            Err(FetchError::NotFound { .. }) => {} // it has not seen this log
            Err(e) => {
                gave.failed.push(e.to_string());
                if e.is_outage() {
                    break;
                }
            }
        }
    }
    gave
}
