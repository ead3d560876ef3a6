//! One run of a collector on the measured core, with senders on the others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::real;
use crate::process::Core;
use crate::senders::{self, Made, Receipted, Window};
use crate::settings::Settings;
use crate::world::World;

/// What came out of it.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// What was receipted.
    pub receipted: Receipted,
    /// Of the window's time, how much the collector was on its core.
    pub cpu_share: f64,
    /// CPU time of the collector for each batch.
    pub cpu_micros: f64,
}

/// Starts a collector with an empty log, sends it what was made, and ends it.
pub fn sends(settings: &Settings, made: &Arc<Made>, window: Window) -> Result<Sent> {
    let mut world = World::start(settings, 1, Core::Measured, &[])?;
    let mut cpu = Vec::new();
    let receipted = {
        let collector = world.collectors.first().context("there is a collector")?;
        senders::send(&world, collector, made, window, || {
            cpu.push(collector.process()?.usage()?.cpu);
            Ok(())
        })?
    };
    world.collectors.first_mut().context("there is a collector")?.terminate()?;
    let used = cpu.last().zip(cpu.first()).map_or(Duration::ZERO, |(end, begin)| end.saturating_sub(*begin));
    Ok(Sent {
        receipted,
        cpu_share: used.as_secs_f64() / window.length.as_secs_f64(),
        cpu_micros: used.as_secs_f64() * 1e6 / real(receipted.batches.max(1)),
    })
}
