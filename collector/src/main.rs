//! `indelible-collector`: wires the modules together, and ends in order.
//!
//! Everything that can be wrong is looked at before anything is served, and said in one line with exit 2. After that
//! the process ends for one of four reasons: it was told to (exit 0, the log sealed), told twice (at once), its store
//! has stopped (within a second), or the volume did not take the seal (exit 1 all, recovered at the next start).

use std::path::Path;
use std::process::ExitCode;

use indelible_collector::config::{self, ConfigError, Task};
use indelible_collector::run::{self, StartError};

fn main() -> ExitCode {
    let task = match config::read(std::env::args_os()) {
        Ok(task) => task,
        Err(ConfigError::Told(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(error @ ConfigError::Refused(_)) => return refuse(&error),
    };
    let done = match task {
        Task::Init { data, origin, termination_message } => return init(&data, origin, termination_message.as_deref()),
        Task::Await { data, tls_cert, tls_key } => return await_certificate(&data, &tls_cert, &tls_key),
        Task::Serve(config) => run::serve(*config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

fn init(data: &Path, origin: String, message: Option<&Path>) -> ExitCode {
    match run::init(data, origin, message) {
        Ok((vkey, uri)) => {
            println!("{vkey}\nURI:{uri}");
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

fn await_certificate(data: &Path, chain: &Path, key: &Path) -> ExitCode {
    match run::await_certificate(data, chain, key) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::File { .. }) => {
            // Not a wrong flag: it comes, once the operator has signed it.
            eprintln!("indelible-collector: {error}");
            ExitCode::FAILURE
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("indelible-collector: {error}");
    ExitCode::from(2)
}
