//! `indelible prove`: one record, shown to someone who has neither the log nor a network.
//!
//! Makes two files: the tlog-proof of the record's batch, which shows the record, its session's signature and that the
//! log holds it; and beside it, with `.session` at the end of its name, the tlog-proof of the session's leaf, which shows
//! who vouched for the pod. Checking is offline and needs the policy only. What is made is checked before it is written.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use indelible_chain::batch::Commitment;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, Seq, Time};
use indelible_chain::leaf::{Attestation, Attested, Leaf};
use indelible_chain::merkle::{MemoryHashes, leaf_hash, prove_inclusion, root_at};
use indelible_chain::note::Note;
use indelible_chain::policy::{Policy, Standing};
use indelible_chain::record_proof::RecordProof;
use indelible_chain::session::Session;
use indelible_chain::sparse::show_one;
use indelible_chain::stored::{Packer, Stored};
use indelible_chain::tlog_proof::{MAX_TLOG_PROOF_BYTES, TlogProof};
use serde_json::json;
use tokio::runtime::Handle;

use crate::args::{ProveArgs, SourceArgs};
use crate::clock::rfc3339;
use crate::exit::{CommandError, TAMPERED, UNVERIFIED};
use crate::judging::{Introduced, Named};
use crate::logs::word;
use crate::source::{Found, OwnedFrame, Source};
use crate::terms::{policy, read};
use crate::text::{lines, one_line};
use crate::verify::open;

/// Runs the command; gives the exit code.
pub fn run(args: &ProveArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let policy = policy(&args.trust)?;
    match (&args.check, &args.output) {
        (Some(path), _) => check(path, &policy, args.json),
        (None, Some(output)) => make(args, output, &policy, runtime),
        (None, None) => Err(CommandError::Usage("--output is needed to know where the proof goes".to_owned())),
    }
}

/// A record by its chain and position.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    chain: ChainId,
    seq: Seq,
}

fn wanted(text: &str) -> Result<Wanted, CommandError> {
    let parse = || {
        let (chain, seq) = text.split_once('/')?;
        let canonical = seq.parse::<u64>().ok().filter(|n| n.to_string() == seq)?;
        Some(Wanted { chain: chain.parse().ok()?, seq: Seq::new(canonical) })
    };
    let text = one_line(text);
    parse().ok_or_else(|| {
        CommandError::Usage(format!("CHAIN/SEQ {text}: expected 64 hex digits, a slash and the record's position"))
    })
}

fn make(args: &ProveArgs, output: &Path, policy: &Policy, runtime: &Handle) -> Result<u8, CommandError> {
    let Some((record, sources)) = args.sources.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        return Err(CommandError::Usage("name at least one SOURCE and then CHAIN/SEQ".to_owned()));
    };
    let record = wanted(record)?;
    let source = SourceArgs { sources: sources.to_vec(), connection: args.connection.clone() };
    let (sources, _) = open(&source, runtime)?;
    let mut why = Vec::new();
    for source in sources {
        let (label, proofs) = match source {
            Named::Open(mut source) => (source.label(), proofs(&mut source, record, policy)),
            Named::Closed { label, why } => (label, Err(anyhow!(why))),
        };
        match proofs {
            Ok((proof, session)) => {
                let beside = beside(output);
                write(output, &proof)?;
                write(&beside, &session)?;
                let (proof, session) = (output.display(), beside.display());
                anstream::println!("{proof} proves record {} of chain {}", record.seq, record.chain);
                anstream::println!("{session} proves who vouched for its pod; keep them together");
                anstream::println!("check with: indelible prove --check {proof} --policy <policy>");
                return Ok(0);
            }
            Err(e) => why.push(format!("{label}: {e:#}")),
        }
    }
    anstream::eprintln!("indelible: no source proves record {} of chain {}", record.seq, record.chain);
    for why in why {
        anstream::eprintln!("  {}", one_line(&why));
    }
    Ok(UNVERIFIED)
}

/// `<file>.session`.
fn beside(proof: &Path) -> PathBuf {
    let mut name = proof.as_os_str().to_owned();
    name.push(".session");
    name.into()
}

fn write(path: &Path, proof: &TlogProof) -> Result<()> {
    std::fs::write(path, proof.to_string()).with_context(|| path.display().to_string())
}

/// The proofs of a record and of its session, out of one log.
fn proofs(source: &mut Source, record: Wanted, policy: &Policy) -> Result<(TlogProof, TlogProof)> {
    let notes = source.checkpoints()?;
    let notes: Vec<Note> = notes.iter().filter_map(|(_, note)| Note::parse(note).ok()).collect();
    let note = notes.into_iter().find(|note| policy.check(note).is_ok_and(|standing| standing.is_met()));
    let note = note.context("none of its checkpoints meets the policy")?;
    let size = Checkpoint::parse(note.text())?.size();
    let walk = Walk::through(source, size, record)?;
    let (index, batch) = walk.batch.as_ref().context("the record is not in this log")?;
    let Leaf::Batch { commitment, received_at } = Leaf::decode(&batch.leaf)? else { bail!("the leaf is no batch") };
    let missing = "the log holds the batch and does not introduce it";
    let genesis = walk.introduced.chains.get(&commitment.chain).context(missing)?.clone();
    let (session_index, session_leaf, session) = walk.session(&commitment).context(missing)?;
    let proof = RecordProof {
        commitment,
        received_at,
        genesis,
        session,
        n: u32::try_from(record.seq.get() - commitment.first_seq.get())?,
        sparse_body: sparse(&commitment, batch, record)?,
    };
    proof.check().context("the record does not hold")?;
    if root_at(size, &walk.hashes).ok() != Some(Checkpoint::parse(note.text())?.root()) {
        bail!("the leaves that it shows are not those that it signed; verify says more");
    }
    let include = |extra, index: LeafIndex| -> Result<TlogProof> {
        let path = prove_inclusion(index.get(), size, &walk.hashes).map_err(|e| anyhow!("{e:?}"))?;
        Ok(TlogProof::new(extra, index, path, note.clone())?)
    };
    let record_proof = include(proof.encode()?, *index)?;
    let session_proof = include(session_leaf.clone(), session_index)?;
    // A proof that does not convince us convinces nobody.
    record_proof.verify(proof.leaf_hash(), policy)?;
    session_proof.verify(leaf_hash(&session_leaf), policy)?;
    Ok((record_proof, session_proof))
}

fn sparse(commitment: &Commitment, batch: &OwnedFrame, record: Wanted) -> Result<Vec<u8>> {
    let mut packer = Packer::new()?;
    let stored = Stored { codec: batch.codec, bytes: &batch.body };
    let body = packer.unpack(stored, commitment.body_len as usize)?;
    if body.is_empty() {
        bail!("the log does not give out the batch's body; a reader token may, with --token");
    }
    Ok(show_one(body, u32::try_from(record.seq.get() - commitment.first_seq.get())?)?)
}

/// What a walk through a log finds.
struct Walk {
    hashes: MemoryHashes,
    introduced: Introduced,
    /// Where sessions were introduced.
    sessions: Vec<(LeafIndex, Vec<u8>)>,
    batch: Option<(LeafIndex, OwnedFrame)>,
}

impl Walk {
    fn through(source: &mut Source, size: u64, record: Wanted) -> Result<Self> {
        let mut walk =
            Self { hashes: MemoryHashes::new(), introduced: Introduced::default(), sessions: Vec::new(), batch: None };
        let mut whole = true;
        source.frames(0, size, &mut |found| match found {
            Found::Frame(frame) => {
                whole &= frame.index.get() == walk.hashes.size();
                walk.hashes.push(leaf_hash(frame.leaf));
                walk.introduced.learn(frame.leaf);
                match Leaf::decode(frame.leaf) {
                    Ok(Leaf::Session { .. }) => walk.sessions.push((frame.index, frame.leaf.to_vec())),
                    Ok(Leaf::Batch { commitment, .. })
                        if commitment.chain == record.chain
                            && (commitment.first_seq..commitment.next_seq()).contains(&record.seq)
                            && walk.batch.is_none() =>
                    {
                        walk.batch = Some((frame.index, frame.into()));
                    }
                    _ => {}
                }
            }
            Found::Damage(_) => {}
        })?;
        if !whole || walk.hashes.size() != size {
            bail!("its log is not whole, so nothing can be proved from it; verify says what is damaged");
        }
        Ok(walk)
    }

    /// Where the batch's session was introduced first.
    fn session(&self, commitment: &Commitment) -> Option<(LeafIndex, Vec<u8>, Session)> {
        self.sessions.iter().find_map(|(index, leaf)| match Leaf::decode(leaf) {
            Ok(Leaf::Session { session, .. }) if session.id().ok() == Some(commitment.session) => {
                Some((*index, leaf.clone(), session))
            }
            _ => None,
        })
    }
}

/// Checks a proof offline; gives the exit code.
fn check(path: &Path, policy: &Policy, as_json: bool) -> Result<u8, CommandError> {
    let bytes = read("--check", path, MAX_TLOG_PROOF_BYTES)?;
    let shown = TlogProof::parse(&bytes).map_err(anyhow::Error::from).and_then(|proof| show(&proof, policy));
    let shown = match shown {
        Ok(shown) => shown,
        Err(e) => {
            anstream::eprintln!("indelible: {} proves nothing: {}", path.display(), one_line(&format!("{e:#}")));
            return Ok(TAMPERED);
        }
    };
    let beside = beside(path);
    let vouched = match std::fs::exists(&beside) {
        Ok(true) => {
            let bytes = read("--check", &beside, MAX_TLOG_PROOF_BYTES)?;
            match vouched(&bytes, &shown.session, policy) {
                Ok(vouched) => Some(vouched),
                Err(e) => {
                    anstream::eprintln!("indelible: {} proves nothing: {e:#}", beside.display());
                    return Ok(TAMPERED);
                }
            }
        }
        _ => None,
    };
    let mut out = anstream::stdout().lock();
    if as_json {
        writeln!(out, "{}", shown.json(vouched.as_ref()))?;
    } else {
        shown.tell(vouched.as_ref(), &beside, &mut out)?;
    }
    Ok(0)
}

/// A record that was proved, and on whose word.
struct Shown {
    record: RecordProof,
    seq: Seq,
    time: Time,
    source: &'static str,
    payload: Vec<u8>,
    session: Session,
    index: LeafIndex,
    log: String,
    size: u64,
    witnesses: Vec<String>,
}

fn show(proof: &TlogProof, policy: &Policy) -> Result<Shown> {
    let record = RecordProof::decode(proof.extra()).context("its extra data are no record of ours")?;
    let standing: Standing<'_> = proof.verify(record.leaf_hash(), policy)?;
    let proved = record.check()?;
    let (seq, time, source) = (proved.seq, proved.header.time, word(proved.header.source));
    let payload = proved.payload.to_vec();
    Ok(Shown {
        seq,
        time,
        source,
        payload,
        session: record.session.clone(),
        index: proof.index(),
        log: standing.log().origin().to_string(),
        size: standing.checkpoint().size(),
        witnesses: standing.witnesses().iter().map(|(witness, _)| witness.name().to_owned()).collect(),
        record,
    })
}

/// Who vouches for the session, as the log's leaf says.
struct Vouched {
    attested: Attested,
    received_at: Time,
    log: String,
}

fn vouched(bytes: &[u8], session: &Session, policy: &Policy) -> Result<Vouched> {
    let proof = TlogProof::parse(bytes)?;
    let standing = proof.verify(leaf_hash(proof.extra()), policy)?;
    let Leaf::Session { session: found, attested, received_at } = Leaf::decode(proof.extra())? else {
        bail!("it is not about a session");
    };
    if found != *session {
        bail!("it is about another session than the one that signed the record");
    }
    Ok(Vouched { attested, received_at, log: standing.log().origin().to_string() })
}

impl Shown {
    fn tell(&self, vouched: Option<&Vouched>, beside: &Path, out: &mut impl Write) -> std::io::Result<()> {
        let Genesis { namespace, pod_name, pod_uid, container, .. } = &self.record.genesis;
        let commitment = &self.record.commitment;
        writeln!(out, "record     {} of chain {}", self.seq, commitment.chain)?;
        writeln!(out, "printed    {} on {}", rfc3339(self.time), self.source)?;
        writeln!(
            out,
            "by         {} ({})",
            one_line(&format!("{namespace}/{pod_name}/{container}")),
            one_line(pod_uid)
        )?;
        writeln!(out, "payload    {}", lines(&String::from_utf8_lossy(&self.payload)))?;
        writeln!(out, "rests on")?;
        writeln!(out, "  the key of session {}, which signed the batch", commitment.session)?;
        let received = rfc3339(self.record.received_at);
        writeln!(out, "  the log {}, which holds it as leaf {} since {received}", one_line(&self.log), self.index)?;
        writeln!(out, "  its signed checkpoint of {} leaves, cosigned by {}", self.size, self.cosigners())?;
        match vouched {
            Some(Vouched { attested, received_at, log }) => writeln!(
                out,
                "  the log {}, which says that at {} it knew the session as its pod's by {}",
                one_line(log),
                rfc3339(*received_at),
                attestation(attested)
            ),
            None => writeln!(
                out,
                "  nobody's word that the session was this pod's: the proof of the session's leaf, {}, is not here",
                beside.display()
            ),
        }
    }

    fn cosigners(&self) -> String {
        if self.witnesses.is_empty() { "no witness".to_owned() } else { one_line(&self.witnesses.join(", ")) }
    }

    fn json(&self, vouched: Option<&Vouched>) -> String {
        use base64::Engine;
        let Genesis { namespace, pod_name, pod_uid, container, .. } = &self.record.genesis;
        let vouched = vouched.map(|Vouched { attested, received_at, log }| {
            let Attested { attestation: _, issuer, subject, pod_uid, token_id, token_digest, token_expires } = attested;
            json!({
                "log": log, "received_at": rfc3339(*received_at), "issuer": issuer, "subject": subject,
                "pod_uid": pod_uid, "token_id": token_id, "token_sha256": token_digest.to_string(),
                "token_expires": rfc3339(*token_expires),
            })
        });
        let proof = json!({
            "chain_id": self.record.commitment.chain.to_string(), "seq": self.seq.get(),
            "namespace": namespace, "pod": pod_name, "pod_uid": pod_uid, "container": container,
            "time": rfc3339(self.time), "source": self.source,
            "text": std::str::from_utf8(&self.payload).ok(),
            "base64": base64::prelude::BASE64_STANDARD.encode(&self.payload),
            "session_id": self.record.commitment.session.to_string(),
            "log": self.log, "index": self.index.get(), "size": self.size, "witnesses": self.witnesses,
            "received_at": rfc3339(self.record.received_at), "vouched": vouched,
        });
        proof.to_string()
    }
}

fn attestation(attested: &Attested) -> String {
    let by = match attested.attestation {
        Attestation::None => return "nothing".to_owned(),
        Attestation::ServiceAccountToken => "a service-account token, checked against its issuer's keys",
        Attestation::TokenReview => "a TokenReview of the API server",
    };
    let Attested { subject, issuer, token_digest, .. } = attested;
    format!("{by}: {} by {}, token with SHA-256 {token_digest}", one_line(subject), one_line(issuer))
}
