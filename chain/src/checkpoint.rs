//! Checkpoints: a log's signed tree heads, after C2SP tlog-checkpoint, and the origins that name logs.
//!
//! ```text
//! checkpoint text = origin ‖ "\n" ‖ size ‖ "\n" ‖ base64(root) ‖ "\n" ‖ extension lines
//! origin          = <prefix>-<first 8 hex digits of SHA-256(public key)>           (of a log of ours)
//! log_id          = SHA256(origin)
//! ```
//!
//! The text is the text of a signed note whose log key has the origin as its name. Logs of ours write no extension
//! lines; those of others are kept as they are, since they are signed. A new key is a new origin and so a new log.
//!
//! Invariant: a checkpoint has one text, and what was read is written again byte for byte.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::id::LogId;
use crate::key::PublicKey;
use crate::note::text::{digest_from_base64, parse_decimal, to_base64};
use crate::note::{
    self, Algorithm, KeyName, KeyNameError, MAX_NAME_BYTES, Note, NoteError, NoteSigner, VerifierKey, VerifyNoteError,
};

/// The name of a log: not empty, one line of at most 1,024 bytes. Those of our logs are names of keys, too, without
/// spaces, control characters or `+`, and so is what is parsed; a checkpoint of another log may begin with any line.
///
/// ```
/// use indelible_chain::{checkpoint::Origin, key::PrivateKey};
/// let key = PrivateKey::from_seed(&core::array::from_fn(|i| 0x20 + i as u8)).public();
/// let origin = Origin::of_key("0d1f5b1e-6f0c-4f7e-9b0a-2f3c4d5e6f70/audit/payments/0", &key).unwrap();
/// assert_eq!(origin.as_str(), "0d1f5b1e-6f0c-4f7e-9b0a-2f3c4d5e6f70/audit/payments/0-24f6ed6a");
/// assert!(origin.is_of_key(&key));
/// assert_eq!(origin.log_id().to_string(), "442da541352f9355b0551e8c629781bdc6914adf2faa4b9c7f57b377977af257");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of the log with this public key: `<prefix>-<first 8 hex digits of SHA-256(public key)>`.
    ///
    /// The prefix must not be empty.
    pub fn of_key(prefix: &str, key: &PublicKey) -> Result<Self, KeyNameError> {
        let _: KeyName = prefix.parse()?;
        format!("{prefix}-{}", fingerprint(key)).parse()
    }

    /// Whether the origin is one that [`Origin::of_key`] gives for this key.
    pub fn is_of_key(&self, key: &PublicKey) -> bool {
        self.prefix(key).is_some()
    }

    /// What [`Origin::of_key`] made the origin of, with this key: the collector's name, which a log of a new key keeps.
    pub fn prefix(&self, key: &PublicKey) -> Option<&str> {
        let prefix = self.as_str().strip_suffix(&fingerprint(key)).and_then(|rest| rest.strip_suffix('-'));
        prefix.filter(|prefix| !prefix.is_empty())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin as the name of the log's key; an error for one that is no name of a key.
    pub fn key_name(&self) -> Result<KeyName, KeyNameError> {
        self.0.parse()
    }

    /// Any line, as a checkpoint may begin with.
    ///
    /// ```
    /// use indelible_chain::checkpoint::Origin;
    /// assert_eq!(Origin::of_line("go.sum database tree").unwrap().as_str(), "go.sum database tree");
    /// assert!(Origin::of_line("").is_err() && Origin::of_line("two\nlines").is_err());
    /// ```
    pub fn of_line(line: &str) -> Result<Self, KeyNameError> {
        match line.chars().find(|c| *c < ' ') {
            _ if line.is_empty() => Err(KeyNameError::Empty),
            _ if line.len() > MAX_NAME_BYTES => Err(KeyNameError::TooLong(line.len())),
            Some(character) => Err(KeyNameError::Character(character)),
            None => Ok(Self(line.to_owned())),
        }
    }

    /// The short name that leaves, receipts and paths use: `SHA256(origin)`.
    pub fn log_id(&self) -> LogId {
        LogId::new(Digest::sha256(self.as_str().as_bytes()))
    }
}

fn fingerprint(key: &PublicKey) -> String {
    let mut hex = Digest::sha256(key.as_bytes()).to_string();
    hex.truncate(8);
    hex
}

impl From<KeyName> for Origin {
    fn from(name: KeyName) -> Self {
        Self(name.to_string())
    }
}

impl FromStr for Origin {
    type Err = KeyNameError;

    fn from_str(origin: &str) -> Result<Self, KeyNameError> {
        origin.parse::<KeyName>().map(Self::from)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tree head: which log, how many leaves, which root.
///
/// ```
/// use indelible_chain::checkpoint::Checkpoint;
/// let text = "example.com/log\n9\n5DtRp5dWd8MhtENAVg0g+LctpQ+9kIVlghpOvWYNG/Y=\n";
/// let checkpoint = Checkpoint::parse(text).unwrap();
/// assert_eq!(checkpoint.size(), 9);
/// assert_eq!(
///     checkpoint.root().to_string(),
///     "e43b51a7975677c321b44340560d20f8b72da50fbd908565821a4ebd660d1bf6",
/// );
/// assert_eq!(checkpoint.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    origin: Origin,
    size: u64,
    root: Digest,
    /// Lines that are not empty, each with its newline.
    extensions: String,
}

/// Why a text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// No text of a note.
    #[error("the checkpoint is no text of a signed note")]
    Text(#[source] NoteError),
    /// Fewer than three lines.
    #[error("the checkpoint has fewer than the three lines origin, size and root")]
    Lines,
    /// The first line is no origin.
    #[error("line 1 of the checkpoint is no origin")]
    Origin(#[source] KeyNameError),
    /// The second line is no number.
    #[error("line 2 of the checkpoint is no size: expected a decimal of 64 bits without leading zeros")]
    Size,
    /// The third line is no hash.
    #[error("line 3 of the checkpoint is no root hash: expected 32 bytes in canonical base64")]
    Root,
    /// An extension line is empty.
    #[error("the checkpoint has an empty extension line")]
    EmptyExtension,
}

/// Why a checkpoint is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a checkpoint of {origin} cannot be signed by the key of {signer}: a log's key has its origin as name")]
pub struct SignCheckpointError {
    /// The checkpoint's log.
    pub origin: Origin,
    /// Name of the key.
    pub signer: KeyName,
}

/// Why a note is not believed to be a log's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenCheckpointError {
    /// The key is no log's.
    #[error("the key of {0} is of type 0x04, a cosigner's: a log's key is of type 0x01")]
    NoLogKey(KeyName),
    /// The note is not signed by the log, or badly.
    #[error("the checkpoint is not signed by the log's key")]
    Note(#[source] VerifyNoteError),
    /// The text is no checkpoint, although the log signed it.
    #[error("the log signed what is no checkpoint")]
    Text(#[source] CheckpointError),
    /// The checkpoint is of another log than the key.
    #[error("the checkpoint is of {found}, the key is that of {expected}")]
    Origin {
        /// What the log with this key is known as.
        expected: Origin,
        /// The checkpoint's first line.
        found: Origin,
    },
}

impl Checkpoint {
    /// The head of a log's tree, without extension lines.
    pub const fn new(origin: Origin, size: u64, root: Digest) -> Self {
        Self { origin, size, root, extensions: String::new() }
    }

    /// Reads a checkpoint's text; who signed it is not judged here.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        note::check_text(text).map_err(CheckpointError::Text)?;
        let mut lines = text.splitn(4, '\n');
        let (Some(origin), Some(size), Some(root), Some(extensions)) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        if extensions.starts_with('\n') || extensions.contains("\n\n") {
            return Err(CheckpointError::EmptyExtension);
        }
        Ok(Self {
            origin: Origin::of_line(origin).map_err(CheckpointError::Origin)?,
            size: parse_decimal(size).ok_or(CheckpointError::Size)?,
            root: digest_from_base64(root).ok_or(CheckpointError::Root)?,
            extensions: extensions.to_owned(),
        })
    }

    /// The checkpoint with the log's signature. `signer` must have the origin as its name.
    pub fn sign(&self, signer: &NoteSigner) -> Result<Note, SignCheckpointError> {
        let name = signer.verifier_key().name();
        if name.as_str() != self.origin.as_str() {
            return Err(SignCheckpointError { origin: self.origin.clone(), signer: name.clone() });
        }
        Ok(signer.sign_checked(self.to_string()))
    }

    /// The checkpoint in a note that `log` signed; other signatures are not judged.
    pub fn open(note: &Note, log: &VerifierKey) -> Result<Self, OpenCheckpointError> {
        Self::open_as(note, log, &Origin::from(log.name().clone()))
    }

    /// The same, of a log whose key has another name than its `origin`: some that are not ours do.
    pub fn open_as(note: &Note, log: &VerifierKey, origin: &Origin) -> Result<Self, OpenCheckpointError> {
        if log.algorithm() != Algorithm::Ed25519 {
            return Err(OpenCheckpointError::NoLogKey(log.name().clone()));
        }
        note.verify([log]).map_err(OpenCheckpointError::Note)?;
        let checkpoint = Self::parse(note.text()).map_err(OpenCheckpointError::Text)?;
        if checkpoint.origin != *origin {
            return Err(OpenCheckpointError::Origin { expected: origin.clone(), found: checkpoint.origin });
        }
        Ok(checkpoint)
    }

    /// Which log.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How many leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The RFC 6962 root over them.
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// The lines after the root, each with its newline; empty for logs of ours.
    pub fn extensions(&self) -> &str {
        &self.extensions
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = to_base64(self.root.as_bytes());
        write!(f, "{}\n{}\n{root}\n{}", self.origin, self.size, self.extensions)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cosignature::{Cosigner, UnixSeconds};
    use crate::key::PrivateKey;
    use crate::merkle::EMPTY_ROOT;

    const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn signer(name: &str) -> NoteSigner {
        NoteSigner::new(name.parse().unwrap(), &[9; 32])
    }

    #[test]
    fn texts_that_are_no_checkpoint_are_refused() {
        for (text, error) in [
            (String::new(), CheckpointError::Text(NoteError::TextEnd)),
            (format!("log\n0\n{ROOT}"), CheckpointError::Text(NoteError::TextEnd)),
            ("log\n0\n".into(), CheckpointError::Lines),
            (format!("\n0\n{ROOT}\n"), CheckpointError::Origin(KeyNameError::Empty)),
            (format!("{}\n0\n{ROOT}\n", "x".repeat(1025)), CheckpointError::Origin(KeyNameError::TooLong(1025))),
            (format!("log\n\n{ROOT}\n"), CheckpointError::Size),
            (format!("log\n00\n{ROOT}\n"), CheckpointError::Size),
            (format!("log\n+1\n{ROOT}\n"), CheckpointError::Size),
            (format!("log\n18446744073709551616\n{ROOT}\n"), CheckpointError::Size),
            (format!("log\n0\n{}\n", &ROOT[..43]), CheckpointError::Root),
            (format!("log\n0\n{}\n", ROOT.replace("U=", "V=")), CheckpointError::Root),
            ("log\n0\nAAAA\n".into(), CheckpointError::Root),
            (format!("log\n0\n{ROOT}\n\n"), CheckpointError::EmptyExtension),
            (format!("log\n0\n{ROOT}\na\n\nb\n"), CheckpointError::EmptyExtension),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
        let spaced = Checkpoint::parse(&format!("a log + more\n0\n{ROOT}\n")).unwrap();
        assert_eq!(spaced.origin().as_str(), "a log + more");
        assert!(spaced.origin().key_name().is_err());
        let largest = format!("log\n{}\n{ROOT}\nan extension\nanother\n", u64::MAX);
        assert_eq!(Checkpoint::parse(&largest).unwrap().extensions(), "an extension\nanother\n");
    }

    #[test]
    fn only_the_log_itself_signs_its_checkpoints() {
        let checkpoint = Checkpoint::new("log".parse().unwrap(), 0, EMPTY_ROOT);
        let note = checkpoint.sign(&signer("log")).unwrap();
        assert_eq!(Checkpoint::open(&note, signer("log").verifier_key()), Ok(checkpoint.clone()));
        assert!(checkpoint.sign(&signer("other")).is_err());

        let forged = signer("other").sign_note(checkpoint.to_string()).unwrap();
        let other = signer("other");
        let opened = Checkpoint::open(&forged, other.verifier_key());
        assert!(matches!(opened, Err(OpenCheckpointError::Origin { .. })));
        assert!(matches!(Checkpoint::open(&note, other.verifier_key()), Err(OpenCheckpointError::Note(_))));

        let cosigner = Cosigner::new("log".parse().unwrap(), &[8; 32]);
        let line = cosigner.cosign(&checkpoint, UnixSeconds::new(1).unwrap()).unwrap();
        let cosigned = Note::new(checkpoint.to_string(), vec![line]).unwrap();
        let opened = Checkpoint::open(&cosigned, cosigner.verifier_key());
        assert_eq!(opened, Err(OpenCheckpointError::NoLogKey("log".parse().unwrap())));

        let no_checkpoint = signer("log").sign_note("log\n").unwrap();
        let opened = Checkpoint::open(&no_checkpoint, signer("log").verifier_key());
        assert_eq!(opened, Err(OpenCheckpointError::Text(CheckpointError::Lines)));
    }

    #[test]
    fn an_origin_names_its_key() {
        let (key, other) = (PrivateKey::from_seed(&[1; 32]).public(), PrivateKey::from_seed(&[2; 32]).public());
        let origin = Origin::of_key("demo", &key).unwrap();
        assert!(origin.is_of_key(&key));
        assert!(!origin.is_of_key(&other));
        let bare: Origin = origin.as_str()[4..].parse().unwrap();
        assert!(!bare.is_of_key(&key));
        assert_eq!(Origin::of_key("", &key), Err(KeyNameError::Empty));
        assert_eq!(Origin::of_key("a b", &key), Err(KeyNameError::Character(' ')));
        assert_eq!(Origin::of_key(&"x".repeat(1016), &key), Err(KeyNameError::TooLong(1025)));
        assert!(Origin::of_key(&"x".repeat(1015), &key).is_ok());
    }

    proptest! {
        #[test]
        fn a_text_that_is_a_checkpoint_is_its_only_encoding(
            origin in "\\PC{0,3}|log", size in "0?[0-9]{1,3}|[0-9]{20}", end in "(\n|x\n| \n){0,3}", cut in 0..4usize,
        ) {
            let root = &ROOT[..ROOT.len() - cut / 2];
            let text = format!("{origin}\n{size}\n{root}\n{end}");
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }

        #[test]
        fn a_checkpoint_is_read_back(size: u64, root: [u8; 32]) {
            let checkpoint = Checkpoint::new("log".parse().unwrap(), size, Digest::new(root));
            prop_assert_eq!(Checkpoint::parse(&checkpoint.to_string()), Ok(checkpoint));
        }

        #[test]
        fn reading_any_text_never_panics(text in "(\\PC|\n){0,60}") {
            let _ = Checkpoint::parse(&text);
        }
    }
}
