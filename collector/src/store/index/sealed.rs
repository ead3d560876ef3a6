//! The `.idx` of a sealed segment: its table in a file, searched where it lies.
//!
//! ```text
//! header  "indelidx" ‖ u32 version(2) ‖ log_id[32] ‖ u64 first ‖ u32 leaves ‖ u64 segment bytes ‖ i64 last time
//!         ‖ u32 offsets ‖ u32 sessions ‖ u32 chains ‖ u32 batches ‖ u32 ends ‖ filter[4096]
//!         ‖ signature[64] by the log's key over the header before it
//! rows    offsets, sessions and chains by id, batches and ends by chain and position; all of fixed length; in blocks
//!         of 4080 bytes, a tag[16] behind each, which only who has the log's key can make
//! ```
//!
//! An index is a cache and no evidence. Signature and tags keep damage, and who can write to the volume but does not
//! have the key, from hiding a chain: nothing is believed of a file but what the log wrote, at each read, and one that
//! is not that is made again from its segment, as an absent one is.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use indelible_chain::bytes::{DecodeError, Put as _, Reader};
use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, LeafIndex, LogId, Seq, SessionId, Time};
use indelible_chain::key::{PrivateKey, PublicKey, SIGNATURE_BYTES};
use sha2::Digest as _;

use super::filter::Filter;
use super::table::{At, ChainRows, Held, Part, Table};
use crate::limits::{FILTER_BYTES, LEAVES_PER_OFFSET};
use crate::store::Extent;
use crate::store::files::{ReadAt, read_full};

const MAGIC: &[u8; 8] = b"indelidx";
const VERSION: u32 = 2;
const NONE: u32 = u32::MAX;

const OFFSET_ROW: usize = 4;
const SESSION_ROW: usize = 32 + 8;
const CHAIN_ROW: usize = 32 + 8 + 4 + 2 + 4 * 8 + 32 + 8 + 4 * 4;
const BATCH_ROW: usize = 8 + 4 + 8;
const END_ROW: usize = 8 + 8;
const ROWS: [usize; 5] = [OFFSET_ROW, SESSION_ROW, CHAIN_ROW, BATCH_ROW, END_ROW];

/// Length of the header.
pub const HEADER_BYTES: usize = 8 + 4 + 32 + 8 + 4 + 8 + 8 + 5 * 4 + FILTER_BYTES + SIGNATURE_BYTES;
/// Bytes of rows that have a tag of their own.
const BLOCK_BYTES: usize = 4096 - TAG_BYTES;
const TAG_BYTES: usize = 16;

/// What tags are made with: a secret that follows from the log's key.
#[derive(Clone, Debug)]
pub struct RowsKey(sha2::Sha256);

impl RowsKey {
    /// That of a log.
    pub fn of(key: &PrivateKey) -> Self {
        // An Ed25519 signature is a function of key and message, and this one is shown to nobody.
        Self(sha2::Sha256::new_with_prefix(key.sign(b"indelible/index-rows/v2")))
    }

    /// The tag of a block: which segment's, the how manieth, and its bytes.
    fn tag(&self, first: LeafIndex, block: u64, bytes: &[u8]) -> [u8; TAG_BYTES] {
        let place = [first.get().to_be_bytes(), block.to_be_bytes()].concat();
        let digest = self.0.clone().chain_update(place).chain_update(bytes).finalize();
        std::array::from_fn(|i| digest[i])
    }
}

/// What the header of an index says of its segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The segment's first leaf.
    pub first: LeafIndex,
    /// Its leaves.
    pub count: u32,
    /// Its length.
    pub bytes: u64,
    /// The latest time of a leaf up to its end.
    pub last_time: Time,
    /// Which ids it cannot hold.
    pub filter: Filter,
    rows: [u32; 5],
}

/// The sections of rows, in the order of the file.
#[derive(Clone, Copy)]
enum Section {
    Offsets,
    Sessions,
    Chains,
    Batches,
    Ends,
}

/// The file of a table, whose segment has `bytes` bytes.
pub fn encode(table: &Table, bytes: u64, log: LogId, key: &PrivateKey) -> Vec<u8> {
    let mut filter = Filter::new();
    table.sessions.keys().for_each(|id| filter.insert(id.digest()));
    table.chains.keys().for_each(|id| filter.insert(id.digest()));
    let batches: usize = table.chains.values().map(|rows| rows.batches.len()).sum();
    let ends: usize = table.chains.values().map(|rows| rows.ends.len()).sum();
    let counts = [table.offsets.len(), table.sessions.len(), table.chains.len(), batches, ends];

    let mut out = Vec::new();
    out.put(MAGIC);
    out.put(&VERSION.to_be_bytes());
    out.put(log.as_bytes());
    out.put(&table.first.get().to_be_bytes());
    out.put(&table.count.to_be_bytes());
    out.put(&bytes.to_be_bytes());
    out.put(&table.last_time.nanos().to_be_bytes());
    for n in counts {
        out.put(&row_count(n).to_be_bytes());
    }
    out.put(filter.as_bytes());
    let signature = key.sign(&out);
    out.put(&signature);
    let mut rows = Vec::with_capacity(ROWS.iter().zip(counts).map(|(row, n)| row * n).sum());
    encode_rows(table, &mut rows);
    let tags = RowsKey::of(key);
    for (n, block) in (0..).zip(rows.chunks(BLOCK_BYTES)) {
        out.put(block);
        out.put(&tags.tag(table.first, n, block));
    }
    out
}

fn encode_rows(table: &Table, out: &mut Vec<u8>) {
    for offset in &table.offsets {
        out.put(&offset.to_be_bytes());
    }
    for (id, at) in &table.sessions {
        out.put(id.as_bytes());
        put_at(out, *at);
    }
    let (mut batches, mut ends) = (0, 0);
    for (id, rows) in &table.chains {
        out.put(id.as_bytes());
        put_chain(out, rows, batches, ends);
        batches += row_count(rows.batches.len());
        ends += row_count(rows.ends.len());
    }
    for rows in table.chains.values() {
        for ((first_seq, count, rel), row) in &rows.batches {
            out.put(&first_seq.get().to_be_bytes());
            out.put(&count.to_be_bytes());
            put_at(out, At { rel: *rel, offset: row.offset });
        }
    }
    for rows in table.chains.values() {
        for ((seq, _), at) in &rows.ends {
            out.put(&seq.get().to_be_bytes());
            put_at(out, *at);
        }
    }
}

fn row_count(rows: usize) -> u32 {
    rows.try_into().expect("a segment has fewer rows than bytes, whose number has 32 bits")
}

fn put_at(out: &mut Vec<u8>, at: At) {
    out.put(&at.rel.to_be_bytes());
    out.put(&at.offset.to_be_bytes());
}

fn put_chain(out: &mut Vec<u8>, rows: &ChainRows, batches: u32, ends: u32) {
    put_at(out, rows.part.genesis.unwrap_or(At { rel: NONE, offset: NONE }));
    out.put(&rows.part.conflicts.to_be_bytes());
    let (has, closed) = (rows.part.extent.is_some(), rows.part.extent.is_some_and(|held| held.extent.closed));
    out.put(&[u8::from(has), u8::from(closed)]);
    let numbers = rows.part.extent.map_or([0; 4], |Held { extent, .. }| {
        [
            extent.first_seq.get().to_be_bytes(),
            extent.next_seq.get().to_be_bytes(),
            extent.first_time.nanos().to_be_bytes(),
            extent.last_time.nanos().to_be_bytes(),
        ]
        .map(u64::from_be_bytes)
    });
    for number in numbers {
        out.put(&number.to_be_bytes());
    }
    let (head, index) = rows.part.extent.map_or((Digest::default(), 0), |held| (held.head, held.head_index.get()));
    out.put(head.as_bytes());
    out.put(&index.to_be_bytes());
    for number in [batches, row_count(rows.batches.len()), ends, row_count(rows.ends.len())] {
        out.put(&number.to_be_bytes());
    }
}

impl Header {
    /// Reads a header that `key` signed for this log.
    pub fn decode(bytes: &[u8], log: LogId, key: &PublicKey) -> Result<Self, DecodeError> {
        const WHAT: &str = "index header";
        let mut reader = Reader::new(bytes);
        if reader.take(WHAT, 8)? != MAGIC {
            return Err(DecodeError::invalid(WHAT, "not an index"));
        }
        match reader.u32(WHAT)? {
            VERSION => {}
            value => return Err(DecodeError::Unknown { what: "index version", value: value.into() }),
        }
        if reader.digest(WHAT)? != *log.digest() {
            return Err(DecodeError::invalid(WHAT, "of another log"));
        }
        let first = LeafIndex::new(reader.u64(WHAT)?);
        let (count, length) = (reader.u32(WHAT)?, reader.u64(WHAT)?);
        let last_time = Time::from_nanos(reader.i64(WHAT)?);
        let mut rows = [0; 5];
        for row in &mut rows {
            *row = reader.u32(WHAT)?;
        }
        let filter = Filter::from_bytes(reader.take(WHAT, FILTER_BYTES)?);
        let signed = &bytes[..bytes.len() - reader.rest().len()];
        if !key.verifies(signed, &reader.array(WHAT)?) {
            return Err(DecodeError::invalid(WHAT, "not signed by the log's key"));
        }
        reader.end(WHAT)?;
        let filter = filter.ok_or(DecodeError::invalid(WHAT, "a filter of another length"))?;
        Ok(Self { first, count, bytes: length, last_time, filter, rows })
    }

    /// Where a section begins among the bytes of all rows.
    fn start(&self, section: Section) -> u64 {
        let before = ROWS.iter().zip(self.rows).take(section as usize);
        before.map(|(row, n)| *row as u64 * u64::from(n)).sum()
    }

    /// Bytes of all rows.
    fn row_bytes(&self) -> u64 {
        self.start(Section::Ends) + END_ROW as u64 * u64::from(self.rows[Section::Ends as usize])
    }

    /// Length of the file.
    pub fn length(&self) -> u64 {
        let rows = self.row_bytes();
        HEADER_BYTES as u64 + rows + rows.div_ceil(BLOCK_BYTES as u64) * TAG_BYTES as u64
    }
}

/// A chain in a sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedChain {
    /// Which chain.
    pub id: ChainId,
    /// What the segment has of it.
    pub part: Part,
    batches: (u32, u32),
    ends: (u32, u32),
}

/// An index that can be searched. Any of its errors means that the file is not what the log wrote, or cannot be read.
#[derive(Debug)]
pub struct SealedIndex {
    file: Arc<dyn ReadAt>,
    header: Arc<Header>,
    tags: RowsKey,
    /// The block that was read last: the end of a search stays within one or two.
    last: RefCell<Option<(u64, Vec<u8>)>>,
}

impl SealedIndex {
    /// Searches `file`, whose header was read from it.
    pub fn new(file: Arc<dyn ReadAt>, header: Arc<Header>, tags: RowsKey) -> Self {
        Self { file, header, tags, last: RefCell::default() }
    }

    /// Reads the header of a file.
    pub fn read_header(file: &dyn ReadAt, log: LogId, key: &PublicKey) -> io::Result<Result<Header, DecodeError>> {
        let mut bytes = vec![0; HEADER_BYTES];
        let read = read_full(file, &mut bytes, 0)?;
        Ok(Header::decode(&bytes[..read], log, key))
    }

    /// A leaf at or before leaf `rel` of the segment.
    pub fn near(&self, rel: u32) -> io::Result<Option<At>> {
        let slot = rel / LEAVES_PER_OFFSET;
        if slot >= self.rows(Section::Offsets) {
            return Ok(None);
        }
        let offset = u32::from_be_bytes(self.row(Section::Offsets, slot)?);
        Ok(Some(At { rel: slot * LEAVES_PER_OFFSET, offset }))
    }

    /// Where a session's leaf is.
    pub fn session(&self, id: SessionId) -> io::Result<Option<At>> {
        let row = self.search::<SESSION_ROW>(Section::Sessions, 0..self.rows(Section::Sessions), |row| {
            row[..32].cmp(id.as_bytes())
        })?;
        Ok(row.filter(|(_, row)| row[..32] == *id.as_bytes()).map(|(_, row)| take_at(&row[32..])))
    }

    /// What the segment has of a chain.
    pub fn chain(&self, id: ChainId) -> io::Result<Option<SealedChain>> {
        Ok(self.chain_from(id)?.map(|(_, chain)| chain).filter(|chain| chain.id == id))
    }

    /// The first chain whose id is at least `id`, with its number among the segment's chains.
    pub fn chain_from(&self, id: ChainId) -> io::Result<Option<(u32, SealedChain)>> {
        let all = 0..self.rows(Section::Chains);
        let row = self.search::<CHAIN_ROW>(Section::Chains, all, |row| row[..32].cmp(id.as_bytes()))?;
        Ok(row.map(|(n, row)| (n, take_chain(&row))))
    }

    /// The chain with this number.
    pub fn chain_at(&self, n: u32) -> io::Result<Option<SealedChain>> {
        if n >= self.rows(Section::Chains) {
            return Ok(None);
        }
        self.row::<CHAIN_ROW>(Section::Chains, n).map(|row| Some(take_chain(&row)))
    }

    /// Batches of a chain with this first position and number of records.
    pub fn batches_at(&self, chain: ChainId, first_seq: Seq, count: u32) -> io::Result<Vec<At>> {
        let Some(chain) = self.chain(chain)? else { return Ok(Vec::new()) };
        let key = (first_seq.get(), count);
        self.collect::<BATCH_ROW>(Section::Batches, chain.batches, |row| batch_key(row).cmp(&key))
    }

    /// Batches of a chain that may hold a record in `[from, to)`, by leaf.
    pub fn batches_in(&self, chain: ChainId, from: Seq, to: Seq) -> io::Result<Vec<At>> {
        let Some(chain) = self.chain(chain)? else { return Ok(Vec::new()) };
        let longest = u64::from(indelible_chain::batch::MAX_BATCH_RECORDS);
        let mut rows = self.collect::<BATCH_ROW>(Section::Batches, chain.batches, |row| {
            let (first, _) = batch_key(row);
            match first {
                _ if first.saturating_add(longest) <= from.get() => Ordering::Less,
                _ if first >= to.get() => Ordering::Greater,
                _ => Ordering::Equal,
            }
        })?;
        rows.sort_unstable();
        Ok(rows)
    }

    /// Leaves that state a link for a position of a chain: the first for each link.
    pub fn ends_at(&self, chain: ChainId, seq: Seq) -> io::Result<Vec<At>> {
        let Some(chain) = self.chain(chain)? else { return Ok(Vec::new()) };
        self.collect::<END_ROW>(Section::Ends, chain.ends, |row| take_u64(row).cmp(&seq.get()))
    }

    fn rows(&self, section: Section) -> u32 {
        self.header.rows[section as usize]
    }

    fn row<const N: usize>(&self, section: Section, n: u32) -> io::Result<[u8; N]> {
        let mut row = [0; N];
        let mut at = self.header.start(section) + N as u64 * u64::from(n);
        let mut rest = &mut row[..];
        while !rest.is_empty() {
            let (block, from) = (at / BLOCK_BYTES as u64, at % BLOCK_BYTES as u64);
            let from = usize::try_from(from).expect("a block fits into memory");
            let mut last = self.last.borrow_mut();
            let bytes = match &mut *last {
                Some((n, bytes)) if *n == block => bytes,
                last => &mut last.insert((block, self.block(block)?)).1,
            };
            let taken = rest.len().min(bytes.len().saturating_sub(from));
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = rest.split_at_mut(taken);
            now.copy_from_slice(&bytes[from..from + taken]);
            (rest, at) = (later, at + taken as u64);
        }
        Ok(row)
    }

    /// A block of rows, as the log wrote it.
    fn block(&self, n: u64) -> io::Result<Vec<u8>> {
        let rest = self.header.row_bytes().saturating_sub(n * BLOCK_BYTES as u64);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        let mut bytes = vec![0; length + TAG_BYTES];
        let offset = HEADER_BYTES as u64 + n * (BLOCK_BYTES + TAG_BYTES) as u64;
        let read = read_full(&*self.file, &mut bytes, offset)?;
        let tag = bytes.split_off(length);
        if read < length + TAG_BYTES || tag != self.tags.tag(self.header.first, n, &bytes) {
            let text = format!("the rows at offset {offset} are not what the log wrote");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(bytes)
    }

    /// The first row of a range that is not less, by binary search.
    fn search<const N: usize>(
        &self,
        section: Section,
        range: std::ops::Range<u32>,
        order: impl Fn(&[u8; N]) -> Ordering,
    ) -> io::Result<Option<(u32, [u8; N])>> {
        let (mut low, mut high, mut found) = (range.start, range.end, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.row(section, middle)?;
            if order(&row) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
                found = Some((middle, row));
            }
        }
        Ok(found)
    }

    /// The places of all rows of a chain that are equal.
    fn collect<const N: usize>(
        &self,
        section: Section,
        (start, count): (u32, u32),
        order: impl Fn(&[u8; N]) -> Ordering,
    ) -> io::Result<Vec<At>> {
        let end = start.saturating_add(count).min(self.rows(section));
        let mut places = Vec::new();
        let Some((first, _)) = self.search(section, start..end, &order)? else { return Ok(places) };
        for n in first..end {
            let row = self.row(section, n)?;
            if order(&row) != Ordering::Equal {
                break;
            }
            places.push(take_at(&row[N - 8..]));
        }
        Ok(places)
    }
}

fn take_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn take_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn take_at(bytes: &[u8]) -> At {
    At { rel: take_u32(bytes), offset: take_u32(&bytes[4..]) }
}

fn batch_key(row: &[u8; BATCH_ROW]) -> (u64, u32) {
    (take_u64(row), take_u32(&row[8..]))
}

fn take_chain(row: &[u8; CHAIN_ROW]) -> SealedChain {
    let digest = |at: usize| Digest::new(std::array::from_fn(|i| row[at + i]));
    let time = |at: usize| Time::from_nanos(i64::from_be_bytes(take_u64(&row[at..]).to_be_bytes()));
    let genesis = take_at(&row[32..]);
    let extent = Extent {
        first_seq: Seq::new(take_u64(&row[46..])),
        next_seq: Seq::new(take_u64(&row[54..])),
        first_time: time(62),
        last_time: time(70),
        closed: row[45] == 1,
    };
    let held = Held { extent, head: digest(78), head_index: LeafIndex::new(take_u64(&row[110..])) };
    let part = Part {
        genesis: (genesis.rel != NONE).then_some(genesis),
        extent: (row[44] == 1).then_some(held),
        conflicts: take_u32(&row[40..]),
    };
    SealedChain {
        id: ChainId::new(digest(0)),
        part,
        batches: (take_u32(&row[118..]), take_u32(&row[122..])),
        ends: (take_u32(&row[126..]), take_u32(&row[130..])),
    }
}
