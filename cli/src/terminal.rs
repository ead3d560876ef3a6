//! The terminal: how wide it is, what is said on stderr, and progress there.
//!
//! Progress goes to stderr, only if that is a terminal, and only for what takes longer than a second.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::limits::PROGRESS_AFTER;

/// Columns of the terminal on stdout, if it is one.
pub fn width() -> Option<u16> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}

/// Says something to the user on stderr. Where nobody can read it (full disk, closed pipe) the exit code still tells.
pub fn say(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "indelible: {text}");
}

/// A line on stderr that says what is being done.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
}

impl Progress {
    /// Progress through `total` things called `what`.
    pub fn new(what: &'static str, total: u64) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_message(what);
        Self { bar, began: Instant::now(), shown: false }
    }

    /// `n` more things are to be done.
    pub fn more(&self, n: u64) {
        self.bar.inc_length(n);
    }

    /// Something is going on: what takes long is shown from now on.
    pub fn look(&mut self) {
        if !self.shown && self.began.elapsed() > PROGRESS_AFTER && std::io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(200));
            self.shown = true;
        }
    }

    /// `n` more things are done.
    pub fn step(&mut self, n: u64) {
        self.look();
        self.bar.inc(n);
    }

    /// Takes the line away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
