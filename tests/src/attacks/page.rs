//! The generated part of `docs/threat-model.md`: each attack with its verdicts, the command to play it, its sentence.

use std::fmt::Write as _;

use super::{Attack, TABLE};

/// Where the generated part begins, a line of the page.
pub const BEGIN: &str = "<!-- made from the table of tests/src/attacks; UPDATE_EXPECT=1 cargo test -p indelible-tests --test threat_model renews it -->";
/// Where it ends.
pub const END: &str = "<!-- end of what is made -->";

/// The table, and what is read of each attack, as Markdown.
pub fn table() -> String {
    let mut text = "| attack | who | does | what holds | verdicts, exit code | class |\n".to_owned();
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for attack in TABLE.iter() {
        let Attack { name, who, does, by, exit, shows, .. } = attack;
        let (who, shows, flips) = (who.words(), shows.words(), attack.flips());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {who} | {does} | {by} | {flips}; {exit} | {shows} |");
    }
    text.push_str("\nWhat is read of each, and how to play it alone:\n");
    for Attack { name, sentence, .. } in TABLE.iter() {
        let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = write!(text, "\n- `make attacks ONLY={name} SEEDS=1`\n  > {sentence}\n");
    }
    text
}

/// The page with its generated part made anew; `None` if it has no place for it.
pub fn renewed(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n{END}{after}", table()))
}
