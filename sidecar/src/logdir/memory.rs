//! The log directory's twin in memory: what a kubelet and a runtime can do to it, and reads that fail on command.
//!
//! Inode numbers are reused as soon as nobody names or holds a file, as real file systems do within milliseconds.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::rc::{Rc, Weak};

use indelible_chain::id::Time;

use crate::files::FileName;
use crate::logdir::{Inode, Listed, LogDir, LogFile, Names, Stat};

/// A file: its content outlives its names while it is held.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    number: u64,
    born: Option<Time>,
    content: RefCell<Vec<u8>>,
    names: Cell<u32>,
    /// Reads at or behind this offset fail.
    broken_from: Cell<Option<u64>>,
}

impl LogFile for MemoryFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.broken_from.get().is_some_and(|from| offset >= from) {
            return Err(io::Error::other("injected"));
        }
        let content = self.content.borrow();
        let end =
            self.broken_from.get().map_or(content.len(), |from| content.len().min(usize::try_from(from).unwrap()));
        let rest = &content[usize::try_from(offset).unwrap().min(end)..end];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn stat(&self) -> io::Result<Stat> {
        let names = if self.names.get() == 0 { Names::None } else { Names::Some };
        let inode = Inode { device: 1, number: self.number };
        Ok(Stat { inode, born: self.born, size: self.content.borrow().len() as u64, names })
    }
}

#[derive(Debug, Default)]
struct World {
    containers: BTreeMap<String, BTreeMap<String, Rc<MemoryFile>>>,
    known: Vec<Weak<MemoryFile>>,
    free_percent: Option<u8>,
    refused: Vec<String>,
    listing_refused: bool,
    /// When the newest file was made, if the file system tells such things.
    births: Option<Time>,
    /// Log files that were made since a watch was asked last.
    made: BTreeMap<String, u64>,
}

impl World {
    fn may_list(&self) -> io::Result<()> {
        if self.listing_refused { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

/// A pod's log directory in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryLogs(Rc<RefCell<World>>);

impl MemoryLogs {
    /// A container's directory appears.
    pub(crate) fn make(&self, container: &str) {
        self.0.borrow_mut().containers.entry(container.into()).or_default();
    }

    /// A file appears, or bytes are added to it.
    pub(crate) fn append(&self, container: &str, name: &str, bytes: &[u8]) -> Rc<MemoryFile> {
        self.make(container);
        let mut world = self.0.borrow_mut();
        world.known.retain(|file| file.strong_count() > 0);
        let taken: BTreeSet<u64> = world.known.iter().filter_map(Weak::upgrade).map(|file| file.number).collect();
        let number = (1..=taken.len() as u64 + 1).find(|n| !taken.contains(n)).unwrap();
        world.births = world.births.map(|last| last.plus_nanos(1));
        let born = world.births;
        let made = FileName::parse(name).is_some_and(|name| name.is_live());
        if made && !world.containers[container].contains_key(name) {
            *world.made.entry(container.into()).or_default() += 1;
        }
        let dir = world.containers.get_mut(container).unwrap();
        let file = Rc::clone(dir.entry(name.into()).or_insert_with(|| {
            let (content, broken_from) = (RefCell::default(), Cell::new(None));
            Rc::new(MemoryFile { number, born, content, names: Cell::new(1), broken_from })
        }));
        world.known.push(Rc::downgrade(&file));
        file.add(bytes);
        file
    }

    /// What a watch tells since it told last: log files that were made, by container.
    pub(crate) fn take_made(&self) -> BTreeMap<String, u64> {
        let mut world = self.0.borrow_mut();
        let quiet = world.containers.keys().map(|container| (container.clone(), 0)).collect();
        let made = std::mem::take(&mut world.made);
        [quiet, made].into_iter().flatten().collect()
    }

    /// From now on the file system tells when files were made.
    pub(crate) fn tell_births(&self) {
        self.0.borrow_mut().births = Some(Time::from_nanos(0));
    }

    pub(crate) fn rename(&self, container: &str, from: &str, to: &str) {
        let mut world = self.0.borrow_mut();
        let dir = world.containers.get_mut(container).unwrap();
        let file = dir.remove(from).unwrap();
        if let Some(old) = dir.insert(to.into(), file) {
            old.names.set(0);
        }
    }

    pub(crate) fn remove(&self, container: &str, name: &str) {
        let mut world = self.0.borrow_mut();
        world.containers.get_mut(container).unwrap().remove(name).unwrap().names.set(0);
    }

    /// `name` is replaced by `name.gz`.
    pub(crate) fn gzip(&self, container: &str, name: &str) {
        let plain = self.content(container, name).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        self.append(container, &format!("{name}.tmp"), &encoder.finish().unwrap());
        self.rename(container, &format!("{name}.tmp"), &format!("{name}.gz"));
        self.remove(container, name);
    }

    pub(crate) fn remove_container(&self, container: &str) {
        for name in self.names(container) {
            self.remove(container, &name);
        }
        self.0.borrow_mut().containers.remove(container);
    }

    pub(crate) fn names(&self, container: &str) -> Vec<String> {
        self.0.borrow().containers.get(container).into_iter().flat_map(|dir| dir.keys().cloned()).collect()
    }

    pub(crate) fn content(&self, container: &str, name: &str) -> Option<Vec<u8>> {
        Some(self.0.borrow().containers.get(container)?.get(name)?.content.borrow().clone())
    }

    pub(crate) fn set_free_percent(&self, percent: u8) {
        self.0.borrow_mut().free_percent = Some(percent);
    }

    /// Opening files of this name fails, or does so no longer.
    pub(crate) fn refuse(&self, name: &str, refused: bool) {
        let mut world = self.0.borrow_mut();
        world.refused.retain(|known| known != name);
        if refused {
            world.refused.push(name.into());
        }
    }

    /// Listing whatever directory fails, or does so no longer.
    pub(crate) fn refuse_listing(&self, refused: bool) {
        self.0.borrow_mut().listing_refused = refused;
    }
}

impl MemoryFile {
    /// The runtime writes, under whatever name.
    pub(crate) fn add(&self, bytes: &[u8]) {
        self.content.borrow_mut().extend_from_slice(bytes);
    }

    pub(crate) fn truncate(&self) {
        self.content.borrow_mut().clear();
    }

    pub(crate) fn break_from(&self, offset: Option<u64>) {
        self.broken_from.set(offset);
    }
}

impl LogDir for MemoryLogs {
    fn containers(&mut self) -> io::Result<Vec<String>> {
        let world = self.0.borrow();
        world.may_list()?;
        Ok(world.containers.keys().cloned().collect())
    }

    fn list(&mut self, container: &str) -> io::Result<Vec<Listed>> {
        let world = self.0.borrow();
        world.may_list()?;
        let Some(dir) = world.containers.get(container) else { return Ok(Vec::new()) };
        let listed = dir.iter().map(|(name, file)| {
            let Stat { inode, size, .. } = file.stat().unwrap();
            Listed { name: name.clone(), inode, size }
        });
        Ok(listed.collect())
    }

    fn open(&mut self, container: &str, name: &str) -> io::Result<Rc<dyn LogFile>> {
        let world = self.0.borrow();
        if world.refused.iter().any(|refused| refused == name) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file = world.containers.get(container).and_then(|dir| dir.get(name)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Rc::clone(file) as Rc<dyn LogFile>)
    }

    fn free_percent(&mut self) -> io::Result<u8> {
        Ok(self.0.borrow().free_percent.unwrap_or(100))
    }
}
