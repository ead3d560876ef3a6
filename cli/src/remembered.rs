//! What `--state` remembers between runs: the largest checkpoint of each log under which integrity held.
//!
//! One signed note a log, `<hex log_id>.checkpoint`, replaced by rename. It is written only after a verification whose
//! integrity passed, and only by a larger one. What is read from it is a checkpoint like any other that was seen
//! earlier: its signature is judged, so a state that was altered can make a run complain but never make one pass.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::note::Note;
use indelible_chain::policy::Policy;
use indelible_chain::verify::{Known, KnownBy, LogSummary, Report, Verdict};

use crate::judging::Judged;
use crate::limits::{MAX_SOURCES, MAX_STATE_BYTES};
use crate::source::NamedNote;
use crate::source::folder::{Folder, ReadError};

/// A directory of checkpoints.
#[derive(Debug)]
pub struct Remembered {
    dir: PathBuf,
    notes: Vec<NamedNote>,
}

impl Remembered {
    /// Reads the directory; makes it if it is not there.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io)?;
        let folder = Folder::open(dir)?;
        let names = folder.list()?.into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".checkpoint"));
        let names: Vec<String> = names.collect();
        if names.len() > MAX_SOURCES {
            return Err(ReadError::TooLarge { path: dir.to_owned(), limit: MAX_SOURCES, unit: "remembered logs" });
        }
        let read = names.into_iter().map(|name| folder.read(&name, MAX_STATE_BYTES).map(|note| (name, note)));
        Ok(Self { dir: dir.to_owned(), notes: read.collect::<Result<_, _>>()? })
    }

    /// Leaves out the logs that a policy does not name: another policy's runs remember in the same directory. Gives the
    /// names of their files, which stay as they are.
    pub fn leave_out_strangers(&mut self, policy: &Policy) -> Vec<String> {
        let named: BTreeSet<String> = policy.logs().iter().map(|log| file_of(log.origin())).collect();
        let strangers = self.notes.extract_if(.., |(name, _)| !named.contains(name));
        strangers.map(|(name, _)| self.dir.join(name).display().to_string()).collect()
    }

    /// The checkpoints, for the judge.
    pub fn known(&self) -> impl Iterator<Item = Known> {
        self.notes.iter().map(|(name, note)| Known {
            by: KnownBy::State,
            label: self.dir.join(name).display().to_string(),
            note: note.clone(),
        })
    }

    /// Remembers the logs of a report, out of the notes that sources showed, if integrity passed.
    pub fn update(&self, report: &Report, shown: &[Judged]) -> io::Result<()> {
        if report.verdicts.integrity != Verdict::Pass {
            return Ok(());
        }
        // Of several sources of one log, the one that shows most of it.
        let is_less = |log: &LogSummary| report.logs.iter().any(|of| of.origin == log.origin && of.size > log.size);
        for log in report.logs.iter().filter(|log| !is_less(log)) {
            let judged = |checkpoint: &Checkpoint| {
                checkpoint.origin().as_str() == log.origin
                    && checkpoint.size() == log.size
                    && checkpoint.root() == log.root
            };
            let Some((checkpoint, note)) = shown
                .iter()
                .flat_map(|log| &log.notes)
                .filter_map(|(_, note)| Some((read(note)?, note)))
                .find(|(checkpoint, _)| judged(checkpoint))
            else {
                continue;
            };
            let name = file_of(checkpoint.origin());
            let before = self.notes.iter().find(|(of, _)| *of == name).and_then(|(_, note)| read(note));
            if before.is_none_or(|before| before.size() < checkpoint.size()) {
                self.write(&name, note)?;
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, note: &[u8]) -> io::Result<()> {
        // A crash before the rename leaves the old checkpoint and a temporary file that the next write replaces.
        let temporary = self.dir.join(format!("{name}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(note)?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// The name of a log's file.
fn file_of(origin: &Origin) -> String {
    format!("{}.checkpoint", origin.log_id())
}

fn read(note: &[u8]) -> Option<Checkpoint> {
    Checkpoint::parse(Note::parse(note).ok()?.text()).ok()
}
