//! The model's reading of signed notes, checkpoints and policies.

use crate::tamper::wire::{Digest, from_base64, key_id, verifies};

/// The logs and witnesses that are trusted.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) logs: Vec<Key>,
    witnesses: Vec<Key>,
}

/// A key of the policy.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    id: [u8; 4],
    public: Vec<u8>,
}

/// What a note is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// A checkpoint of this log of the policy.
    Good { log: usize, size: usize, root: Digest },
    /// None at all, or badly signed by a key of the policy.
    Bad,
    /// Nobody whom the policy knows signed it.
    Unknown,
}

impl Policy {
    /// Reads a policy that this crate has written: `log` and `witness` lines, `quorum none`.
    pub(super) fn read(text: &str) -> Self {
        let keys = |word: &str, at: usize| {
            let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            lines.filter(|line| line[0] == word).map(|line| Key::read(line[at])).collect()
        };
        Self { logs: keys("log", 1), witnesses: keys("witness", 2) }
    }

    pub(super) fn judge(&self, note: &[u8]) -> Standing {
        match parse(note) {
            None => Standing::Bad,
            Some((text, signatures)) => self.standing(text, &signatures),
        }
    }

    /// The log whose checkpoint a note says that it is, or that one of its signature lines names.
    pub(super) fn named(&self, note: &[u8]) -> Option<usize> {
        let line = note.split(|byte| *byte == b'\n').next()?;
        let by_line = self.logs.iter().position(|log| log.name.as_bytes() == line);
        let signed = || parse(note).map(|(_, lines)| lines).unwrap_or_default();
        let is_signer = |log: &Key| signed().iter().any(|(name, blob)| log.is_named(name, blob));
        by_line.or_else(|| self.logs.iter().position(is_signer))
    }

    fn standing(&self, text: &str, signatures: &[Line<'_>]) -> Standing {
        let mut signed = Vec::new();
        for (name, blob) in signatures {
            for (at, key) in self.logs.iter().enumerate().filter(|(_, key)| key.is_named(name, blob)) {
                if !verifies(&key.public, text.as_bytes(), &blob[4..]) {
                    return Standing::Bad;
                }
                signed.push(at);
            }
            for key in self.witnesses.iter().filter(|key| key.is_named(name, blob)) {
                let Some((time, signature)) = blob[4..].split_first_chunk() else { return Standing::Bad };
                let time = u64::from_be_bytes(*time);
                let message = format!("cosignature/v1\ntime {time}\n{text}");
                if time == 0 || !verifies(&key.public, message.as_bytes(), signature) {
                    return Standing::Bad;
                }
            }
        }
        let Some(log) = signed.into_iter().next() else { return Standing::Unknown };
        match checkpoint(text) {
            Some((origin, size, root)) if origin == self.logs[log].name => Standing::Good { log, size, root },
            _ => Standing::Bad,
        }
    }
}

impl Key {
    fn read(vkey: &str) -> Self {
        let mut parts = vkey.splitn(3, '+');
        let mut part = || parts.next().expect("a verifier key has three parts");
        let (name, _, key) = (part().to_owned(), part(), part());
        let typed = from_base64(key).expect("a verifier key ends in base64");
        Self { id: key_id(&name, typed[0], &typed[1..]), public: typed[1..].to_vec(), name }
    }

    fn is_named(&self, name: &str, blob: &[u8]) -> bool {
        self.name == name && blob.starts_with(&self.id)
    }
}

/// A signature line: who signed, and key id and signature.
type Line<'a> = (&'a str, Vec<u8>);

/// A note's text and its signature lines.
fn parse(note: &[u8]) -> Option<(&str, Vec<Line<'_>>)> {
    let note = str::from_utf8(note).ok()?;
    if note.chars().any(|c| c != '\n' && c.is_control()) {
        return None;
    }
    let (text, lines) = note.split_at(note.rfind("\n\n")? + 1);
    let lines = lines.strip_prefix('\n')?.strip_suffix('\n')?;
    let signatures = lines.split('\n').map(|line| {
        let (name, blob) = line.strip_prefix("— ")?.split_once(' ')?;
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+');
        let blob = from_base64(blob).filter(|blob| blob.len() > 4)?;
        is_name.then_some((name, blob))
    });
    Some((text, signatures.collect::<Option<_>>()?))
}

fn checkpoint(text: &str) -> Option<(&str, usize, Digest)> {
    let mut lines = text.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let number: usize = size.parse().ok()?;
    let root = from_base64(root)?.try_into().ok()?;
    (number.to_string() == size).then_some((origin, number, root))
}
