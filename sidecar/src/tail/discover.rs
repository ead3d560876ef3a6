//! Lists the directory, opens what is new, and knows files again under whatever name (format 1.1, rule 1).
//!
//! A file that is held open is known by its inode, which nobody else can get meanwhile. Any other is known by the
//! digest of its first bytes: after a start, and where `X.gz` takes the place of `X`. Names and inode numbers break ties; a
//! number with its birth is as good as the digest.

use std::collections::BTreeSet;
use std::io;

use super::{Edges, Ending, Held, Look, Tail, Unopened, nanos};
use crate::decision::{FileEnd, GivenUp};
use crate::files::{
    FileId, FileName, Identity, Mark, NewFile, Packed, Place, Position, Row, Turn, first_time, hole, listing_order,
};
use crate::incarnation::{Beside, Readable, is_anchored, is_unheard};
use crate::journal::Sync;
use crate::journal::entry::Entry;
use crate::limits::{IDENTITY_BYTES, MAX_FILES, MAX_LISTINGS, READ_RETRY};
use crate::logdir::{Content, Inode, Listed, Names, ReadError};
use crate::tail::begin::{First, Stage};
use indelible_chain::control::GapReason;

/// What listing until nothing is new has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Nothing that was not known.
    Nothing,
    /// New files.
    New,
    /// The directory cannot be listed, or changes faster than it can be.
    TooMuch,
}

/// A file that was opened and is not held yet.
struct Opened {
    name: FileName,
    held: Held,
    prefix: Vec<u8>,
}

impl Tail {
    /// Lists the directory again and again until nothing new is found.
    pub(super) fn discover(&mut self, e: &mut Edges<'_>) -> Found {
        let next = self.journal.state().table.next_id();
        let replaced = self.unseen.is_blind() && self.last_is_removed();
        let found = self.list_until_nothing_is_new(e);
        let new = self.journal.state().table.next_id() - next;
        if found == Found::TooMuch || self.crowded.lasts() || self.stage != Stage::Open {
            self.unseen.found(new);
        } else if self.unseen.settle(new, replaced) {
            self.add_unseen(e, FileId::new(next));
        }
        found
    }

    fn list_until_nothing_is_new(&mut self, e: &mut Edges<'_>) -> Found {
        let mut found = Found::Nothing;
        for _ in 0..MAX_LISTINGS {
            match self.list(e) {
                Ok(Found::Nothing) => {
                    self.look = Look::Done;
                    return found;
                }
                Ok(_) => found = Found::New,
                Err(error) => {
                    if self.unlisted.failed(&error) {
                        let container = &self.container;
                        tracing::warn!(%error, container, "the log directory cannot be listed: nothing new is captured");
                    }
                    return Found::TooMuch;
                }
            }
        }
        Found::TooMuch
    }

    /// Whether nothing has the last known file's name any more.
    fn last_is_removed(&self) -> bool {
        let held = self.journal.state().table.rows().last().and_then(|row| self.held.get(&row.id));
        held.is_some_and(|held| held.content.stat().is_ok_and(|stat| stat.names == Names::None))
    }

    fn list(&mut self, e: &mut Edges<'_>) -> io::Result<Found> {
        let listed = select(e.logs.list(&self.container)?);
        if self.unlisted.is_over() {
            tracing::info!(container = self.container, "the log directory can be listed again");
        }
        let plain = listed.iter().all(|(_, file)| file.name == FileName::live(0));
        self.named.clear();
        let (mut opened, mut found, mut unopened) = (Vec::new(), Found::Nothing, Vec::new());
        for (name, Listed { name: full, inode, size }) in listed {
            if let Some(id) = self.known_file(&full, &name, inode) {
                self.name(id, &name);
                if !self.unopened.contains_key(&id) {
                    continue;
                }
            }
            match e.logs.open(&self.container, &full).and_then(|file| open(file, name.packed)) {
                Ok((held, prefix)) => match self.known_file(&full, &name, held.inode) {
                    Some(id) if self.unopened.remove(&id).is_none() => self.name(id, &name),
                    Some(id) => self.hold(id, held, &prefix),
                    None => opened.push(Opened { name, held, prefix }),
                },
                // Renamed or removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => found = Found::New,
                Err(error) => unopened.push((name, Unopened { inode, size }, error)),
            }
        }
        let mut new = self.recognise(opened);
        if !unopened.is_empty() && self.waits_to_open(e) {
            // What is new among the others is opened again with it.
            return Ok(Found::Nothing);
        }
        let first = if self.first.is_none() { Look::Due } else { Look::Done };
        self.first.get_or_insert(if plain { First::Fresh } else { First::Under });
        new.extend(self.unopened(unopened));
        new.sort_by(|(a, _), (b, _)| listing_order(a, b));
        self.admit(&mut new);
        self.declare_missing(e, &new.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(), first);
        if !new.is_empty() {
            self.add(new);
            found = Found::New;
        }
        self.refresh();
        Ok(found)
    }

    /// The file that a listed name stands for, if that is certain.
    fn known_file(&self, full: &str, name: &FileName, inode: Inode) -> Option<FileId> {
        let held = self.held.iter().find(|(_, held)| held.inode == inode).map(|(id, _)| *id);
        let unopened = || self.unopened.iter().find(|(_, unopened)| unopened.inode == inode).map(|(id, _)| *id);
        let alias = || match name.packed {
            Packed::Gzip => self.aliases.get(&(full.to_owned(), inode)).copied(),
            Packed::No => None,
        };
        held.or_else(alias).or_else(unopened)
    }

    /// Notes the name under which a file was seen.
    fn name(&mut self, id: FileId, name: &FileName) {
        self.named.insert(id);
        let changed = self.journal.state().table.get(id).is_some_and(|row| row.base != name.base);
        // Borrowed to change it, the table counts as changed and is written down again.
        if changed && let Some(row) = self.journal.table_mut().get_mut(id) {
            row.base.clone_from(&name.base);
        }
    }

    fn hold(&mut self, id: FileId, held: Held, prefix: &[u8]) {
        if let Some(row) = self.journal.table_mut().get_mut(id) {
            row.mark = held.mark();
            if row.identity.len < u16::try_from(prefix.len()).unwrap_or(u16::MAX) {
                (row.identity, row.first_time) = (Identity::of(prefix), first_time(prefix));
            }
        }
        self.named.insert(id);
        self.held.insert(id, held);
    }

    /// Knows files again by their first bytes; returns those that are new.
    fn recognise(&mut self, mut opened: Vec<Opened>) -> Vec<(NewFile, Result<Held, Unopened>)> {
        if !opened.is_empty() {
            self.refresh();
        }
        // Where first bytes are too few to tell, those whose mark agrees choose first.
        opened.sort_by_key(|o| !self.journal.state().table.rows().iter().any(|row| row.mark == o.held.mark()));
        let mut new = Vec::new();
        for Opened { name, held, prefix } in opened {
            match self.same_file(&name, &held, &prefix) {
                // A plain file is held though nobody wants it: a name alone does not tell it at the next listing.
                Some(id) if self.held.contains_key(&id) || name.packed == Packed::Gzip && !self.is_wanted(id) => {
                    self.aliases.insert((format!("{}.gz", name.base), held.inode), id);
                    self.name(id, &name);
                }
                Some(id) => {
                    let is_same = |row: &Row| row.is_certain() || row.mark == held.mark() && row.mark.is_certain();
                    if !self.journal.state().table.get(id).is_some_and(is_same) {
                        self.hinted.insert(id);
                    }
                    self.name(id, &name);
                    self.hold(id, held, &prefix);
                }
                None => {
                    let FileName { restart, base, .. } = name;
                    let (mark, identity, first_time) = (held.mark(), Identity::of(&prefix), first_time(&prefix));
                    new.push((NewFile { restart, base, mark, identity, first_time }, Ok(held)));
                }
            }
        }
        new
    }

    /// The row that a file which is not held is, if it is one. A plain file can only be one that an earlier run held;
    /// a `.gz` can be any.
    fn same_file(&self, name: &FileName, held: &Held, prefix: &[u8]) -> Option<FileId> {
        let starting = matches!(self.stage, Stage::Loaded { .. });
        let ranked = |row: &&Row| (row.identity.len, row.base == name.base, row.mark == held.mark());
        let candidates = self.journal.state().table.rows().iter().filter(|row| {
            let free = starting && !self.held.contains_key(&row.id);
            let hints = (row.mark == held.mark(), row.base == name.base);
            // Without bytes there are only hints; a row that reading has passed takes both.
            let hinted = if row.end.is_none() { hints.0 || hints.1 } else { hints.0 && hints.1 && !row.watched };
            let whole = usize::from(row.identity.len) == prefix.len();
            row.restart == name.restart
                && match name.packed {
                    Packed::No => free && (row.identity.is_start_of(prefix) || row.identity.len == 0 && hinted),
                    Packed::Gzip => (free || whole) && row.identity.is_start_of(prefix),
                }
        });
        candidates.max_by_key(ranked).map(|row| row.id)
    }

    /// Whether a file that is found again is to be held: there is something to read, or to watch for.
    fn is_wanted(&self, id: FileId) -> bool {
        let state = self.journal.state();
        let open = state.cursor.lines.open_positions().filter_map(|at| state.table.index(at.file));
        let from = open.chain(state.table.reading(state.cursor.place)).min();
        let behind = from.is_some_and(|from| state.table.index(id).is_some_and(|index| index < from));
        !(behind && state.table.get(id).is_some_and(|row| row.watched))
    }

    /// Whether a file that cannot be opened when a run starts is tried again before the state is judged: only when it is
    /// open can be told which one it is.
    fn waits_to_open(&mut self, e: &Edges<'_>) -> bool {
        let Stage::Loaded { refused, .. } = &mut self.stage else { return false };
        let since = *refused.get_or_insert_with(|| {
            tracing::warn!(
                container = self.container,
                "a log file cannot be opened; it is tried for 10 s before the state is judged without it"
            );
            e.now
        });
        self.first.is_none() && e.ending == Ending::No && (0..nanos(READ_RETRY)).contains(&e.now.since(since))
    }

    /// Files that cannot be opened: those that are new get a row, so that their turn comes.
    fn unopened(&mut self, unopened: Vec<(FileName, Unopened, io::Error)>) -> Vec<(NewFile, Result<Held, Unopened>)> {
        let mut new = Vec::new();
        for (FileName { restart, base, .. }, unopened, error) in unopened {
            if self.unopened.values().any(|known| known.inode == unopened.inode) {
                continue;
            }
            let container = &self.container;
            tracing::warn!(%error, container, file = base, "a log file cannot be opened, is it readable for this user?");
            let (mark, identity) = (Mark { inode: unopened.inode.number, born: None }, Identity::of(&[]));
            new.push((NewFile { restart, base, mark, identity, first_time: None }, Err(unopened)));
        }
        new
    }

    /// What must have been there and is not, before files that are new.
    fn declare_missing(&mut self, e: &mut Edges<'_>, new: &[NewFile], first: Look) {
        let missing = match (self.stage, first) {
            // What was there before the very first look is nothing that was missed.
            (Stage::New | Stage::Lost, Look::Due) => None,
            (Stage::Loaded { .. }, _) => self.missing(new).or_else(|| self.does_not_follow(new)),
            _ => self.missing(new),
        };
        match self.stage {
            Stage::Loaded { .. } if missing.is_some() && !is_unheard(self.journal.state()) => {
                self.beside = Beside::Hole;
            }
            _ => self.add_missing(e, missing),
        }
    }

    /// Leaves those new files that there is no room for in the directory, the last ones in their order.
    fn admit(&mut self, new: &mut Vec<(NewFile, Result<Held, Unopened>)>) {
        let room = |tail: &Self| MAX_FILES.saturating_sub(tail.journal.state().table.rows().len());
        if new.len() > room(self) && self.stage == Stage::Open {
            self.forget();
        }
        let room = room(self);
        if new.len() <= room {
            if self.crowded.is_over() {
                tracing::info!(container = self.container, "there is room for all log files of the container again");
            }
            return;
        }
        new.truncate(room);
        if self.crowded.failed(&MAX_FILES) {
            let container = &self.container;
            tracing::error!(
                container,
                limit = MAX_FILES,
                "too many log files of one container: some wait for others to be read and removed"
            );
        }
    }

    /// Gives new files their rows, in their order.
    fn add(&mut self, new: Vec<(NewFile, Result<Held, Unopened>)>) {
        for (file, held) in new {
            let frozen = self.frozen();
            let (index, turn) = self.journal.state().table.place_for(&file, frozen, &self.named);
            let end = match turn {
                Turn::Ahead => None,
                // A later restart is being read: whatever it holds is late.
                Turn::Missed => Some(FileEnd::Left { offset: 0 }),
            };
            let id = self.journal.table_mut().insert(index, file, end);
            self.named.insert(id);
            match held {
                Ok(held) => drop(self.held.insert(id, held)),
                Err(unopened) => drop(self.unopened.insert(id, unopened)),
            }
        }
    }

    /// A restart of which every file is missing before those that are new.
    fn missing(&self, files: &[NewFile]) -> Option<u32> {
        hole(self.journal.state().table.last_restart(), files)
    }

    /// The restart whose files an earlier run would have had to know: a rotated one is new, or known by hints alone, and
    /// no known one is there for it to follow.
    fn does_not_follow(&self, files: &[NewFile]) -> Option<u32> {
        let state = self.journal.state();
        let certain = |file| if self.hinted.contains(&file) { Readable::Gone } else { self.readable(file) };
        let follows = |restart| is_anchored(state, restart, certain);
        let new = files.iter().filter(|file| file.base != FileName::live(file.restart)).map(|file| file.restart);
        let hinted = state.table.rows().iter().filter(|row| self.hinted.contains(&row.id) && !row.has_live_name());
        new.chain(hinted.map(|row| row.restart)).find(|restart| !follows(*restart))
    }

    /// A restart came and went unseen: its bytes are a gap in front of the next one.
    fn add_missing(&mut self, e: &mut Edges<'_>, missing: Option<u32>) {
        let Some(restart) = missing else { return };
        tracing::warn!(
            container = self.container,
            file = FileName::live(restart),
            "a restart's log files were gone before they were seen: what it printed is lost, and a gap says so"
        );
        // Before whatever of this restart is still to be read.
        let before = self.journal.state().table.rows().iter().take_while(|row| row.restart < restart).count();
        self.add_gap(e, restart, before.max(self.frozen()));
    }

    /// A file came and went unseen: its bytes are a gap before the files from `first_new` on, which are newer.
    fn add_unseen(&mut self, e: &mut Edges<'_>, first_new: FileId) {
        let state = self.journal.state();
        if state.end.is_some() {
            return;
        }
        let rows = state.table.rows();
        let index = rows.iter().position(|row| row.id >= first_new).unwrap_or(rows.len()).max(self.frozen());
        let restart =
            index.checked_sub(1).and_then(|before| rows.get(before)).or(rows.first()).map_or(0, |row| row.restart);
        tracing::warn!(
            container = self.container,
            "a log file was gone before it was seen: what it held is lost, and a gap says so"
        );
        self.add_gap(e, restart, index);
    }

    /// Bytes of an unseen file of a restart are a gap at this index of the table, behind what reading has reached.
    fn add_gap(&mut self, e: &mut Edges<'_>, restart: u32, index: usize) {
        let base = FileName::live(restart);
        let end = GivenUp { offset: 0, bytes: None, reason: GapReason::Unreadable, file: base.clone(), time: e.now };
        let file = NewFile { restart, base, mark: Mark::default(), identity: Identity::of(&[]), first_time: None };
        self.journal.table_mut().insert(index, file, Some(FileEnd::GivenUp(end)));
        let table = self.journal.state().table.clone();
        // A failure is made good before anything else is written or handed out.
        if let Err(error) = self.journal.record(e.store, vec![Entry::Files(table)], Sync::Yes) {
            tracing::error!(%error, "a gap could not be written down yet, capture of its container waits");
        }
    }

    /// Rows before this index were reached by reading, in this run or an earlier one: their order stands.
    fn frozen(&self) -> usize {
        let state = self.journal.state();
        let table = &state.table;
        let behind = |place: Place| match place {
            Place::Start => 0,
            Place::In(Position { file, offset: 0 }) => table.index(file).unwrap_or(0),
            Place::In(Position { file, .. }) | Place::After(file) => table.index(file).map_or(0, |i| i + 1),
            Place::End => table.rows().len(),
        };
        let ended = table.rows().iter().rposition(|row| row.end.is_some()).map_or(0, |i| i + 1);
        behind(self.reached()).max(behind(state.reach.place)).max(behind(state.cursor.place)).max(ended)
    }

    /// Looks at the files that are held: sizes, names, and first bytes as long as there are few.
    fn refresh(&mut self) {
        let mut short = Vec::new();
        for (id, held) in &mut self.held {
            if let Ok(stat) = held.content.stat() {
                (held.size, held.names) = (stat.size, stat.names);
            }
            short.extend(self.journal.state().table.get(*id).filter(|row| row.identity.len < 256).map(|row| row.id));
        }
        for id in short {
            self.identify(Some(id));
        }
    }

    /// Takes more first bytes of a file into what it is known by.
    pub(super) fn identify(&mut self, file: Option<FileId>) {
        let Some(row) = file.and_then(|file| self.journal.state().table.get(file)) else { return };
        let (id, len) = (row.id, row.identity.len);
        let Some(held) = self.held.get_mut(&id).filter(|_| usize::from(len) < IDENTITY_BYTES) else { return };
        let Ok(prefix) = read_prefix(&mut held.content) else { return };
        if prefix.len() > len.into()
            && let Some(row) = self.journal.table_mut().get_mut(id)
        {
            (row.identity, row.first_time) = (Identity::of(&prefix), first_time(&prefix));
        }
    }
}

/// The log files of a listing; of `X` and `X.gz` only `X`.
fn select(listed: Vec<Listed>) -> Vec<(FileName, Listed)> {
    let mut files: Vec<(FileName, Listed)> =
        listed.into_iter().filter_map(|file| Some((FileName::parse(&file.name)?, file))).collect();
    let plain: BTreeSet<String> =
        files.iter().filter(|(name, _)| name.packed == Packed::No).map(|(name, _)| name.base.clone()).collect();
    files.retain(|(name, _)| name.packed == Packed::No || !plain.contains(&name.base));
    files.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    files
}

fn open(file: std::rc::Rc<dyn crate::logdir::LogFile>, packed: Packed) -> io::Result<(Held, Vec<u8>)> {
    let mut content = Content::new(file, packed);
    let stat = content.stat()?;
    let prefix = match read_prefix(&mut content) {
        Ok(prefix) => prefix,
        Err(ReadError::Io(error)) => return Err(error),
        Err(ReadError::Damaged) => Vec::new(),
    };
    content.rest();
    let (size, names): (u64, Names) = (stat.size, stat.names);
    Ok((Held { content, inode: stat.inode, born: stat.born, size, names, left_at: None }, prefix))
}

fn read_prefix(content: &mut Content) -> Result<Vec<u8>, ReadError> {
    let mut prefix = [0; IDENTITY_BYTES];
    let n = content.read_at(0, &mut prefix)?;
    Ok(prefix[..n].to_vec())
}
