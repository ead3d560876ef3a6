//! When a heartbeat is due, and to which of two collectors it goes.
//!
//! Each 30 s from a jittered start, alternating between two collectors that know the session, of which one is chosen
//! anew each hour; and once more after the last FINAL, to the one that is not the session's home. A heartbeat that cannot
//! be sent stays due: it goes out with the first collector that can take it. One that fails goes to the other at once, and
//! then waits for its next time.

use std::time::Duration;

use super::dice::Dice;
use super::moment::Moment;

/// Time between heartbeats.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// After this long, one of the two collectors is chosen anew.
pub const ROTATION: Duration = Duration::from_hours(1);
/// Sends of one heartbeat: to one collector, then to the other.
const TRIES: u8 = 2;

/// The rhythm of a session's heartbeats.
#[derive(Debug)]
pub struct Rhythm {
    next: Moment,
    rotation: Moment,
    turn: usize,
    tries: u8,
    last: Last,
}

/// The one after the last FINAL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Last {
    NotYet,
    Due,
    Sent,
    Done,
}

impl Rhythm {
    /// Begins at a random point of the first interval, so that pods that start together do not stay together.
    pub fn new(now: Moment, dice: &mut Dice) -> Self {
        let next = now.plus(dice.up_to(INTERVAL));
        Self { next, rotation: now.plus(ROTATION), turn: 0, tries: 0, last: Last::NotYet }
    }

    /// Whether one is to be sent.
    pub fn is_due(&self, now: Moment) -> bool {
        match self.last {
            Last::NotYet => self.next <= now,
            Last::Due => true,
            Last::Sent | Last::Done => false,
        }
    }

    /// When the next is due.
    pub const fn next(&self) -> Moment {
        self.next
    }

    /// Which of `n` collectors it goes to.
    pub const fn turn(&self, n: usize) -> usize {
        self.turn.wrapping_rem(if n == 0 { 1 } else { n })
    }

    /// It is on its way.
    pub fn sent(&mut self) {
        if self.last == Last::Due {
            self.last = Last::Sent;
        }
    }

    /// Noted by the collector.
    pub fn succeeded(&mut self, now: Moment) {
        self.over(now);
    }

    /// Not noted. The other collector is tried at once; after it, the next one is that of the next interval.
    pub fn failed(&mut self, now: Moment) {
        self.tries += 1;
        if self.tries >= TRIES {
            self.over(now);
        } else {
            self.turn = self.turn.wrapping_add(1);
            if self.last == Last::Sent {
                self.last = Last::Due;
            }
        }
    }

    fn over(&mut self, now: Moment) {
        self.turn = self.turn.wrapping_add(1);
        self.tries = 0;
        // One that was sent before the last FINAL is not the last.
        if self.last == Last::Sent {
            self.last = Last::Done;
        }
        // Keeps the phase while it is kept up with, and does not make up for a long silence with a burst.
        let following = self.next.plus(INTERVAL);
        self.next = if following > now { following } else { now.plus(INTERVAL) };
    }

    /// Whether it is time to choose one of the two collectors anew.
    pub fn rotates(&mut self, now: Moment) -> bool {
        let due = self.rotation <= now;
        if due {
            self.rotation = now.plus(ROTATION);
        }
        due
    }

    /// Every FINAL is receipted: one more, to the second of the two. The first has most of what a short-lived pod printed,
    /// and somebody else has to have its receipts.
    pub fn last_is_due(&mut self) {
        if self.last == Last::NotYet {
            self.last = Last::Due;
            self.tries = 0;
            self.turn = 1;
        }
    }

    /// Whether the last one has been sent, or cannot be.
    pub fn is_over(&self) -> bool {
        self.last == Last::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::after_start(Duration::from_secs(secs))
    }

    #[test]
    fn heartbeats_start_jittered_keep_their_phase_and_alternate() {
        let mut rhythm = Rhythm::new(at(0), &mut Dice::new(3));
        let first = rhythm.next();
        assert!(first > at(0) && first < at(30));
        assert!(!rhythm.is_due(at(0)) && rhythm.is_due(at(30)));
        let turn = rhythm.turn(2);
        rhythm.succeeded(first.plus(Duration::from_secs(1)));
        assert_eq!(rhythm.next(), first.plus(INTERVAL));
        assert_ne!(rhythm.turn(2), turn);
        assert_eq!(rhythm.turn(1), 0);
    }

    #[test]
    fn a_failed_heartbeat_goes_to_the_other_at_once_and_then_waits() {
        let mut rhythm = Rhythm::new(at(0), &mut Dice::new(3));
        let turn = rhythm.turn(2);
        rhythm.failed(at(30));
        assert!(rhythm.is_due(at(30)));
        assert_ne!(rhythm.turn(2), turn);
        rhythm.failed(at(30));
        assert!(!rhythm.is_due(at(30)));
    }

    #[test]
    fn a_long_silence_is_not_made_up_for() {
        let mut rhythm = Rhythm::new(at(0), &mut Dice::new(3));
        rhythm.succeeded(at(1_000));
        assert_eq!(rhythm.next(), at(1_030));
    }

    #[test]
    fn there_is_exactly_one_after_the_last_final() {
        let mut rhythm = Rhythm::new(at(0), &mut Dice::new(3));
        rhythm.sent();
        rhythm.last_is_due();
        rhythm.succeeded(at(0));
        assert!(rhythm.is_due(at(0)) && !rhythm.is_over(), "one that was under way before is not it");
        rhythm.sent();
        rhythm.succeeded(at(0));
        rhythm.last_is_due();
        assert!(!rhythm.is_due(at(1_000)) && rhythm.is_over());
    }

    #[test]
    fn the_last_one_goes_to_the_second_collector_whoever_got_those_before() {
        for before in 0..3 {
            let mut rhythm = Rhythm::new(at(0), &mut Dice::new(3));
            for n in 1..=before {
                rhythm.succeeded(at(30 * n));
            }
            rhythm.last_is_due();
            assert_eq!((rhythm.turn(2), rhythm.turn(1)), (1, 0));
            rhythm.failed(at(100));
            assert_eq!(rhythm.turn(2), 0);
        }
    }

    #[test]
    fn one_of_the_two_is_chosen_anew_each_hour() {
        let mut rhythm = Rhythm::new(at(0), &mut Dice::new(3));
        assert!(!rhythm.rotates(at(3_599)));
        assert!(rhythm.rotates(at(3_600)));
        assert!(!rhythm.rotates(at(3_601)));
        assert!(rhythm.rotates(at(7_200)));
    }
}
