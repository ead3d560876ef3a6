//! stub
use super::judge::Judge;
use super::report::*;
pub(super) fn report(judge: &mut Judge) -> Report {
    let _ = judge;
    let anything = false;
    let findings = Vec::new();
    let verdicts = verdicts(&findings, anything);
    Report {
        verdicts,
        logs: Vec::new(),
        chains: Vec::new(),
        findings,
        counts: Counts::default(),
        exit: exit_code(&verdicts, anything, false),
        routes: Vec::new(),
    }
}
