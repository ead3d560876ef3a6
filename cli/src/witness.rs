//! `indelible witness`: a witness of its own, outside of the reach of who runs the logs.
//!
//! It cosigns a checkpoint after it has checked that it extends the last one of that log, for any C2SP log that it was
//! given ([`logs`]); what it has cosigned is on disk before the answer leaves ([`directory`]). It is asked over HTTP
//! ([`serve`], [`places`]). What is cosigned is decided by [`indelible_chain::witness`], as in the operator's.

mod directory;
mod logs;
mod metrics;
mod pace;
mod places;
mod serve;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use indelible_chain::checkpoint::Origin;
use indelible_chain::note::{Algorithm, VerifierKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::directory::{Directory, OpenError};
pub use self::logs::Named;
use self::logs::{Logs, LogsError};
use self::metrics::Metrics;
use self::places::Places;
use self::serve::{Site, Witness};
use crate::args::WitnessArgs;
use crate::exit::CommandError;
use crate::limits::{MAX_CONFIG_BYTES, MAX_METRICS_CONNECTIONS, MAX_WITNESS_CONNECTIONS};
use crate::terminal::say;
use crate::terms::{self, FlagError};

/// Reads `VKEY` or `VKEY=ORIGIN`: a log that is to be cosigned.
pub fn named(text: &str) -> Result<Named, String> {
    // A verifier key is base64 of 33 bytes at its end, so there is no `=` in that; in its name there may be.
    let at = text.rmatch_indices('=').map(|(at, _)| at).find(|at| text[..*at].parse::<VerifierKey>().is_ok());
    let (key, origin) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let key: VerifierKey = key.parse().map_err(|e| format!("{e}; write VKEY, or VKEY=ORIGIN"))?;
    if key.algorithm() != Algorithm::Ed25519 {
        return Err(format!("the key of {} is of type 0x04, a witness's: a log's key is of type 0x01", key.name()));
    }
    let origin = origin.map(Origin::of_line).transpose().map_err(|e| format!("the origin after the key: {e}"))?;
    Ok(Named { key, origin })
}

/// Runs the command until SIGTERM.
pub fn run(args: &WitnessArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let software = concat!("indelible ", env!("CARGO_PKG_VERSION"));
    let directory = Directory::open(&args.data, args.name.as_ref(), software)?;
    let kept = directory.kept()?;
    let vkey = directory.cosigner().verifier_key().to_string();
    let metrics = Arc::new(Metrics::new());
    let logs = Arc::new(Logs::open(directory, &args.log, kept, Arc::clone(&metrics))?);
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(acceptor(cert, key)?),
        _ => None,
    };
    say(format_args!("witness {vkey}"));
    runtime.block_on(until_ended(args, logs, metrics, tls))
}

async fn until_ended(
    args: &WitnessArgs,
    logs: Arc<Logs>,
    metrics: Arc<Metrics>,
    tls: Option<TlsAcceptor>,
) -> Result<u8, CommandError> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (listener, address) = bind("--listen", args.listen).await?;
    let (end, ending) = watch::channel(false);
    let with = |most| (Places::new(most), Arc::clone(&metrics));
    if let Some(to) = args.metrics {
        let (listener, address) = bind("--metrics", to).await?;
        say(format_args!("metrics at http://{address}/metrics"));
        let site = Arc::new(Site::Metrics(Arc::clone(&metrics)));
        tokio::spawn(serve::serve(listener, None, site, with(MAX_METRICS_CONNECTIONS), ending.clone()));
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    say(format_args!("logs that are cosigned: {}", logs.len()));
    let witness = Witness::new(logs, Arc::clone(&metrics));
    let mut fatal = witness.fatal.subscribe();
    let site = Arc::new(Site::Witness(witness));
    let serving = tokio::spawn(serve::serve(listener, tls, site, with(MAX_WITNESS_CONNECTIONS), ending));
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening {scheme}://{address}").and_then(|()| out.flush())?;
    drop(out);
    let ended = tokio::select! {
        _ = term.recv() => Ok(0),
        _ = interrupt.recv() => Ok(0),
        failed = fatal.wait_for(Option::is_some) => Err(match failed.ok().and_then(|error| error.clone()) {
            Some(error) => anyhow!("nothing more is cosigned: {error}; see to the disk and start again").into(),
            None => anyhow!("nothing more is cosigned").into(),
        }),
    };
    end.send_replace(true);
    let _ = serving.await;
    ended
}

async fn bind(flag: &str, to: SocketAddr) -> Result<(TcpListener, SocketAddr), CommandError> {
    let listener = TcpListener::bind(to).await.with_context(|| format!("{flag} {to}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, CommandError> {
    let refuse = |flag, path, why: String| CommandError::from(FlagError::new(flag, path, why));
    let pem = terms::read("--tls-cert", cert, MAX_CONFIG_BYTES)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|e| refuse("--tls-cert", cert, format!("{e}; expected PEM")))?;
    let private = PrivateKeyDer::from_pem_slice(&terms::read("--tls-key", key, MAX_CONFIG_BYTES)?);
    let private = private.map_err(|e| refuse("--tls-key", key, format!("{e}; expected PEM")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| anyhow!(e))?
        .with_no_client_auth()
        .with_single_cert(certificates, private);
    let mut config = config.map_err(|e| refuse("--tls-cert", cert, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl From<OpenError> for CommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NameRequired(_) | OpenError::OtherName { .. } => Self::Usage(error.to_string()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<LogsError> for CommandError {
    fn from(error: LogsError) -> Self {
        Self::Usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn a_log_is_its_key_and_where_its_checkpoints_say_so_another_origin() {
        assert_eq!(named(VKEY).unwrap().origin, None);
        for origin in ["example.com/log=1", "rekor.example - 26", "a+b"] {
            let log = named(&format!("{VKEY}={origin}")).unwrap();
            assert_eq!(log.origin.unwrap().as_str(), origin);
        }
        for (text, why) in [
            ("", "not a verifier key"),
            ("example.com/foo", "not a verifier key"),
            (&format!("{VKEY}="), "the origin after the key"),
            ("witness.example/w1+b72bab2e+BCVDuS/xCVURR2rcg2nbbdyTNmWhGXjdoUBO4QZsqVWd", "type 0x04"),
        ] {
            let error = named(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
