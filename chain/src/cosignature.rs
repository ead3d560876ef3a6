//! Timestamped cosignatures of checkpoints: type 0x04, cosignature/v1 of C2SP tlog-cosignature.
//!
//! ```text
//! signature blob = u64 unix_seconds ‖ Ed25519( "cosignature/v1\ntime <unix_seconds>\n" ‖ checkpoint text )
//! ```
//!
//! By it a witness says: at that time, this was the largest tree of the log that I had seen, and it extends all that I
//! saw before. The time is between 1 and 2^63 − 1. The signed message does not hold the cosigner's name, so a key
//! serves one cosigner.
//!
//! Invariant: a cosigner's key is never a log key; [`Cosigner::cosign`] refuses a log whose origin names the
//! cosigner's own key, and a policy refuses a key in both roles.

use crate::checkpoint::{Checkpoint, Origin};
use crate::id::Time;
use crate::key::{PrivateKey, PublicKey};
use crate::note::{Algorithm, KeyName, NoteSignature, VerifierKey};

/// A time in seconds since the Unix epoch, from 1 to 2^63 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(u64);

impl UnixSeconds {
    /// Takes a number of seconds; `None` for 0 and above 2^63 − 1.
    pub const fn new(seconds: u64) -> Option<Self> {
        if seconds == 0 || seconds > i64::MAX as u64 { None } else { Some(Self(seconds)) }
    }

    /// The number of seconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The same time in nanoseconds; the latest there is if it does not fit.
    pub fn time(self) -> Time {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        Time::from_nanos(seconds.saturating_mul(Time::SECOND))
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is signed with the cosigner's own key; a log is cosigned by others, give the cosigner a key of its own")]
pub struct CosignError(pub Origin);

/// A witness's private key with its name.
///
/// ```
/// use indelible_chain::checkpoint::Checkpoint;
/// use indelible_chain::cosignature::{Cosigner, UnixSeconds};
/// let checkpoint = Checkpoint::parse(
///     "0d1f5b1e-6f0c-4f7e-9b0a-2f3c4d5e6f70/audit/payments/0-24f6ed6a\n\
///      9\n\
///      5DtRp5dWd8MhtENAVg0g+LctpQ+9kIVlghpOvWYNG/Y=\n",
/// ).unwrap();
/// let witness = Cosigner::new("witness.example/w1".parse().unwrap(), &core::array::from_fn(|i| 0x40 + i as u8));
/// let line = witness.cosign(&checkpoint, UnixSeconds::new(1_795_400_001).unwrap()).unwrap();
/// assert_eq!(
///     line.to_string(),
///     "— witness.example/w1 tyurLgAAAABrA6FB9z2+RH5V3a2oMD1Xz7R15p/X6c+jj2cgqIGkHPsHlq4Q5UdXjOBPbFqthenQGgmDdDpR\
///      EX1Yh1wh9nUpwG9KDA==",
/// );
/// ```
#[derive(Debug)]
pub struct Cosigner {
    key: PrivateKey,
    verifier_key: VerifierKey,
}

impl Cosigner {
    /// The cosigner of this name with the private key that follows from a 32-byte seed.
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = PrivateKey::from_seed(seed);
        let verifier_key = VerifierKey::new(name, Algorithm::CosignatureV1, key.public());
        Self { key, verifier_key }
    }

    /// What the cosignatures are verified with.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// The line to add to a checkpoint's note. That the checkpoint extends what was cosigned before is the caller's to
    /// have checked.
    pub fn cosign(&self, checkpoint: &Checkpoint, now: UnixSeconds) -> Result<NoteSignature, CosignError> {
        if checkpoint.origin().is_of_key(&self.key.public()) {
            return Err(CosignError(checkpoint.origin().clone()));
        }
        let signature = self.key.sign(message(now, &checkpoint.to_string()).as_bytes());
        let blob = [now.0.to_be_bytes().as_slice(), &signature].concat();
        Ok(NoteSignature::by(&self.verifier_key, blob))
    }
}

/// The time of a cosignature by `key` over a note's text; `None` if it does not hold.
pub(crate) fn verify(key: &PublicKey, text: &str, blob: &[u8]) -> Option<UnixSeconds> {
    let (time, signature) = blob.split_first_chunk()?;
    let time = UnixSeconds::new(u64::from_be_bytes(*time))?;
    let signature = signature.try_into().ok()?;
    key.verifies(message(time, text).as_bytes(), signature).then_some(time)
}

fn message(time: UnixSeconds, text: &str) -> String {
    format!("cosignature/v1\ntime {}\n{text}", time.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::EMPTY_ROOT;
    use crate::note::{Note, NoteSigner, Verified};

    const NOW: UnixSeconds = UnixSeconds(1_795_400_001);

    fn witness() -> Cosigner {
        Cosigner::new("witness.example/w1".parse().unwrap(), &[4; 32])
    }

    fn signed() -> (Checkpoint, Note) {
        let checkpoint = Checkpoint::new("log".parse().unwrap(), 0, EMPTY_ROOT);
        let note = checkpoint.sign(&NoteSigner::new("log".parse().unwrap(), &[2; 32])).unwrap();
        (checkpoint, note)
    }

    #[test]
    fn a_cosignature_is_good_for_its_checkpoint_and_its_time_alone() {
        let (checkpoint, mut note) = signed();
        let line = witness().cosign(&checkpoint, NOW).unwrap();
        note.add(line.clone()).unwrap();
        let key = witness().verifier_key().clone();
        assert_eq!(note.verify([&key]).unwrap(), [Verified { key: &key, cosigned_at: Some(NOW) }]);

        let other = Note::new(note.text().replace("\n0\n", "\n1\n"), vec![line.clone()]).unwrap();
        assert!(other.verify([&key]).is_err());

        let blob = [NOW.0.to_be_bytes().as_slice(), &[0; 64]].concat();
        for at in 0..72 {
            let mut bad = blob.clone();
            bad[at] ^= 1;
            assert_eq!(verify(key.public_key(), note.text(), &bad), None);
        }
    }

    #[test]
    fn a_cosignature_without_a_time_or_of_another_length_does_not_hold() {
        let key = PrivateKey::from_seed(&[4; 32]);
        let blob = |seconds: u64| {
            let signature = key.sign(message(UnixSeconds(seconds), "text\n").as_bytes());
            [seconds.to_be_bytes().as_slice(), &signature].concat()
        };
        let verify = |blob: &[u8]| verify(&key.public(), "text\n", blob);
        assert_eq!(verify(&blob(5)), Some(UnixSeconds(5)));
        assert_eq!(verify(&blob(0)), None);
        assert_eq!(verify(&blob(1 << 63)), None);
        assert_eq!(verify(&blob(5)[..71]), None);
        assert_eq!(verify(&[blob(5), vec![0]].concat()), None);
        assert_eq!(verify(&[]), None);
    }

    #[test]
    fn a_plain_signature_is_no_cosignature() {
        let (checkpoint, _) = signed();
        let plain = NoteSigner::new("witness.example/w1".parse().unwrap(), &[4; 32]);
        let note = plain.sign_note(checkpoint.to_string()).unwrap();
        assert!(note.verify([witness().verifier_key()]).is_err());
        let disguised = NoteSignature::by(witness().verifier_key(), plain.private_key().sign(b"x\n").to_vec());
        assert!(Note::new("x\n", vec![disguised]).unwrap().verify([witness().verifier_key()]).is_err());
    }

    #[test]
    fn a_log_is_not_cosigned_with_its_own_key() {
        let witness = witness();
        let origin = Origin::of_key("log", witness.verifier_key().public_key()).unwrap();
        let checkpoint = Checkpoint::new(origin.clone(), 0, EMPTY_ROOT);
        assert_eq!(witness.cosign(&checkpoint, NOW), Err(CosignError(origin)));
    }

    #[test]
    fn seconds_become_a_time_or_the_latest_there_is() {
        assert_eq!(NOW.time().nanos(), 1_795_400_001_000_000_000);
        assert_eq!(UnixSeconds::new(i64::MAX as u64).unwrap().time().nanos(), i64::MAX);
        assert_eq!(UnixSeconds::new(0), None);
        assert_eq!(UnixSeconds::new(1 << 63), None);
    }
}
