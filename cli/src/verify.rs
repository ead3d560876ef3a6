//! `indelible verify`: is this evidence whole, authentic, complete and recent?
//!
//! Reads what the flags name, leads the sources past the judge, remembers what held, and shows the report. It adds no
//! opinion of its own: verdicts, findings and the exit code are the judge's.

use std::io::Write;

use indelible_chain::policy::{Policy, Witness};
use indelible_chain::verify::{Known, KnownBy, Terms};
use tokio::runtime::Handle;

use crate::args::{SourceArgs, VerifyArgs};
use crate::exit::{self, CommandError};
use crate::judging::{Named, Outcome, judge};
use crate::limits::{MAX_CHECKPOINT_BYTES, MAX_CONFIG_BYTES, MAX_SOURCES};
use crate::remembered::Remembered;
use crate::source::folder::ReadError;
use crate::source::http::{FetchError, Peer};
use crate::source::{OpenError, Opener, SourceError};
use crate::terminal::say;
use crate::terms::{issuer_keys, policy, read, terms};
use crate::text::one_line;
use crate::{clock, report, terminal};

/// Runs the command; gives the exit code.
pub fn run(args: &VerifyArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let (policy, tokens) = (policy(&args.trust)?, issuer_keys(&args.evidence)?);
    let terms = terms(policy, &args.evidence, &args.filter, tokens, clock::now())?;
    let (mut sources, mut opener) = open(&args.source, runtime)?;
    let report = judged(terms, args.evidence.offline, &mut sources, &mut opener)?.report;
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

/// Opens the sources that the user named. One that is not there is the judge's business, a wrong name is the user's.
pub fn open(args: &SourceArgs, runtime: &Handle) -> Result<(Vec<Named>, Opener), CommandError> {
    if args.sources.len() > MAX_SOURCES {
        return Err(CommandError::Usage(format!("SOURCE: more than {MAX_SOURCES} sources; verify them in parts")));
    }
    // What cannot be read at all is said before anything is asked of a server, where it would look like the server's.
    for (flag, path) in [("--ca", &args.connection.ca), ("--token", &args.connection.token)] {
        path.as_ref().map(|path| read(flag, path, MAX_CONFIG_BYTES)).transpose()?;
    }
    let mut opener = Opener::new(runtime.clone(), &args.connection);
    let mut sources = Vec::new();
    for name in &args.sources {
        match opener.open(name) {
            Ok(source) => sources.push(Named::Open(source)),
            Err(e) if e.is_usage() => return Err(CommandError::Usage(e.to_string())),
            Err(e) if is_address(name) => {
                let text = format!("SOURCE {e}; if a collector is meant, its URL is https://{name}");
                return Err(CommandError::Usage(text));
            }
            Err(e) => sources.push(Named::Closed { label: one_line(name), why: format!("{e}{}", remedy(&e)) }),
        }
    }
    Ok((sources, opener))
}

/// What to do about a source that is no data directory.
const fn remedy(error: &OpenError) -> &'static str {
    match error {
        OpenError::Source(SourceError::Read(ReadError::Io { .. })) => {
            "; name a collector's URL (https://host:port), or a data directory that you may read"
        }
        _ => "",
    }
}

/// Whether what is no directory looks like a collector's host and port.
fn is_address(name: &str) -> bool {
    let port = name.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    !name.contains('/') && matches!(port, Some(Ok(_)))
}

/// The checkpoints that the policy's witnesses hold of its logs. One that cannot be asked is said and passed over:
/// what it would have shown only makes the verdict stricter.
fn ask_witnesses(policy: &Policy, opener: &mut Opener) -> Vec<Known> {
    let mut known = Vec::new();
    for witness in policy.witnesses() {
        let Some(url) = witness.url() else { continue };
        for why in ask_witness(policy, witness, url, opener, &mut known) {
            let name = one_line(witness.name());
            say(format_args!("witness {name} gave nothing: {why}; --offline asks none"));
        }
    }
    known
}

/// Asks a witness for each log of the policy; gives what went wrong. What it does not give of one log it may of another,
/// unless it is not there at all.
fn ask_witness(
    policy: &Policy,
    witness: &Witness,
    url: &str,
    opener: &mut Opener,
    known: &mut Vec<Known>,
) -> Vec<String> {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[authority..].find('/').map_or(url.len(), |at| authority + at);
    let (base, path) = url.split_at(path_at);
    let mut client = match opener.client(base, Peer::Witness) {
        Ok(client) => client,
        Err(e) => return vec![e.to_string()],
    };
    let mut failed = Vec::new();
    for log in policy.logs() {
        let path = format!("{}/{}/checkpoint", path.trim_end_matches('/'), log.origin().log_id());
        match client.get(&path, MAX_CHECKPOINT_BYTES) {
            Ok(note) => known.push(Known { by: KnownBy::Witness, label: witness.name().to_owned(), note }),
            Err(FetchError::NotFound { .. }) => {} // it has not seen this log
            Err(e) => {
                failed.push(e.to_string());
                if e.is_outage() {
                    break;
                }
            }
        }
    }
    failed
}
