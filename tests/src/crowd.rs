//! Many connections to one collector at once, each of which does what a test tells it to.
//!
//! The clients of [`crate::peer`] wait for one answer at a time; these do not wait for anything.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::peer::tls;
use crate::world::World;

/// How long a connection may take.
const BOUND: Duration = Duration::from_mins(1);

/// The body of a request, of whatever shape.
pub type Content = BoxBody<Bytes, Infallible>;

/// A connection's way to send requests.
pub type Sender = SendRequest<Content>;

/// A place to connect to.
#[derive(Clone)]
pub struct Target {
    address: String,
    connector: TlsConnector,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The threads that a crowd runs on; it is gone when they are dropped.
pub fn threads() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

impl Target {
    /// One of a world's collectors.
    pub fn of(world: &World, collector: usize) -> Result<Self> {
        let address = world.collectors[collector].address()?.to_owned();
        Ok(Self { address, connector: TlsConnector::from(Arc::new(tls(&std::fs::read(world.authority.ca())?)?)) })
    }

    /// A connection that says nothing.
    pub async fn tcp(&self) -> Result<TcpStream> {
        let stream = tokio::time::timeout(BOUND, TcpStream::connect(&self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The same after its TLS handshake.
    pub async fn tls(&self) -> Result<TlsStream<TcpStream>> {
        let stream = self.connector.connect(ServerName::try_from("localhost")?, self.tcp().await?);
        Ok(tokio::time::timeout(BOUND, stream).await??)
    }

    /// The same that speaks HTTP/2, until the sender is dropped.
    pub async fn http(&self) -> Result<Sender> {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(self.tls().await?));
        let (sender, connection) = tokio::time::timeout(BOUND, handshake).await??;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// A request of a pod.
pub fn request(method: Method, path: &str, token: &str, content: Content) -> Result<Request<Content>> {
    let request = Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/vnd.indelible.v1");
    Ok(request.body(content)?)
}

/// Sends it; gives the status, once the answer was read.
pub async fn status_of(sender: &mut Sender, request: Request<Content>) -> Result<u16> {
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    body.collect().await?;
    Ok(head.status.as_u16())
}

/// Bytes that are there.
pub fn whole(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).boxed()
}

/// A body without an end: chunks of `size`, one each `pause` if there is one.
pub fn endless(size: usize, pause: Option<Duration>) -> Content {
    Endless { size, pause: pause.map(tokio::time::interval) }.boxed()
}

struct Endless {
    size: usize,
    pause: Option<tokio::time::Interval>,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause
            && pause.poll_tick(cx).is_pending()
        {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; self.size])))))
    }
}
