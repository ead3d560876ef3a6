//! `indelible`: verify, read and prove what Kubernetes workloads printed. Wiring only.
//!
//! Also answers to `kubectl indelible`, as `kubectl-indelible`. Output for people and scripts is on stdout, everything
//! else on stderr.

mod acknowledge;
mod args;
mod case;
mod clock;
mod cluster;
mod coverage;
mod demo;
mod exit;
mod inventory;
mod judging;
mod limits;
mod logs;
mod preflight;
mod prove;
mod remembered;
mod report;
mod source;
mod status;
mod terminal;
mod terms;
#[cfg(test)]
mod testlog;
mod text;
mod tokens;
mod values;
mod verify;
mod witness;

use std::io::Write;
use std::process::ExitCode;

use args::{Command, Refusal};
use exit::CommandError;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os()) {
        Ok(arguments) => arguments.command,
        Err(Refusal::Asked(text)) => return show(&text),
        Err(Refusal::Mistake(line)) => return fail(&line, exit::USAGE),
    };
    match run(command) {
        Ok(code) => ExitCode::from(code),
        Err(CommandError::Usage(line)) => fail(&line, exit::USAGE),
        // Whoever reads our output has gone away: nobody is left to be told.
        Err(CommandError::Failed(error)) if exit::is_broken_pipe(&error) => ExitCode::from(exit::UNVERIFIED),
        Err(CommandError::Failed(error)) => fail(&format!("{error:#}"), exit::UNVERIFIED),
    }
}

fn run(command: Command) -> Result<u8, CommandError> {
    // One for the whole process, so that no library looks for another; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let handle = runtime.handle();
    let done = match command {
        Command::Verify(args) => verify::run(&args, handle),
        Command::Logs(args) => logs::run(&args, handle),
        Command::Prove(args) => prove::run(&args, handle),
        Command::Status(args) => status::run(&args, handle),
        Command::Coverage(args) => coverage::run(&args, handle),
        Command::Preflight(args) => preflight::run(&args, handle),
        Command::Acknowledge(args) => acknowledge::run(&args, handle),
        Command::Witness(args) => witness::run(&args, handle),
        Command::Demo(args) => demo::run(&args, handle),
    };
    // Threads that follow a source may still wait in it; they end with the process, not with its clock.
    std::mem::forget(runtime);
    done
}

fn show(text: &str) -> ExitCode {
    let mut out = anstream::stdout().lock();
    let _ = write!(out, "{text}"); // a reader that has gone away is not to be told
    ExitCode::SUCCESS
}

fn fail(line: &str, code: u8) -> ExitCode {
    terminal::say(text::lines(line));
    ExitCode::from(code)
}
