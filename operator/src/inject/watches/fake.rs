//! A desk without a cluster: changes as they are given, and an API server that knows one namespace.

use futures::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::desk::Desk;
use super::*;

/// Answers every GET with this object; each connection has one request.
async fn api_server(object: Value) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = object.to_string();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    Client::try_from(kube::Config::new(format!("http://{address}").parse().unwrap())).unwrap()
}

/// A desk that is kept: `changes` and nothing after them, while the API server knows `live`.
pub(in super::super) async fn desk(cluster: Cluster, changes: Vec<Change>, live: Value) -> Asker {
    let mut streams = SelectAll::new();
    streams.push(stream::iter(changes).chain(stream::pending()).boxed());
    let (injection, _) = watch::channel(Injection::default());
    let (keeper, asker) = keep(Desk::new(cluster), streams, &api_server(live).await, injection);
    tokio::spawn(keeper.run(|| ()));
    asker
}

/// What watches of a cluster show in which AuditLog audit/payments exists and no namespace is opted in.
pub(in super::super) fn changes() -> Vec<Change> {
    let of = |value: Value| value;
    let pool = json!({"server_name": "payments.audit.svc", "ca_pem": "PEM"}).to_string();
    let audit_log = of(
        json!({"apiVersion": "indelible.dev/v1alpha1", "kind": "AuditLog", "metadata": {"namespace": "audit", "name": "payments"}, "spec": {}}),
    );
    let service =
        of(json!({"metadata": {"namespace": "audit", "name": "payments"}, "spec": {"clusterIP": "10.96.7.7"}}));
    let config = of(json!({"metadata": {"namespace": "audit", "name": "payments-pool"}, "data": {"pool.json": pool}}));
    let system = of(json!({"metadata": {"name": "kube-system", "uid": "c1"}}));
    vec![
        Change::Namespace(Event::Init),
        Change::Namespace(Event::InitApply(serde_json::from_value(system).unwrap())),
        Change::Namespace(Event::InitDone),
        Change::AuditLog(Event::Init),
        Change::AuditLog(Event::InitApply(serde_json::from_value(audit_log).unwrap())),
        Change::AuditLog(Event::InitDone),
        Change::Service(Event::Apply(serde_json::from_value(service).unwrap())),
        Change::Config(Event::Apply(serde_json::from_value(config).unwrap())),
        Change::LimitRange(Event::Init),
        Change::LimitRange(Event::InitDone),
        Change::Node(Event::Init),
        Change::Node(Event::InitDone),
    ]
}
