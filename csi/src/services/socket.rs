//! Unix sockets: bound for root alone, over what a dead driver left, and removed at the end.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::{Driver, Services, answer};
use crate::limits::{ACCEPT_PAUSE, MAX_CALLS_PER_CONNECTION, MAX_CONNECTIONS, MAX_HEADER_BYTES, WINDOW_BYTES};

/// A socket that is bound.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Which file it is: another driver may take the path over.
    file: (u64, u64),
}

/// Why a socket cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}: {source}; is the kubelet's directory mounted at --kubelet-dir, and is this root?")]
pub struct SocketError {
    path: PathBuf,
    source: std::io::Error,
}

impl Socket {
    /// Binds a path. A socket that is there is a dead driver's: the kubelet sees it go and come, and asks again.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(failed(std::io::Error::other("something that is no socket is there"))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    /// Answers until `ending` says so, and until the calls in flight are answered.
    pub async fn serve(self, driver: Arc<Driver>, services: Services, mut ending: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = ending.wait_for(|ending| *ending) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, path = %self.path.display(), "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // One too many is closed at once; the kubelet tries again.
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
            let (driver, ending) = (Arc::clone(&driver), ending.clone());
            tokio::spawn(async move {
                connection(driver, services, stream, ending).await;
                drop(slot);
            });
        }
        self.remove();
        // All are back once every connection has ended.
        let _ = slots.acquire_many(MAX_CONNECTIONS).await;
    }

    /// Removes the file, unless it is another driver's by now.
    fn remove(&self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == self.file);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the socket cannot be removed");
        }
    }
}

async fn connection(driver: Arc<Driver>, services: Services, stream: UnixStream, mut ending: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let answer = answer(Arc::clone(&driver), services, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
        .max_header_list_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A peer that goes away is nobody's error.
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
