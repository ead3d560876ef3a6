//! OTLP logs over HTTP/1.1: hands each request's body to who takes it, and answers with the status that this gives.

use std::convert::Infallible;
use std::net::TcpStream;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message;

use crate::limits::MAX_BODY_BYTES;

/// Of `ExportLogsServiceRequest` as much as lines need; a record is read where its line is asked for.
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

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, optional, tag = "5")]
    body: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    string: Option<String>,
}

/// The records of a request's body.
pub fn records(body: Bytes) -> Option<Vec<Bytes>> {
    let export = Export::decode(body).ok()?;
    Some(export.resources.into_iter().flat_map(|resource| resource.scopes).flat_map(|scope| scope.records).collect())
}

/// The line of a record, if its body is text.
pub fn line(record: Bytes) -> Option<String> {
    Record::decode(record).ok()?.body?.string
}

/// Serves a connection until it ends.
pub fn serve(stream: TcpStream, take: &impl Fn(Bytes) -> StatusCode) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    runtime.block_on(async {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let service = service_fn(|request| answer(request, take));
        // A connection that ends in the middle is an outage, which is what it is for.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

async fn answer(
    request: Request<Incoming>,
    take: &impl Fn(Bytes) -> StatusCode,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await {
        Ok(body) => take(body.to_bytes()),
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
    fn records_are_found_over_resources_and_scopes_and_have_lines() {
        let body = Some(Value { string: Some("x".into()) });
        let record = Bytes::from(Record { body }.encode_to_vec());
        let scope = |n| Scope { records: vec![record.clone(); n] };
        let resource = |scopes| Resource { scopes };
        let export = Export { resources: vec![resource(vec![scope(2), scope(3)]), resource(vec![scope(4)])] };
        let records_of_all = records(export.encode_to_vec().into()).unwrap();
        let lines: Vec<_> = records_of_all.into_iter().map(line).collect();
        assert_eq!(lines, vec![Some("x".to_owned()); 9]);
        assert_eq!(records(Bytes::from_static(b"\xff\xff")), None);
    }
}
