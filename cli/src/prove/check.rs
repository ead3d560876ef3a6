//! `indelible prove --check`: what a proof shows, offline, and on whose word.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{LeafIndex, Seq, Time};
use indelible_chain::leaf::{Attestation, Attested, Leaf};
use indelible_chain::merkle::leaf_hash;
use indelible_chain::policy::{Policy, Standing};
use indelible_chain::record_proof::RecordProof;
use indelible_chain::session::Session;
use indelible_chain::tlog_proof::{MAX_TLOG_PROOF_BYTES, TlogProof};
use serde_json::{Value, json};

use super::beside;
use super::wanted::Position;
use crate::clock::rfc3339;
use crate::exit::{CommandError, TAMPERED};
use crate::logs::word;
use crate::terminal::say;
use crate::terms::read;
use crate::text::{container, lines, one_line};

/// Checks a proof offline; gives the exit code.
pub fn check(path: &Path, policy: &Policy, as_json: bool) -> Result<u8, CommandError> {
    let bytes = read("--check", path, MAX_TLOG_PROOF_BYTES)?;
    let shown = TlogProof::parse(&bytes).map_err(anyhow::Error::from).and_then(|proof| show(&proof, policy));
    let shown = match shown {
        Ok(shown) => shown,
        Err(e) => {
            say(format_args!("{} proves nothing: {}", path.display(), one_line(&format!("{e:#}"))));
            return Ok(TAMPERED);
        }
    };
    let beside = beside(path);
    let vouched = match std::fs::exists(&beside) {
        Ok(true) => {
            let bytes = read("--check", &beside, MAX_TLOG_PROOF_BYTES)?;
            let proof = TlogProof::parse(&bytes).map_err(anyhow::Error::from);
            match proof.and_then(|proof| vouched(&proof, &shown.session, policy)) {
                Ok(vouched) => Some(vouched),
                Err(e) => {
                    say(format_args!("{} proves nothing: {}", beside.display(), one_line(&format!("{e:#}"))));
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
pub struct Shown {
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

/// What a proof shows, if it does.
pub fn show(proof: &TlogProof, policy: &Policy) -> Result<Shown> {
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
pub struct Vouched {
    attested: Attested,
    received_at: Time,
    log: String,
}

/// What the proof of a session's leaf shows, if it is that of this session and of its pod.
pub fn vouched(proof: &TlogProof, session: &Session, policy: &Policy) -> Result<Vouched> {
    let standing = proof.verify(leaf_hash(proof.extra()), policy)?;
    let Leaf::Session { session: found, attested, received_at } = Leaf::decode(proof.extra())? else {
        bail!("it is not about a session");
    };
    if found != *session {
        bail!("it is about another session than the one that signed the record");
    }
    if !attested.is_of(session) {
        bail!(
            "the log knew the session by a token of another pod or service account (pod UID {}, {})",
            one_line(&attested.pod_uid),
            one_line(&attested.subject)
        );
    }
    Ok(Vouched { attested, received_at, log: standing.log().origin().to_string() })
}

impl Shown {
    fn tell(&self, vouched: Option<&Vouched>, beside: &Path, out: &mut impl Write) -> std::io::Result<()> {
        let genesis = &self.record.genesis;
        let commitment = &self.record.commitment;
        writeln!(out, "record     {} of chain {}", self.seq, commitment.chain)?;
        writeln!(out, "printed    {} on {}", rfc3339(self.time), self.source)?;
        writeln!(out, "by         {} ({})", container(genesis), one_line(&genesis.pod_uid))?;
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

    /// The container and the moment, on one line.
    pub fn summary(&self) -> String {
        let whose = container(&self.record.genesis);
        format!("{whose} printed it at {} on {}", rfc3339(self.time), self.source)
    }

    /// Which record it is.
    pub const fn position(&self) -> Position {
        Position { chain: self.record.commitment.chain, seq: self.seq }
    }

    /// Who signed.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    fn cosigners(&self) -> String {
        if self.witnesses.is_empty() { "no witness".to_owned() } else { one_line(&self.witnesses.join(", ")) }
    }

    /// All of it, for scripts.
    pub fn json(&self, vouched: Option<&Vouched>) -> Value {
        use base64::Engine;
        let Genesis { namespace, pod_name, pod_uid, container, .. } = &self.record.genesis;
        let vouched = vouched.map(|Vouched { attested, received_at, log }| {
            let Attested { attestation, issuer, subject, pod_uid, token_id, token_digest, token_expires } = attested;
            json!({
                "log": log, "received_at": rfc3339(*received_at), "attestation": attestation_word(*attestation), "issuer": issuer, "subject": subject,
                "pod_uid": pod_uid, "token_id": token_id, "token_sha256": token_digest.to_string(),
                "token_expires": rfc3339(*token_expires),
            })
        });
        json!({
            "chain_id": self.record.commitment.chain.to_string(), "seq": self.seq.get(),
            "namespace": namespace, "pod": pod_name, "pod_uid": pod_uid, "container": container,
            "time": rfc3339(self.time), "source": self.source,
            "text": std::str::from_utf8(&self.payload).ok(),
            "base64": base64::prelude::BASE64_STANDARD.encode(&self.payload),
            "session_id": self.record.commitment.session.to_string(),
            "log": self.log, "index": self.index.get(), "size": self.size, "witnesses": self.witnesses,
            "received_at": rfc3339(self.record.received_at), "vouched": vouched,
        })
    }
}

const fn attestation_word(attestation: Attestation) -> &'static str {
    match attestation {
        Attestation::None => "none",
        Attestation::ServiceAccountToken => "service-account-token",
        Attestation::TokenReview => "token-review",
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

#[cfg(test)]
mod tests {
    use indelible_chain::checkpoint::Checkpoint;
    use indelible_chain::key::PrivateKey;
    use indelible_chain::note::NoteSigner;

    use super::*;
    use crate::testlog::{NOW, attested, session};

    /// What a log of one leaf shows, the session's, introduced by such a token.
    fn introduced_by(attested: Attested) -> Result<Vouched> {
        let signer = NoteSigner::new("log".parse().unwrap(), &[3; 32]);
        let session = session(&PrivateKey::from_seed(&[5; 32]));
        let leaf = Leaf::Session { session: session.clone(), attested, received_at: NOW }.encode().unwrap();
        let note = Checkpoint::new("log".parse().unwrap(), 1, leaf_hash(&leaf)).sign(&signer).unwrap();
        let proof = TlogProof::new(leaf, LeafIndex::ZERO, Vec::new(), note).unwrap();
        vouched(&proof, &session, &Policy::from_log_keys([signer.verifier_key().clone()]).unwrap())
    }

    #[test]
    fn a_session_that_another_pods_token_introduced_is_not_vouched_for() {
        assert!(introduced_by(attested("jwt")).is_ok());
        let other_pod = Attested { pod_uid: "u-2".into(), ..attested("jwt") };
        let other_account = Attested { subject: "system:serviceaccount:shop:admin".into(), ..attested("jwt") };
        for other in [other_pod, other_account] {
            let Err(why) = introduced_by(other.clone()) else { panic!("{other:?}") };
            assert!(why.to_string().contains(&other.pod_uid) && why.to_string().contains("another pod"), "{why}");
        }
    }
}
