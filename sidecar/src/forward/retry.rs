//! What an answer means, and how long to wait after a failure.
//!
//! Owns the table of answers of the collector's interface (section 5 of the format), and backoff. Any answer to a
//! batch but 200 sends the same bytes to another collector; what differs is who pauses: the collector for everything
//! ([`Scope::Collector`]) or only for this item ([`Scope::Item`]), so that one batch that a collector cannot take
//! does not keep the others from it.

use std::time::Duration;

use super::dice::Dice;
use super::moment::Moment;
use crate::limits::{BACKOFF_FIRST, BACKOFF_MOST, RETRY_AFTER_MOST};

/// Why something was not done by a collector: the closed set of the metric's label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// No connection, or it broke.
    Transport,
    /// No answer in time.
    Timeout,
    /// 400.
    Malformed,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 409 or 422: the collector judged the content.
    Refused,
    /// 412.
    NotIntroduced,
    /// 413.
    TooLarge,
    /// 429.
    Busy,
    /// 503.
    Unavailable,
    /// 507.
    NoSpace,
    /// 200 with something that is no receipt of that log for these bytes.
    BadReceipt,
    /// Any other answer.
    Other,
}

impl Reason {
    /// All of them, in the order of the metric.
    pub const ALL: [Self; 13] = [
        Self::Transport,
        Self::Timeout,
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Refused,
        Self::NotIntroduced,
        Self::TooLarge,
        Self::Busy,
        Self::Unavailable,
        Self::NoSpace,
        Self::BadReceipt,
        Self::Other,
    ];

    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::NotIntroduced => "not_introduced",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::NoSpace => "no_space",
            Self::BadReceipt => "bad_receipt",
            Self::Other => "other",
        }
    }

    /// What a status that is no success says. 409 and 422 are one reason: both end a chain when two agree.
    pub const fn of_status(status: u16) -> Self {
        match status {
            400 => Self::Malformed,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            409 | 422 => Self::Refused,
            412 => Self::NotIntroduced,
            413 => Self::TooLarge,
            429 => Self::Busy,
            503 => Self::Unavailable,
            507 => Self::NoSpace,
            _ => Self::Other,
        }
    }

    /// Who pauses when this is the answer to a batch.
    pub const fn scope(self) -> Scope {
        match self {
            Self::Malformed | Self::Refused | Self::NotIntroduced | Self::TooLarge => Scope::Item,
            Self::Transport
            | Self::Timeout
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Busy
            | Self::Unavailable
            | Self::NoSpace
            | Self::BadReceipt
            | Self::Other => Scope::Collector,
        }
    }

    /// Who pauses when this is the answer to a chain's introduction: a limit on chains is no limit on batches.
    pub const fn scope_for_chain(self) -> Scope {
        match self {
            Self::Busy => Scope::Item,
            reason => reason.scope(),
        }
    }
}

/// Who pauses after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The collector, for everything.
    Collector,
    /// The collector, for this batch or chain.
    Item,
}

/// How often something failed in a row, and until when it is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    failures: u32,
    until: Moment,
    /// Until when the collector asked to be left alone.
    asked_until: Moment,
}

impl Backoff {
    /// Counts a failure. Waits twice as long as after the last one, with jitter, and never less than the collector
    /// asked for.
    pub fn fail(&mut self, now: Moment, retry_after: Option<Duration>, dice: &mut Dice) {
        self.failures = self.failures.saturating_add(1);
        self.until = now.plus(delay(self.failures, dice));
        self.asked(now, retry_after, dice);
    }

    /// The collector asked to be left alone. What it asked before holds as well: the later of both counts.
    pub fn asked(&mut self, now: Moment, retry_after: Option<Duration>, dice: &mut Dice) {
        let Some(asked) = retry_after else { return };
        let asked = asked.min(RETRY_AFTER_MOST);
        // All sidecars were told the same: they come back spread over a tenth of it.
        self.asked_until = self.asked_until.max(now.plus(asked + dice.up_to(asked / 10)));
    }

    /// A success.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tries at once again, without forgetting that it failed, nor what the collector asked for.
    pub const fn retry_at_once(&mut self, now: Moment) {
        self.until = now;
    }

    /// Whether it may be tried.
    pub fn is_over(&self, now: Moment) -> bool {
        self.until() <= now
    }

    /// Whether the time that the collector asked for is over.
    pub fn is_asked_time_over(&self, now: Moment) -> bool {
        self.asked_until <= now
    }

    /// When it may be tried.
    pub fn until(&self) -> Moment {
        self.until.max(self.asked_until)
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// The pause after so many failures in a row: doubled each time up to a bound, then between half and all of it.
fn delay(failures: u32, dice: &mut Dice) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let whole = doubled.min(BACKOFF_MOST);
    whole / 2 + dice.up_to(whole / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_pause_doubles_up_to_its_bound_and_is_spread_over_its_upper_half() {
        let mut dice = Dice::new(7);
        for (failures, whole) in
            [(1, BACKOFF_FIRST), (2, BACKOFF_FIRST * 2), (4, BACKOFF_FIRST * 8), (99, BACKOFF_MOST)]
        {
            let pauses: Vec<_> = (0..200).map(|_| delay(failures, &mut dice)).collect();
            assert!(pauses.iter().all(|p| (whole / 2..=whole).contains(p)), "{failures}: {pauses:?}");
            assert!(pauses.iter().max() > pauses.iter().min());
        }
    }

    #[test]
    fn a_collector_that_names_a_time_is_left_alone_that_long_but_not_for_ever() {
        let (mut dice, now) = (Dice::new(7), Moment::after_start(SECOND));
        let mut backoff = Backoff::default();
        backoff.fail(now, Some(SECOND * 30), &mut dice);
        assert!(!backoff.is_over(now.plus(SECOND * 29)) && backoff.is_over(now.plus(SECOND * 33)));
        backoff.fail(now, Some(Duration::MAX), &mut dice);
        assert!(backoff.is_over(now.plus(RETRY_AFTER_MOST * 2)));
        backoff.clear();
        assert!(backoff.is_over(now) && backoff.failures() == 0);
    }

    #[test]
    fn each_status_of_the_interface_has_its_reason() {
        let table = [
            (400, Reason::Malformed),
            (401, Reason::Unauthorized),
            (403, Reason::Forbidden),
            (404, Reason::Other),
            (409, Reason::Refused),
            (412, Reason::NotIntroduced),
            (413, Reason::TooLarge),
            (422, Reason::Refused),
            (429, Reason::Busy),
            (500, Reason::Other),
            (503, Reason::Unavailable),
            (507, Reason::NoSpace),
        ];
        for (status, reason) in table {
            assert_eq!(Reason::of_status(status), reason, "{status}");
        }
    }

    #[test]
    fn labels_are_all_different() {
        let labels: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
    }
}
