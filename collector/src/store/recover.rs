//! What a directory means at start: an intact log, a torn tail, or damage.
//!
//! Owns the rules. Every byte before the newest mark was durable, and so was every leaf that a checkpoint covers: a
//! bad frame there, or fewer leaves, is damage, and the log is refused as it is. From the first bad frame after the
//! newest mark on, everything is the torn tail of a crash: nothing in it was acknowledged. It is set aside whole,
//! then cut off, and the log says so with statement 2. Good frames after the newest mark are kept, and written again:
//! after a sync that failed the system may give them from memory and never write them.
//!
//! [`survey`] and [`judge`] change nothing but a missing `.idx`; [`set_aside`] does.

use std::io;
use std::sync::Arc;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::digest::Digest;
use indelible_chain::frame::{MARK_BYTES, SegmentFrame};
use indelible_chain::id::LeafIndex;
use indelible_chain::leaf::Leaf;
use indelible_chain::note::Note;
use indelible_chain::statement::Statement;
use sha2::Digest as _;

use super::directory::{CHECKPOINT, CHECKPOINTS, Directory, PREDECESSOR, TORN, broken, io_error};
use super::error::{OpenError, ReadError};
use super::files::{self, Files, ReadAt, TEMPORARY, parent, read_full};
use super::index::sealed::{self, Header, SealedIndex};
use super::index::table::Table;
use super::read::enter;
use super::segment::{self, Depth, Walker, first_of, index_path, segment_path};
use super::shared::{Sealed, Shared};
use crate::failpoint::failpoint;
use crate::limits;

/// What the segments hold.
#[derive(Debug)]
pub struct Survey {
    /// The sealed ones.
    pub sealed: Vec<Arc<Sealed>>,
    /// The last one, as far as it is good.
    pub table: Table,
    /// The first leaf of the last one.
    pub first: LeafIndex,
    /// Leaves of the log.
    pub leaves: LeafIndex,
    /// Where the newest mark of the last one stands: what is before it was durable. Only the marks among good frames count.
    pub marked: u64,
    /// Bytes of the last one that are good frames.
    pub good: u64,
    /// Its length; 0 if there is none yet.
    pub length: u64,
    /// Whether there is one.
    pub exists: bool,
    bad: Option<ReadError>,
}

/// The newest checkpoint, which the log's key signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Its bytes.
    pub note: Vec<u8>,
}

/// A segment as far as it is good.
struct Scan {
    table: Table,
    marked: u64,
    good: u64,
    bad: Option<ReadError>,
}

/// Reads a segment frame by frame, up to the first bad one.
fn scan(files: &dyn Files, first: LeafIndex, length: u64) -> Result<Scan, ReadError> {
    let path = segment_path(first);
    let file = files.open(&path).map_err(|e| ReadError::io(&path, e))?;
    let mut walker = Walker::new(file, path.clone(), Depth::Frames, 0, length);
    let mut table = Table::new(first);
    let (mut marked, mut good) = (0, 0);
    loop {
        let bad = match walker.next_frame() {
            Ok(None) => return Ok(Scan { table, marked, good, bad: None }),
            Ok(Some(found)) => match take(&path, &mut table, found.offset, &found.frame) {
                Ok(()) => {
                    if matches!(found.frame, SegmentFrame::Mark { durable } if durable == found.offset) {
                        marked = found.offset;
                    }
                    good = found.end;
                    continue;
                }
                Err(bad) => bad,
            },
            Err(error @ ReadError::Io { .. }) => return Err(error),
            Err(bad) => bad,
        };
        return Ok(Scan { table, marked, good, bad: Some(bad) });
    }
}

fn take(path: &str, table: &mut Table, offset: u64, frame: &SegmentFrame<'_>) -> Result<(), ReadError> {
    let SegmentFrame::Leaf { leaf, .. } = frame else { return Ok(()) };
    let leaf = Leaf::decode(leaf).map_err(|source| ReadError::Leaf { file: path.to_owned(), offset, source })?;
    let too_far = |_| ReadError::Absent { file: path.to_owned(), what: "an offset of 32 bits".to_owned() };
    table.apply(u32::try_from(offset).map_err(too_far)?, Some(&leaf));
    Ok(())
}

/// The table of a sealed segment of `bytes` bytes, from its frames.
pub fn table_of_sealed(files: &dyn Files, first: LeafIndex, bytes: u64) -> Result<Table, ReadError> {
    let scan = scan(files, first, bytes)?;
    scan.bad.map_or(Ok(scan.table), Err)
}

/// Looks at all segments: the last one frame by frame, the others through their `.idx` where that is what this log
/// wrote, else frame by frame too.
pub fn survey(directory: &Directory) -> Result<Survey, OpenError> {
    let files = &*directory.files;
    let names = files.list(segment::DIR).map_err(|e| io_error(files, "list `segments`", e))?;
    let firsts: Vec<LeafIndex> = names.iter().filter_map(|name| first_of(name)).collect();
    let Some((last, before)) = firsts.split_last() else {
        let (first, table) = (LeafIndex::ZERO, Table::new(LeafIndex::ZERO));
        let (sealed, leaves) = (Vec::new(), first);
        return Ok(Survey { sealed, table, first, leaves, marked: 0, good: 0, length: 0, exists: false, bad: None });
    };
    let mut next = LeafIndex::ZERO;
    let mut sealed = Vec::new();
    for first in before {
        let path = segment_path(*first);
        follows(files, &path, *first, next)?;
        let segment = Sealed::new(Arc::new(sealed_header(directory, *first)?));
        next = segment.next();
        sealed.push(Arc::new(segment));
    }
    let path = segment_path(*last);
    follows(files, &path, *last, next)?;
    let length = length_of(files, &path)?;
    let Scan { table, marked, good, bad } = scan(files, *last, length)?;
    let leaves = table.next();
    Ok(Survey { sealed, table, first: *last, leaves, marked, good, length, exists: true, bad })
}

fn follows(files: &dyn Files, path: &str, first: LeafIndex, next: LeafIndex) -> Result<(), OpenError> {
    if first == next {
        return Ok(());
    }
    let why =
        format!("begins with leaf {first}, but the segments before it end with leaf {next}: one is missing or cut");
    Err(broken(files, path, &why))
}

fn length_of(files: &dyn Files, path: &str) -> Result<u64, ReadError> {
    files.open(path).and_then(|file| file.length()).map_err(|e| ReadError::io(path, e))
}

/// The header of a sealed segment's index, made again if it is not what this log wrote for this segment.
fn sealed_header(directory: &Directory, first: LeafIndex) -> Result<Header, OpenError> {
    let (files, identity) = (&*directory.files, &directory.identity);
    let (path, index) = (segment_path(first), index_path(first));
    let bytes = length_of(files, &path)?;
    if let Ok(file) = files.open(&index) {
        let header = SealedIndex::read_header(&*file, identity.log_id(), &identity.key().public());
        let header = header.map_err(|e| ReadError::io(&index, e))?.ok();
        let header = header.filter(|header| (header.first, header.bytes) == (first, bytes));
        let length = file.length().map_err(|e| ReadError::io(&index, e))?;
        if let Some(header) = header.filter(|header| header.length() == length) {
            return Ok(header);
        }
    }
    let Scan { table, good, bad, .. } = scan(files, first, bytes)?;
    if let Some(bad) = bad {
        return Err(OpenError::Corrupt { file: path, offset: good, index: table.next(), why: bad.to_string() });
    }
    let rows = sealed::encode(&table, bytes, identity.log_id(), identity.key());
    // A crash here leaves no index or the whole one; the next start makes it if it is not there.
    files::replace(files, &index, &rows).map_err(|e| io_error(files, "write an index", e))?;
    Header::decode(&rows[..sealed::HEADER_BYTES], identity.log_id(), &identity.key().public())
        .map_err(|e| broken(files, &index, &e.to_string()))
}

/// The newest checkpoint, if there is one.
pub fn signed(directory: &Directory) -> Result<Option<Signed>, OpenError> {
    let files = &*directory.files;
    let note = files::read(files, CHECKPOINT, limits::SMALL_FILE_BYTES);
    let note = note.map_err(|e| io_error(files, "read `checkpoint`", e))?;
    let Some(bytes) = note else { return Ok(None) };
    let bad = |why: String| broken(files, CHECKPOINT, &format!("is not this log's: {why}"));
    let note = Note::parse(&bytes).map_err(|e| bad(e.to_string()))?;
    let checkpoint = Checkpoint::open(&note, directory.identity.signer().verifier_key());
    let checkpoint = checkpoint.map_err(|e| bad(e.to_string()))?;
    Ok(Some(Signed { checkpoint, note: bytes }))
}

/// Whether the log can be gone on with. An error names what was found; nothing was changed.
pub fn judge(directory: &Directory, survey: &Survey, signed: Option<&Signed>) -> Result<(), OpenError> {
    let files = &*directory.files;
    let index = survey.leaves;
    let path = segment_path(survey.first);
    let corrupt = |why: String| OpenError::Corrupt { file: path.clone(), offset: survey.good, index, why };
    if let Some(bad) = &survey.bad
        && let Some(mark) = newest_mark(files, &path, survey.good, survey.length)?
    {
        return Err(corrupt(format!("{bad}, and the mark at offset {mark} says that this was durable")));
    }
    let size = signed.map_or(0, |signed| signed.checkpoint.size());
    match &survey.bad {
        Some(bad) if index.get() < size => {
            return Err(corrupt(format!("{bad}, and `checkpoint` signed {size} leaves")));
        }
        None if index.get() < size => return Err(OpenError::Shorter { found: index.get(), signed: size }),
        Some(_) | None => {}
    }
    let names = files.list(CHECKPOINTS).map_err(|e| io_error(files, "list `checkpoints`", e))?;
    let kept = names.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(0);
    // One is kept only after `checkpoint` holds it.
    if kept > size {
        return Err(broken(files, CHECKPOINT, &format!("is older than `{CHECKPOINTS}/{kept}`")));
    }
    // The first checkpoint is made before anything is acknowledged, so only a log without a session has none.
    let spoken = survey.sealed.is_empty() && survey.table.sessions.is_empty() && survey.table.chains.is_empty();
    if signed.is_none() && !spoken {
        return Err(broken(files, CHECKPOINT, "is missing although the log has acknowledged leaves"));
    }
    Ok(())
}

/// The length field of a mark.
const MARK_LENGTH: [u8; 4] = 15u32.to_be_bytes();
const _: () = assert!(MARK_BYTES == 15 + 4, "a mark's length field counts what follows it");

/// The last offset above `from` at which a mark stands. A mark names its own offset, since it is only written when all
/// before it is durable; bytes of a body that look like a mark would have to guess it.
fn newest_mark(files: &dyn Files, path: &str, from: u64, length: u64) -> Result<Option<u64>, ReadError> {
    let file = files.open(path).map_err(|e| ReadError::io(path, e))?;
    let mut newest = None;
    let mut chunk = vec![0; limits::READ_CHUNK_BYTES];
    let mut offset = from + 1;
    while offset + (MARK_BYTES as u64) <= length {
        let read = read_full(&*file, &mut chunk, offset).map_err(|e| ReadError::io(path, e))?;
        for (n, bytes) in (0u64..).zip(chunk[..read].windows(MARK_BYTES)) {
            let here = offset + n;
            if bytes.starts_with(&MARK_LENGTH)
                && matches!(SegmentFrame::decode(bytes), Ok((SegmentFrame::Mark { durable }, _)) if durable == here)
            {
                newest = Some(here);
            }
        }
        if read < chunk.len() {
            break;
        }
        // The next chunk begins with what may be the first bytes of a mark.
        offset += (read + 1 - MARK_BYTES) as u64;
    }
    Ok(newest)
}

/// Sets the torn tail aside, if there is one, and cuts it off.
pub fn set_aside(directory: &Directory, survey: &Survey) -> Result<(), OpenError> {
    if survey.length == survey.good {
        return Ok(());
    }
    let files = &*directory.files;
    let path = segment_path(survey.first);
    let file = files.open(&path).map_err(|e| ReadError::io(&path, e))?;
    // Crash before this copy is durable: the tail is still in the segment, and is copied again.
    copy_tail(files, &*file, survey).map_err(|e| io_error(files, "set a torn tail aside", e))?;
    failpoint("recover-copied");
    // Crash here: the tail is in both places; the copy is found to be the same and taken as it is.
    let mut segment = files.extend(&path).map_err(|e| io_error(files, "open a segment", e))?;
    segment.cut(survey.good).map_err(|e| io_error(files, "cut a torn tail off", e))?;
    segment.sync_all().map_err(|e| io_error(files, "sync a segment", e))?;
    failpoint("recover-cut");
    // Crash here: the log does not say so yet; `unsaid` finds the copy without its statement.
    Ok(())
}

/// Copies the tail to `torn/<index>`, or to `torn/<index>.<n>` if another one is there.
fn copy_tail(files: &dyn Files, segment: &dyn ReadAt, survey: &Survey) -> io::Result<()> {
    let (_, digest) = digest_of(segment, survey.good)?;
    let index = survey.leaves;
    for n in 0..limits::TORN_TAILS_PER_INDEX {
        let path = if n == 0 { format!("{TORN}/{index}") } else { format!("{TORN}/{index}.{n}") };
        match files.open(&path) {
            // The run that made it may have been killed before its name was durable.
            Ok(file) if digest_of(&*file, 0)?.1 == digest => return files.sync_dir(TORN),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return copy(files, segment, survey.good, &path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!(
        "{} torn tails were set aside at leaf {index}: look at the volume",
        limits::TORN_TAILS_PER_INDEX
    )))
}

fn copy(files: &dyn Files, from: &dyn ReadAt, mut offset: u64, path: &str) -> io::Result<()> {
    let temporary = format!("{path}{TEMPORARY}");
    let mut to = files.create_temporary(&temporary)?;
    let mut chunk = vec![0; limits::READ_CHUNK_BYTES];
    loop {
        let read = read_full(from, &mut chunk, offset)?;
        if read == 0 {
            break;
        }
        to.append(&chunk[..read])?;
        offset += read as u64;
    }
    to.sync_all()?;
    files.rename(&temporary, path)?;
    files.sync_dir(parent(path))
}

/// Length and SHA-256 of a file from an offset on.
fn digest_of(file: &dyn ReadAt, mut offset: u64) -> io::Result<(u64, Digest)> {
    let start = offset;
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; limits::READ_CHUNK_BYTES];
    loop {
        let read = read_full(file, &mut chunk, offset)?;
        if read == 0 {
            return Ok((offset - start, Digest::new(hasher.finalize().into())));
        }
        hasher.update(&chunk[..read]);
        offset += read as u64;
    }
}

/// The statements that a start begins with: 1, then 2 for each torn tail that the log does not name yet, then 7 if a
/// crash came between the last batch and that, then 3 if the log is new and continues another.
pub fn opening(shared: &Shared, software: &str) -> Result<Vec<Statement>, OpenError> {
    let mut statements = vec![Statement::Started { software: software.to_owned() }];
    statements.extend(unsaid(shared)?);
    statements.extend(unsaid_conflict(shared)?);
    if shared.state().durable.leaves == LeafIndex::ZERO {
        statements.extend(predecessor(&*shared.files)?);
    }
    Ok(statements)
}

/// Whether the log's last word is that it is sealed.
pub fn has_end(shared: &Shared) -> Result<bool, ReadError> {
    let leaves = shared.state().durable.leaves.get();
    let Some(last) = leaves.checked_sub(1) else { return Ok(false) };
    let last = leaf_at(shared, LeafIndex::new(last))?;
    Ok(matches!(last, Some(Leaf::Statement { statement: Statement::Sealed { .. }, .. })))
}

fn unsaid(shared: &Shared) -> Result<Vec<Statement>, OpenError> {
    let files = &*shared.files;
    let leaves = shared.state().durable.leaves;
    let mut statements = Vec::new();
    let names = files.list(TORN).map_err(|e| io_error(files, "list `torn`", e))?;
    for name in names.iter().filter(|name| !name.ends_with(TEMPORARY)) {
        let index = name.split('.').next().and_then(|digits| digits.parse().ok()).map(LeafIndex::new);
        // The statement follows within one start; what lies far behind was said, or is not ours.
        let Some(index) = index.filter(|index| index.plus(limits::LEAVES_OF_STARTS) >= leaves) else { continue };
        let path = format!("{TORN}/{name}");
        let digest = files.open(&path).and_then(|file| digest_of(&*file, 0));
        let (bytes, sha256) = digest.map_err(|e| ReadError::io(&path, e))?;
        let recovered = Statement::Recovered { bytes, sha256 };
        if !is_said(shared, index.min(leaves), leaves, &recovered)? {
            tracing::warn!(
                file = path,
                bytes,
                "a torn tail is set aside, as after a power loss: nothing in it has a receipt"
            );
            statements.push(recovered);
        }
    }
    Ok(statements)
}

fn is_said(shared: &Shared, from: LeafIndex, to: LeafIndex, statement: &Statement) -> Result<bool, ReadError> {
    let mut index = from;
    while index < to {
        if matches!(leaf_at(shared, index)?, Some(Leaf::Statement { statement: said, .. }) if said == *statement) {
            return Ok(true);
        }
        index = index.plus(1);
    }
    Ok(false)
}

fn leaf_at(shared: &Shared, index: LeafIndex) -> Result<Option<Leaf>, ReadError> {
    // Marks and segments' ends lie between leaves; entering anew for each keeps this simple, and it is rare.
    let mut walker = enter(shared, index, Depth::Leaves)?;
    Ok(match walker.next_frame()?.map(|found| found.frame) {
        Some(SegmentFrame::Leaf { leaf, .. }) => Leaf::decode(leaf).ok(),
        Some(SegmentFrame::Mark { .. }) | None => None,
    })
}

/// Statement 7 of the last batch, if that contradicts another and a crash came before the statement. It follows its
/// batch at once, so that behind one without it there are statements of starts only.
fn unsaid_conflict(shared: &Shared) -> Result<Option<Statement>, ReadError> {
    let leaves = shared.state().durable.leaves.get();
    for index in (leaves.saturating_sub(limits::LEAVES_OF_STARTS)..leaves).rev().map(LeafIndex::new) {
        match leaf_at(shared, index)? {
            Some(Leaf::Statement { statement: Statement::Started { .. } | Statement::Recovered { .. }, .. }) => {}
            Some(Leaf::Batch { commitment, .. }) => {
                let contradicted = shared.contradicted(&commitment, index)?;
                let (chain, second) = (commitment.chain, index);
                return Ok(contradicted.map(|(seq, first)| Statement::Conflict { chain, seq, first, second }));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn predecessor(files: &dyn Files) -> Result<Option<Statement>, OpenError> {
    let note = files::read(files, PREDECESSOR, limits::SMALL_FILE_BYTES);
    let Some(bytes) = note.map_err(|e| io_error(files, "read `predecessor`", e))? else { return Ok(None) };
    // Whether it is genuine is the verifier's to judge, who asks for the log that it names.
    let checkpoint = Note::parse(&bytes).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
    let checkpoint = checkpoint.ok_or_else(|| broken(files, PREDECESSOR, "is no checkpoint"))?;
    let origin = checkpoint.origin().to_string();
    Ok(Some(Statement::SuccessorOf { origin, size: checkpoint.size(), root: checkpoint.root() }))
}
