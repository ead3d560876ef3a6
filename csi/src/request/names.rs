//! Names that become parts of paths, each read in one place.

use crate::limits::{MAX_LABEL_BYTES, MAX_SUBDOMAIN_BYTES, MAX_UID_BYTES};

/// What is wrong with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("it has 1 to {0} characters")]
    Length(usize),
    /// Characters that no such name has.
    #[error("it has lower-case letters, digits and '-'")]
    Label,
    /// Characters that no such name has.
    #[error("it has lower-case letters, digits, '-' and single '.', none of them first or last")]
    Subdomain,
    /// Characters that no such name has.
    #[error("it has letters, digits and '-'")]
    Uid,
}

/// A pod's UID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PodUid(String);

/// A volume's name in a pod's spec.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeName(String);

/// A pod's log directory: `<namespace>_<pod>_<uid>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDirectory(String);

impl PodUid {
    /// Reads a UID.
    pub fn read(text: &str) -> Result<Self, NameError> {
        within(text, MAX_UID_BYTES)?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_plain { Ok(Self(text.to_owned())) } else { Err(NameError::Uid) }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl VolumeName {
    /// Reads a name.
    pub fn read(text: &str) -> Result<Self, NameError> {
        label(text)?;
        Ok(Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LogDirectory {
    /// The directory of a pod; or which name is wrong, the name, and why.
    pub fn of<'a>(namespace: &'a str, pod: &'a str, uid: &PodUid) -> Result<Self, (&'static str, &'a str, NameError)> {
        label(namespace).map_err(|why| ("namespace", namespace, why))?;
        subdomain(pod).map_err(|why| ("pod", pod, why))?;
        Ok(Self(format!("{namespace}_{pod}_{}", uid.as_str())))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn within(text: &str, longest: usize) -> Result<(), NameError> {
    if text.is_empty() || text.len() > longest { Err(NameError::Length(longest)) } else { Ok(()) }
}

fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_plain = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    is_plain && edge(bytes.first()) && edge(bytes.last())
}

fn label(text: &str) -> Result<(), NameError> {
    within(text, MAX_LABEL_BYTES)?;
    if is_label(text) { Ok(()) } else { Err(NameError::Label) }
}

fn subdomain(text: &str) -> Result<(), NameError> {
    within(text, MAX_SUBDOMAIN_BYTES)?;
    if text.split('.').all(is_label) { Ok(()) } else { Err(NameError::Subdomain) }
}
