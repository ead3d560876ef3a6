//! `indelible prove`: one record, shown to someone who has neither the log nor a network.
//!
//! Makes two files: the tlog-proof of the record's batch, which shows the record, its session's signature and that the
//! log holds it; and beside it, with `.session` at the end of its name, the tlog-proof of the session's leaf, which shows
//! who vouched for the pod. Checking is offline and needs the policy only. What is made is checked before it is written.

mod check;
mod held;
mod wanted;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::note::Note;
use indelible_chain::policy::Policy;
use indelible_chain::record_proof::RecordProof;
use indelible_chain::sparse::show_one;
use indelible_chain::tlog_proof::TlogProof;
use indelible_chain::verify::Scope;
use tokio::runtime::Handle;

use crate::args::{ProveArgs, SourceArgs};
use crate::case::{Believed, found, opened};
use crate::clock;
use crate::cluster::Found;
use crate::exit::{CommandError, UNVERIFIED};
use crate::inventory::Inventory;
use crate::judging::Named;
use crate::source::Source;
use crate::terminal::say;
use crate::terms::{named, policy};
use crate::text::{lines, one_line, shell};
use check::{Shown, Vouched};
use held::Held;
use wanted::{NotOne, Position, Wanted};

/// Runs the command; gives the exit code.
pub fn run(args: &ProveArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let given = policy(&args.trust)?;
    match (&args.check, &args.output) {
        (Some(path), _) => check::check(path, &Believed::new(given, &Found::default())?.policy, args.json),
        (None, Some(output)) => make(args, output, given, runtime),
        (None, None) => Err(CommandError::Usage("--output is needed to know where the proof goes".to_owned())),
    }
}

fn make(args: &ProveArgs, output: &Path, given: Option<Policy>, runtime: &Handle) -> Result<u8, CommandError> {
    let Some((record, sources)) = args.sources.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        let text = "name at least one SOURCE, and last the RECORD: CHAIN/SEQ, as indelible status shows chains";
        return Err(CommandError::Usage(text.to_owned()));
    };
    let wanted = Wanted::parse(record)?;
    let ProveArgs { connection, cluster, .. } = args;
    let source = SourceArgs { sources: sources.to_vec(), connection: connection.clone(), cluster: cluster.clone() };
    let found = found(&source, given.is_some(), runtime)?;
    let policy = Believed::new(given, &found)?.policy;
    let (mut sources, _) = opened(&source, &found, runtime)?;
    let position = match position(&wanted, &named(&args.whose), &mut sources)? {
        Ok(position) => position,
        Err(why) => {
            say(lines(&why));
            return Ok(UNVERIFIED);
        }
    };
    let mut why = Vec::new();
    for source in &mut sources {
        let (label, proved) = match source {
            Named::Open(source) => (source.label(), Proved::of(source, position, &policy)),
            Named::Closed { label, why } => (label.clone(), Err(anyhow!(why.clone()))),
        };
        match proved {
            Ok(proved) => {
                proved.write(args, output, &policy)?;
                return Ok(0);
            }
            Err(e) => why.push(format!("{label}: {e:#}")),
        }
    }
    let mut told = vec![format!("no source proves record {} of chain {}", position.seq, position.chain)];
    told.extend(why.iter().map(|why| one_line(why)));
    say(told.join("\n  "));
    Ok(UNVERIFIED)
}

/// Where the record is, or why it cannot be said. Sources are only asked for their chains if that takes it.
fn position(wanted: &Wanted, scope: &Scope, sources: &mut [Named]) -> Result<Result<Position, String>, CommandError> {
    if let Some(position) = wanted.exact(scope) {
        return Ok(Ok(position));
    }
    let now = clock::now();
    let inventory = Inventory::of(sources, scope, now, 0);
    let unreadable = inventory.unreadable.iter().map(|of| format!("\n  {} cannot be read: {}", of.source, of.why));
    let unreadable: String = unreadable.collect();
    let chain = match wanted.chain(&inventory, now) {
        Ok(chain) => chain,
        Err(NotOne::Several(text)) => return Err(CommandError::Usage(text + &unreadable)),
        Err(NotOne::None(text)) => return Ok(Err(text + &unreadable)),
    };
    let (seq, unread) = wanted.seq(chain, sources, now)?;
    let unread = unread.iter().map(|why| format!("\n  not read: {why}"));
    let unread: String = unread.collect();
    Ok(match seq {
        Some(seq) if unread.is_empty() => Ok(Position { chain, seq }),
        Some(seq) => Err(format!(
            "the first record of chain {chain} from that time on may be in a source that could not be read; what is \
             shown begins with record {seq}: {chain}/{seq} proves it, as what it is{unread}"
        )),
        None => Err(format!("no source shows a record of chain {chain} from that time on{unread}")),
    })
}

/// `<file>.session`.
fn beside(proof: &Path) -> PathBuf {
    let mut name = proof.as_os_str().to_owned();
    name.push(".session");
    name.into()
}

/// Both proofs, and what they show.
struct Proved {
    record: TlogProof,
    session: TlogProof,
    shown: Shown,
    vouched: Vouched,
}

impl Proved {
    /// Out of one log.
    fn of(source: &mut Source, position: Position, policy: &Policy) -> Result<Self> {
        let notes = source.checkpoints()?;
        let notes = notes.iter().filter_map(|(_, note)| Note::parse(note).ok());
        let note = { notes }.find(|note| policy.check(note).is_ok_and(|standing| standing.is_met()));
        let note = note.context("none of its checkpoints meets the policy")?;
        let size = Checkpoint::parse(note.text())?.size();
        let Held { batch, session, genesis, commitment, received_at, body } = Held::by(source, size, position)?;
        let n = u32::try_from(position.seq.get() - commitment.first_seq.get())?;
        let sparse_body = show_one(&body, n)?;
        let proof = RecordProof { commitment, received_at, genesis, session: session.session, n, sparse_body };
        proof.check().context("the record does not hold")?;
        let record = TlogProof::new(proof.encode()?, batch.index, batch.path, note.clone())?;
        let session = TlogProof::new(session.leaf, session.proof.index, session.proof.path, note)?;
        // A proof that does not convince us convinces nobody.
        let other = "the leaves that it shows are not those that it signed; indelible verify says more";
        let shown = check::show(&record, policy).context(other)?;
        let vouched = check::vouched(&session, shown.session(), policy).context(other)?;
        Ok(Self { record, session, shown, vouched })
    }

    fn write(&self, args: &ProveArgs, output: &Path, policy: &Policy) -> Result<(), CommandError> {
        let beside = beside(output);
        for (path, proof) in [(output, &self.record), (&beside, &self.session)] {
            std::fs::write(path, proof.to_string()).map_err(|e| {
                let path = path.display();
                CommandError::Usage(format!("--output {path}: {e}; name a file in a directory that can be written to"))
            })?;
        }
        let mut out = anstream::stdout().lock();
        if args.json {
            let mut json = self.shown.json(Some(&self.vouched));
            json["proof"] = output.to_string_lossy().into();
            json["session_proof"] = beside.to_string_lossy().into();
            writeln!(out, "{json}")?;
        } else {
            let (proof, session, Position { chain, seq }) = (output.display(), beside.display(), self.shown.position());
            writeln!(out, "{proof} proves record {seq} of chain {chain}: {}", self.shown.summary())?;
            writeln!(out, "{session} proves who vouched for its pod; keep them together")?;
            let trust = match &args.trust.policy {
                Some(policy) => format!("--policy {}", shell(policy)),
                None => {
                    policy.logs().iter().map(|log| format!("--log-key {}", log.key())).collect::<Vec<_>>().join(" ")
                }
            };
            writeln!(out, "check with: indelible prove --check {} {trust}", shell(output))?;
        }
        Ok(out.flush()?)
    }
}
