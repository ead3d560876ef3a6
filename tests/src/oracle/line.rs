//! One raw line of a CRI log file (rule 4), taken apart.

/// Where a container wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The number that stands for it in a record.
    pub fn source(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.source() - 1)
    }

    fn parse(word: &[u8]) -> Option<Self> {
        match word {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// `time SP stream SP tags SP content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// Where it was written.
    pub stream: Stream,
    /// The first tag is `P`: the next line of this stream goes on where this one stops.
    pub partial: bool,
    /// What was written.
    pub content: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a raw line, without its newline, apart. `None`: it is malformed.
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let mut words = raw.splitn(4, |&byte| byte == b' ');
        let time = parse_time(words.next()?)?;
        let stream = Stream::parse(words.next()?)?;
        let tags = words.next().filter(|tags| !tags.is_empty())?;
        let content = words.next()?;
        Some(Self { time, stream, partial: tags.split(|&byte| byte == b':').next() == Some(b"P"), content })
    }

    /// Whether bytes, longer than any time and stream together, could be the beginning of a well-formed line.
    pub(super) fn may_become_one(raw: &[u8]) -> bool {
        let mut words = raw.splitn(4, |&byte| byte == b' ');
        words.next().and_then(parse_time).is_some()
            && words.next().and_then(Stream::parse).is_some()
            && words.next().is_some_and(|tags| !tags.is_empty())
    }
}

/// `YYYY-MM-DDThh:mm:ss[.1–9 digits](Z|±hh:mm)` as nanoseconds since the Unix epoch.
fn parse_time(text: &[u8]) -> Option<i64> {
    let (stamp, rest) = text.split_at_checked(19)?;
    let shape = stamp.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte });
    if !shape.eq(*b"0000-00-00T00:00:00") {
        return None;
    }
    let field = |range: std::ops::Range<usize>| digits(&stamp[range]);
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
    let date = jiff::civil::Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_secs() / 86_400;

    let (fraction, zone) = match rest.strip_prefix(b".") {
        Some(rest) => rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        None => (&b"0"[..], rest),
    };
    if !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let nanos = digits(fraction)? * 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?);

    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - zone_offset(zone)?;
    i64::try_from(i128::from(seconds) * 1_000_000_000 + i128::from(nanos)).ok()
}

/// `Z` or `±hh:mm` as seconds east of UTC.
fn zone_offset(zone: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match zone {
        b"Z" => return Some(0),
        [sign, h1, h2, b':', m1, m2] => (sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    let seconds = hours * 3_600 + minutes * 60;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

/// At most nine decimal digits as a number.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}
