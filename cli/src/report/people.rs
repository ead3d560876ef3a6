//! The report for people: four verdicts with the ranges they speak for, the logs, the chains, what was found, and what
//! to do.
//!
//! Colour is in the text; whether it reaches the terminal is the stream's business (anstream). Every name that came
//! from a source is made fit for a terminal first.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use indelible_chain::verify::{Axis, ChainSummary, Finding, Level, LogSummary, Report, Verdict};

use crate::clock::rfc3339_seconds;
use crate::text::{lines, one_line};

/// Most chains that are listed one by one; more are summed up, and `--json` has them all.
const MAX_CHAINS: usize = 40;
/// Most findings that are shown.
const MAX_FINDINGS: usize = 100;

/// The report as text. `width` is the terminal's, if there is one.
pub fn render(report: &Report, width: Option<u16>) -> String {
    let mut out = String::new();
    verdicts(&mut out, report);
    if !report.logs.is_empty() {
        let _ = writeln!(out, "\n{}", logs(&report.logs, width));
    }
    if !report.chains.is_empty() {
        let _ = writeln!(out, "\n{}", chains(&report.chains, width));
    }
    findings(&mut out, &report.findings);
    unbound(&mut out, &report.logs);
    let _ = writeln!(out, "\n{}", closing(report));
    out
}

/// A table in the house style.
pub fn table(header: &[&str], width: Option<u16>) -> Table {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(rule)).set_header(header.iter().copied());
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn bold() -> Style {
    Style::new().bold()
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => AnsiColor::Green.on_default(),
        Verdict::Warn => AnsiColor::Yellow.on_default(),
        Verdict::Fail => AnsiColor::Red.on_default().bold(),
        Verdict::Unknown => AnsiColor::Magenta.on_default(),
    }
}

fn level_style(level: Level) -> Style {
    match level {
        Level::Warn => AnsiColor::Yellow.on_default(),
        Level::Unknown => AnsiColor::Magenta.on_default(),
        Level::Fail => AnsiColor::Red.on_default().bold(),
    }
}

fn verdicts(out: &mut String, report: &Report) {
    for axis in Axis::ALL {
        let verdict = report.verdicts.on(axis);
        let word = styled(verdict_style(verdict), &format!("{:<7}", verdict.word()));
        let _ = writeln!(out, "{:<12}  {word}  {}", axis.word(), range(axis, report));
    }
}

/// What a verdict speaks for.
fn range(axis: Axis, report: &Report) -> String {
    let counts = &report.counts;
    match axis {
        Axis::Integrity => {
            let leaves: u64 = report.logs.iter().map(|log| log.size).sum();
            format!("{} under {} signed checkpoints", count(leaves, "leaf", "leaves"), report.logs.len())
        }
        Axis::Authenticity => {
            let mut pods: Vec<_> = report.chains.iter().map(|c| (&c.namespace, &c.pod, &c.pod_uid)).collect();
            pods.sort();
            pods.dedup();
            format!("{} of {}", count(counts.batches, "batch", "batches"), count(pods.len() as u64, "pod", "pods"))
        }
        Axis::Completeness => {
            let chains = count(report.chains.len() as u64, "chain", "chains");
            let pending = if counts.pending == 0 { String::new() } else { format!(", {} pending", counts.pending) };
            format!("{} in {chains}{pending}{}", count(counts.records, "record", "records"), times(report))
        }
        Axis::Freshness => {
            let newest = report.logs.iter().filter_map(|log| log.newest_leaf_time).max();
            newest.map_or_else(|| "no leaf".to_owned(), |t| format!("newest leaf {}", rfc3339_seconds(t)))
        }
    }
}

fn times(report: &Report) -> String {
    let first = report.chains.iter().filter_map(|chain| chain.first_time).min();
    let last = report.chains.iter().filter_map(|chain| chain.last_time).max();
    match (first, last) {
        (Some(first), Some(last)) => format!(", {} to {}", rfc3339_seconds(first), rfc3339_seconds(last)),
        _ => String::new(),
    }
}

/// `1 leaf`, `2 leaves`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn logs(logs: &[LogSummary], width: Option<u16>) -> Table {
    let mut table = table(&["log", "source", "size", "newest leaf", "state", "witnesses"], width);
    for log in logs {
        table.add_row([
            one_line(&log.origin),
            one_line(&log.source),
            log.size.to_string(),
            log.newest_leaf_time.map(rfc3339_seconds).unwrap_or_default(),
            if log.sealed { "sealed" } else { "open" }.to_owned(),
            if log.witnesses.is_empty() { "none".to_owned() } else { one_line(&log.witnesses.join(", ")) },
        ]);
    }
    table
}

fn chains(chains: &[ChainSummary], width: Option<u16>) -> String {
    let mut table = table(&["namespace/pod", "container", "records", "first", "last", "state", "findings"], width);
    // Where not all can be listed, those with findings come first.
    let (found, clean): (Vec<_>, Vec<_>) = chains.iter().partition(|chain| chain.findings > 0);
    let mut listed: Vec<_> = found.into_iter().chain(clean).take(MAX_CHAINS).collect();
    listed.sort_by_key(|chain| (&chain.namespace, &chain.pod, &chain.container, chain.first_time));
    for chain in &listed {
        table.add_row([
            one_line(&format!("{}/{}", chain.namespace, chain.pod)),
            one_line(&chain.container),
            chain.records.to_string(),
            chain.first_time.map(rfc3339_seconds).unwrap_or_default(),
            chain.last_time.map(rfc3339_seconds).unwrap_or_default(),
            if chain.closed { "closed" } else { "open" }.to_owned(),
            if chain.findings == 0 { "none".to_owned() } else { chain.findings.to_string() },
        ]);
    }
    match chains.len() - listed.len() {
        0 => table.to_string(),
        more => format!("{table}\n{more} more chains; --json lists them all"),
    }
}

fn findings(out: &mut String, findings: &[Finding]) {
    for finding in findings.iter().take(MAX_FINDINGS) {
        let accepted = finding.accepted.as_ref().map(|why| format!(" · accepted: {}", one_line(why)));
        let word = styled(level_style(finding.level), finding.level.word());
        let class = styled(bold(), finding.class.word());
        let (axis, id) = (finding.axis.word(), &finding.id);
        let _ = writeln!(out, "\n{word} {class} · {axis} · {id}{}", accepted.unwrap_or_default());
        for line in lines(&finding.text).lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    if findings.len() > MAX_FINDINGS {
        let _ = writeln!(out, "\n{} more findings; --json lists them all", findings.len() - MAX_FINDINGS);
    }
}

/// What cannot be known of logs that nothing kept elsewhere was compared with.
fn unbound(out: &mut String, logs: &[LogSummary]) {
    let unbound: Vec<_> = logs.iter().filter(|log| log.bound_by.is_empty()).map(|log| one_line(&log.origin)).collect();
    if !unbound.is_empty() {
        let _ = writeln!(
            out,
            "\nNothing kept elsewhere was compared with {}: no cosignature, receipt or earlier checkpoint. Whoever has such \
             a log's key could have signed another history of it, and this could not tell; --state DIR remembers for \
             the next time.",
            unbound.join(", "),
        );
    }
}

/// What it comes down to, and what to do next.
fn closing(report: &Report) -> String {
    let text = match report.exit {
        1 => {
            "Evidence was changed, invented or taken back. Keep every source as it is, take a copy, and follow the findings: each \
             names the collector or session that answers for it."
        }
        2 => {
            "Something that was recorded, or should have been, is missing. Add the sources that the findings name; what \
             stays missing after that is lost, and this report says what it was."
        }
        4 if report.findings.is_empty() => {
            "There was nothing to verify: no record here is of what was asked for. See whether names of pods and \
             containers are right; `indelible status` lists what there is."
        }
        4 => {
            "Not everything could be judged, so this proves nothing. Make the sources readable that the findings name, \
             or give the right keys with --policy."
        }
        3 => "All that is here holds, but it is not recent or not closed: look at what the findings name.",
        _ if report.findings.is_empty() => "Everything that is here is what was recorded, and nothing is missing.",
        _ => "Everything that is here is what was recorded; the findings above are to be known, none of them counts.",
    };
    let style = if report.exit == 0 { AnsiColor::Green.on_default() } else { bold() };
    format!("{} (exit {})", styled(style, text), report.exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::summary as log;

    #[test]
    fn what_could_not_be_known_is_said_of_the_logs_that_nothing_binds() {
        let mut out = String::new();
        unbound(&mut out, &[log("c0", &["one receipt"]), log("c1", &["the witness w"])]);
        assert_eq!(out, "");
        unbound(&mut out, &[log("c0", &[]), log("c1", &["one receipt"]), log("c2\u{1b}", &[])]);
        assert!(out.starts_with("\nNothing kept elsewhere was compared with c0, c2"), "{out}");
        assert!(!out.contains("c1") && !out.contains('\u{1b}') && out.ends_with("the next time.\n"), "{out}");
    }
}
