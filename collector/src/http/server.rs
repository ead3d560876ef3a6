//! The server: sockets, TLS, HTTP/2 connections, and their end.
//!
//! Every connection is bounded in what it may hold and in how long it may be silent or without a good token, and their
//! number is bounded too: one more takes the place of one that has shown no token, or is closed at once. At the end no
//! new connection is taken, and once the log has its end,
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::idle::IdleTimeout;
use super::peer::Peer;
use super::strangers::Strangers;
use super::{App, answer};
use crate::limits::{
    ACCEPT_PAUSE, CONNECTION_IDLE, CONNECTION_WINDOW_BYTES, DRAIN_TIMEOUT, H2_FRAME_BYTES, HANDSHAKE_TIMEOUT,
    KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, LAST_ANSWERS, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_SEND_BUFFER_BYTES,
    MAX_STREAMS_PER_CONNECTION, STREAM_WINDOW_BYTES,
};
use crate::metrics::Unserved;
use crate::trouble::Trouble;

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
        let (acceptor, strangers) = (TlsAcceptor::from(tls), Strangers::none(app.metrics.strangers.clone()));
        let mut draining = app.draining.clone();
        let (cut_off, mut trouble) = (watch::channel(false).0, Trouble::default());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = draining.wait_for(|draining| *draining) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => {
                    if trouble.is_over() {
                        tracing::info!("connections are accepted again");
                    }
                    stream
                }
                Err(error) => {
                    // Out of descriptors, mostly: those that are open go on, and some will close.
                    if trouble.failed(&error) {
                        tracing::warn!(%error, "no connection can be accepted; those that are open go on (ulimit -n)");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(slot) = place(&slots, &strangers).await else {
                app.metrics.unserved(Unserved::Limit);
                continue;
            };
            let (app, acceptor, watcher) = (Arc::clone(&app), acceptor.clone(), graceful.watcher());
            let (mut end, strangers) = (cut_off.subscribe(), strangers.clone());
            tokio::spawn(async move {
                app.metrics.connections.inc();
                tokio::select! {
                    () = connection(&app, &acceptor, stream, watcher, &strangers) => {}
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

/// A place for one more connection, if need be that of one which has shown no token.
async fn place(slots: &Arc<Semaphore>, strangers: &Strangers) -> Option<OwnedSemaphorePermit> {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Some(slot);
    }
    if !strangers.make_room() {
        return None;
    }
    // The one that was told to go does so when its task has its turn. Nobody else takes places.
    tokio::time::timeout(ACCEPT_PAUSE, Arc::clone(slots).acquire_owned()).await.ok()?.ok()
}

async fn connection(
    app: &Arc<App>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    watcher: Watcher,
    strangers: &Strangers,
) {
    // Receipts are small and waited for.
    let _ = stream.set_nodelay(true);
    let stream = IdleTimeout::new(stream, CONNECTION_IDLE);
    let peer = Peer::default();
    let stranger = strangers.enter(&peer);
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => handshake,
        why = peer.crowded_out() => return app.metrics.unserved(why),
    };
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        failed => {
            app.metrics.unserved(Unserved::Handshake);
            if let Ok(Err(error)) = failed {
                tracing::debug!(%error, "a TLS handshake has failed");
            }
            return;
        }
    };
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
        why = peer.cut_off(Some(stranger)) => {
            app.metrics.unserved(why);
            tracing::debug!(?why, "a connection was cut off");
        }
    }
}
