//! The server: sockets, TLS, HTTP/2 connections, and their end.
//!
//! Every connection is bounded in what it may hold and in how long it may be silent or without a good token, and their
//! number is bounded too: one more is closed at once. At the end no new connection is taken, and once the log has its end,
//! readers get the last of it, each connection is told to go away, requests in flight are answered to the last byte, and
//! what is not done by the deadline is cut off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::idle::IdleTimeout;
use super::peer::Peer;
use super::{App, answer};
use crate::limits::{
    ACCEPT_PAUSE, CONNECTION_IDLE, CONNECTION_WINDOW_BYTES, DRAIN_TIMEOUT, H2_FRAME_BYTES, HANDSHAKE_TIMEOUT,
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, LAST_ANSWERS, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_SEND_BUFFER_BYTES,
    MAX_STREAMS_PER_CONNECTION, STREAM_WINDOW_BYTES,
};

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request that had begun was answered.
    Whole,
    /// Some connections were cut off at the deadline.
    CutOff,
}

impl Server {
    /// Binds an address.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// The address that was bound.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket, for another protocol.
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }

    /// Takes connections until `app.draining` says so, and answers until `app.closing` does and every request in flight is
    /// answered, or the deadline after it is over.
    pub async fn serve(self, app: Arc<App>, tls: Arc<rustls::ServerConfig>) -> Drained {
        let graceful = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let acceptor = TlsAcceptor::from(tls);
        let mut draining = app.draining.clone();
        let cut_off = watch::channel(false).0;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = draining.wait_for(|draining| *draining) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, mostly: those that are open go on, and some will close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                app.metrics.refused_connections.inc();
                continue;
            };
            let (app, acceptor, watcher) = (Arc::clone(&app), acceptor.clone(), graceful.watcher());
            let mut end = cut_off.subscribe();
            tokio::spawn(async move {
                app.metrics.connections.inc();
                tokio::select! {
                    () = connection(&app, &acceptor, stream, watcher) => {}
                    _ = end.wait_for(|end| *end) => {}
                }
                app.metrics.connections.dec();
                drop(slot);
            });
        }
        // New connections are refused from here on: the socket is closed.
        drop(self.listener);
        let _ = app.closing.clone().wait_for(|closing| *closing).await;
        let ended = async {
            // Who has waited for the last leaves asks for their checkpoint next. Who goes on asking is not waited for.
            if graceful.count() > 0 {
                let _ = tokio::time::timeout(2 * LAST_ANSWERS, quiet(app.gate.requests(), LAST_ANSWERS)).await;
            }
            tokio::select! {
                () = graceful.shutdown() => {}
                () = quiet(app.gate.requests(), LAST_ANSWERS) => {}
            }
        };
        let whole = tokio::time::timeout(DRAIN_TIMEOUT, ended).await.is_ok();
        cut_off.send_replace(true);
        if whole { Drained::Whole } else { Drained::CutOff }
    }
}

/// Ends when no request has been in flight for a moment, in which the last answers reach their peers: a peer that does
/// not even close its connection is not waited for.
pub async fn quiet(mut requests: watch::Receiver<usize>, moment: Duration) {
    loop {
        let _ = requests.wait_for(|count| *count == 0).await;
        if tokio::time::timeout(moment, requests.wait_for(|count| *count > 0)).await.is_err() {
            return;
        }
    }
}

async fn connection(app: &Arc<App>, acceptor: &TlsAcceptor, stream: TcpStream, watcher: Watcher) {
    // Receipts are small and waited for.
    let _ = stream.set_nodelay(true);
    let stream = IdleTimeout::new(stream, CONNECTION_IDLE);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        failed => {
            app.metrics.refused_connections.inc();
            if let Ok(Err(error)) = failed {
                tracing::debug!(%error, "a TLS handshake has failed");
            }
            return;
        }
    };
    let peer = Peer::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        let app = Arc::clone(app);
        request.extensions_mut().insert(peer.clone());
        async move { Ok::<_, Infallible>(answer(app, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = watcher.watch(connection) => if let Err(error) = ended {
            tracing::debug!(%error, "a connection has ended");
        },
        why = peer.cut_off() => {
            app.metrics.refused_connections.inc();
            tracing::debug!(why, "a connection was cut off");
        }
    }
}
