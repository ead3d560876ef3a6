//! The keys of signed notes: names, ids and verifier keys, after C2SP signed-note.
//!
//! ```text
//! key_id       = SHA256( name ‖ 0x0A ‖ type ‖ public_key )[:4]
//! verifier key = name ‖ "+" ‖ hex8(key_id) ‖ "+" ‖ base64( type ‖ public_key )
//! ```
//!
//! Type 0x01 is Ed25519 over the note's text, type 0x04 the timestamped cosignature of C2SP tlog-cosignature.
//!
//! Invariant: a [`VerifierKey`]'s id follows from its name, type and key, and its key is canonical and not weak. The
//! id is a hint for finding keys, never a reason to trust one: 32 bits can be matched by anyone.

use std::fmt;
use std::str::FromStr;

use super::DecodeError;
use super::text::{from_base64, to_base64};
use crate::digest::Digest;
use crate::key::PublicKey;

/// The longest name of a key, and so of a log, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// The name of a key: not empty, without spaces, control characters or `+`, at most [`MAX_NAME_BYTES`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// Why a text is no name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// Nothing there.
    #[error("a key's name cannot be empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("a key's name of {0} bytes is over the limit of {MAX_NAME_BYTES}")]
    TooLong(usize),
    /// A character that would end the name where it is used.
    #[error("a key's name cannot hold the character {0:?}: no spaces, control characters or plus signs")]
    Character(char),
}

impl KeyName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(name: &str) -> Result<Self, KeyNameError> {
        if name.is_empty() {
            return Err(KeyNameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(KeyNameError::TooLong(name.len()));
        }
        match name.chars().find(|c| c.is_whitespace() || *c < ' ' || *c == '+') {
            Some(character) => Err(KeyNameError::Character(character)),
            None => Ok(Self(name.to_owned())),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The four bytes that a signature line names its key with, beside the name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Takes four bytes.
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a key signs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// 0x01: Ed25519 over the note's text. Logs and authorities.
    Ed25519,
    /// 0x04: Ed25519 over a time and a checkpoint's text. Witnesses.
    CosignatureV1,
}

impl Algorithm {
    /// The type byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::CosignatureV1),
            _ => None,
        }
    }
}

/// The public half of a key that signs notes, with its name.
///
/// ```
/// use indelible_chain::note::VerifierKey;
/// let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
/// let key: VerifierKey = text.parse().unwrap();
/// assert_eq!(key.name().as_str(), "example.com/foo");
/// assert_eq!(key.id().to_string(), "530d903a");
/// assert_eq!(key.to_string(), text);
/// assert_eq!(key.text_digest(), indelible_chain::digest::Digest::sha256(text.as_bytes()));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    algorithm: Algorithm,
    key: PublicKey,
}

/// Why a text is no verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not of the form.
    #[error("not a verifier key: expected name+8 lower-case hex digits+base64 of a type byte and 32 bytes")]
    Form,
    /// The name is none.
    #[error("the verifier key's name is not allowed")]
    Name(#[source] KeyNameError),
    /// The type byte is not 0x01 or 0x04.
    #[error("the verifier key is of type 0x{0:02x}; known are 0x01 (Ed25519) and 0x04 (cosignature/v1)")]
    Algorithm(u8),
    /// The key cannot be used.
    #[error("the verifier key's public key is refused")]
    Key(#[source] DecodeError),
    /// The id is not that of name, type and key.
    #[error("the verifier key says its id is {found}, but name and key have {expected}: was one of them changed?")]
    KeyId {
        /// The id that follows from the rest.
        expected: KeyId,
        /// The id in the text.
        found: KeyId,
    },
}

impl VerifierKey {
    /// The key of this name and type.
    pub fn new(name: KeyName, algorithm: Algorithm, key: PublicKey) -> Self {
        let hashed = [name.as_str().as_bytes(), &[b'\n', algorithm.byte()], key.as_bytes()].concat();
        let [a, b, c, d, ..] = *Digest::sha256(&hashed).as_bytes();
        Self { name, id: KeyId([a, b, c, d]), algorithm, key }
    }

    /// The name; a log's is its origin.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id that signature lines carry.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What the key signs.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SHA-256 of the key's text, which a collector's TLS certificate names its log's key by.
    pub fn text_digest(&self) -> Digest {
        Digest::sha256(self.to_string().as_bytes())
    }

    /// The key itself.
    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Form);
        };
        let name = name.parse().map_err(VerifierKeyError::Name)?;
        let found = parse_id(id).ok_or(VerifierKeyError::Form)?;
        // The length comes first: nothing long is decoded.
        let key = Some(key).filter(|key| key.len() == 44).and_then(from_base64).ok_or(VerifierKeyError::Form)?;
        let (algorithm, key) = key.split_first().ok_or(VerifierKeyError::Form)?;
        let algorithm = Algorithm::from_byte(*algorithm).ok_or(VerifierKeyError::Algorithm(*algorithm))?;
        let key = key.try_into().map_err(|_| VerifierKeyError::Form)?;
        let key = Self::new(name, algorithm, PublicKey::from_bytes(key).map_err(VerifierKeyError::Key)?);
        if key.id == found { Ok(key) } else { Err(VerifierKeyError::KeyId { expected: key.id, found }) }
    }
}

fn parse_id(hex: &str) -> Option<KeyId> {
    let id = KeyId(u32::from_str_radix(hex, 16).ok()?.to_be_bytes());
    // Also refuses signs, capitals and other lengths, which the number parser takes.
    (id.to_string() == hex).then_some(id)
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.algorithm.byte()], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, to_base64(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::PrivateKey;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_verifier_key_with_anything_changed_is_refused() {
        let parse = |text: &str| text.parse::<VerifierKey>().unwrap_err();
        for text in [
            "",
            "+",
            "++",
            "example.com/foo",
            "example.com/foo+530d903a",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+30d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k=",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
        ] {
            assert!(matches!(parse(text), VerifierKeyError::Form | VerifierKeyError::Name(_)), "{text}");
        }
        assert!(matches!(parse(&VKEY.replace("foo", "bar")), VerifierKeyError::KeyId { .. }));
        assert!(matches!(parse(&VKEY.replace("foo", "f o")), VerifierKeyError::Name(KeyNameError::Character(' '))));
        assert!(matches!(parse(&VKEY.replace("+Aek", "+Buk")), VerifierKeyError::Algorithm(6)));
    }

    #[test]
    fn a_name_is_bounded_and_cannot_end_early_where_it_is_used() {
        for (name, error) in [
            ("", KeyNameError::Empty),
            ("a b", KeyNameError::Character(' ')),
            ("a\u{a0}b", KeyNameError::Character('\u{a0}')),
            ("a\u{3000}b", KeyNameError::Character('\u{3000}')),
            ("a+b", KeyNameError::Character('+')),
            ("a\nb", KeyNameError::Character('\n')),
            ("a\0b", KeyNameError::Character('\0')),
        ] {
            assert_eq!(name.parse::<KeyName>(), Err(error));
        }
        assert!("é".repeat(512).parse::<KeyName>().is_ok());
        assert_eq!("é".repeat(513).parse::<KeyName>(), Err(KeyNameError::TooLong(1026)));
    }

    proptest! {
        #[test]
        fn a_verifier_key_is_its_text(name in "[^ +\\pC\\s]{1,40}", seed: [u8; 32], cosigner: bool) {
            let algorithm = if cosigner { Algorithm::CosignatureV1 } else { Algorithm::Ed25519 };
            let name = name.parse().unwrap();
            let key = VerifierKey::new(name, algorithm, PrivateKey::from_seed(&seed).public());
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn any_text_that_is_accepted_is_the_canonical_one(at in 0..VKEY.len(), with in "\\PC?") {
            let mut text = VKEY.to_owned();
            text.replace_range(at..=at, &with);
            if let Ok(key) = text.parse::<VerifierKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
