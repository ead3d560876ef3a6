//! Flags and environment become one validated value.
//!
//! Owns every flag of `indelible-collector` with its text, default and unit. Each flag is also an environment
//! variable, `INDELIBLE_` and its name in upper snake case. What does not fit is refused with one line that names the
//! flag and says what to do; nothing is read or changed before all of it fits.

mod values;

pub(crate) use values::duration;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::limits::{
    MAX_CHECKPOINT_INTERVAL, MAX_ISSUERS, MAX_SEGMENT_BYTES, MIN_CHECKPOINT_INTERVAL, MIN_SEGMENT_BYTES,
};

/// `indelible-collector/<version>`, as it stands in statements and in `/v1/log`.
pub const SOFTWARE: &str = concat!("indelible-collector/", env!("CARGO_PKG_VERSION"));

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("INDELIBLE_BUILD_COMMIT"), ")");

/// An append-only server: checks batches of audit records, makes them durable, answers with signed receipts.
#[derive(Debug, Parser)]
#[command(name = "indelible-collector", version = VERSION, args_conflicts_with_subcommands = true)]
#[command(after_help = "Each flag is also an environment variable: INDELIBLE_ and its name, as INDELIBLE_TLS_CERT.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the log's key, and print its verifier key and the URI that the TLS certificate must carry
    Init(InitArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Directory of this collector's log; created if absent
    #[arg(long, env = "INDELIBLE_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The log's name without its key's fingerprint
    #[arg(long, env = "INDELIBLE_ORIGIN", value_name = "NAME", value_parser = values::origin)]
    origin: String,
}

#[derive(Debug, Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the text is the help that people read in a terminal")]
struct ServeArgs {
    /// Directory of this collector's log [required]; created if absent, mode 0700
    #[arg(long, env = "INDELIBLE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address for HTTP/2 over TLS 1.3; port 0 picks one; the bound address is printed on stdout
    #[arg(long, env = "INDELIBLE_LISTEN", value_name = "ADDR", default_value = "[::]:7443")]
    listen: SocketAddr,
    /// TLS certificate chain, PEM [required]; read again when it changes; must name this log's verifier key
    #[arg(long, env = "INDELIBLE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM [required]; read again when it changes
    #[arg(long, env = "INDELIBLE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The log's name without its key's fingerprint [required at the first start]; kept in the data directory
    #[arg(long, env = "INDELIBLE_ORIGIN", value_name = "NAME", value_parser = values::origin)]
    origin: Option<String>,
    /// UID of the cluster's kube-system namespace; empty outside a cluster
    #[arg(long, env = "INDELIBLE_CLUSTER_UID", value_name = "UID", default_value = "")]
    cluster_uid: String,
    /// URL of an issuer of pod tokens, as its tokens' `iss` has it [required]; repeat it with --jwks for each
    #[arg(long, env = "INDELIBLE_ISSUER", value_name = "URL", value_delimiter = ',')]
    issuer: Vec<String>,
    /// The issuer's keys, a JWKS file [required]; one for each --issuer, in the same order; read again when it changes
    #[arg(long, env = "INDELIBLE_JWKS", value_name = "FILE", value_delimiter = ',')]
    jwks: Vec<String>,
    /// Audience of the tokens that pods write with
    #[arg(long, env = "INDELIBLE_AUDIENCE", value_name = "AUD", default_value = "indelible.dev")]
    audience: String,
    /// Audience of the tokens that readers read with
    #[arg(long, env = "INDELIBLE_READER_AUDIENCE", value_name = "AUD", default_value = "read.indelible.dev")]
    reader_audience: String,
    /// How readers are known [default: none on a loopback address, else required]
    #[arg(long, env = "INDELIBLE_READERS", value_name = "HOW")]
    readers: Option<ReadersArg>,
    /// Opted-in namespaces, a JSON list of {"name","uid","created"} [default: any]; read again when it changes
    #[arg(long, env = "INDELIBLE_NAMESPACES", value_name = "FILE")]
    namespaces: Option<PathBuf>,
    /// What /v1/pool answers, JSON [default: none]; read again when it changes
    #[arg(long, env = "INDELIBLE_POOL", value_name = "FILE")]
    pool: Option<PathBuf>,
    /// How often a checkpoint is signed when the log has grown
    #[arg(long, env = "INDELIBLE_CHECKPOINT_INTERVAL", value_name = "DURATION", default_value = "1s",
          value_parser = values::duration)]
    checkpoint_interval: Duration,
    /// Size in bytes at which a segment file is sealed and the next one begun
    #[arg(long, env = "INDELIBLE_SEGMENT_BYTES", value_name = "SIZE", default_value = "64Mi",
          value_parser = values::size)]
    segment_bytes: u64,
    /// Address for /metrics, /livez and /readyz, plain HTTP; port 0 picks one
    #[arg(long, env = "INDELIBLE_METRICS", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    metrics: SocketAddr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReadersArg {
    /// The cluster's `TokenReview` and `SubjectAccessReview`
    Tokenreview,
    /// Any valid token of an issuer with the reader audience
    Jwks,
    /// Reading without a token; loopback only
    None,
}

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Make key and vkey, print what the certificate must carry.
    Init {
        /// The data directory.
        data: PathBuf,
        /// The log's name without its fingerprint.
        origin: String,
    },
    /// Serve.
    Serve(Box<Config>),
}

/// A collector's configuration: each value fits, files are not opened yet.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are the flags, explained at each of them")]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    pub origin: Option<String>,
    pub cluster_uid: String,
    pub issuers: Vec<IssuerFlags>,
    pub audience: String,
    pub reader_audience: String,
    pub readers: Readers,
    pub namespaces: Option<PathBuf>,
    pub pool: Option<PathBuf>,
    pub checkpoint_interval: Duration,
    pub segment_bytes: u64,
    pub metrics: SocketAddr,
}

/// An issuer of tokens and the file with its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerFlags {
    /// As `iss` has it.
    pub url: String,
    /// A JWKS.
    pub jwks: PathBuf,
}

/// How readers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Any valid token of an issuer with the reader audience reads everything.
    Jwks,
    /// No token is asked for: only on a loopback address.
    None,
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

fn refused<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Refused(text.into()))
}

/// Reads the arguments (the program's name first) and the environment.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Task, ConfigError> {
    let cli = Cli::try_parse_from(args).map_err(|error| {
        if error.use_stderr() { ConfigError::Refused(one_line(&error)) } else { ConfigError::Told(error.to_string()) }
    })?;
    match cli.command {
        Some(Command::Init(InitArgs { data, origin })) => Ok(Task::Init { data, origin }),
        None => cli.serve.validate().map(|config| Task::Serve(Box::new(config))),
    }
}

/// clap's explanation without its usage lines.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or_default().split("\n\nFor more").next().unwrap_or_default();
    let words: Vec<&str> = told.trim_start_matches("error: ").split_whitespace().collect();
    format!("{}; see --help", words.join(" "))
}

/// A start that lacks nothing, for those who lack something.
const EXAMPLE: &str = "indelible-collector --data DIR --origin NAME --tls-cert cert.pem --tls-key key.pem \
                       --issuer https://kubernetes.default.svc --jwks jwks.json --readers jwks";

impl ServeArgs {
    /// Reading without a token is for a machine of one's own.
    fn readers(&self) -> Option<ReadersArg> {
        self.readers.or_else(|| self.listen.ip().is_loopback().then_some(ReadersArg::None))
    }

    /// What is missing, with what to give, all at once: nobody likes to be told one by one.
    fn missing(&self) -> Vec<&'static str> {
        let needed = [
            (
                self.data.is_some(),
                "--data is missing: name the directory that holds, or shall hold, this collector's log",
            ),
            (
                self.tls_cert.is_some(),
                "--tls-cert is missing: give a PEM file; `indelible-collector init` says which URI it must carry",
            ),
            (self.tls_key.is_some(), "--tls-key is missing: give the PEM file with the certificate's private key"),
            (!self.issuer.is_empty(), "--issuer is missing: give the URL that pod tokens have as iss"),
            (!self.jwks.is_empty(), "--jwks is missing: give the file with the issuer's keys"),
            (
                self.readers().is_some(),
                "--readers is missing: who may read on an address that is not loopback? use jwks",
            ),
        ];
        needed.into_iter().filter(|(given, _)| !given).map(|(_, text)| text).collect()
    }

    fn validate(self) -> Result<Config, ConfigError> {
        let missing = self.missing();
        let (Some(readers), Some(data), Some(tls_cert), Some(tls_key), []) =
            (self.readers(), self.data, self.tls_cert, self.tls_key, &*missing)
        else {
            return refused(format!("{}; for example: {EXAMPLE}", missing.join("; ")));
        };
        let issuers = pairs(self.issuer, self.jwks)?;
        let readers = reading(readers, self.listen)?;
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            return refused(format!(
                "--segment-bytes {} is out of range: give {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}",
                self.segment_bytes
            ));
        }
        if !(MIN_CHECKPOINT_INTERVAL..=MAX_CHECKPOINT_INTERVAL).contains(&self.checkpoint_interval) {
            return refused(format!(
                "--checkpoint-interval {:?} is out of range: give {MIN_CHECKPOINT_INTERVAL:?} to \
                 {MAX_CHECKPOINT_INTERVAL:?}",
                self.checkpoint_interval
            ));
        }
        if self.audience.is_empty() || self.reader_audience.is_empty() || self.audience == self.reader_audience {
            return refused("--audience and --reader-audience must differ and not be empty: a pod's token never reads");
        }
        Ok(Config {
            data,
            listen: self.listen,
            tls_cert,
            tls_key,
            origin: self.origin,
            cluster_uid: self.cluster_uid,
            issuers,
            audience: self.audience,
            reader_audience: self.reader_audience,
            readers,
            namespaces: self.namespaces,
            pool: self.pool,
            checkpoint_interval: self.checkpoint_interval,
            segment_bytes: self.segment_bytes,
            metrics: self.metrics,
        })
    }
}

/// Issuers with their keys: as many of the one as of the other.
fn pairs(issuers: Vec<String>, jwks: Vec<String>) -> Result<Vec<IssuerFlags>, ConfigError> {
    if issuers.len() != jwks.len() {
        return refused(format!(
            "--issuer is given {} times and --jwks {} times: give one --jwks for each --issuer, in the same order",
            issuers.len(),
            jwks.len()
        ));
    }
    if issuers.len() > MAX_ISSUERS {
        return refused(format!("--issuer is given {} times: at most {MAX_ISSUERS} are served", issuers.len()));
    }
    let mut pairs: Vec<IssuerFlags> = Vec::with_capacity(issuers.len());
    for (url, jwks) in issuers.into_iter().zip(jwks) {
        if jwks.starts_with("https://") || jwks.starts_with("http://") {
            return refused(format!(
                "--jwks {jwks}: keys are not fetched by this version; save them to a file (in a cluster: kubectl get \
                 --raw /openid/v1/jwks) and give that, it is read again when it changes"
            ));
        }
        if url.is_empty() || pairs.iter().any(|pair| pair.url == url) {
            return refused(format!("--issuer {url:?} is empty or given twice: give each issuer once"));
        }
        pairs.push(IssuerFlags { url, jwks: jwks.into() });
    }
    Ok(pairs)
}

fn reading(readers: ReadersArg, listen: SocketAddr) -> Result<Readers, ConfigError> {
    match readers {
        ReadersArg::Jwks => Ok(Readers::Jwks),
        ReadersArg::None if listen.ip().is_loopback() => Ok(Readers::None),
        ReadersArg::None => refused(format!(
            "--readers none would let anyone read who reaches {listen}: use jwks, or --listen on a loopback address"
        )),
        ReadersArg::Tokenreview => {
            refused("--readers tokenreview is not served by this version: use jwks, tokens checked against --jwks")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &[&str] =
        &["--data", "/d", "--tls-cert", "/c", "--tls-key", "/k", "--issuer", "https://i", "--jwks", "/j"];

    fn parse(args: &[&str]) -> Result<Task, ConfigError> {
        read(["indelible-collector"].iter().chain(args).map(OsString::from))
    }

    fn served(args: &[&str]) -> Config {
        match parse(&[NEEDED, args].concat()) {
            Ok(Task::Serve(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(args: &[&str]) -> String {
        match parse(args) {
            Err(ConfigError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = served(&["--readers", "jwks"]);
        assert_eq!(config.listen.to_string(), "[::]:7443");
        assert_eq!(config.metrics.to_string(), "127.0.0.1:9464");
        assert_eq!(config.checkpoint_interval, Duration::from_secs(1));
        assert_eq!(config.segment_bytes, 64 << 20);
        assert_eq!((&*config.audience, &*config.reader_audience), ("indelible.dev", "read.indelible.dev"));
        assert_eq!(config.cluster_uid, "");
    }

    #[test]
    fn readers_need_no_token_on_loopback_only() {
        assert_eq!(served(&["--listen", "127.0.0.1:0"]).readers, Readers::None);
        assert_eq!(served(&["--listen", "[::1]:0", "--readers", "jwks"]).readers, Readers::Jwks);
        assert!(refusal(NEEDED).starts_with("--readers is missing"));
        assert!(refusal(&[NEEDED, &["--readers", "none"]].concat()).starts_with("--readers none"));
    }

    #[test]
    fn what_this_version_does_not_serve_is_refused_not_ignored() {
        assert!(refusal(&[NEEDED, &["--readers", "tokenreview"]].concat()).contains("not served by this version"));
        let url = ["--listen", "127.0.0.1:0", "--issuer", "a", "--jwks", "https://a/jwks"];
        assert!(refusal(&[NEEDED, &url].concat()).contains("not fetched by this version"));
    }

    #[test]
    fn issuers_and_keys_come_in_pairs() {
        let config = served(&["--listen", "127.0.0.1:0", "--issuer", "https://b", "--jwks", "/b"]);
        assert_eq!(config.issuers[1], IssuerFlags { url: "https://b".into(), jwks: "/b".into() });
        let told = |args: &[&str]| refusal(&[NEEDED, &["--readers", "jwks"], args].concat());
        assert!(told(&["--issuer", "https://b"]).starts_with("--issuer is given 2 times"));
        assert!(told(&["--issuer", "https://i", "--jwks", "/b"]).contains("given twice"));
    }

    #[test]
    fn a_refusal_is_one_line_that_names_the_flag() {
        for (args, flag) in [
            (vec![], "--issuer"),
            (vec!["--listen", "nowhere"], "--listen"),
            (vec!["--checkpoint-interval", "1"], "--checkpoint-interval"),
            (vec!["--segment-bytes", "64MB"], "--segment-bytes"),
            (vec!["--origin", "a b"], "--origin"),
            (vec!["--frobnicate"], "--frobnicate"),
            (vec!["init"], "--data"),
            (vec!["init", "--data", "/d"], "--origin"),
        ] {
            let text = refusal(&args);
            assert!(text.contains(flag) && !text.contains('\n'), "{args:?}: {text}");
        }
        for missing in ["--data", "--tls-cert", "--tls-key", "--issuer", "--jwks"] {
            let at = NEEDED.iter().position(|arg| *arg == missing).unwrap();
            let args: Vec<_> = NEEDED.iter().enumerate().filter(|(i, _)| !(at..at + 2).contains(i)).collect();
            let args: Vec<_> = args.iter().map(|(_, arg)| **arg).chain(["--readers", "jwks"]).collect();
            assert!(refusal(&args).starts_with(&format!("{missing} is missing")));
        }
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once_with_an_example_that_lacks_nothing() {
        let text = refusal(&[]);
        for flag in ["--data", "--tls-cert", "--tls-key", "--issuer", "--jwks", "--readers"] {
            assert!(text.contains(&format!("{flag} is missing: ")), "{flag}: {text}");
        }
        let (_, example) = text.split_once("for example: indelible-collector ").unwrap();
        let args: Vec<&str> = example.split_whitespace().collect();
        assert!(matches!(parse(&args), Ok(Task::Serve(_))), "{example}");
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        for (flag, value) in [
            ("--checkpoint-interval", "0s"),
            ("--checkpoint-interval", "2h"),
            ("--segment-bytes", "1023"),
            ("--segment-bytes", "3Gi"),
        ] {
            let text = refusal(&[NEEDED, &["--listen", "127.0.0.1:0", flag, value]].concat());
            assert!(text.starts_with(flag) && text.contains("out of range: give "), "{text}");
        }
    }

    #[test]
    fn a_pods_token_never_reads() {
        let args = [NEEDED, &["--listen", "127.0.0.1:0", "--reader-audience", "indelible.dev"]].concat();
        assert!(refusal(&args).starts_with("--audience and --reader-audience"));
    }

    #[test]
    fn version_names_the_commit_and_help_each_flag() {
        for (arg, told) in [("--version", "commit"), ("--help", "--reader-audience"), ("--help", "INDELIBLE_LISTEN")] {
            match parse(&[arg]) {
                Err(ConfigError::Told(text)) => assert!(text.contains(told), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
