//! Connections to a pod's port, through the API server.
//!
//! Edge: each connection is one port-forward of its own, held in this process; no port of this machine is opened, so
//! nobody else on it can use the way. What runs through is TLS to the collector itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::access::Cluster;
use super::right::{AUDITOR, AskErrorKind, Right};
use crate::source::route::DialError;
use crate::text::one_line;

/// The way to one port of one pod.
pub struct Tunnel {
    cluster: Cluster,
    namespace: String,
    pod: String,
    port: u16,
}

impl Tunnel {
    /// To this pod; nothing is asked yet.
    pub fn new(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Self {
        Self { cluster: cluster.clone(), namespace: namespace.to_owned(), pod: pod.to_owned(), port }
    }

    /// The right that it takes: which of the two verbs an API server asks for depends on its version.
    pub fn right(namespace: &str) -> Right {
        Right::to(&["get", "create"], "pods/portforward").within(namespace).by(AUDITOR)
    }

    /// Connects. What the pod's node says later ("connection refused") ends the stream, with that as the reason.
    pub async fn dial(&self) -> Result<PodStream, DialError> {
        let pods = self.cluster.within::<Pod>(&self.namespace);
        let right = Self::right(&self.namespace);
        let forward = self.cluster.ask(&right, pods.portforward(&self.pod, &[self.port])).await;
        let mut forward = forward.map_err(|e| match e.kind {
            AskErrorKind::Forbidden | AskErrorKind::Policy | AskErrorKind::Invalid | AskErrorKind::Login => {
                DialError::Refused(e.to_string())
            }
            _ => DialError::Away(e.to_string()),
        })?;
        // What carries the bytes is a task of its own, and ends when the stream is dropped.
        match (forward.take_stream(self.port), forward.take_error(self.port)) {
            (Some(bytes), Some(error)) => Ok(PodStream { bytes, error: Some(Box::pin(error)) }),
            _ => Err(DialError::Away("the API server gave no way to the port".to_owned())),
        }
    }
}

/// Bytes from and to a pod's port.
pub struct PodStream {
    bytes: DuplexStream,
    /// What went wrong at the other end, once it has.
    error: Option<Pin<Box<dyn Future<Output = Option<String>> + Send>>>,
}

impl PodStream {
    fn poll_error(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        match self.error.as_mut()?.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(why) => {
                self.error = None;
                why.map(|why| io::Error::other(format!("the pod's node says: {}", one_line(why.trim()))))
            }
        }
    }
}

impl AsyncRead for PodStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.poll_error(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.bytes).poll_read(cx, buf)
    }
}

impl AsyncWrite for PodStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.bytes).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_shutdown(cx)
    }
}
