//! Flags and environment, as one validated value.
//!
//! Every flag is also an environment variable, `INDELIBLE_` and the flag's name in upper snake case. Nothing is opened
//! here.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use crate::layout::{Layout, directory};
use crate::limits::MAX_NODE_ID_BYTES;

/// The version with the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("INDELIBLE_BUILD_COMMIT"), ")");

/// The node driver: gives a pod's sidecar that pod's log directory, read-only, and a place for its state, and nothing
/// else to anybody.
///
/// It runs on every node, privileged, with the two directories below mounted at the paths that they have on the node, the
/// kubelet's with bidirectional propagation.
#[derive(Parser, Clone, Debug)]
#[command(name = "indelible-csi", version = VERSION)]
pub struct Config {
    /// The node's name
    #[arg(long, env = "INDELIBLE_NODE_ID", value_name = "NAME", value_parser = node_id)]
    pub node_id: String,

    /// The kubelet's own directory (its --root-dir): sockets, targets and the state of pods are below it
    #[arg(long, env = "INDELIBLE_KUBELET_DIR", value_name = "DIR", default_value = "/var/lib/kubelet", value_parser = directory)]
    pub kubelet_dir: PathBuf,

    /// Where the kubelet keeps the logs of pods (its podLogsDir)
    #[arg(long, env = "INDELIBLE_POD_LOGS_DIR", value_name = "DIR", default_value = "/var/log/pods", value_parser = directory)]
    pub pod_logs_dir: PathBuf,

    /// Address for /metrics, /livez and /readyz, plain HTTP; port 0 picks one
    #[arg(long, env = "INDELIBLE_METRICS", value_name = "ADDR", default_value = "[::]:9464")]
    pub metrics: SocketAddr,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version`: text for stdout, and all is well.
    #[error("{0}")]
    Told(String),
    /// One line that names the flag and says what to do.
    #[error("{0}")]
    Refused(String),
}

/// Reads the arguments (the program's name first) and the environment.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Config, ConfigError> {
    Config::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ConfigError::Told(error.render().to_string()),
        _ => ConfigError::Refused(one_line(&error)),
    })
}

/// The library's words without its layout, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or_default();
    let told = told.split("\n\nFor more information").next().unwrap_or_default();
    let line = told.strip_prefix("error: ").unwrap_or(told).split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}; see indelible-csi --help")
}

impl Config {
    /// The node's directories.
    pub fn layout(&self) -> Layout {
        Layout { kubelet: self.kubelet_dir.clone(), pod_logs: self.pod_logs_dir.clone() }
    }
}

fn node_id(text: &str) -> Result<String, String> {
    if (1..=MAX_NODE_ID_BYTES).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err(format!("give the node's name, 1 to {MAX_NODE_ID_BYTES} bytes (in a pod: from spec.nodeName)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Config, ConfigError> {
        read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_nodes_name_is_enough_and_the_rest_has_the_documented_defaults() {
        let config = parse("x --node-id n1").unwrap();
        assert_eq!(
            config.layout().endpoint(),
            PathBuf::from("/var/lib/kubelet/plugins/logs.csi.indelible.dev/csi.sock")
        );
        assert_eq!(config.pod_logs_dir, PathBuf::from("/var/log/pods"));
        assert_eq!(config.metrics.to_string(), "[::]:9464");
    }

    #[test]
    fn what_is_wrong_is_one_line_that_names_the_flag() {
        for (line, flag) in [
            ("x", "--node-id"),
            ("x --node-id n --kubelet-dir kubelet", "--kubelet-dir"),
            ("x --node-id n --pod-logs-dir /a/../b", "--pod-logs-dir"),
            ("x --node-id n --metrics 9464", "--metrics"),
            ("x --node-id n --nonsense", "--nonsense"),
        ] {
            let Err(ConfigError::Refused(text)) = parse(line) else { panic!("{line}") };
            assert!(text.contains(flag) && !text.contains('\n'), "{line}: {text}");
        }
        let Err(ConfigError::Refused(text)) = read(["x", "--node-id", ""].map(OsString::from)) else { panic!() };
        assert!(text.contains("spec.nodeName"), "{text}");
    }

    #[test]
    fn help_and_version_are_texts() {
        let told = |line| match parse(line) {
            Err(ConfigError::Told(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(told("x --help").contains("INDELIBLE_KUBELET_DIR"));
        assert!(told("x --version").contains(VERSION));
    }
}
