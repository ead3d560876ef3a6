//! The entries of a journal as bytes.
//!
//! ```text
//! frame = u32 length | u32 crc32c (of the entry) | entry          entry = u8 kind ‖ …, integers as in the evidence format
//!   1 origin    lp16 "indelible-journal" ‖ u8 version(1) ‖ lp16 genesis ‖ lp16 boot_id ‖ option(u8 reason ‖ option(chain ‖ head)) ‖ option(i64)
//!   2 files     u64 next_id ‖ u32 n ‖ n × row
//!   3 cursor    head ‖ place ‖ option(u32 started) ‖ option(i64 last_time) ‖ 2 × option(i64 time ‖ position ‖ lp32 bytes)
//!   4 reach     u64 next_seq ‖ place
//!   5 late      u64 seq ‖ u64 file ‖ u64 to ‖ place ‖ record as in a canonical body
//!   6 end       i64 time
//! ```
//!
//! `option(x)` is u8 0, or u8 1 ‖ x. Whatever the bytes are, decoding neither panics nor allocates more than they hold.

use indelible_chain::bytes::{DecodeError, Put, Reader};
use indelible_chain::control::{GapReason, ResumeReason};
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, Seq, Time};
use indelible_chain::record::{MAX_RECORD_BYTES, Record};

use crate::decision::{End, FileEnd, GivenUp, Late, Origin, Resumed};
use crate::files::{FileId, Identity, Mark, Place, Position, Row, Table};
use crate::journal::{Cursor, Reach};
use crate::limits::{IDENTITY_BYTES, MAX_JOURNAL_ENTRY};
use crate::lines;

const MAGIC: &[u8] = b"indelible-journal";

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The first: where the chain comes from.
    Origin(Origin),
    /// The container's files, with the ends that were decided.
    Files(Table),
    /// The cursor moved.
    Cursor(Cursor),
    /// Records up to here may have been handed out.
    Reach(Reach),
    /// A LATE record.
    Late(Late),
    /// The chain ends.
    End(End),
}

/// Why bytes are no entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// They end inside it.
    #[error("the bytes end inside an entry")]
    Truncated,
    /// The checksum is another.
    #[error("an entry's checksum does not match")]
    Checksum,
    /// It is none of ours.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Entry {
    /// Appends the entry's frame.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put(&[0; 8]);
        self.encode_entry(out);
        let (len, crc) = (out.len() - start - 8, crc32c::crc32c(&out[start + 8..]));
        debug_assert!(len <= MAX_JOURNAL_ENTRY, "an entry is bounded by the limits on what it holds");
        let len = u32::try_from(len).expect("an entry is bounded by the limits on what it holds");
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads the first entry of `bytes` and says how many of them it took.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), EntryError> {
        let mut frame = Reader::new(bytes);
        let (Ok(len), Ok(crc)) = (frame.u32("entry length"), frame.u32("entry checksum")) else {
            return Err(EntryError::Truncated);
        };
        let len = len as usize;
        if len > MAX_JOURNAL_ENTRY {
            let (value, limit) = (len as u64, MAX_JOURNAL_ENTRY as u64);
            return Err(DecodeError::TooLarge { what: "entry length", value, limit }.into());
        }
        let entry = frame.take("entry", len).map_err(|_| EntryError::Truncated)?;
        if crc32c::crc32c(entry) != crc {
            return Err(EntryError::Checksum);
        }
        let mut reader = Reader::new(entry);
        let decoded = Self::decode_entry(&mut reader)?;
        reader.end("entry")?;
        Ok((decoded, 8 + len))
    }

    fn encode_entry(&self, out: &mut Vec<u8>) {
        match self {
            Self::Origin(origin) => {
                out.put(&[1]);
                put_origin(out, origin);
            }
            Self::Files(table) => {
                out.put(&[2]);
                out.put(&table.next_id().to_be_bytes());
                out.put(&u32::try_from(table.rows().len()).expect("at most MAX_FILES rows").to_be_bytes());
                for row in table.rows() {
                    put_row(out, row);
                }
            }
            Self::Cursor(cursor) => {
                out.put(&[3]);
                put_cursor(out, cursor);
            }
            Self::Reach(Reach { next_seq, place }) => {
                out.put(&[4]);
                out.put(&next_seq.get().to_be_bytes());
                put_place(out, *place);
            }
            Self::Late(late) => {
                out.put(&[5]);
                for n in [late.seq.get(), late.file.get(), late.to] {
                    out.put(&n.to_be_bytes());
                }
                put_place(out, late.place);
                late.record().encode_into(out);
            }
            Self::End(End { time }) => {
                out.put(&[6]);
                out.put(&time.nanos().to_be_bytes());
            }
        }
    }

    fn decode_entry(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match r.u8("entry kind")? {
            1 => Self::Origin(origin(r)?),
            2 => {
                let next_id = count(r, "files next_id")?;
                let count = r.u32("files count")?;
                // Each row takes bytes, so that the count cannot make this allocate more than there is.
                let rows = (0..count).map(|_| row(r)).collect::<Result<Vec<_>, _>>()?;
                Self::Files(Table::new(rows, next_id))
            }
            3 => Self::Cursor(cursor(r)?),
            4 => Self::Reach(Reach { next_seq: Seq::new(r.u64("reach next_seq")?), place: place(r)? }),
            5 => {
                let (seq, file, to) = (Seq::new(r.u64("late seq")?), file_id(r)?, count(r, "late to")?);
                let place = place(r)?;
                let Record { time, source, flags, payload } = Record::decode_from(r)?;
                Self::Late(Late { seq, file, to, place, time, source, flags, payload: payload.into() })
            }
            6 => Self::End(End { time: time(r)? }),
            kind => return Err(DecodeError::Unknown { what: "entry kind", value: kind.into() }),
        })
    }
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    out.put(&[u8::from(value.is_some())]);
    if let Some(value) = value {
        put(out, value);
    }
}

fn option<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match r.u8("option")? {
        0 => Ok(None),
        1 => read(r).map(Some),
        value => Err(DecodeError::Unknown { what: "option", value: value.into() }),
    }
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    out.put(&time.nanos().to_be_bytes());
}

fn time(r: &mut Reader<'_>) -> Result<Time, DecodeError> {
    Ok(Time::from_nanos(r.i64("time")?))
}

fn put_head(out: &mut Vec<u8>, head: Head) {
    out.put(&head.next_seq.get().to_be_bytes());
    out.put(head.link.as_bytes());
}

fn head(r: &mut Reader<'_>) -> Result<Head, DecodeError> {
    Ok(Head { next_seq: Seq::new(r.u64("head next_seq")?), link: r.digest("head link")? })
}

/// A number that is added to: a file's id, an offset, a length. The kernel's offsets end at the same limit.
fn count(r: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    const MOST: u64 = i64::MAX.cast_unsigned();
    match r.u64(what)? {
        value @ 0..=MOST => Ok(value),
        value => Err(DecodeError::TooLarge { what, value, limit: MOST }),
    }
}

fn file_id(r: &mut Reader<'_>) -> Result<FileId, DecodeError> {
    Ok(FileId::new(count(r, "file id")?))
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put(&position.file.get().to_be_bytes());
    out.put(&position.offset.to_be_bytes());
}

fn position(r: &mut Reader<'_>) -> Result<Position, DecodeError> {
    Ok(Position { file: file_id(r)?, offset: count(r, "offset")? })
}

fn put_place(out: &mut Vec<u8>, place: Place) {
    match place {
        Place::Start => out.put(&[0]),
        Place::In(position) => {
            out.put(&[1]);
            put_position(out, position);
        }
        Place::After(file) => {
            out.put(&[2]);
            out.put(&file.get().to_be_bytes());
        }
        Place::End => out.put(&[3]),
    }
}

fn place(r: &mut Reader<'_>) -> Result<Place, DecodeError> {
    match r.u8("place")? {
        0 => Ok(Place::Start),
        1 => Ok(Place::In(position(r)?)),
        2 => Ok(Place::After(file_id(r)?)),
        3 => Ok(Place::End),
        value => Err(DecodeError::Unknown { what: "place", value: value.into() }),
    }
}

const RESUME_REASONS: [ResumeReason; 5] = [
    ResumeReason::Reboot,
    ResumeReason::FileGone,
    ResumeReason::StateLost,
    ResumeReason::Rejected,
    ResumeReason::AfterEnd,
];
const GAP_REASONS: [GapReason; 2] = [GapReason::HeldBytesExceeded, GapReason::Unreadable];

fn put_word<T: PartialEq>(out: &mut Vec<u8>, words: &[T], word: &T) {
    let index = words.iter().position(|w| w == word).expect("every reason is listed");
    out.put(&[u8::try_from(index).expect("few reasons")]);
}

fn word<T: Copy>(r: &mut Reader<'_>, words: &[T]) -> Result<T, DecodeError> {
    let value = r.u8("reason")?;
    words.get(usize::from(value)).copied().ok_or(DecodeError::Unknown { what: "reason", value: value.into() })
}

fn put_origin(out: &mut Vec<u8>, origin: &Origin) {
    let Origin { genesis, boot_id, resumed, rejected_at } = origin;
    out.put_lp16(MAGIC);
    out.put(&[1]);
    out.put_lp16(&genesis.encode().expect("a state is only made with a genesis that can be encoded"));
    out.put_lp16(boot_id.as_bytes());
    put_option(out, *resumed, |out, Resumed { reason, from }| {
        put_word(out, &RESUME_REASONS, &reason);
        put_option(out, from, |out, (chain, head)| {
            out.put(chain.as_bytes());
            put_head(out, head);
        });
    });
    put_option(out, *rejected_at, put_time);
}

fn origin(r: &mut Reader<'_>) -> Result<Origin, DecodeError> {
    if r.lp16("journal magic")? != MAGIC {
        return Err(DecodeError::invalid("journal magic", "not a journal of a sidecar"));
    }
    r.version("journal version")?;
    Ok(Origin {
        genesis: Genesis::decode(r.lp16("journal genesis")?)?,
        boot_id: r.string("journal boot id")?.into(),
        resumed: option(r, |r| {
            let reason = word(r, &RESUME_REASONS)?;
            let from = option(r, |r| Ok((ChainId::new(r.digest("chain id")?), head(r)?)))?;
            Ok(Resumed { reason, from })
        })?,
        rejected_at: option(r, time)?,
    })
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    let Row { id, restart, base, mark, identity, first_time, end, late_receipted, watched } = row;
    out.put(&id.get().to_be_bytes());
    out.put(&restart.to_be_bytes());
    out.put_lp16(base.as_bytes());
    out.put(&mark.inode.to_be_bytes());
    put_option(out, mark.born, put_time);
    out.put(&identity.len.to_be_bytes());
    out.put(identity.digest.as_bytes());
    put_option(out, *first_time, put_time);
    match end {
        None => out.put(&[0]),
        Some(FileEnd::Left { offset }) => {
            out.put(&[1]);
            out.put(&offset.to_be_bytes());
        }
        Some(FileEnd::GivenUp(GivenUp { offset, bytes, reason, file, time })) => {
            out.put(&[2]);
            out.put(&offset.to_be_bytes());
            put_option(out, *bytes, |out, bytes| out.put(&bytes.to_be_bytes()));
            put_word(out, &GAP_REASONS, reason);
            out.put_lp16(file.as_bytes());
            put_time(out, *time);
        }
    }
    out.put(&late_receipted.to_be_bytes());
    out.put(&[u8::from(*watched)]);
}

fn row(r: &mut Reader<'_>) -> Result<Row, DecodeError> {
    Ok(Row {
        id: file_id(r)?,
        restart: r.u32("row restart")?,
        base: r.string("row name")?.into(),
        mark: Mark { inode: r.u64("row inode")?, born: option(r, time)? },
        identity: identity(r)?,
        first_time: option(r, time)?,
        end: match r.u8("row end")? {
            0 => None,
            1 => Some(FileEnd::Left { offset: count(r, "left offset")? }),
            2 => Some(FileEnd::GivenUp(GivenUp {
                offset: count(r, "gap offset")?,
                bytes: option(r, |r| count(r, "gap bytes"))?,
                reason: word(r, &GAP_REASONS)?,
                file: r.string("gap file")?.into(),
                time: time(r)?,
            })),
            value => return Err(DecodeError::Unknown { what: "row end", value: value.into() }),
        },
        late_receipted: count(r, "row late_receipted")?,
        watched: option(r, |_| Ok(()))?.is_some(),
    })
}

fn identity(r: &mut Reader<'_>) -> Result<Identity, DecodeError> {
    let len = r.u16("identity length")?;
    if usize::from(len) > IDENTITY_BYTES {
        return Err(DecodeError::TooLarge { what: "identity length", value: len.into(), limit: IDENTITY_BYTES as u64 });
    }
    Ok(Identity { len, digest: r.digest("identity")? })
}

fn put_cursor(out: &mut Vec<u8>, cursor: &Cursor) {
    let Cursor { head, place, lines: lines::State { started, last_time, open } } = cursor;
    put_head(out, *head);
    put_place(out, *place);
    put_option(out, *started, |out, restart| out.put(&restart.to_be_bytes()));
    put_option(out, *last_time, put_time);
    for line in open {
        put_option(out, line.as_ref(), |out, lines::OpenLine { time, at, bytes }| {
            put_time(out, *time);
            put_position(out, *at);
            out.put_lp32(bytes);
        });
    }
}

fn cursor(r: &mut Reader<'_>) -> Result<Cursor, DecodeError> {
    let (head, place) = (head(r)?, place(r)?);
    let started = option(r, |r| r.u32("started restart"))?;
    let last_time = option(r, time)?;
    let mut open_line = || {
        option(r, |r| {
            let (time, at) = (time(r)?, position(r)?);
            Ok(lines::OpenLine { time, at, bytes: r.lp32("open line", MAX_RECORD_BYTES)?.into() })
        })
    };
    let open = [open_line()?, open_line()?];
    Ok(Cursor { head, place, lines: lines::State { started, last_time, open } })
}
