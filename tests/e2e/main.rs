//! The suite on a real cluster, through `kubectl`, `helm`, the kube crate and the product's own images.
//!
//! Cases run one after another, in the order of [`cases::ALL`]: each takes the cluster as the ones before it left it,
//! as a cluster's life goes on, and at the end all evidence of all of it is judged. `tests/cluster/e2e` brings the cluster, builds and loads the
//! images, and says where things are:
//!
//! - `KUBECONFIG`; `kubectl` and `helm` on the PATH;
//! - `INDELIBLE_E2E_TAG`, the images' tag; `INDELIBLE_E2E_BIN`, the directory with `indelible`;
//! - `INDELIBLE_CLUSTER`, only where the node can be reached by `tests/cluster/exec`, `ctl` and `kill-container`: cases
//!   that need it are left out elsewhere, by name.
//!
//! `e2e [core] [--only NAME]… [--standing] [--keep-going] [--list]`. A case that fails prints the objects, events and logs that explain it.
#![expect(clippy::print_stdout, reason = "stdout is where the suite reports")]

mod cases;
mod explain;
mod judge;
mod manifests;
mod suite;
mod tools;
mod workloads;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::cases::{ALL, Case};
use crate::suite::Suite;

/// The end-to-end suite.
#[derive(Parser)]
struct Args {
    /// `core`: only what CI runs
    set: Option<String>,
    /// Only these cases, and what they need; may be repeated
    #[arg(long)]
    only: Vec<String>,
    /// Begin with what an earlier run left: the cases that others stand on are not run again
    #[arg(long)]
    standing: bool,
    /// Print the cases
    #[arg(long)]
    list: bool,
    /// Go on after a case that failed
    #[arg(long)]
    keep_going: bool,
}

/// What became of a case.
enum Outcome {
    Passed,
    Failed,
    LeftOut(&'static str),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for case in ALL {
            println!("{:<38} {:<5} {}", case.name, if case.core { "core" } else { "" }, case.promise);
        }
        return ExitCode::SUCCESS;
    }
    let suite = match Suite::begin().await {
        Ok(suite) => suite,
        Err(error) => {
            println!("e2e: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut outcomes = Vec::new();
    for case in chosen(&args) {
        let begun = Instant::now();
        println!("--- {}: {}", case.name, case.promise);
        let outcome = run(&suite, case).await;
        let failed = matches!(outcome, Outcome::Failed);
        outcomes.push((case, outcome, begun.elapsed()));
        if failed && !args.keep_going {
            break;
        }
    }
    println!("=== e2e");
    for (case, outcome, took) in &outcomes {
        let word = match outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Failed => "FAILED".to_owned(),
            Outcome::LeftOut(why) => format!("left out: {why}"),
        };
        println!("{:<38} {:>5} s  {word}", case.name, took.as_secs());
    }
    let failed = outcomes.iter().filter(|(_, outcome, _)| matches!(outcome, Outcome::Failed)).count();
    let total: u64 = outcomes.iter().map(|(.., took)| took.as_secs()).sum();
    println!("{} cases, {failed} failed, {total} s", outcomes.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In the suite's order. `--only` takes along what a case stands on.
fn chosen(args: &Args) -> Vec<&'static Case> {
    let core = args.set.as_deref() == Some("core");
    let named = |case: &Case| args.only.is_empty() || case.ground || args.only.iter().any(|name| name == case.name);
    let due = |case: &Case| named(case) && (case.core || !core) && !(case.ground && args.standing);
    ALL.iter().filter(|case| due(case)).collect()
}

async fn run(suite: &Suite, case: &'static Case) -> Outcome {
    if case.node && suite.node().is_err() {
        return Outcome::LeftOut("it needs the node's processes (INDELIBLE_CLUSTER)");
    }
    match (case.run)(suite).await {
        Ok(()) => Outcome::Passed,
        Err(error) => {
            println!("FAILED {}: {error:#}", case.name);
            explain::everything(suite);
            Outcome::Failed
        }
    }
}
