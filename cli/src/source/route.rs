//! How a collector is reached, and with whose token: by its address and a file, or through a cluster's API server.
//!
//! Owns only what differs between the two. TLS to the collector itself is above it and the same for both, so that an API
//! server that forwards a connection sees and changes nothing of what is read.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::http::FetchError;
use crate::cluster::reader::Reader;
use crate::cluster::tunnel::Tunnel;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way to a server.
pub enum Route {
    /// A connection of our own.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// Through the API server to a pod.
    Pod(Tunnel),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers, which may be over in a moment.
    #[error("{0}")]
    Away(String),
    /// It will be the same the next time.
    #[error("{0}")]
    Refused(String),
}

impl Route {
    /// Connects.
    pub async fn dial(&self) -> Result<Box<dyn Stream>, DialError> {
        match self {
            Self::Tcp { host, port } => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await;
                let tcp = tcp.map_err(|e| DialError::Away(e.to_string()))?;
                let _ = tcp.set_nodelay(true); // only a matter of speed
                Ok(Box::new(tcp))
            }
            Self::Pod(tunnel) => Ok(Box::new(tunnel.dial().await?)),
        }
    }
}

/// Where the reader token comes from.
#[derive(Clone)]
pub enum Token {
    /// A file that somebody else renews.
    File(PathBuf),
    /// The API server, which is asked for another one before it expires.
    Minted(Arc<Reader>),
}

impl Token {
    /// What to do where a collector wants a token and none is sent.
    pub const NONE: &str = "; give a token that may read with --token";

    /// The token, for a request to the server that a person knows by `label`. Blocks its thread.
    pub fn read(&self, runtime: &Handle, label: &str) -> Result<String, FetchError> {
        match self {
            Self::File(path) => {
                let refuse = |why| FetchError::File { flag: "--token", path: path.clone(), why };
                let token = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
                Ok(token.trim().to_owned())
            }
            Self::Minted(reader) => runtime.block_on(reader.token()).map_err(|why| FetchError::Connection {
                url: label.to_owned(),
                what: "asking the API server for a reader token",
                why,
            }),
        }
    }

    /// What to do where a collector does not take it.
    pub fn remedy(&self) -> String {
        match self {
            Self::File(_) => Self::NONE.to_owned(),
            Self::Minted(reader) => reader.remedy(),
        }
    }
}
