//! Sentences with places: what a person reads of an attack, whatever names, numbers and times it has this time.
//!
//! A place is `{n}` (a number), `{time}` (RFC 3339), `{records}` (`record 3` or `records 3 to 5`), `{when}` (`between …
//! and …`, `at`, `before`, `after`), `{…}` (anything), or a name that the attack binds, as `{log}` or `{pod}`.

use anyhow::{Context as _, Result, bail};

/// What names in braces stand for in one run of an attack.
pub type Names = Vec<(&'static str, String)>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Number,
    Time,
    Records,
    When,
    Anything,
}

/// A sentence with its names filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence(Vec<Part>);

impl Sentence {
    /// Fills a template's names in.
    pub fn new(template: &str, names: &Names) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, more)) = rest.split_once('{') {
            parts.push(Part::Text(text.to_owned()));
            let (place, more) =
                more.split_once('}').with_context(|| format!("a brace is not closed in: {template}"))?;
            rest = more;
            parts.push(match place {
                "n" => Part::Number,
                "time" => Part::Time,
                "records" => Part::Records,
                "when" => Part::When,
                "…" => Part::Anything,
                name => match names.iter().find(|(known, _)| *known == name) {
                    Some((_, value)) => Part::Text(value.clone()),
                    None => bail!("nothing is said of {{{name}}} in: {template}"),
                },
            });
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Whether a text is this sentence, from its first to its last word.
    pub fn is(&self, text: &str) -> bool {
        matches(&self.0, text)
    }
}

fn matches(parts: &[Part], text: &str) -> bool {
    let Some((part, rest)) = parts.split_first() else { return text.is_empty() };
    match part {
        Part::Text(this) => text.strip_prefix(this.as_str()).is_some_and(|text| matches(rest, text)),
        Part::Number => number(text).is_some_and(|text| matches(rest, text)),
        Part::Time => time(text).is_some_and(|text| matches(rest, text)),
        Part::Records => records(text).is_some_and(|text| matches(rest, text)),
        Part::When => when(text).is_some_and(|text| matches(rest, text)),
        Part::Anything => text.char_indices().any(|(at, _)| matches(rest, &text[at..])) || matches(rest, ""),
    }
}

/// What follows a number.
fn number(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// What follows a time such as `2026-11-22T20:15:01.123Z`.
fn time(text: &str) -> Option<&str> {
    let form = "dddd-dd-ddTdd:dd:dd.dddZ";
    let head = text.get(..form.len())?;
    let fits = |(byte, form): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
    head.bytes().zip(form.bytes()).all(fits).then(|| &text[form.len()..])
}

fn records(text: &str) -> Option<&str> {
    match text.strip_prefix("records ") {
        Some(range) => number(number(range)?.strip_prefix(" to ")?),
        None => number(text.strip_prefix("record ")?),
    }
}

fn when(text: &str) -> Option<&str> {
    match text.strip_prefix("between ") {
        Some(range) => time(time(range)?.strip_prefix(" and ")?),
        None => ["at ", "before ", "after "].iter().find_map(|word| time(text.strip_prefix(word)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_recognised_whole_and_only_with_its_own_names() {
        let template = "{records} of pod {pod}, printed {when}, are gone from leaf {n} of {log}: {…}. Look there.";
        let sentence = |log: &str| {
            Sentence::new(template, &vec![("pod", "shop/cart-0".to_owned()), ("log", log.to_owned())]).unwrap()
        };
        let one = "record 7 of pod shop/cart-0, printed at 2026-11-22T20:15:01.000Z, are gone from leaf 12 of c0: why. \
                   Look there.";
        let range = "records 7 to 9 of pod shop/cart-0, printed between 2026-11-22T20:15:01.000Z and \
                     2026-11-22T20:15:02.999Z, are gone from leaf 12 of c0: . Look there.";
        assert!(sentence("c0").is(one) && sentence("c0").is(range));
        assert!(!sentence("c1").is(one));
        for other in [&one[1..], &one[..one.len() - 1], &one.replace("12", "twelve"), &one.replace("11-22", "11-2x")] {
            assert!(!sentence("c0").is(other), "{other}");
        }
    }

    #[test]
    fn a_name_that_is_not_bound_is_an_error_and_not_a_place_for_anything() {
        assert!(Sentence::new("log {log}", &Vec::new()).is_err());
        assert!(Sentence::new("log {log", &Vec::new()).is_err());
    }
}
