//! One raw line of a CRI log file: time, stream, tags, content; or malformed (format 1.1, rule 4).
//!
//! ```text
//! time SP stream SP tags SP content      time = YYYY-MM-DDThh:mm:ss[.1–9 digits](Z|±hh:mm)
//! ```
//!
//! Pure and without allocation: a header borrows nothing and names the offset at which the content begins. The time is
//! parsed by hand because this runs once a line; it must name a date that exists and fit i64 nanoseconds.

use indelible_chain::id::Time;
use indelible_chain::record::Source;

/// Whether a line goes on in the next raw line of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// First tag `P`: the line stays open.
    Open,
    /// Any other first tag: the line is closed.
    Last,
}

/// Everything of a well-formed raw line but its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// When the part was printed.
    pub time: Time,
    /// Stdout or stderr.
    pub source: Source,
    /// Whether the line goes on.
    pub part: Part,
}

/// What the first bytes of a raw line are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scan {
    /// A well-formed line whose content begins at `content`.
    Line {
        /// Time, stream and first tag.
        header: Header,
        /// Offset of the content.
        content: usize,
    },
    /// Well-formed so far, ending inside the tags: a line once a space follows, malformed if the line ends first.
    Tags(Header),
    /// No line of the format, whatever follows.
    Malformed,
}

/// Judges a raw line, without its newline, or a long prefix of one.
pub fn scan(raw: &[u8]) -> Scan {
    let Some((time, at)) = scan_time(raw) else { return Scan::Malformed };
    let rest = &raw[at..];
    let source = match rest.get(..7) {
        Some(b"stdout ") => Source::Stdout,
        Some(b"stderr ") => Source::Stderr,
        _ => return Scan::Malformed,
    };
    let tags = &rest[7..];
    let part = match tags {
        [] | [b' ', ..] => return Scan::Malformed,
        [b'P'] | [b'P', b' ' | b':', ..] => Part::Open,
        _ => Part::Last,
    };
    let header = Header { time, source, part };
    match memchr::memchr(b' ', tags) {
        Some(space) => Scan::Line { header, content: at + 7 + space + 1 },
        None => Scan::Tags(header),
    }
}

/// The time at the start of `raw` and the offset after the space that follows it.
fn scan_time(raw: &[u8]) -> Option<(Time, usize)> {
    let (fixed, rest) = raw.split_first_chunk::<19>()?;
    let [b'-', b'-', b'T', b':', b':'] = [fixed[4], fixed[7], fixed[10], fixed[13], fixed[16]] else { return None };
    let two = |at: usize| digits(&fixed[at..at + 2]);
    let (year, month, day) = (digits(&fixed[..4])?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !date_exists(year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, fraction) = scan_fraction(rest)?;
    let (offset, zone) = scan_zone(&rest[fraction..])?;
    let at = 19 + fraction + zone;
    if raw.get(at) != Some(&b' ') {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    // At the very start of the range the seconds alone do not fit, with their fraction they do.
    let total = i128::from(seconds) * i128::from(Time::SECOND) + i128::from(nanos);
    Some((Time::from_nanos(i64::try_from(total).ok()?), at + 1))
}

/// Nanoseconds of an optional fraction, and its length.
fn scan_fraction(rest: &[u8]) -> Option<(i64, usize)> {
    let [b'.', rest @ ..] = rest else { return Some((0, 0)) };
    let len = rest.iter().take(10).take_while(|b| b.is_ascii_digit()).count();
    if len == 0 || len > 9 {
        return None;
    }
    let scale = 10_i64.pow(9 - u32::try_from(len).ok()?);
    Some((digits(&rest[..len])? * scale, 1 + len))
}

/// Seconds east of UTC, and the length of the zone.
fn scan_zone(rest: &[u8]) -> Option<(i64, usize)> {
    match rest {
        [b'Z', ..] => Some((0, 1)),
        [sign @ (b'+' | b'-'), h @ .., _, _, _] if h.len() >= 2 => {
            let (hour, minute) = (digits(&rest[1..3])?, digits(&rest[4..6])?);
            if rest[3] != b':' || hour > 23 || minute > 59 {
                return None;
            }
            let offset = hour * 3600 + minute * 60;
            Some((if *sign == b'-' { -offset } else { offset }, 6))
        }
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

fn date_exists(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Days since 1970-01-01 of a Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(text: &str) -> Option<i64> {
        match scan(format!("{text} stdout F x").as_bytes()) {
            Scan::Line { header, .. } => Some(header.time.nanos()),
            Scan::Tags(_) | Scan::Malformed => None,
        }
    }

    #[test]
    fn a_time_is_what_it_says() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(time("1970-01-01T00:00:00.000000001Z"), Some(1));
        assert_eq!(time("2026-11-22T20:00:01Z"), Some(1_795_377_601_000_000_000));
        assert_eq!(time("2026-11-22T21:00:03.5+01:00"), Some(1_795_377_603_500_000_000));
        assert_eq!(time("2026-11-22T18:30:01-01:30"), Some(1_795_377_601_000_000_000));
        assert_eq!(time("2000-02-29T00:00:00+23:59"), Some(951_782_400_000_000_000 - 86_340_000_000_000));
    }

    #[test]
    fn a_time_that_does_not_exist_is_malformed() {
        for text in [
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-13-10T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-04-00T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T20:60:00Z",
            "2026-11-22T20:00:60Z",
            "2026-11-22T20:00:00.Z",
            "2026-11-22T20:00:00.0000000001Z",
            "2026-11-22T20:00:00",
            "2026-11-22T20:00:00+1:00",
            "2026-11-22T20:00:00+24:00",
            "2026-11-22T20:00:00+00:60",
            "2026-11-22T20:00:00+0000",
            "2026-11-22t20:00:00Z",
            "2026-11-22 20:00:00Z",
            "+026-11-22T20:00:00Z",
            "",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn the_range_ends_where_i64_ends() {
        assert_eq!(time("2262-04-11T23:47:16.854775807Z"), Some(i64::MAX));
        assert_eq!(time("2262-04-11T23:47:16.854775808Z"), None);
        assert_eq!(time("1677-09-21T00:12:43.145224192Z"), Some(i64::MIN));
        assert_eq!(time("1677-09-21T00:12:43.145224191Z"), None);
        assert_eq!(time("0000-01-01T00:00:00Z"), None);
        assert_eq!(time("9999-12-31T23:59:59Z"), None);
    }

    #[test]
    fn stream_tags_and_content_are_told_apart() {
        let scan_rest = |rest: &str| scan(format!("1970-01-01T00:00:00Z {rest}").as_bytes());
        let line =
            |source, part, content| Scan::Line { header: Header { time: Time::from_nanos(0), source, part }, content };
        assert_eq!(scan_rest("stdout F x"), line(Source::Stdout, Part::Last, 30));
        assert_eq!(scan_rest("stderr P x"), line(Source::Stderr, Part::Open, 30));
        assert_eq!(scan_rest("stdout F "), line(Source::Stdout, Part::Last, 30));
        assert_eq!(scan_rest("stdout P:a:b x"), line(Source::Stdout, Part::Open, 34));
        assert_eq!(scan_rest("stdout F:P x"), line(Source::Stdout, Part::Last, 32));
        assert_eq!(scan_rest("stdout PP x"), line(Source::Stdout, Part::Last, 31));
        assert_eq!(scan_rest("stdout :P x"), line(Source::Stdout, Part::Last, 31));
        assert!(matches!(scan_rest("stdout F"), Scan::Tags(Header { part: Part::Last, .. })));
        assert!(matches!(scan_rest("stdout P:"), Scan::Tags(Header { part: Part::Open, .. })));
        for rest in ["stdout", "stdout ", "stdout  x", "stdin F x", "Stdout F x", " stdout F x", "stdout\tF x"] {
            assert_eq!(scan_rest(rest), Scan::Malformed, "{rest}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..80)) {
            scan(&raw);
        }

        #[test]
        fn a_damaged_line_is_judged_without_panic(at in 0_usize..45, byte in any::<u8>(), cut in 0_usize..45) {
            let mut raw = b"2026-11-22T21:00:03.123456789+01:00 stdout F x".to_vec();
            raw[at] = byte;
            raw.truncate(cut);
            scan(&raw);
        }

        #[test]
        fn days_follow_each_other(day in -400_000_i64..400_000) {
            // Walk the calendar by the rule itself: each date's successor is one day later.
            let (mut year, mut month, mut date) = (1970 + day / 366, 1, 1);
            let start = days_from_civil(year, month, date);
            for n in 0..800 {
                prop_assert_eq!(days_from_civil(year, month, date), start + n);
                date += 1;
                if !date_exists(year, month, date) {
                    (month, date) = (month + 1, 1);
                }
                if !date_exists(year, month, date) {
                    (year, month) = (year + 1, 1);
                }
            }
        }
    }
}
