//! The witnesses of this log: they are asked to cosign its checkpoints, and what they answer is kept with them.
//!
//! C2SP tlog-witness `add-checkpoint`: the newest checkpoint, with the proof that it extends the last one that the witness
//! has, which the witness says itself (409) when it is not the one that was thought. A witness that is away, slow, or of
//! another mind holds up nothing and nobody: the log goes on without its cosignature, and it is asked again. Invariant: a
//! line is kept only after it was verified under the witness' key over exactly the checkpoint that it was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use indelible_chain::note::{Note, NoteError, NoteSignature, VerifierKey};
use indelible_chain::witness::AddCheckpoint;
use tokio::task::JoinSet;

use crate::config::Witness;
use crate::kube::{pause, random};
use crate::limits::{
    COSIGN_INTERVAL, COSIGN_RETRY, COSIGN_TIMEOUT, COSIGN_TRIES, LAST_COSIGNATURES, MAX_COSIGN_ANSWER_BYTES,
    MAX_COSIGN_PAUSE,
};
use crate::metrics::{CosignOutcome, Metrics};
use crate::outbound::{Answer, Outbound, OutboundError, Trust};
use crate::settings::Changing;
use crate::store::{Fatal, Published, ReadError, Store};
use crate::trouble::Trouble;

/// What all witnesses of a log are asked with.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The log.
    pub store: Arc<Store>,
    /// The way out.
    pub outbound: Arc<Outbound>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Away(#[from] OutboundError),
    #[error("it answers {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("its answer has no line that its key {key} has signed for this checkpoint")]
    NotCosigned { key: String },
    #[error(
        "it has cosigned {theirs} leaves of this log, which has {ours}: the log was set back, or another one has its key"
    )]
    SetBack { theirs: u64, ours: u64 },
    #[error("it has cosigned another root for {size} leaves: the log was forked, or another one has its key")]
    Forked { size: u64 },
    #[error("it does not say which size it has")]
    NoSize,
    #[error("the log: {0}")]
    Read(#[from] ReadError),
    #[error("the newest checkpoint is no note: {0}")]
    Note(#[from] NoteError),
    #[error(transparent)]
    Fatal(#[from] Fatal),
    #[error("the log cannot be read now")]
    Panicked,
}

impl AskError {
    const fn outcome(&self) -> CosignOutcome {
        match self {
            Self::Away(_) => CosignOutcome::Away,
            Self::SetBack { .. } | Self::Forked { .. } => CosignOutcome::Contradicted,
            _ => CosignOutcome::Refused,
        }
    }
}

/// Asks the witnesses that there are now, until the process ends.
pub async fn run(asking: Asking, mut witnesses: Changing<Vec<Witness>>) {
    loop {
        let mut asked = JoinSet::new();
        let list = Arc::clone(&witnesses.borrow_and_update());
        asking.metrics.witnessed.begin(list.len(), Instant::now());
        for (place, witness) in list.iter().enumerate() {
            asked.spawn(Asker::new(asking.clone(), (place, witness.clone())).run());
        }
        if witnesses.changed().await.is_err() {
            // Nobody changes them any more: these are asked for good.
            while asked.join_next().await.is_some() {}
            return;
        }
        // All begin anew, which costs one question each: the set changes when people change it.
    }
}

/// Asks all once more, for the last checkpoint of a log that has its end; for a few seconds at most.
pub async fn ask_once(asking: &Asking, witnesses: &[Witness]) {
    let mut asked = JoinSet::new();
    for (place, witness) in witnesses.iter().enumerate() {
        let mut asker = Asker::new(asking.clone(), (place, witness.clone()));
        asked.spawn(async move { asker.ask().await });
    }
    let all = async { while asked.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_COSIGNATURES, all).await;
}

/// Asks one witness.
#[derive(Debug)]
struct Asker {
    asking: Asking,
    witness: Witness,
    /// Its place in the list of witnesses.
    place: usize,
    /// The size that the witness has, as far as is known.
    theirs: u64,
    /// The size that it cosigned for us.
    cosigned: Option<u64>,
    trouble: Trouble,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// These lines hold.
    Cosigned(Vec<NoteSignature>),
    /// It has this size.
    Has(u64),
}

impl Asker {
    fn new(asking: Asking, (place, witness): (usize, Witness)) -> Self {
        Self { asking, witness, place, theirs: 0, cosigned: None, trouble: Trouble::default() }
    }

    async fn run(mut self) {
        let mut failures = 0;
        loop {
            failures = if self.ask().await { 0 } else { failures + 1 };
            let next = match failures {
                0 => COSIGN_INTERVAL,
                failures => pause(failures, (COSIGN_INTERVAL, MAX_COSIGN_PAUSE), random()),
            };
            tokio::time::sleep(next).await;
        }
    }

    /// Asks for the newest checkpoint. Whether it is cosigned now.
    async fn ask(&mut self) -> bool {
        let asked = self.try_ask().await;
        let name = self.witness.key.name();
        match asked {
            Ok(false) => true,
            Ok(true) => {
                self.asking.metrics.cosigned(CosignOutcome::Cosigned);
                if self.trouble.is_over() {
                    tracing::info!(witness = %name, "the witness cosigns again");
                }
                true
            }
            Err(error) => {
                self.asking.metrics.cosigned(error.outcome());
                if self.trouble.failed(&error) {
                    if error.outcome() == CosignOutcome::Contradicted {
                        let remedy = "keep the volume, and verify it with the receipts and checkpoints that you have";
                        tracing::error!(witness = %name, %error, remedy, "a witness contradicts this log");
                    } else {
                        tracing::warn!(witness = %name, %error, "a witness does not cosign; the log goes on without");
                    }
                }
                false
            }
        }
    }

    /// Whether there was anything to ask for.
    async fn try_ask(&mut self) -> Result<bool, AskError> {
        // The second time with the size that the witness says it has.
        for _ in 0..2 {
            let newest = self.asking.store.checkpoint().size;
            if self.cosigned == Some(newest) {
                return Ok(false);
            }
            let (theirs, now) = (self.theirs, Instant::now());
            let store = Arc::clone(&self.asking.store);
            let extension = tokio::task::spawn_blocking(move || store.extension(theirs));
            let Some((published, proof)) = extension.await.map_err(|_| AskError::Panicked)?? else {
                return Err(AskError::SetBack { theirs, ours: newest });
            };
            let request = AddCheckpoint { old: theirs, proof, checkpoint: Note::parse(&published.note)? };
            let answer = self.send_until_heard(&request.to_string()).await?;
            match judge(&answer, request.checkpoint.text(), &self.witness.key)? {
                Verdict::Cosigned(lines) => {
                    self.keep(&published, lines).await?;
                    self.asking.metrics.witnessed.cosigned(self.place, published.size, now);
                    (self.theirs, self.cosigned) = (published.size, Some(published.size));
                    return Ok(true);
                }
                Verdict::Has(size) if size == theirs => return Err(AskError::Forked { size }),
                Verdict::Has(size) => self.theirs = size,
            }
        }
        Err(AskError::NoSize)
    }

    /// Sends it, again if nobody is the witness there and now (503): behind one name stand several, and the next
    /// connection may come to the one that is.
    async fn send_until_heard(&self, body: &str) -> Result<Answer, OutboundError> {
        for _ in 1..COSIGN_TRIES {
            let answer = self.send(body.to_owned()).await?;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(answer);
            }
            tokio::time::sleep(COSIGN_RETRY).await;
        }
        self.send(body.to_owned()).await
    }

    async fn send(&self, body: String) -> Result<Answer, OutboundError> {
        let url = &self.witness.url;
        let path = format!("{}/add-checkpoint", url.path().trim_end_matches('/'));
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().expect("a URL's path with a word behind it is one");
        // What it answers is signed, so nobody in between matters.
        self.asking.outbound.call(url, &Trust::Web, request, (MAX_COSIGN_ANSWER_BYTES, COSIGN_TIMEOUT)).await
    }

    async fn keep(&self, published: &Arc<Published>, lines: Vec<NoteSignature>) -> Result<(), AskError> {
        let (store, published) = (Arc::clone(&self.asking.store), Arc::clone(published));
        let size = published.size;
        tokio::task::spawn_blocking(move || store.cosign(&published, lines))
            .await
            .map_err(|_| AskError::Panicked)??;
        self.asking.metrics.cosigned_leaves.set(i64::try_from(size).unwrap_or(i64::MAX));
        Ok(())
    }
}

/// Reads an answer. Lines of others, and such as do not hold, are no cosignatures.
fn judge(answer: &Answer, checkpoint: &str, key: &VerifierKey) -> Result<Verdict, AskError> {
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    match answer.status {
        StatusCode::OK => {
            let mut lines = NoteSignature::parse_lines(text).unwrap_or_default();
            lines.retain(|line| {
                let note = Note::new(checkpoint, vec![line.clone()]);
                note.is_ok_and(|note| note.verify([key]).is_ok())
            });
            if lines.is_empty() {
                Err(AskError::NotCosigned { key: key.to_string() })
            } else {
                Ok(Verdict::Cosigned(lines))
            }
        }
        StatusCode::CONFLICT => text.trim_end().parse().map(Verdict::Has).map_err(|_| AskError::NoSize),
        status => Err(AskError::Refused {
            status,
            text: text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect(),
        }),
    }
}

const _: () = assert!(COSIGN_TIMEOUT.as_secs() >= 15, "a witness may store what it has seen once in 10 s");
const _: () = assert!(Duration::from_secs(1).as_secs() < COSIGN_INTERVAL.as_secs(), "checkpoints come each second");

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use indelible_chain::checkpoint::Checkpoint;
    use indelible_chain::cosignature::{Cosigner, UnixSeconds};
    use indelible_chain::merkle::EMPTY_ROOT;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn only_what_the_witness_has_signed_for_this_checkpoint_is_a_cosignature() {
        let cosigner = |seed| Cosigner::new("w".parse().unwrap(), &[seed; 32]);
        let checkpoint = |size| Checkpoint::new("log".parse().unwrap(), size, EMPTY_ROOT);
        let line = |seed, size| cosigner(seed).cosign(&checkpoint(size), UnixSeconds::new(7).unwrap()).unwrap();
        let (text, key) = (checkpoint(5).to_string(), cosigner(1).verifier_key().clone());
        let judged = |lines: &[NoteSignature]| {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            judge(&answer(200, &format!("{}\n", lines.join("\n"))), &text, &key).ok()
        };
        let good = line(1, 5);
        assert_eq!(judged(std::slice::from_ref(&good)), Some(Verdict::Cosigned(vec![good.clone()])));
        assert_eq!(judged(&[line(2, 5), good.clone()]), Some(Verdict::Cosigned(vec![good])));
        assert_eq!(judged(&[line(1, 6)]), None, "of another checkpoint");
        assert_eq!(judged(&[line(2, 5)]), None, "by another key of that name");
        assert_eq!(judged(&[]), None);
        assert!(matches!(judge(&answer(200, "<html>"), &text, &key), Err(AskError::NotCosigned { .. })));
    }

    #[test]
    fn a_conflict_says_which_size_the_witness_has_and_everything_else_is_a_refusal() {
        let key = Cosigner::new("w".parse().unwrap(), &[1; 32]).verifier_key().clone();
        let judged = |status, body: &str| judge(&answer(status, body), "log\n", &key);
        assert_eq!(judged(409, "12\n").unwrap(), Verdict::Has(12));
        assert!(matches!(judged(409, "none"), Err(AskError::NoSize)));
        for status in [204, 302, 400, 403, 404, 422, 500] {
            let refused = judged(status, "no\nsuch  log").unwrap_err();
            assert!(refused.to_string().ends_with(": no such log"), "{refused}");
        }
    }
}
