//! A program that is started again with the same arguments, in the same directory.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::window::Kind;
use crate::world::Process;

/// A program, and its process while it has one.
#[derive(Debug)]
pub struct Program {
    /// Whose part it plays.
    pub kind: Kind,
    /// What its output files are called.
    pub name: String,
    /// Where they are.
    pub dir: PathBuf,
    /// The program.
    pub path: PathBuf,
    /// Its arguments from the next start on.
    pub arguments: Vec<OsString>,
    /// The process that was started last.
    pub process: Option<Process>,
}

impl Program {
    /// Starts it.
    pub fn begin(&mut self, env: &[(&str, &str)]) -> Result<()> {
        self.process = Some(Process::start(&self.name, &self.dir, &self.path, &self.arguments, env)?);
        Ok(())
    }

    /// Its process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("it was started")
    }
}
