//! `indelible-operator`: wires the modules together.
//!
//! Everything that can be wrong with the flags is said in one line with exit 2 before anything is served.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use indelible_operator::config::{self, ConfigError, Task};
use indelible_operator::{check, crd, reference, run};

fn main() -> ExitCode {
    let task = match config::read(std::env::args_os()) {
        Ok(task) => task,
        Err(ConfigError::Told(text)) => return print(&text),
        Err(error @ ConfigError::Refused(_)) => return refuse(&error),
    };
    match task {
        Task::Crd => print(&crd::yaml()),
        Task::Reference => print(&reference::markdown(&crd::definition())),
        Task::Run(config) => run::serve(*config).map_or_else(|error| refuse(&error), |()| ExitCode::SUCCESS),
        Task::Check { namespace } => match check::run(&namespace) {
            Ok(text) => print(&text),
            Err(error) => {
                eprintln!("indelible-operator: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it: the exit code tells.
            let _ = writeln!(std::io::stderr(), "indelible-operator: the output could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("indelible-operator: {error}");
    ExitCode::from(2)
}
