//! `kubectl indelible coverage`: which pods should be audited, which are, and why the others are not.
//!
//! Asks the API server for namespaces and pods, and each collector whom it has heard of. It is about now and no
//! verification: what is in the evidence is judged by `verify`, which expects these pods too.

mod compare;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::args::CoverageArgs;
use crate::case::members;
use crate::clock::{self, rfc3339};
use crate::cluster::access::Cluster;
use crate::cluster::audit_log::PoolName;
use crate::cluster::audited::{OptedIn, Selects, Spared, time};
use crate::cluster::pool::Pool;
use crate::exit::{CommandError, MISSING, UNVERIFIED, unless_shown};
use crate::inventory::Unreadable;
use crate::judging::Named;
use crate::limits::MAX_SESSIONS;
use crate::report::people::{count, table};
use crate::source::Source;
use crate::source::collector::Alive;
use crate::terminal;
use crate::text::one_line;
use compare::{Coverage, Heard, Reason, Row, compare};

/// Most pods that are listed one by one; `--json` has them all.
const MAX_ROWS: usize = 100;

/// Runs the command; gives the exit code.
pub fn run(args: &CoverageArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let pool = runtime.block_on(async {
        let cluster = Cluster::connect(&args.cluster).await?;
        let name = PoolName { namespace: cluster.namespace().to_owned(), name: args.audit_log.clone() };
        Pool::find(cluster, name).await.map_err(|why| CommandError::Failed(anyhow!(why)))
    })?;
    let mut unreadable = Vec::new();
    let pods = runtime.block_on(pods(&pool, &mut unreadable))?;
    let sources = members(&pool, &args.connection, &args.cluster, runtime)?;
    let heard = heard(sources, &mut unreadable);
    let made = pool.log.metadata.creation_timestamp.as_ref().map(time);
    let coverage = compare(&pods, &Selects::of(&pool.log), made, &heard, clock::now());
    let namespaces: Vec<&OptedIn> = pods.iter().map(|(namespace, _)| namespace).collect();
    let exit = exit(&coverage, &unreadable);
    let mut out = anstream::stdout().lock();
    let shown = if args.json {
        let json = serde_json::to_string_pretty(&json(&coverage, &namespaces, &unreadable, exit));
        writeln!(out, "{}", json.map_err(anyhow::Error::from)?)
    } else {
        tell(&pool.name, &coverage, &namespaces, &unreadable, &mut out)
    };
    Ok(unless_shown(exit, shown.and_then(|()| out.flush())))
}

/// The pods of the namespaces that opted in; what could not be listed is said.
async fn pods(pool: &Pool, unreadable: &mut Vec<Unreadable>) -> Result<Vec<(OptedIn, Vec<Pod>)>, CommandError> {
    let (namespaces, unknown) = pool.opted_in().await.map_err(|why| anyhow!(why))?;
    unreadable
        .extend(unknown.map(|e| Unreadable { source: "which namespaces are enforced".to_owned(), why: e.to_string() }));
    let mut pods = Vec::new();
    for namespace in namespaces {
        match pool.pods(&namespace.name).await {
            Ok(found) => pods.push((namespace, found)),
            Err(e) => {
                let source = one_line(&format!("namespace {}", namespace.name));
                unreadable.push(Unreadable { source, why: e.to_string() });
            }
        }
    }
    Ok(pods)
}

/// Asks all collectors at once: each has a thread, because one that is away takes its time.
fn heard(sources: Vec<Named>, unreadable: &mut Vec<Unreadable>) -> Heard {
    let ask = |source: Named| -> Result<Vec<Alive>, Unreadable> {
        match source {
            Named::Open(Source::Collector(mut collector)) => {
                let source = collector.label().to_owned();
                collector.coverage(MAX_SESSIONS).map_err(|e| Unreadable { source, why: e.to_string() })
            }
            Named::Open(Source::Directory(_)) => Ok(Vec::new()),
            Named::Closed { label, why } => Err(Unreadable { source: label, why }),
        }
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = sources.into_iter().map(|source| scope.spawn(move || ask(source))).collect();
        asked.into_iter().map(|thread| thread.join().expect("asking a collector does not panic")).collect()
    });
    let by_all = answers.iter().all(Result::is_ok);
    let mut sessions = Vec::new();
    for answer in answers {
        match answer {
            Ok(found) => sessions.extend(found),
            Err(e) => unreadable.push(e),
        }
    }
    Heard::new(sessions, by_all)
}

/// 2 if a pod is not covered, else 4 if that is not known, else 0. One that has just begun is given its time.
fn exit(coverage: &Coverage, unreadable: &[Unreadable]) -> u8 {
    let uncovered = |row: &Row| !matches!(row.reason, None | Some(Reason::Starting | Reason::Unknown));
    if coverage.rows.iter().any(uncovered) {
        MISSING
    } else if unreadable.is_empty() {
        0
    } else {
        UNVERIFIED
    }
}

/// Sums.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Sums {
    selected: u64,
    injected: u64,
    streaming: u64,
    needs_restart: u64,
}

impl Sums {
    fn of<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut sums = Self::default();
        for row in rows {
            sums.selected += 1;
            sums.injected += u64::from(row.injected);
            sums.streaming += u64::from(row.reason.is_none());
            sums.needs_restart += u64::from(row.reason == Some(Reason::NeedsRestart));
        }
        sums
    }
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    sums: Sums,
    namespaces: Vec<JsonNamespace<'a>>,
    pods: Vec<JsonPod<'a>>,
    not_selected: BTreeMap<&'static str, u64>,
    unreadable: &'a [Unreadable],
    exit: u8,
}

#[derive(Serialize)]
struct JsonNamespace<'a> {
    namespace: &'a str,
    enforced: bool,
    #[serde(flatten)]
    sums: Sums,
}

#[derive(Serialize)]
struct JsonPod<'a> {
    namespace: &'a str,
    pod: &'a str,
    pod_uid: &'a str,
    node: &'a str,
    injected: bool,
    streaming: bool,
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    last_heartbeat: Option<String>,
    containers: BTreeMap<&'a str, u64>,
}

fn json<'a>(coverage: &'a Coverage, namespaces: &[&'a OptedIn], unreadable: &'a [Unreadable], exit: u8) -> Json<'a> {
    let pods = coverage.rows.iter().map(|row| JsonPod {
        namespace: &row.namespace,
        pod: &row.pod,
        pod_uid: &row.pod_uid,
        node: &row.node,
        injected: row.injected,
        streaming: row.reason.is_none(),
        reason: row.reason.map(Reason::word),
        detail: &row.detail,
        last_heartbeat: row.last_heartbeat.map(rfc3339),
        containers: row.containers.iter().map(|(name, records)| (name.as_str(), *records)).collect(),
    });
    let namespaces = namespaces.iter().map(|of| JsonNamespace {
        namespace: &of.name,
        enforced: of.enforced,
        sums: Sums::of(coverage.rows.iter().filter(|row| row.namespace == of.name)),
    });
    Json {
        sums: Sums::of(coverage.rows.iter()),
        namespaces: namespaces.collect(),
        pods: pods.collect(),
        not_selected: coverage.spared.iter().map(|(spared, n)| (word(*spared), *n)).collect(),
        unreadable,
        exit,
    }
}

const fn word(spared: Spared) -> &'static str {
    match spared {
        Spared::NotRunning => "NotRunning",
        Spared::OptedOut => "OptedOut",
        Spared::NotSelected => "NotSelected",
        Spared::Windows => "Windows",
        Spared::Static => "StaticPod",
    }
}

fn tell(
    pool: &PoolName,
    coverage: &Coverage,
    namespaces: &[&OptedIn],
    unreadable: &[Unreadable],
    out: &mut impl Write,
) -> std::io::Result<()> {
    let width = terminal::width();
    if namespaces.is_empty() && unreadable.is_empty() {
        let label = pool.label();
        writeln!(
            out,
            "No namespace has opted in. One does with\n  kubectl label namespace NAMESPACE indelible.dev/audit-log={label}\n\
             and `kubectl indelible preflight NAMESPACE` says before what that will change."
        )?;
        return Ok(());
    }
    let mut sums = table(&["namespace", "selected", "injected", "streaming", "needs restart", "enforced"], width);
    for of in namespaces {
        let Sums { selected, injected, streaming, needs_restart } =
            Sums::of(coverage.rows.iter().filter(|row| row.namespace == of.name));
        let numbers = [selected, injected, streaming, needs_restart].map(|n| n.to_string());
        let enforced = if of.enforced { "yes" } else { "no" };
        sums.add_row(std::iter::once(one_line(&of.name)).chain(numbers).chain([enforced.to_owned()]));
    }
    writeln!(out, "{sums}")?;
    let uncovered: Vec<(&Row, Reason)> = coverage.rows.iter().filter_map(|row| Some((row, row.reason?))).collect();
    if !uncovered.is_empty() {
        let mut pods = table(&["namespace/pod", "node", "reason", "what to do"], width);
        for (row, reason) in uncovered.iter().take(MAX_ROWS) {
            let detail = if row.detail.is_empty() { String::new() } else { format!(" ({})", row.detail) };
            pods.add_row([
                one_line(&format!("{}/{}", row.namespace, row.pod)),
                one_line(&row.node),
                format!("{}{detail}", reason.word()),
                reason.remedy().to_owned(),
            ]);
        }
        writeln!(out, "\n{pods}")?;
        if uncovered.len() > MAX_ROWS {
            writeln!(out, "{} more pods; --json lists them all", uncovered.len() - MAX_ROWS)?;
        }
    }
    for Unreadable { source, why } in unreadable {
        writeln!(out, "\n{source} could not be asked: {why}")?;
    }
    let spared: Vec<_> = coverage.spared.iter().map(|(spared, n)| format!("{n} {}", word(*spared))).collect();
    let spared =
        if spared.is_empty() { String::new() } else { format!("; not audited by choice: {}", spared.join(", ")) };
    let Sums { selected, streaming, .. } = Sums::of(coverage.rows.iter());
    writeln!(out, "\n{streaming} of {} streaming{spared}", count(selected, "pod", "pods"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: Option<Reason>) -> Row {
        Row {
            namespace: "shop".into(),
            pod: "p".into(),
            pod_uid: "u".into(),
            node: "n1".into(),
            injected: reason.is_none(),
            reason,
            detail: String::new(),
            last_heartbeat: None,
            containers: vec![],
        }
    }

    fn coverage(reasons: &[Option<Reason>]) -> Coverage {
        Coverage { rows: reasons.iter().map(|reason| row(*reason)).collect(), spared: BTreeMap::new() }
    }

    #[test]
    fn the_code_says_whether_a_pod_is_not_covered_or_nobody_knows() {
        let away = || Unreadable { source: "audit/payments-0".into(), why: "away".into() };
        for (reasons, unreadable, code) in [
            (&[None, Some(Reason::Starting)][..], vec![], 0),
            (&[None, Some(Reason::NeedsRestart)], vec![], 2),
            (&[Some(Reason::NeverConnected)], vec![away()], 2),
            (&[Some(Reason::Unknown)], vec![away()], 4),
            (&[None], vec![away()], 4),
            (&[], vec![], 0),
        ] {
            assert_eq!(exit(&coverage(reasons), &unreadable), code, "{reasons:?}");
        }
    }

    #[test]
    fn people_are_told_each_pod_that_is_not_covered_and_what_to_do() {
        let shop = OptedIn { name: "shop".into(), enforced: false, since: None };
        let mut out = Vec::new();
        let pool = PoolName { namespace: "audit".into(), name: "payments".into() };
        let coverage = coverage(&[None, Some(Reason::NeverConnected)]);
        tell(&pool, &coverage, &[&shop], &[], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("NeverConnected") && text.contains("egress") && text.contains("1 of 2 pods streaming"),
            "{text}"
        );
        let mut out = Vec::new();
        tell(&pool, &Coverage::default(), &[], &[], &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("indelible.dev/audit-log=audit.payments"));
    }
}
