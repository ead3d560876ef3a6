//! What the sidecar itself says in a chain: records of source 3.
//!
//! | kind | payload |
//! | --- | --- |
//! | container-started | `{"kind":"container-started","restart":n}` |
//! | gap | `{"kind":"gap","reason":"held-bytes-exceeded\|unreadable","file":s,"bytes":n\|null}` |
//! | end | `{"kind":"end","reason":"terminated"}` |
//! | resumed | `{"kind":"resumed","reason":"…","chain":hex\|"","next_seq":n,"link":hex\|""}` |
//!
//! A payload of another form is tolerated and means nothing, with one exception that the collector and the
//! verifier share: only the exact `end` closes a chain.

use crate::bytes::DecodeError;
use crate::digest::Digest;
use crate::id::{ChainId, Head, Seq};
use crate::json::{JsonReader, JsonWriter};
use crate::record::{Record, Source};

/// Why bytes are missing in a chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GapReason {
    /// More unread output was held on the node than allowed.
    HeldBytesExceeded,
    /// The file could not be read.
    Unreadable,
}

impl GapReason {
    const ALL: [(Self, &str); 2] = [(Self::HeldBytesExceeded, "held-bytes-exceeded"), (Self::Unreadable, "unreadable")];

    /// The word of the format.
    pub fn word(self) -> &'static str {
        word(&Self::ALL, self)
    }
}

/// Why a chain took over from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResumeReason {
    /// The node was booted since.
    Reboot,
    /// The file that held the cursor, or one after it, is gone or shorter.
    FileGone,
    /// The sidecar's state is gone.
    StateLost,
    /// Two collectors refused the chain.
    Rejected,
    /// The chain had ended.
    AfterEnd,
}

impl ResumeReason {
    /// All of them, with their words in the format.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Reboot, "reboot"),
        (Self::FileGone, "file-gone"),
        (Self::StateLost, "state-lost"),
        (Self::Rejected, "rejected"),
        (Self::AfterEnd, "after-end"),
    ];

    /// The word of the format.
    pub fn word(self) -> &'static str {
        word(&Self::ALL, self)
    }
}

fn word<T: PartialEq + Copy>(words: &[(T, &'static str)], value: T) -> &'static str {
    words.iter().find(|(v, _)| *v == value).map(|(_, w)| *w).expect("every variant has its word")
}

fn value<T: Copy>(what: &'static str, words: &[(T, &str)], text: &str) -> Result<T, DecodeError> {
    words.iter().find(|(_, w)| *w == text).map(|(v, _)| *v).ok_or(DecodeError::invalid(what, "unknown reason"))
}

/// A control statement of the sidecar.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Control {
    /// A restart of the container printed its first line.
    ContainerStarted {
        /// The restart's number.
        restart: u32,
    },
    /// Bytes were given up.
    Gap {
        /// Why.
        reason: GapReason,
        /// The file's name.
        file: String,
        /// How many bytes, if that is known.
        bytes: Option<u64>,
    },
    /// The chain is over.
    End,
    /// The chain takes over from another.
    Resumed {
        /// Why.
        reason: ResumeReason,
        /// The chain it takes over from and that one's last receipted head, if they are known.
        from: Option<(ChainId, Head)>,
    },
}

/// The payload that ends a chain.
pub const END_PAYLOAD: &[u8] = br#"{"kind":"end","reason":"terminated"}"#;

impl Control {
    /// The payload.
    ///
    /// ```
    /// # use indelible_chain::control::Control;
    /// let started = Control::ContainerStarted { restart: 0 };
    /// assert_eq!(started.encode(), r#"{"kind":"container-started","restart":0}"#);
    /// ```
    pub fn encode(&self) -> String {
        let object = JsonWriter::new();
        match self {
            Self::ContainerStarted { restart } => {
                object.string("kind", "container-started").number("restart", *restart)
            }
            Self::Gap { reason, file, bytes } => object
                .string("kind", "gap")
                .string("reason", reason.word())
                .string("file", file)
                .optional("bytes", *bytes),
            Self::End => object.string("kind", "end").string("reason", "terminated"),
            Self::Resumed { reason, from } => {
                let (chain, next_seq, link) = match from {
                    Some((chain, head)) => (chain.to_string(), head.next_seq.get(), head.link.to_string()),
                    None => (String::new(), 0, String::new()),
                };
                object
                    .string("kind", "resumed")
                    .string("reason", reason.word())
                    .string("chain", &chain)
                    .number("next_seq", next_seq)
                    .string("link", &link)
            }
        }
        .end()
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "control record";
        let text = std::str::from_utf8(payload).map_err(|_| DecodeError::Utf8 { what: WHAT })?;
        let mut json = JsonReader::new(WHAT, text)?;
        let control = match json.string("kind")?.as_str() {
            "container-started" => Self::ContainerStarted { restart: json.number("restart")? },
            "gap" => Self::Gap {
                reason: value(WHAT, &GapReason::ALL, &json.string("reason")?)?,
                file: json.string("file")?,
                bytes: json.optional("bytes")?,
            },
            "end" if json.string("reason")? == "terminated" => Self::End,
            "resumed" => Self::Resumed {
                reason: value(WHAT, &ResumeReason::ALL, &json.string("reason")?)?,
                from: resumed_from(&json.string("chain")?, json.number("next_seq")?, &json.string("link")?)?,
            },
            _ => return Err(DecodeError::invalid(WHAT, "unknown kind")),
        };
        json.end()?;
        Ok(control)
    }

    /// The statement of a record, if it is one that this version knows.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        (record.source == Source::Control).then(|| Self::decode(record.payload).ok()).flatten()
    }
}

/// Whether a record ends its chain.
pub fn is_end(record: &Record<'_>) -> bool {
    record.source == Source::Control && record.payload == END_PAYLOAD
}

fn resumed_from(chain: &str, next_seq: u64, link: &str) -> Result<Option<(ChainId, Head)>, DecodeError> {
    const BAD: DecodeError =
        DecodeError::invalid("control record", "chain and link are 64 hex digits each, or both empty with next_seq 0");
    if (chain, next_seq, link) == ("", 0, "") {
        return Ok(None);
    }
    let link: Digest = link.parse().map_err(|_| BAD)?;
    let chain: ChainId = chain.parse().map_err(|_| BAD)?;
    Ok(Some((chain, Head { next_seq: Seq::new(next_seq), link })))
}
