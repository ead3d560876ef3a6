//! What is kept of a run: a JSON file a day, and the table in docs/benchmarks.md.
//!
//! A day's file holds the newest outcome of each case. The table has the newest of all days' files, so that rows that
//! were measured apart stand together, each with its day.

mod machine;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use machine::Machine;

use crate::pairs::Spread;
use crate::row::{Judged, Outcome};
use crate::settings::Settings;

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

/// A day's results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// The day, UTC.
    pub date: String,
    /// Where they are from.
    pub machine: Machine,
    /// What was said of the machine's other load.
    pub note: String,
    /// What came out.
    pub outcomes: Vec<Outcome>,
}

impl Day {
    /// Takes outcomes in; those of the same case go.
    fn merge(&mut self, outcomes: &[Outcome]) {
        let is_new = |old: &Outcome| outcomes.iter().any(|new| (new.row, &new.case) == (old.row, &old.case));
        self.outcomes.retain(|old| !is_new(old));
        self.outcomes.extend(outcomes.iter().cloned());
        self.outcomes.sort_by_key(|outcome| outcome.row);
    }
}

/// Keeps outcomes in today's file, and renews the document's table.
pub fn keep(settings: &Settings, outcomes: &[Outcome]) -> Result<()> {
    std::fs::create_dir_all(&settings.results)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let path = settings.results.join(format!("{date}.json"));
    let mut day = if path.exists() {
        read(&path)?
    } else {
        Day { date, machine: Machine::here(), note: String::new(), outcomes: Vec::new() }
    };
    (day.machine, day.note) = (Machine::here(), settings.note.clone());
    day.merge(outcomes);
    std::fs::write(&path, serde_json::to_string_pretty(&day)? + "\n")?;

    let mut days = Vec::new();
    for entry in std::fs::read_dir(&settings.results)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            days.push(read(&path)?);
        }
    }
    days.sort_by(|a, b| a.date.cmp(&b.date));
    let document = std::fs::read_to_string(&settings.document)?;
    std::fs::write(&settings.document, renew(&document, &table(&days))?)?;
    Ok(())
}

fn read(path: &Path) -> Result<Day> {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a day's results", path.display()))
}

fn renew(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).with_context(|| format!("the document has no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the document has no {END}"))?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// One outcome on one line, for a terminal.
pub fn line(outcome: &Outcome) -> String {
    let name = format!("row {:>2}  {} ({})", outcome.row, outcome.measure, outcome.case);
    if let Some(why) = &outcome.skipped {
        return format!("{name}: left out: {why}");
    }
    let mut text = format!("{name}: {}", figure(outcome));
    for (word, judged) in [("must", &outcome.must), ("aim", &outcome.aim)] {
        if let Some(Judged { bound, held }) = judged {
            let _ = write!(text, "; {word} {bound} {}", if *held { "held" } else { "MISSED" });
        }
    }
    if let (Some(ours), Some(theirs)) = (outcome.ours.figures, outcome.theirs.as_ref().and_then(|side| side.figures)) {
        let _ = write!(text, "; ours {} theirs {} {}", round(ours.median), round(theirs.median), outcome.each);
    }
    for note in &outcome.notes {
        let _ = write!(text, "\n        {note}");
    }
    text
}

fn figure(outcome: &Outcome) -> String {
    let unit = if outcome.unit == "×" { "×".to_owned() } else { format!(" {}", outcome.unit) };
    match outcome.value {
        None => "–".into(),
        Some(Spread { median, .. }) if outcome.count <= 1 => format!("{}{unit}", round(median)),
        Some(Spread { median, min, max }) => format!("{}{unit} ({}–{})", round(median), round(min), round(max)),
    }
}

/// Three digits that count.
fn round(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

fn table(days: &[Day]) -> String {
    let mut newest: BTreeMap<(u8, &str), (&Day, &Outcome)> = BTreeMap::new();
    for day in days {
        for outcome in &day.outcomes {
            let key = (outcome.row, &*outcome.case);
            // A case that was left out does not hide what was measured before.
            if outcome.skipped.is_none() || !newest.contains_key(&key) {
                newest.insert(key, (day, outcome));
            }
        }
    }
    let mut text = String::from(
        "\n| # | measure | against | workload | figure: median (min–max) | must | aim | ours, theirs | class | n | day |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (day, outcome) in newest.values() {
        text.push_str(&table_row(day, outcome));
    }
    text.push_str("\nWhat each side did, and what else is to be said:\n\n");
    for (_, outcome) in newest.values() {
        let _ = write!(text, "- {} ({}): {}: {}.", outcome.row, outcome.case, outcome.ours.name, outcome.ours.did);
        if let Some(theirs) = &outcome.theirs {
            let version = if theirs.version.is_empty() { String::new() } else { format!(" ({})", theirs.version) };
            let _ = write!(text, " {}{version}: {}.", theirs.name, theirs.did);
        }
        for note in &outcome.notes {
            let _ = write!(text, " {note}.");
        }
        text.push('\n');
    }
    let used: BTreeMap<&str, &Day> = newest.values().map(|(day, _)| (&*day.date, *day)).collect();
    text.push_str("\nThe machines:\n\n");
    for (date, day) in used {
        let note = if day.note.is_empty() { String::new() } else { format!(" {}.", day.note) };
        let _ = writeln!(text, "- {date}: {}.{note}", day.machine);
    }
    text.push('\n');
    text
}

fn table_row(day: &Day, outcome: &Outcome) -> String {
    let judged = |judged: &Option<Judged>| match judged {
        None => String::new(),
        Some(Judged { bound, held: true }) => format!("{bound} ✓"),
        Some(Judged { bound, held: false }) => format!("{bound} **missed**"),
    };
    let value = outcome.skipped.as_ref().map_or_else(|| figure(outcome), |why| format!("left out: {why}"));
    let theirs = outcome.theirs.as_ref();
    let each = match (outcome.ours.figures, theirs.and_then(|side| side.figures)) {
        (Some(ours), Some(theirs)) => format!("{}, {} {}", round(ours.median), round(theirs.median), outcome.each),
        _ => String::new(),
    };
    let class = theirs.map_or_else(
        || format!("{:?}", outcome.ours.class),
        |side| format!("{:?}, {:?}", outcome.ours.class, side.class),
    );
    format!(
        "| {} | {} | {} | {} | {value} | {} | {} | {each} | {class} | {} | {} |\n",
        outcome.row,
        outcome.measure,
        outcome.case,
        outcome.workload,
        judged(&outcome.must),
        judged(&outcome.aim),
        outcome.count,
        day.date,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    fn outcome(figure: f64) -> Outcome {
        let row = rows::ship::RSYSLOG;
        row.measured(&row.cases[0], &[figure], ("ours 1", "theirs 2"))
    }

    fn day(date: &str, outcomes: Vec<Outcome>) -> Day {
        Day { date: date.into(), machine: Machine::here(), note: "quiet".into(), outcomes }
    }

    #[test]
    fn the_table_has_the_newest_outcome_of_each_case_and_says_what_was_missed() {
        let days = [day("2026-01-01", vec![outcome(0.2)]), day("2026-01-02", vec![outcome(0.31)])];
        let text = table(&days);
        assert!(text.contains("| 0.310× |") && text.contains("≤ 0.3 **missed**"), "{text}");
        assert!(!text.contains("0.200"), "{text}");
        assert!(table(&days[..1]).contains("≤ 0.3 ✓"));
    }

    #[test]
    fn a_case_that_was_left_out_does_not_hide_what_was_measured() {
        let row = rows::ship::RSYSLOG;
        let skipped = row.skipped(&row.cases[0], "not installed");
        let text = table(&[day("2026-01-01", vec![outcome(0.2)]), day("2026-01-02", vec![skipped.clone()])]);
        assert!(text.contains("0.200×") && !text.contains("left out"), "{text}");
        assert!(table(&[day("2026-01-02", vec![skipped])]).contains("left out: not installed"));
    }

    #[test]
    fn a_day_keeps_one_outcome_a_case_and_reads_back() {
        let mut kept = day("2026-01-01", vec![outcome(0.2)]);
        kept.merge(&[outcome(0.25)]);
        assert_eq!(kept.outcomes.len(), 1);
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Day>(&text).unwrap(), kept);
    }

    #[test]
    fn only_what_is_between_the_marks_is_renewed() {
        let renewed = renew(&format!("a\n{BEGIN}\nold\n{END}\nb\n"), "new\n").unwrap();
        assert_eq!(renewed, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(renew("nothing", "new").is_err());
    }
}
