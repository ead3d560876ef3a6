//! `indelible-operator`: the AuditLog API. Wiring only.

mod api;
mod crd;
mod reference;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The AuditLog API of Indelible: immutable audit logs for Kubernetes.
#[derive(Parser)]
#[command(name = "indelible-operator", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinition of AuditLog: indelible-operator crd | kubectl apply --server-side -f -
    Crd,
    /// Print the reference of AuditLog as Markdown.
    Reference,
}

fn main() -> ExitCode {
    let text = match Cli::parse().command {
        Command::Crd => crd::yaml(),
        Command::Reference => reference::markdown(&crd::definition()),
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            // Nobody may be there to read it: the exit code tells.
            let _ = writeln!(std::io::stderr(), "indelible-operator: the output could not be written: {e}");
            ExitCode::FAILURE
        }
    }
}
