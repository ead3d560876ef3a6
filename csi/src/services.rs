//! The three services over gRPC: CSI's Identity and Node, and the kubelet's plugin registration.
//!
//! Owns which path is which call, and how calls and answers are bounded. What is not served answers `UNIMPLEMENTED`, as
//! the specifications ask.

mod calls;
mod socket;

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::Grpc;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

use crate::limits::MAX_MESSAGE_BYTES;
use crate::messages::Empty;
pub use calls::Driver;
pub use socket::{Socket, SocketError};

/// Which services a socket has: the kubelet calls each kind on a socket of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Services {
    /// Identity and Node.
    Csi,
    /// Registration.
    Registration,
}

/// Answers a call, whatever it is.
async fn answer(driver: Arc<Driver>, services: Services, request: Request<Incoming>) -> http::Response<Body> {
    match (services, request.uri().path()) {
        (Services::Csi, "/csi.v1.Identity/GetPluginInfo") => {
            unary(request, driver, at_once(|_, Empty {}| calls::plugin_info())).await
        }
        // There are none: neither a controller, nor staging, nor growing.
        (Services::Csi, "/csi.v1.Identity/GetPluginCapabilities" | "/csi.v1.Node/NodeGetCapabilities") => {
            unary(request, driver, at_once(|_, Empty {}| Empty {})).await
        }
        (Services::Csi, "/csi.v1.Identity/Probe") => {
            unary(request, driver, at_once(|_, Empty {}| calls::probe())).await
        }
        (Services::Csi, "/csi.v1.Node/NodeGetInfo") => {
            unary(request, driver, at_once(|driver, Empty {}| driver.node_info())).await
        }
        (Services::Csi, "/csi.v1.Node/NodePublishVolume") => unary(request, driver, Driver::publish).await,
        (Services::Csi, "/csi.v1.Node/NodeUnpublishVolume") => unary(request, driver, Driver::unpublish).await,
        (Services::Registration, "/pluginregistration.Registration/GetInfo") => {
            unary(request, driver, at_once(|driver, Empty {}| driver.registration())).await
        }
        (Services::Registration, "/pluginregistration.Registration/NotifyRegistrationStatus") => {
            unary(request, driver, at_once(Driver::registered)).await
        }
        (_, path) => Status::unimplemented(format!("{path} is not served by this driver")).into_http(),
    }
}

/// A call that needs nothing from the node.
fn at_once<M, A>(call: impl Fn(&Driver, M) -> A) -> impl FnMut(Arc<Driver>, M) -> Ready<Result<A, Status>> {
    move |driver, message| ready(Ok(call(&driver, message)))
}

/// One message in, one message or a status out.
async fn unary<M, A, F>(
    request: Request<Incoming>,
    driver: Arc<Driver>,
    call: impl FnMut(Arc<Driver>, M) -> F + Send,
) -> http::Response<Body>
where
    M: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let grpc = Grpc::new(ProstCodec::<A, M>::default()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    { grpc }.unary(Call { driver, call }, request).await
}

/// A call as the library asks for it.
struct Call<C> {
    driver: Arc<Driver>,
    call: C,
}

impl<M, A, F, C> Service<tonic::Request<M>> for Call<C>
where
    C: FnMut(Arc<Driver>, M) -> F,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = Response<A>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        let answer = (self.call)(Arc::clone(&self.driver), request.into_inner());
        Box::pin(async { answer.await.map(Response::new) })
    }
}
