//! Words for people: times, pods, logs and ranges as findings name them.
//!
//! A finding is read by someone who may never have seen a hash: it says which pod, container, time and collector is
//! meant, what it means and what to do. Owns the forms of these names, so that they are the same in every finding.

use std::fmt;

use crate::id::{Seq, Time};

/// A time as RFC 3339 in UTC with milliseconds, rounded down; years outside 0 to 9999 are not of that form and are
/// given as nanoseconds since the epoch.
pub(super) struct Utc(pub(super) Time);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400;
        let nanos = self.0.nanos();
        let seconds = nanos.div_euclid(Time::SECOND);
        let millis = nanos.rem_euclid(Time::SECOND) / 1_000_000;
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        if !(0..=9999).contains(&year) {
            return write!(f, "{nanos} ns after 1970");
        }
        let of_day = seconds.rem_euclid(DAY);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar (Howard Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on a 1 March, so that a leap day ends its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// A stretch of time of which one or both ends may be unknown.
pub(super) struct Between(pub(super) Option<Time>, pub(super) Option<Time>);

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(from), Some(to)) if from == to => write!(f, "at {}", Utc(from)),
            // Times of records may decrease.
            (Some(from), Some(to)) => write!(f, "between {} and {}", Utc(from.min(to)), Utc(from.max(to))),
            (Some(from), None) => write!(f, "after {}", Utc(from)),
            (None, Some(to)) => write!(f, "before {}", Utc(to)),
            (None, None) => f.write_str("at an unknown time"),
        }
    }
}

/// Records from one position up to, but without, another.
pub(super) struct Records(pub(super) Seq, pub(super) Seq);

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.get(), self.1.get().saturating_sub(1));
        if first >= last { write!(f, "record {first}") } else { write!(f, "records {first} to {last}") }
    }
}

/// A duration in the largest units that are not zero, at most two of them.
pub(super) struct Age(pub(super) i64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.0 / Time::SECOND).max(0);
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min"),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// Joins things with commas; of more than `limit` it says how many more there are.
pub(super) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>, limit: usize) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    let shown = items.iter().take(limit).map(String::as_str).collect::<Vec<_>>().join(", ");
    if items.len() > limit { format!("{shown} and {} more", items.len() - limit) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339_in_utc() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_795_446_896_123_999_999, "2026-11-23T15:14:56.123Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999_000_000, "2000-02-29T23:59:59.999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854Z"),
            (i64::MIN, "1677-09-21T00:12:43.145Z"),
        ] {
            assert_eq!(Utc(Time::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut previous = civil(-1);
        for day in 0..146_097 {
            let now = civil(day);
            let (year, month, day_of_month) = previous;
            let is_next = now == (year, month, day_of_month + 1)
                || now == (year, month + 1, 1) && day_of_month >= 28
                || now == (year + 1, 1, 1) && (month, day_of_month) == (12, 31);
            assert!(is_next, "{now:?} after {previous:?}");
            previous = now;
        }
        assert_eq!(civil(146_097 + 10_957), (2400, 1, 1));
    }

    #[test]
    fn ranges_and_ages_read_as_a_person_says_them() {
        assert_eq!(Records(Seq::new(4), Seq::new(5)).to_string(), "record 4");
        assert_eq!(Records(Seq::new(4), Seq::new(9)).to_string(), "records 4 to 8");
        assert_eq!(Age(59 * Time::SECOND).to_string(), "59 s");
        assert_eq!(Age(11 * 60 * Time::SECOND).to_string(), "11 min");
        assert_eq!(Age(26 * 3600 * Time::SECOND).to_string(), "1 d 2 h");
        assert_eq!(list([1, 2, 3], 2), "1, 2 and 1 more");
        assert_eq!(list([1, 2], 2), "1, 2");
        assert_eq!(Between(Some(Time::from_nanos(0)), None).to_string(), "after 1970-01-01T00:00:00.000Z");
    }
}
