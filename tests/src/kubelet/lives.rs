//! The processes of one sidecar, one after the other: when each came and went.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use crate::world::Sidecar;

/// By how much the time that a file system keeps may lag behind the clock: a tick, and a little.
const TICK: Duration = Duration::from_millis(20);

/// One process of a sidecar.
#[derive(Debug, Clone)]
struct Life {
    /// When its predecessor was killed, and when it was there itself.
    outage: Option<(Timestamp, Timestamp)>,
    /// When it had opened what was there to read, if it came to that.
    armed: Option<Timestamp>,
    /// When it was gone.
    gone: Timestamp,
}

/// The processes of one sidecar.
#[derive(Debug, Clone, Default)]
pub struct Lives {
    before: Vec<Life>,
    /// When the last one was killed, until there is another.
    killed: Option<Timestamp>,
    /// How the one that runs came to be.
    outage: Option<(Timestamp, Timestamp)>,
}

/// A sidecar was killed and started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// From the kill to the next process.
    pub to_start: Duration,
    /// From the kill until that had opened its files, if it came to that.
    pub to_reading: Option<Duration>,
}

impl Lives {
    /// Kills the sidecar.
    pub fn kill(&mut self, sidecar: &mut Sidecar) -> Result<()> {
        let killed = Timestamp::now();
        sidecar.kill()?;
        self.end(sidecar);
        self.killed = Some(killed);
        Ok(())
    }

    /// Starts it again.
    pub fn restart(&mut self, sidecar: &mut Sidecar) -> Result<()> {
        sidecar.restart()?;
        self.outage = self.killed.take().map(|killed| (killed, Timestamp::now()));
        Ok(())
    }

    /// The process has ended.
    pub fn end(&mut self, sidecar: &Sidecar) {
        let (outage, armed) = (self.outage.take(), sidecar.armed_at());
        self.before.push(Life { outage, armed, gone: Timestamp::now() });
    }

    /// When the process that was at work at a moment had looked at all that was there then.
    pub fn looked(&self, at: Timestamp) -> Timestamp {
        let moments = self.before.iter().flat_map(|life| [life.armed.map(|armed| armed + TICK), Some(life.gone)]);
        moments.flatten().find(|moment| *moment >= at).unwrap_or(Timestamp::MAX)
    }

    /// The kills.
    pub fn outages(&self) -> impl Iterator<Item = Outage> {
        let since = |killed: Timestamp, at: Timestamp| at.duration_since(killed).unsigned_abs();
        self.before.iter().filter_map(move |life| {
            let (killed, started) = life.outage?;
            let to_reading = life.armed.map(|armed| since(killed, armed));
            Some(Outage { to_start: since(killed, started), to_reading })
        })
    }
}
