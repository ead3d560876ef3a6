//! A data directory in memory: its files by their paths.
//!
//! Files that were not changed are shared between images and, on disk, hard-linked: the verifier never writes to a
//! data directory, so two thousand variants of one cost what was changed in each. Directories that were read are made
//! again, also empty ones: a collector refuses a data directory in which one of its own is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

/// The files of a data directory, paths relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    files: BTreeMap<String, Arc<[u8]>>,
    /// The directories that were found where it was read.
    directories: BTreeSet<String>,
}

impl Image {
    /// A file.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|bytes| &**bytes)
    }

    /// Puts a file there, in place of the one that was.
    pub fn put(&mut self, path: &str, bytes: impl Into<Arc<[u8]>>) {
        self.files.insert(path.into(), bytes.into());
    }

    /// Takes a file away.
    pub fn remove(&mut self, path: &str) -> Option<Arc<[u8]>> {
        self.files.remove(path)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The files below a directory: the rest of their paths, and their bytes.
    pub fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.files
            .iter()
            .filter_map(move |(path, bytes)| Some((path.strip_prefix(directory)?.strip_prefix('/')?, &**bytes)))
    }

    /// How many bytes all files have.
    pub fn bytes(&self) -> usize {
        self.files.values().map(|bytes| bytes.len()).sum()
    }

    /// The paths that differ from another image's.
    pub fn changed<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut paths: Vec<_> = self.paths().chain(other.paths()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.retain(|path| self.get(path) != other.get(path));
        paths
    }

    /// Writes all files and directories below `to`; those that are the same in `base`, which is on disk at `at`, are linked to it.
    pub fn write(&self, to: &Path, base: Option<(&Self, &Path)>) -> Result<()> {
        std::fs::create_dir_all(to)?;
        for directory in &self.directories {
            std::fs::create_dir_all(to.join(directory))?;
        }
        for (path, bytes) in &self.files {
            let file = to.join(path);
            std::fs::create_dir_all(file.parent().context("a file has a directory")?)?;
            match base.filter(|(image, _)| image.files.get(path) == Some(bytes)) {
                Some((_, at)) => std::fs::hard_link(at.join(path), &file)?,
                None => std::fs::write(&file, bytes)?,
            }
        }
        Ok(())
    }

    /// Reads a data directory.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut image = Self::default();
        let mut open = vec![String::new()];
        while let Some(prefix) = open.pop() {
            for entry in std::fs::read_dir(directory.join(&prefix))? {
                let entry = entry?;
                let name = entry.file_name().into_string().ok().context("a data directory's names are UTF-8")?;
                let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                if entry.file_type()?.is_dir() {
                    image.directories.insert(path.clone());
                    open.push(path);
                } else {
                    image.put(&path, std::fs::read(entry.path())?);
                }
            }
        }
        Ok(image)
    }
}
