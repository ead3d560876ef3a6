//! Policies: which logs count and which witnesses must have seen their checkpoints, after C2SP tlog-policy.
//!
//! ```text
//! log <vkey> [url]
//! witness <name> <vkey> [url]
//! group <name> all|any|<k> <member>…
//! quorum <name>|none                                                 (exactly once)
//! ```
//!
//! Fields are split by spaces or tabs, lines that begin with `#` are comments. Names of witnesses and groups share one
//! namespace, are defined before they are used, and are a member at most once, so that a witness counts in one way.
//! Log keys are of type 0x01 and named by their origin, witness keys of type 0x04.
//!
//! Invariant: a checkpoint that [`Policy::check`] gives is signed by the listed log that it names, and no signature by
//! a listed key on it is bad. Whether its witnesses suffice is the answer, not an error: witnesses may come later.

mod parse;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::cosignature::UnixSeconds;
use crate::note::{Algorithm, KeyName, Note, VerifierKey, VerifyNoteError};

pub use parse::{MAX_NESTING, MAX_POLICY_BYTES, PolicyError, PolicyProblem};

/// Whom a verifier believes.
///
/// ```
/// use indelible_chain::policy::Policy;
/// let policy = Policy::parse(b"
/// ## one log, any of two witnesses
/// log example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k https://example.com/foo
/// witness w1 witness.example/w1+b72bab2e+BCVDuS/xCVURR2rcg2nbbdyTNmWhGXjdoUBO4QZsqVWd
/// group enough 1 w1
/// quorum enough
/// ").unwrap();
/// assert_eq!(policy.logs()[0].url(), Some("https://example.com/foo"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    /// In the order of their definition: members stand before the group that they are in.
    groups: Vec<Group>,
    /// Nothing for `none`.
    quorum: Option<Party>,
}

/// A log that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    origin: Origin,
    key: VerifierKey,
    url: Option<String>,
}

/// A party that cosigns checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    name: String,
    key: VerifierKey,
    url: Option<String>,
}

/// Witnesses and groups of which a number must have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Party>,
}

/// A witness or group by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    Witness(usize),
    Group(usize),
}

/// A checkpoint of a listed log, and who has cosigned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'p> {
    checkpoint: Checkpoint,
    log: &'p Log,
    witnesses: Vec<(&'p Witness, UnixSeconds)>,
    is_met: bool,
}

/// Why a note does not count under a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckPolicyError {
    /// A listed key's signature is bad, or none is there.
    #[error("the checkpoint is not signed as the policy asks")]
    Note(#[source] VerifyNoteError),
    /// The text is no checkpoint.
    #[error("the note is no checkpoint")]
    Text(#[source] CheckpointError),
    /// No listed log of that origin signed.
    #[error("the checkpoint of {0} is not signed by a log of that name in the policy; add `log <its verifier key>`")]
    UnknownLog(Origin),
}

/// Why keys are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogKeysError {
    /// A cosigner's key.
    #[error("the key of {0} is of type 0x04, a witness's: a log's key is of type 0x01")]
    NoLogKey(KeyName),
    /// A public key under two names.
    #[error("the same public key is given as the log {0} and as the log {1}: a log has a key of its own")]
    SharedKey(KeyName, KeyName),
    /// A name with two public keys.
    #[error(
        "two public keys are given for the log {0}: a new key is a new log with a name of its own; keep one of them"
    )]
    SharedOrigin(KeyName),
}

impl Policy {
    /// The policy that believes these logs without any witness; a key may be given more than once.
    pub fn from_log_keys(keys: impl IntoIterator<Item = VerifierKey>) -> Result<Self, LogKeysError> {
        let mut logs: Vec<Log> = Vec::new();
        for key in keys {
            if key.algorithm() != Algorithm::Ed25519 {
                return Err(LogKeysError::NoLogKey(key.name().clone()));
            }
            match logs.iter().find(|log| log.key.public_key() == key.public_key()) {
                Some(log) if log.key == key => {}
                Some(log) => return Err(LogKeysError::SharedKey(log.key.name().clone(), key.name().clone())),
                None if logs.iter().any(|log| log.origin.as_str() == key.name().as_str()) => {
                    return Err(LogKeysError::SharedOrigin(key.name().clone()));
                }
                None => logs.push(Log { origin: key.name().clone().into(), key, url: None }),
            }
        }
        Ok(Self { logs, witnesses: Vec::new(), groups: Vec::new(), quorum: None })
    }

    /// The logs, in the order of their lines.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the order of their lines.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether the policy asks for any witness at all.
    pub const fn needs_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// The checkpoint in a note of a listed log, which witnesses cosigned it, and whether they are enough.
    pub fn check(&self, note: &Note) -> Result<Standing<'_>, CheckPolicyError> {
        let keys = self.logs.iter().map(|log| &log.key).chain(self.witnesses.iter().map(|witness| &witness.key));
        let verified = note.verify(keys).map_err(CheckPolicyError::Note)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(CheckPolicyError::Text)?;
        let signed_by = |key: &VerifierKey| verified.iter().any(|signature| signature.key == key);
        let own = self.logs.iter().find(|log| &log.origin == checkpoint.origin() && signed_by(&log.key));
        let Some(log) = own else {
            return Err(CheckPolicyError::UnknownLog(checkpoint.origin().clone()));
        };
        // Of several cosignatures by one witness the latest is the one that says most.
        let cosigned_at: Vec<Option<UnixSeconds>> = (self.witnesses.iter())
            .map(|witness| {
                verified.iter().filter(|signature| *signature.key == witness.key).filter_map(|s| s.cosigned_at).max()
            })
            .collect();
        let witnesses = self.witnesses.iter().zip(&cosigned_at).filter_map(|(witness, at)| Some((witness, (*at)?)));
        let witnesses: Vec<(&Witness, UnixSeconds)> = witnesses.collect();
        let is_met = self.is_met_by(|witness| witnesses.iter().any(|(of, _)| *of == witness));
        Ok(Standing { checkpoint, log, witnesses, is_met })
    }

    /// Whether the quorum is met by the witnesses of the policy for which this holds. One pass, no recursion.
    pub fn is_met_by(&self, has_seen: impl Fn(&Witness) -> bool) -> bool {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let has_cosigned = |party: &Party, groups: &[bool]| match *party {
            Party::Witness(number) => has_seen(&self.witnesses[number]),
            Party::Group(number) => groups[number],
        };
        for group in &self.groups {
            let members = group.members.iter().filter(|member| has_cosigned(member, &groups)).count();
            groups.push(members >= group.threshold);
        }
        self.quorum.as_ref().is_none_or(|party| has_cosigned(party, &groups))
    }
}

impl Log {
    /// The log's name.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What its checkpoints are signed with.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where it can be reached, as the policy says.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

impl Witness {
    /// The witness's name in the policy, which need not be its key's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its cosignatures are verified with.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where it can be reached, as the policy says.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

impl<'p> Standing<'p> {
    /// The tree head that was signed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log that signed it.
    pub const fn log(&self) -> &'p Log {
        self.log
    }

    /// The witnesses that cosigned it, each once with its latest time, in the policy's order.
    pub fn witnesses(&self) -> &[(&'p Witness, UnixSeconds)] {
        &self.witnesses
    }

    /// Whether the quorum is met.
    pub const fn is_met(&self) -> bool {
        self.is_met
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cosignature::Cosigner;
    use crate::merkle::EMPTY_ROOT;
    use crate::note::NoteSigner;

    fn signer(name: &str, seed: u8) -> NoteSigner {
        NoteSigner::new(name.parse().unwrap(), &[seed; 32])
    }

    fn cosigner(n: u8) -> Cosigner {
        Cosigner::new(format!("w{n}").parse().unwrap(), &[100 + n; 32])
    }

    fn seconds(n: u64) -> UnixSeconds {
        UnixSeconds::new(n).unwrap()
    }

    /// A checkpoint of the log `log` with the cosignatures of these witnesses.
    fn note(witnesses: impl IntoIterator<Item = u8>) -> Note {
        let checkpoint = Checkpoint::new("log".parse().unwrap(), 0, EMPTY_ROOT);
        let mut note = checkpoint.sign(&signer("log", 1)).unwrap();
        for n in witnesses {
            note.add(cosigner(n).cosign(&checkpoint, seconds(n.into())).unwrap()).unwrap();
        }
        note
    }

    /// Lines for the log and five witnesses, and then these.
    fn policy(lines: &str) -> Policy {
        let witnesses = [1, 2, 3, 4, 5].map(|n| format!("witness W{n} {}\n", cosigner(n).verifier_key())).concat();
        let text = format!("log {}\n{witnesses}{lines}", signer("log", 1).verifier_key());
        Policy::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_quorum_is_met_by_exactly_the_sets_that_the_policy_says() {
        let nested = "group a 2 W1 W2 W3\ngroup b any W4 W5\ngroup both all a b\nquorum both";
        for set in 0..32u8 {
            let has = |n: u8| set >> (n - 1) & 1 == 1;
            let note = note((1..=5).filter(|n| has(*n)));
            let is_met = |lines| policy(lines).check(&note).unwrap().is_met();
            let two_of_three = (1..=3).filter(|n| has(*n)).count() >= 2;
            assert_eq!(is_met(nested), two_of_three && (has(4) || has(5)), "{set:05b}");
            assert_eq!(is_met("group a all W1 W2\nquorum a"), has(1) && has(2), "{set:05b}");
            assert_eq!(is_met("quorum W3"), has(3), "{set:05b}");
            assert!(is_met("quorum none"));
        }
    }

    #[test]
    fn a_standing_names_the_log_and_the_witnesses_with_their_latest_times() {
        let policy = policy("group g 1 W1 W2\nquorum g");
        let checkpoint = Checkpoint::new("log".parse().unwrap(), 0, EMPTY_ROOT);
        let mut note = note([2, 1]);
        note.add(cosigner(2).cosign(&checkpoint, seconds(9)).unwrap()).unwrap();
        let standing = policy.check(&note).unwrap();
        assert_eq!(standing.checkpoint(), &checkpoint);
        assert_eq!(standing.log().origin().as_str(), "log");
        let witnesses: Vec<_> = standing.witnesses().iter().map(|(witness, at)| (witness.name(), at.get())).collect();
        assert_eq!(witnesses, [("W1", 1), ("W2", 9)]);
    }

    #[test]
    fn a_witness_twice_is_one_witness() {
        let mut note = note([1]);
        let checkpoint = Checkpoint::new("log".parse().unwrap(), 0, EMPTY_ROOT);
        note.add(cosigner(1).cosign(&checkpoint, seconds(7)).unwrap()).unwrap();
        assert!(!policy("group g 2 W1 W2\nquorum g").check(&note).unwrap().is_met());
    }

    #[test]
    fn only_a_listed_log_counts_and_only_for_its_own_checkpoints() {
        let policy = policy("quorum none");
        let unknown = Checkpoint::new("other".parse().unwrap(), 0, EMPTY_ROOT).sign(&signer("other", 1)).unwrap();
        assert!(matches!(policy.check(&unknown), Err(CheckPolicyError::Note(VerifyNoteError::NoKnownKey(1)))));

        let of_another = signer("log", 1).sign_note(unknown.text()).unwrap();
        let error = CheckPolicyError::UnknownLog("other".parse().unwrap());
        assert_eq!(policy.check(&of_another), Err(error));

        let checkpoint = Checkpoint::new("log".parse().unwrap(), 0, EMPTY_ROOT);
        let witnesses = vec![cosigner(1).cosign(&checkpoint, seconds(1)).unwrap()];
        let only_witnessed = Note::new(checkpoint.to_string(), witnesses).unwrap();
        let error = CheckPolicyError::UnknownLog("log".parse().unwrap());
        assert_eq!(policy.check(&only_witnessed), Err(error));

        let no_checkpoint = signer("log", 1).sign_note("log\n").unwrap();
        assert_eq!(policy.check(&no_checkpoint), Err(CheckPolicyError::Text(CheckpointError::Lines)));
    }

    #[test]
    fn a_bad_cosignature_by_a_listed_witness_spoils_the_checkpoint() {
        let other = Checkpoint::new("log".parse().unwrap(), 1, EMPTY_ROOT);
        let mut note = note([]);
        note.add(cosigner(1).cosign(&other, seconds(1)).unwrap()).unwrap();
        let error = policy("quorum none").check(&note).unwrap_err();
        assert!(matches!(error, CheckPolicyError::Note(VerifyNoteError::BadSignature { .. })));
    }

    #[test]
    fn bare_log_keys_are_a_policy_without_witnesses() {
        let key = |name, seed| signer(name, seed).verifier_key().clone();
        let policy = Policy::from_log_keys([key("log", 1), key("two", 2), key("log", 1)]).unwrap();
        assert_eq!(policy.logs().len(), 2);
        assert!(!policy.needs_witnesses());
        assert!(policy.check(&note([])).unwrap().is_met());

        let shared = Policy::from_log_keys([key("log", 1), key("two", 1)]);
        assert!(matches!(shared, Err(LogKeysError::SharedKey(..))));
        let two = Policy::from_log_keys([key("log", 1), key("log", 2)]).unwrap_err();
        assert!(two.to_string().contains("for the log log: "), "{two}");
        let witness = Policy::from_log_keys([cosigner(1).verifier_key().clone()]);
        assert!(matches!(witness, Err(LogKeysError::NoLogKey(_))));
    }
}
