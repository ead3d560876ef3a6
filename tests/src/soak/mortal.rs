//! A process that is killed again and again: when and where each of its lives ends, and when the next begins.
//!
//! Lives alternate. A quiet one goes on for a time and ends by SIGKILL from outside, sometimes after it was stopped for
//! a while; the next one has a step at which it kills itself, and dies there.

use std::ops::Range;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use rustix::process::Signal;

use super::program::Program;
use super::window::{Histogram, Kind, Step, Window};
use crate::tamper::Rng;
use crate::world::{Collector, Process, Sidecar};

const SIGKILL: i32 = 9;
/// A step that was not come to in so long is not waited for.
const STEP_PATIENCE: Duration = Duration::from_secs(40);
/// Lives of one process: a pod may introduce 60 sessions an hour.
const MAX_DEATHS: usize = 52;

/// Whose process it is.
#[derive(Debug)]
pub enum Body {
    /// A sidecar.
    Sidecar(Sidecar),
    /// A collector.
    Collector(Collector),
    /// Another program that plays one's part.
    Program(Program),
}

impl Body {
    fn kind(&self) -> Kind {
        match self {
            Self::Sidecar(_) => Kind::Sidecar,
            Self::Collector(_) => Kind::Collector,
            Self::Program(program) => program.kind,
        }
    }

    fn process(&mut self) -> Result<&mut Process> {
        match self {
            Self::Sidecar(sidecar) => sidecar.process(),
            Self::Collector(collector) => collector.process(),
            Self::Program(program) => program.process(),
        }
    }

    fn begin(&mut self, env: &[(&str, &str)]) -> Result<()> {
        match self {
            Self::Sidecar(sidecar) => {
                for (key, value) in env {
                    sidecar.set_env(key, value);
                }
                sidecar.restart()
            }
            Self::Collector(collector) => collector.begin(env),
            Self::Program(program) => program.begin(env),
        }
    }
}

/// How a life is to end.
#[derive(Debug, Clone)]
enum Plan {
    /// By SIGKILL from outside.
    Quiet { until: Instant },
    /// At a step.
    Step(Step),
    /// It goes on.
    None,
}

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running {
        since: Instant,
    },
    Stopped {
        until: Instant,
    },
    Dead {
        until: Instant,
    },
    /// It ended by itself, and well.
    Ended,
}

/// How often it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A quiet life lasts so long on average.
    Dies(Duration),
    /// It is started again if it is dead, and not killed.
    Lives,
    /// It is not started again while it is dead.
    Away,
    /// As before, and it is told to end.
    Ends,
}

/// A process that is killed again and again.
#[derive(Debug)]
pub struct Mortal {
    /// Whose.
    pub body: Body,
    /// What it is called.
    pub name: String,
    /// When it died, and until when it was dead.
    pub deaths: Vec<Range<Timestamp>>,
    /// When it was stopped for a while: from the signal until it went on or died.
    pub stops: Vec<Range<Timestamp>>,
    /// How many of its lives had a slow disk.
    pub slow: u64,
    /// How often it ended by itself, and badly: its status.
    pub fell: Vec<String>,
    /// What becomes of it.
    pub fate: Fate,
    env: Vec<(String, String)>,
    plan: Plan,
    state: State,
    asked: bool,
}

impl Mortal {
    /// One that runs, with what its later processes have in their environment.
    pub fn new(name: &str, body: Body, fate: Fate, env: &[(&str, &str)]) -> Self {
        Self {
            body,
            name: name.into(),
            deaths: Vec::new(),
            stops: Vec::new(),
            slow: 0,
            fell: Vec::new(),
            fate,
            env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            plan: Plan::None,
            state: State::Running { since: Instant::now() },
            asked: false,
        }
    }

    /// Whether it ended by itself, and well.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The collector, if it is one.
    pub const fn collector(&self) -> Option<&Collector> {
        match &self.body {
            Body::Collector(collector) => Some(collector),
            Body::Sidecar(_) | Body::Program(_) => None,
        }
    }

    /// Kills it now.
    pub fn kill(&mut self, rng: &mut Rng, histogram: &mut Histogram) -> Result<()> {
        if matches!(self.state, State::Running { .. } | State::Stopped { .. }) {
            self.body.process()?.kill()?;
            histogram.count(Window::Anywhere, self.body.kind());
            self.died(rng);
        }
        Ok(())
    }

    /// It is not killed any more, also not by the step that its process has; if it is dead, it comes back at once.
    pub fn spare(&mut self, rng: &mut Rng, histogram: &mut Histogram) -> Result<()> {
        if matches!(self.fate, Fate::Dies(_)) {
            self.fate = Fate::Lives;
            if matches!(self.plan, Plan::Step(_)) {
                self.kill(rng, histogram)?;
            }
            if let State::Dead { until } = &mut self.state {
                *until = Instant::now();
            }
        }
        Ok(())
    }

    /// It begins again after it had ended.
    pub fn again(&mut self) {
        if self.has_ended() {
            (self.state, self.fate, self.asked) = (State::Dead { until: Instant::now() }, Fate::Lives, false);
        }
    }

    /// What its next processes have in their environment, too.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.retain(|(known, _)| known != key);
        self.env.push((key.to_owned(), value.to_owned()));
    }

    fn died(&mut self, rng: &mut Rng) {
        let now = Timestamp::now();
        self.deaths.push(now..now);
        self.went_on(now);
        let away = match rng.below(10) {
            0..6 => rng.between(0, 300),
            6..9 => rng.between(300, 2000),
            _ => rng.between(2000, 8000),
        };
        let away = if matches!(self.fate, Fate::Dies(_)) { away } else { 100 };
        self.state = State::Dead { until: Instant::now() + Duration::from_millis(away as u64) };
        self.asked = false;
    }

    /// If it was stopped, it is not any more.
    fn went_on(&mut self, now: Timestamp) {
        if let State::Stopped { .. } = self.state
            && let Some(stop) = self.stops.last_mut()
        {
            stop.end = now;
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, rng: &mut Rng, histogram: &mut Histogram) -> Result<()> {
        let now = Instant::now();
        match self.state {
            State::Dead { .. } if self.fate == Fate::Away => {}
            State::Dead { until } if now >= until => self.begin(rng, histogram)?,
            State::Stopped { until } if now >= until || !matches!(self.fate, Fate::Dies(_)) => {
                self.body.process()?.signal(Signal::CONT)?;
                self.went_on(Timestamp::now());
                self.state = State::Running { since: now };
            }
            State::Ended | State::Dead { .. } | State::Stopped { .. } => {}
            State::Running { since } => self.watch(since, rng, histogram)?,
        }
        Ok(())
    }

    fn watch(&mut self, since: Instant, rng: &mut Rng, histogram: &mut Histogram) -> Result<()> {
        let process = self.body.process()?;
        if let Some(status) = process.ended()? {
            if status.signal() == Some(SIGKILL) {
                if let Plan::Step(step) = &self.plan {
                    histogram.count(step.window, self.body.kind());
                }
            } else if status.success() && self.asked {
                self.state = State::Ended;
                return Ok(());
            } else {
                let stderr = process.stderr()?;
                let said = stderr.lines().last().unwrap_or_default();
                self.fell.push(format!("{}: {status}: {said}", self.name));
            }
            self.died(rng);
            return Ok(());
        }
        match (&self.plan, self.fate) {
            (_, Fate::Ends) if !self.asked => self.asked = process.ask_to_end()?,
            (Plan::Quiet { until }, Fate::Dies(_)) if Instant::now() >= *until => self.strike(rng, histogram)?,
            (Plan::None, Fate::Dies(quiet)) => self.plan = self.quiet(quiet, rng),
            (Plan::Step(_), Fate::Dies(_)) if since.elapsed() > STEP_PATIENCE => self.kill(rng, histogram)?,
            _ => {}
        }
        Ok(())
    }

    /// A quiet life is over.
    fn strike(&mut self, rng: &mut Rng, histogram: &mut Histogram) -> Result<()> {
        if !rng.once_in(4) {
            return self.kill(rng, histogram);
        }
        let stopped = Timestamp::now();
        self.body.process()?.signal(Signal::STOP)?;
        self.stops.push(stopped..stopped);
        let now = Instant::now();
        self.state = State::Stopped { until: now + Duration::from_millis(rng.between(100, 7000) as u64) };
        self.plan = Plan::Quiet { until: now + Duration::from_millis(rng.between(200, 9000) as u64) };
        Ok(())
    }

    fn quiet(&self, mean: Duration, rng: &mut Rng) -> Plan {
        if self.deaths.len() >= MAX_DEATHS {
            return Plan::None;
        }
        let mean = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX).max(1);
        Plan::Quiet { until: Instant::now() + Duration::from_millis(rng.number() % (2 * mean)) }
    }

    fn begin(&mut self, rng: &mut Rng, histogram: &Histogram) -> Result<()> {
        let was_quiet = !matches!(self.plan, Plan::Step(_));
        self.plan = match self.fate {
            Fate::Dies(_) if was_quiet && self.deaths.len() < MAX_DEATHS => {
                Plan::Step(histogram.next_step(rng, self.body.kind()))
            }
            Fate::Dies(quiet) => self.quiet(quiet, rng),
            Fate::Lives | Fate::Away | Fate::Ends => Plan::None,
        };
        let failpoint = match &self.plan {
            Plan::Step(step) => step.failpoint.clone(),
            Plan::Quiet { .. } | Plan::None => "none".to_owned(),
        };
        let mut env: Vec<_> = self.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        env.push(("INDELIBLE_FAILPOINT", &failpoint));
        // Of a collector's lives some have a slow disk.
        let slow = format!("commit-sync:{}", rng.between(20, 600));
        if self.body.kind() == Kind::Collector && matches!(self.fate, Fate::Dies(_)) && rng.once_in(4) {
            env.push(("INDELIBLE_SLOW", &slow));
            self.slow += 1;
        }
        if let Some(death) = self.deaths.last_mut().filter(|death| death.is_empty()) {
            death.end = Timestamp::now();
        }
        self.body.begin(&env)?;
        self.state = State::Running { since: Instant::now() };
        Ok(())
    }
}
