//! The state directory's twin in memory: it survives the sidecar, and fails on command.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use indelible_chain::id::SessionId;

use crate::journal::{Store, Sync};

#[derive(Debug, Default)]
struct Disk {
    journals: BTreeMap<String, Vec<u8>>,
    asked: BTreeMap<String, Vec<SessionId>>,
    /// How many bytes of each were synced.
    synced: BTreeMap<String, usize>,
    /// Calls that succeed before one fails; `None`: all succeed.
    fails_after: Option<u32>,
    /// A failing append stores this many of its bytes.
    torn_at: usize,
    syncs: u32,
}

/// Journals in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryStore(Rc<RefCell<Disk>>);

impl MemoryStore {
    /// The call after `calls` others fails, an append after it stored `torn_at` bytes; every later one succeeds.
    pub(crate) fn fail_after(&self, calls: u32, torn_at: usize) {
        let mut disk = self.0.borrow_mut();
        (disk.fails_after, disk.torn_at) = (Some(calls), torn_at);
    }

    /// The state is gone.
    pub(crate) fn lose(&self) {
        let mut disk = self.0.borrow_mut();
        disk.journals.clear();
        disk.asked.clear();
    }

    /// The node loses power: what was not synced is gone.
    pub(crate) fn lose_unsynced(&self) {
        let Disk { journals, synced, .. } = &mut *self.0.borrow_mut();
        for (container, journal) in journals {
            journal.truncate(synced.get(container).copied().unwrap_or(0));
        }
    }

    pub(crate) fn bytes(&self, container: &str) -> Option<Vec<u8>> {
        self.0.borrow().journals.get(container).cloned()
    }

    pub(crate) fn put(&self, container: &str, bytes: Vec<u8>) {
        self.0.borrow_mut().journals.insert(container.into(), bytes);
    }

    /// How many calls were durable.
    pub(crate) fn syncs(&self) -> u32 {
        self.0.borrow().syncs
    }
}

impl Disk {
    fn call(&mut self) -> io::Result<()> {
        match &mut self.fails_after {
            Some(0) => {
                self.fails_after = None;
                Err(io::Error::other("injected"))
            }
            Some(calls) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Store for MemoryStore {
    fn containers(&mut self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().journals.keys().cloned().collect())
    }

    fn load(&mut self, container: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.bytes(container))
    }

    fn append(&mut self, container: &str, bytes: &[u8], sync: Sync) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let called = disk.call();
        disk.syncs += u32::from(sync == Sync::Yes);
        let stored = if called.is_ok() { bytes.len() } else { disk.torn_at.min(bytes.len()) };
        let journal = disk.journals.get_mut(container).ok_or(io::ErrorKind::NotFound)?;
        journal.extend_from_slice(&bytes[..stored]);
        let len = journal.len();
        if called.is_ok() && sync == Sync::Yes {
            disk.synced.insert(container.into(), len);
        }
        called
    }

    fn replace(&mut self, container: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.call()?;
        disk.syncs += 1;
        disk.journals.insert(container.into(), bytes.to_vec());
        disk.synced.insert(container.into(), bytes.len());
        disk.asked.remove(container);
        Ok(())
    }

    fn asked(&mut self, container: &str) -> io::Result<Vec<SessionId>> {
        Ok(self.0.borrow().asked.get(container).cloned().unwrap_or_default())
    }

    fn ask(&mut self, container: &str, sessions: &[SessionId]) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.call()?;
        disk.syncs += 1;
        disk.asked.insert(container.into(), sessions.to_vec());
        Ok(())
    }

    fn set_aside(&mut self, _container: &str) -> io::Result<()> {
        Ok(())
    }
}
