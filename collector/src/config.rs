//! Flags and environment become one validated value.
//!
//! Owns every flag of `indelible-collector` with its text, default and unit. Each flag is also an environment
//! variable, `INDELIBLE_` and its name in upper snake case. What does not fit is refused with one line that names the
//! flag and says what to do; nothing is read or changed before all of it fits.

mod cluster;
mod values;

pub use cluster::Cluster;
pub(crate) use values::duration;
pub use values::{ObjectName, Witness};

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::limits::{
    MAX_CHECKPOINT_INTERVAL, MAX_ISSUERS, MAX_SEGMENT_BYTES, MIN_CHECKPOINT_INTERVAL, MIN_SEGMENT_BYTES,
};
use crate::outbound::Url;
use cluster::ClusterArgs;

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
    /// Wait a few seconds for a certificate that names this log, and end with 1 if there is none: for an init container
    Await(AwaitArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Directory of this collector's log; created if absent
    #[arg(long, env = "INDELIBLE_DATA", value_name = "DIR")]
    data: PathBuf,
    /// The log's name without its key's fingerprint
    #[arg(long, env = "INDELIBLE_ORIGIN", value_name = "NAME", value_parser = values::origin)]
    origin: String,
    /// File that the verifier key is also written to, for who reads a container's termination message [default: none]
    #[arg(long, env = "INDELIBLE_TERMINATION_MESSAGE", value_name = "FILE")]
    termination_message: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct AwaitArgs {
    /// Directory of this collector's log, which `init` has made
    #[arg(long, env = "INDELIBLE_DATA", value_name = "DIR")]
    data: PathBuf,
    /// TLS certificate chain, PEM, that is waited for
    #[arg(long, env = "INDELIBLE_TLS_CERT", value_name = "FILE")]
    tls_cert: PathBuf,
    /// The certificate's private key, PEM
    #[arg(long, env = "INDELIBLE_TLS_KEY", value_name = "FILE")]
    tls_key: PathBuf,
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
    /// The issuer's keys, a JWKS: a file, read again when it changes, or an https URL, fetched again at least hourly
    /// [required]; one for each --issuer, in the same order. The API server is asked with the pod's
    /// own token, at `https://kubernetes.default.svc/openid/v1/jwks`
    #[arg(long, env = "INDELIBLE_JWKS", value_name = "FILE|URL", value_delimiter = ',')]
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
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReadersArg {
    /// The cluster's TokenReview and SubjectAccessReview: who may read what of --read-resource
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
        /// Where the vkey is written to as well.
        termination_message: Option<PathBuf>,
    },
    /// Wait for a certificate that names the log.
    Await {
        /// The data directory.
        data: PathBuf,
        /// The certificate chain.
        tls_cert: PathBuf,
        /// Its key.
        tls_key: PathBuf,
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
    pub cluster: Cluster,
}

/// An issuer of tokens and where its keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerFlags {
    /// As `iss` has it.
    pub url: String,
    /// A JWKS.
    pub jwks: KeySource,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// At an https URL.
    Url(Url),
}

/// How readers are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// Any valid token of an issuer with the reader audience reads everything.
    Jwks,
    /// The cluster says who a reader is, and what of this `AuditLog` it may read.
    TokenReview(ObjectName),
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
        Some(Command::Init(InitArgs { data, origin, termination_message })) => {
            Ok(Task::Init { data, origin, termination_message })
        }
        Some(Command::Await(AwaitArgs { data, tls_cert, tls_key })) => Ok(Task::Await { data, tls_cert, tls_key }),
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
            (!self.jwks.is_empty(), "--jwks is missing: give the file with the issuer's keys, or their https URL"),
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
        let readers = reading(readers, self.listen, self.cluster.read_resource.as_ref())?;
        let cluster = self.cluster.validate()?;
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
            cluster,
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
        if url.is_empty() || pairs.iter().any(|pair| pair.url == url) {
            return refused(format!("--issuer {url:?} is empty or given twice: give each issuer once"));
        }
        pairs.push(IssuerFlags { url, jwks: key_source(jwks)? });
    }
    Ok(pairs)
}

/// A file, or an https URL: keys that came another way could be anybody's.
fn key_source(jwks: String) -> Result<KeySource, ConfigError> {
    if !jwks.contains("://") {
        return Ok(KeySource::File(jwks.into()));
    }
    match Url::parse(&jwks) {
        Ok(url) if url.is_secure() => Ok(KeySource::Url(url)),
        Ok(_) => {
            refused(format!("--jwks {jwks}: whose keys these are shows only over https; give an https URL or a file"))
        }
        Err(error) => refused(format!("--jwks {jwks}: {error}")),
    }
}

fn reading(readers: ReadersArg, listen: SocketAddr, resource: Option<&ObjectName>) -> Result<Readers, ConfigError> {
    match (readers, resource) {
        (ReadersArg::Tokenreview, Some(resource)) => Ok(Readers::TokenReview(resource.clone())),
        (ReadersArg::Tokenreview, None) => refused(
            "--read-resource is missing: --readers tokenreview asks who may read which AuditLog; give <namespace>/<name>",
        ),
        (_, Some(resource)) => {
            refused(format!("--read-resource {resource} is only for --readers tokenreview: give both, or neither"))
        }
        (ReadersArg::Jwks, None) => Ok(Readers::Jwks),
        (ReadersArg::None, None) if listen.ip().is_loopback() => Ok(Readers::None),
        (ReadersArg::None, None) => refused(format!(
            "--readers none would let anyone read who reaches {listen}: use jwks, or --listen on a loopback address"
        )),
    }
}

#[cfg(test)]
mod tests;
