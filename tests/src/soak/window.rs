//! Where a kill fell: the windows of a record's way, the steps that lie in each, and how many kills each got.

use std::collections::BTreeMap;

use crate::tamper::Rng;

/// Whose process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A sidecar.
    Sidecar,
    /// A collector.
    Collector,
}

/// What a kill interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// Records are linked, their batch is not sealed.
    Linked,
    /// The batch is sealed and signed, not handed out.
    Sealed,
    /// It is under way, or taken and not durable.
    InFlight,
    /// It is durable, and its receipt is not taken in.
    Stored,
    /// Its receipt is taken in, the cursor is not written.
    Receipted,
    /// One log file is left for the next.
    Rotation,
    /// A process that was killed before takes up what it finds.
    Recovery,
    /// A full tile is written.
    Tile,
    /// A segment is sealed and the next begun.
    Roll,
    /// A checkpoint is signed and made durable.
    Checkpoint,
    /// From outside, at any time.
    Anywhere,
}

/// A window's name, and the steps that lie in it: whose, the failpoint, how often it may be passed before, and up to how
/// many milliseconds later the kill comes.
type Row = (Window, &'static str, &'static [(Kind, &'static str, usize, usize)]);

/// The failpoints are named where they are, in `sidecar` and `collector`.
const ROWS: [Row; 11] = {
    use Kind::{Collector, Sidecar};
    [
        (Window::Linked, "linked", &[(Sidecar, "linked", 30, 0)]),
        (Window::Sealed, "sealed", &[(Sidecar, "sealed", 20, 0), (Sidecar, "reached", 20, 0)]),
        (
            Window::InFlight,
            "in flight",
            &[(Sidecar, "sent", 20, 3), (Collector, "commit-write", 200, 0), (Collector, "commit-sync", 200, 0)],
        ),
        (Window::Stored, "stored, not receipted", &[(Sidecar, "receipt", 20, 0), (Collector, "commit-answer", 200, 0)]),
        (Window::Receipted, "receipted, not saved", &[(Sidecar, "receipted", 20, 0)]),
        (Window::Rotation, "rotation", &[(Sidecar, "leave", 1, 0), (Sidecar, "left", 1, 0)]),
        (
            Window::Recovery,
            "recovery",
            &[
                (Sidecar, "begin", 1, 0),
                (Sidecar, "begun", 1, 0),
                (Collector, "recover-looked", 1, 0),
                (Collector, "recover-said", 1, 0),
            ],
        ),
        (Window::Tile, "tile write", &[(Collector, "tile-bundle", 1, 0)]),
        (
            Window::Roll,
            "segment roll",
            &[
                (Collector, "roll-cut", 1, 0),
                (Collector, "roll-sync", 1, 0),
                (Collector, "roll-index", 1, 0),
                (Collector, "roll-create", 1, 0),
                (Collector, "roll-done", 1, 0),
            ],
        ),
        (
            Window::Checkpoint,
            "checkpoint",
            &[
                (Collector, "tick-checkpoint", 20, 0),
                (Collector, "tick-publish", 20, 0),
                (Collector, "tick-tiles", 20, 0),
            ],
        ),
        (Window::Anywhere, "anywhere, from outside", &[]),
    ]
};

/// A step at which a process is to die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What that interrupts.
    pub window: Window,
    /// The value of `INDELIBLE_FAILPOINT`.
    pub failpoint: String,
}

/// How many kills fell where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<(Window, Kind), u64>);

impl Histogram {
    /// One more.
    pub fn count(&mut self, window: Window, kind: Kind) {
        *self.0.entry((window, kind)).or_default() += 1;
    }

    /// All of them.
    pub fn kills(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those in a window.
    pub fn of(&self, window: Window) -> u64 {
        self.0.iter().filter(|((of, _), _)| *of == window).map(|(_, count)| count).sum()
    }

    fn by(&self, window: Window, kind: Kind) -> u64 {
        self.0.get(&(window, kind)).copied().unwrap_or(0)
    }

    /// A step for a process of this kind: most often in the window that has the fewest kills.
    pub fn next_step(&self, rng: &mut Rng, kind: Kind) -> Step {
        let steps = |row: &Row| row.2.iter().any(|step| step.0 == kind);
        let mut rows: Vec<&Row> = ROWS.iter().filter(|row| steps(row)).collect();
        if !rng.once_in(4) {
            let fewest = rows.iter().map(|row| self.of(row.0)).min();
            rows.retain(|row| Some(self.of(row.0)) == fewest);
        }
        let row = *rng.pick(&rows);
        let steps: Vec<_> = row.2.iter().filter(|step| step.0 == kind).collect();
        let (_, name, passes, later) = **rng.pick(&steps);
        let failpoint = format!("{name}:{}:{}", rng.between(1, passes), rng.between(later.min(1), later));
        Step { window: row.0, failpoint }
    }

    /// The windows that have less than `least` kills.
    pub fn short(&self, least: u64) -> Vec<&'static str> {
        ROWS.iter().filter(|row| self.of(row.0) < least).map(|row| row.1).collect()
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let most = ROWS.iter().map(|row| self.of(row.0)).max().unwrap_or(0).max(1);
        let row = |(window, name, _): &Row| {
            let kills = self.of(*window);
            let bar = "#".repeat(usize::try_from(kills * 40 / most).unwrap_or(0));
            let (sidecars, collectors) = (self.by(*window, Kind::Sidecar), self.by(*window, Kind::Collector));
            format!("{name:24}{kills:>7}{sidecars:>10}{collectors:>12}  {bar}\n")
        };
        let head = format!("{:24}{:>7}{:>10}{:>12}\n", "the kill fell into", "kills", "sidecars", "collectors");
        let foot = format!("{:24}{:>7}\n", "together", self.kills());
        head + &ROWS.each_ref().map(row).concat() + &foot
    }
}
