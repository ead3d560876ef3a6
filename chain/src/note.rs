//! Signed notes, after C2SP signed-note: a text, and who signed it.
//!
//! ```text
//! note           = text ‖ "\n" ‖ one or more signature lines
//! signature line = "— " ‖ name ‖ " " ‖ base64( key_id[4] ‖ signature ) ‖ "\n"        (em dash U+2014)
//! ```
//!
//! The text ends with a newline and may itself hold empty lines: signatures begin after the last empty line of the
//! note. It is UTF-8 without control characters other than newlines. Reading is strict, so a note that was read is
//! written again byte for byte.
//!
//! Invariant: a text counts only after [`Note::verify`] has found a known key's signature on it, and never if a known
//! key's signature on it is bad. Signatures by unknown keys say nothing either way.

mod key;
pub(crate) mod text;

use std::fmt;

use self::text::{from_base64, to_base64};
use crate::bytes::DecodeError;
use crate::cosignature::{self, UnixSeconds};
use crate::key::PrivateKey;

pub use key::{Algorithm, KeyId, KeyName, KeyNameError, MAX_NAME_BYTES, VerifierKey, VerifierKeyError};

/// The longest text of a note, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The most signature lines of a note; C2SP asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// The longest signature line, in bytes: the longest name and a post-quantum signature fit.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// The longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = MAX_TEXT_BYTES + 1 + MAX_SIGNATURES * (MAX_LINE_BYTES + 1);

/// A text and its signatures, in the order of their lines; read, not yet believed.
///
/// ```
/// use indelible_chain::note::{Note, NoteSigner};
/// let signer = NoteSigner::new("example.com/log".parse().unwrap(), &[7; 32]);
/// let note = signer.sign_note("a text\n").unwrap();
/// let read = Note::parse(note.to_string().as_bytes()).unwrap();
/// assert_eq!(read.verify([signer.verifier_key()]).unwrap().len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line: who signed, by name and key id, and the signature's bytes as its algorithm defines them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    key_id: KeyId,
    signature: Vec<u8>,
}

/// A signature that was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'k> {
    /// The key that signed.
    pub key: &'k VerifierKey,
    /// When, by the cosigner's own word; `None` for a plain signature, which states no time.
    pub cosigned_at: Option<UnixSeconds>,
}

/// Why bytes are not a signed note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("a note of {0} bytes is over the limit of {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error("a note's text of {0} bytes is over the limit of {MAX_TEXT_BYTES}")]
    TextTooLong(usize),
    /// Not UTF-8.
    #[error("the note is not UTF-8")]
    Utf8,
    /// A control character other than a newline.
    #[error("the note holds the control character U+{0:04X}; only newlines are allowed")]
    ControlCharacter(u32),
    /// The text does not end with a newline.
    #[error("the note's text does not end with a newline")]
    TextEnd,
    /// There is no empty line with signature lines after it, or the last of them does not end.
    #[error("the note has no empty line followed by signature lines that end with a newline")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`] signature lines.
    #[error("a note has at most {MAX_SIGNATURES} signature lines")]
    TooManySignatures,
    /// A signature line that is none. Counted from 1.
    #[error(
        "signature line {0} of the note is malformed: expected an em dash, a space, the key's name, a space and base64"
    )]
    SignatureLine(usize),
}

/// Why a note that can be read is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyNoteError {
    /// A signature line names a known key and its signature is not by that key.
    #[error("the signature by {name} (key id {key_id}) does not hold")]
    BadSignature {
        /// Name of the key.
        name: KeyName,
        /// Its id.
        key_id: KeyId,
    },
    /// No line is by a known key.
    #[error("none of the {0} signatures is by a known key")]
    NoKnownKey(usize),
}

impl Note {
    /// A note of this text with these signatures, which are not judged.
    pub fn new(text: impl Into<String>, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let text = text.into();
        check_text(&text)?;
        match signatures.len() {
            0 => Err(NoteError::NoSignatures),
            1..=MAX_SIGNATURES => Ok(Self { text, signatures }),
            _ => Err(NoteError::TooManySignatures),
        }
    }

    /// Reads a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = str::from_utf8(bytes).map_err(|_| NoteError::Utf8)?;
        check_characters(note)?;
        let empty_line = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = note.split_at(empty_line + 1);
        Self::new(text, NoteSignature::parse_lines(&rest[1..])?)
    }

    /// The text, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in the order of their lines, good or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line at the end; one that is already there is not added again.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The good signatures by `keys`, in the order of their lines.
    ///
    /// Lines by unknown keys are passed over. A line that names a known key must hold, and there must be one.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<Verified<'k>>, VerifyNoteError> {
        let keys: Vec<_> = keys.into_iter().collect();
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let mut named = keys.iter().filter(|key| signature.names(key)).peekable();
            if named.peek().is_none() {
                continue;
            }
            let good = named.find_map(|key| signature.verify(key, &self.text));
            verified.push(good.ok_or_else(|| signature.bad())?);
        }
        if verified.is_empty() { Err(VerifyNoteError::NoKnownKey(self.signatures.len())) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    /// The note's bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// The line of `key` with these signature bytes.
    pub(crate) fn by(key: &VerifierKey, signature: Vec<u8>) -> Self {
        Self { name: key.name().clone(), key_id: key.id(), signature }
    }

    /// Reads signature lines, each ended by a newline, as they stand in a note and in a witness's answer.
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (line, number) in lines.split('\n').zip(1..) {
            if number > MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(Self::parse_line(line).ok_or(NoteError::SignatureLine(number))?);
        }
        Ok(signatures)
    }

    fn parse_line(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("— ").filter(|_| line.len() <= MAX_LINE_BYTES)?;
        let (name, base64) = rest.split_once(' ')?;
        let blob = from_base64(base64)?;
        let (key_id, signature) = blob.split_first_chunk()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self { name: name.parse().ok()?, key_id: KeyId::new(*key_id), signature: signature.to_vec() })
    }

    /// Name of the key that the line says it is by.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of the key that the line says it is by.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    fn names(&self, key: &VerifierKey) -> bool {
        self.key_id == key.id() && &self.name == key.name()
    }

    fn verify<'k>(&self, key: &'k VerifierKey, text: &str) -> Option<Verified<'k>> {
        let cosigned_at = match key.algorithm() {
            Algorithm::Ed25519 => {
                let signature = self.signature.as_slice().try_into().ok()?;
                key.public_key().verifies(text.as_bytes(), signature).then_some(None)?
            }
            Algorithm::CosignatureV1 => Some(cosignature::verify(key.public_key(), text, &self.signature)?),
        };
        Some(Verified { key, cosigned_at })
    }

    fn bad(&self) -> VerifyNoteError {
        VerifyNoteError::BadSignature { name: self.name.clone(), key_id: self.key_id }
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.key_id.as_bytes(), self.signature.as_slice()].concat();
        write!(f, "— {} {}", self.name, to_base64(&blob))
    }
}

/// A key that signs notes (type 0x01): a log's.
#[derive(Debug)]
pub struct NoteSigner {
    key: PrivateKey,
    verifier_key: VerifierKey,
}

impl NoteSigner {
    /// The signer of this name with the private key that follows from a 32-byte seed.
    pub fn new(name: KeyName, seed: &[u8; 32]) -> Self {
        let key = PrivateKey::from_seed(seed);
        let verifier_key = VerifierKey::new(name, Algorithm::Ed25519, key.public());
        Self { key, verifier_key }
    }

    /// What the signer's notes are verified with.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// The private key, which a log also signs its receipts with.
    pub const fn private_key(&self) -> &PrivateKey {
        &self.key
    }

    /// A note of this text with this signer's signature alone.
    pub fn sign_note(&self, text: impl Into<String>) -> Result<Note, NoteError> {
        let text = text.into();
        check_text(&text)?;
        Ok(self.sign_checked(text))
    }

    /// As [`NoteSigner::sign_note`], for a text that has the form of a note's by construction.
    pub(crate) fn sign_checked(&self, text: String) -> Note {
        let signature = self.key.sign(text.as_bytes()).to_vec();
        Note { text, signatures: vec![NoteSignature::by(&self.verifier_key, signature)] }
    }
}

/// What a note's text must be: bounded, ended by a newline, without control characters.
pub(crate) fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(NoteError::TextTooLong(text.len()));
    }
    check_characters(text)?;
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::TextEnd) }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    match text.bytes().find(|byte| *byte < b' ' && *byte != b'\n') {
        Some(byte) => Err(NoteError::ControlCharacter(byte.into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
