//! A connection that ends when nothing moves: no byte read for too long, or bytes that nobody takes.
//!
//! HTTP/2 pings make a live peer send something every so often, so silence means a dead peer, or one that never
//! spoke. Without this a connection that says nothing would hold its place for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub(super) struct IdleTimeout<S> {
    stream: S,
    limit: Duration,
    reading: Pin<Box<Sleep>>,
    writing: Pin<Box<Sleep>>,
    stuck: bool,
}

impl<S> IdleTimeout<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        let sleep = || Box::pin(tokio::time::sleep(limit));
        Self { stream, limit, reading: sleep(), writing: sleep(), stuck: false }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                this.reading.as_mut().reset(Instant::now() + this.limit);
                Poll::Ready(read)
            }
            Poll::Pending if this.reading.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(timed_out("the peer is silent")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: Unpin> IdleTimeout<S> {
    /// A write that makes no progress starts the clock, one that does stops it.
    fn progress<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(written) => {
                self.stuck = false;
                Poll::Ready(written)
            }
            Poll::Pending => {
                if !self.stuck {
                    self.stuck = true;
                    self.writing.as_mut().reset(Instant::now() + self.limit);
                }
                if self.writing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(timed_out("the peer does not read")));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.progress(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_given_up() {
        let (mut peer, stream) = tokio::io::duplex(16);
        let mut stream = IdleTimeout::new(stream, LIMIT);
        tokio::time::advance(LIMIT / 2).await;
        peer.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        let start = Instant::now();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= LIMIT, "a byte starts the time anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_peer, stream) = tokio::io::duplex(16);
        let mut stream = IdleTimeout::new(stream, LIMIT);
        assert_eq!(stream.write_all(&[0; 17]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
