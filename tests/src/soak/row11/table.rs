//! The table of row 11, a line a subject.

use std::fmt::Write as _;

use super::Tally;

/// What was counted for a subject, or why it was not.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Who.
    pub subject: String,
    /// Which version; empty if it was left out.
    pub version: String,
    /// The counts; none if it was left out.
    pub tally: Option<Tally>,
    /// What else is to be said.
    pub note: String,
}

impl Counted {
    /// A subject that was left out.
    pub fn left_out(subject: &str, why: &str) -> Self {
        Self { subject: subject.into(), version: String::new(), tally: None, note: format!("left out: {why}") }
    }
}

/// The table.
pub fn table(counted: &[Counted]) -> String {
    let mut text = String::from(
        "| subject | version | lines printed | lost | duplicated | garbled | note |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for Counted { subject, version, tally, note } in counted {
        let figures = tally.map_or_else(
            || "– | – | – | –".to_owned(),
            |Tally { printed, lost, duplicated, garbled }| format!("{printed} | {lost} | {duplicated} | {garbled}"),
        );
        let _ = writeln!(text, "| {subject} | {version} | {figures} | {note} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_left_out_is_in_the_table_by_name() {
        let tally = Some(Tally { printed: 10, lost: 1, duplicated: 2, garbled: 3 });
        let ours = Counted { subject: "ours".into(), version: "1".into(), tally, note: String::new() };
        let text = table(&[ours, Counted::left_out("other", "not installed")]);
        assert!(text.contains("| ours | 1 | 10 | 1 | 2 | 3 |  |"), "{text}");
        assert!(text.contains("| other |  | – | – | – | – | left out: not installed |"), "{text}");
    }
}
