//! One line of the recording.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The number of an inode, counted in order of creation: numbers of the file system are used again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct Inode(u64);

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Since the recording began.
    pub at: Duration,
    /// What happened.
    pub action: Action,
}

/// A change below the directory of pod logs. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what happened, their fields to what")]
pub enum Action {
    /// A directory was made.
    MakeDir { path: String },
    /// An empty directory was removed.
    RemoveDir { path: String },
    /// A file came into being under this name.
    Create { path: String, inode: Inode },
    /// A file grew by these bytes, whatever it was called by then.
    Append { inode: Inode, bytes: Vec<u8> },
    /// A file changed its name.
    Rename { inode: Inode, path: String, to: String },
    /// A file lost its name; who has it open can still read and write it.
    Unlink { inode: Inode, path: String },
}

impl Operation {
    /// Reads a line of the recording.
    pub(super) fn parse(line: &[u8]) -> Result<Self> {
        let Line { t, op, path, to, file, text, base64 } = serde_json::from_slice(line)?;
        let path = || path.context("path is missing");
        let inode = file.context("file is missing");
        let action = match op.as_str() {
            "mkdir" => Action::MakeDir { path: path()? },
            "rmdir" => Action::RemoveDir { path: path()? },
            "create" => Action::Create { path: path()?, inode: inode? },
            "append" => Action::Append {
                inode: inode?,
                bytes: match (text, base64) {
                    (Some(text), None) => text.into_bytes(),
                    (None, Some(base64)) => STANDARD.decode(base64).context("base64 does not decode")?,
                    _ => bail!("an append has text or base64"),
                },
            },
            "rename" => Action::Rename { inode: inode?, path: path()?, to: to.context("to is missing")? },
            "unlink" => Action::Unlink { inode: inode?, path: path()? },
            other => bail!("unknown op {other}"),
        };
        Ok(Self { at: Duration::try_from_secs_f64(t).context("t is no time")?, action })
    }
}

impl Action {
    /// The file that it is about, if it is about one.
    pub(super) fn inode(&self) -> Option<Inode> {
        match self {
            Self::MakeDir { .. } | Self::RemoveDir { .. } => None,
            Self::Create { inode, .. }
            | Self::Append { inode, .. }
            | Self::Rename { inode, .. }
            | Self::Unlink { inode, .. } => Some(*inode),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    t: f64,
    op: String,
    path: Option<String>,
    to: Option<String>,
    file: Option<Inode>,
    text: Option<String>,
    base64: Option<String>,
}
