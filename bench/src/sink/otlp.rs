//! OTLP logs over HTTP/1.1: counts the records of each request and answers that all were taken.

use std::convert::Infallible;
use std::net::TcpStream;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message;

use super::Counts;
use crate::limits::MAX_BODY_BYTES;

/// Of `ExportLogsServiceRequest` as much as counting needs.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    records: Vec<Bytes>,
}

fn records(body: Bytes) -> Option<usize> {
    let export = Export::decode(body).ok()?;
    Some(export.resources.iter().flat_map(|resource| &resource.scopes).map(|scope| scope.records.len()).sum())
}

pub(super) fn serve(stream: TcpStream, counts: &Counts) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    runtime.block_on(async {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let service = service_fn(|request| answer(request, counts));
        // A connection that ends in the middle is an outage, which is what it is for.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

async fn answer(request: Request<Incoming>, counts: &Counts) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let bytes = body.len();
            match records(body) {
                Some(lines) => {
                    counts.add(lines, bytes);
                    StatusCode::OK
                }
                None => StatusCode::BAD_REQUEST,
            }
        }
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    let protobuf = http::HeaderValue::from_static("application/x-protobuf");
    response.headers_mut().insert(http::header::CONTENT_TYPE, protobuf);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_over_resources_and_scopes() {
        let scope = |n| Scope { records: vec![Bytes::from_static(b"\x0a\x01x"); n] };
        let resource = |scopes| Resource { scopes };
        let export = Export { resources: vec![resource(vec![scope(2), scope(3)]), resource(vec![scope(4)])] };
        assert_eq!(records(export.encode_to_vec().into()), Some(9));
        assert_eq!(records(Bytes::from_static(b"\xff\xff")), None);
    }
}
