//! Clients that are slow, idle, endless or many: the others are served, and a count says so. And those that speak HTTP/2.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use indelible_tests::world::{Asked, Witness, World};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::support::Foreign;

fn address(witness: &Witness) -> &str {
    witness.url().split_once("://").unwrap().1
}

/// The counts of a witness that was started with `--metrics 127.0.0.1:0`.
fn metrics(witness: &mut Witness) -> String {
    let said = witness.process().unwrap().stderr().unwrap();
    let url = said.lines().rev().find_map(|line| line.split_once("metrics at http://")).unwrap().1;
    let (address, path) = url.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    Asked::read(&mut stream).unwrap().body
}

fn count(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("indelible_witness_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[test]
fn who_does_nothing_keeps_nobody_out() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let mut witness = Witness::start(&world, "witness.example", &[&log.flag()], &["--metrics", "127.0.0.1:0"]).unwrap();
    // More than there are places: some say nothing, some begin a head, some a body that never ends.
    let mut held = Vec::new();
    for n in 0..800 {
        let mut stream = TcpStream::connect(address(&witness)).unwrap();
        let begun = match n % 4 {
            0 => "",
            1 => "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nX-",
            2 => "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nold 0\n",
            _ => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        };
        let _ = stream.write_all(begun.as_bytes());
        held.push(stream);
        if n % 100 == 99 {
            let size = n + 1;
            assert_eq!(log.grow(&witness, size - 100, size).status, 200, "after {size}");
        }
    }
    let text = metrics(&mut witness);
    assert!(count(&text, "connections") <= 512 + 16, "{text}");
    assert!(count(&text, "cut_off_connections_total") >= 800 - 512, "{text}");
    assert!(text.contains(r#"requests_total{outcome="Cosigned"} 8"#), "{text}");
    assert!(text.contains(r#"log_leaves{log="foreign.example/log"} 800"#), "{text}");
    assert!(witness.process().unwrap().peak_kib().unwrap() < 100 << 10);
}

#[test]
fn a_body_without_end_is_cut_off_and_a_slow_one_too() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    let begin = |rest: &str| {
        let mut stream = TcpStream::connect(address(&witness)).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        write!(stream, "POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n{rest}").unwrap();
        stream
    };
    let mut slow = begin("Content-Length: 100\r\n\r\nold 0\n");
    let mut slower = begin("X-");
    let mut endless = begin("Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let refused = (0..100_000).any(|_| endless.write_all(chunk.as_bytes()).is_err());
    assert!(refused, "100 MB were taken");
    let mut head = String::new();
    let _ = slow.read_to_string(&mut head);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    head.clear();
    let _ = slower.read_to_string(&mut head);
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(log.grow(&witness, 0, 3).status, 200);
}

async fn over_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &str,
    body: String,
) -> (u16, String) {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("{url}/add-checkpoint")).body(Full::new(Bytes::from(body))).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn http_2_is_answered_as_well_plain_and_over_tls() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let dir = world.dir().join("certified");
    std::fs::create_dir(&dir).unwrap();
    let (cert, key) = world.authority.certify(&dir, "indelible:witness").unwrap();
    let tls = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, flags, alpn) in [("plain", &[][..], None), ("tls", &tls, Some("h2")), ("tls-1", &tls, Some("http/1.1"))]
    {
        let witness = Witness::start(&world, name, &[&log.flag()], flags).unwrap();
        let body = format!("old 0\n\n{}", log.note(3, 3, 0));
        let (status, line) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address(&witness)).await.unwrap();
            let Some(alpn) = alpn else { return over_http2(stream, witness.url(), body).await };
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(world.authority.ca()).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = rustls::ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
            let server = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn.as_bytes()));
            if alpn == "h2" {
                return over_http2(stream, witness.url(), body).await;
            }
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = Request::post("/add-checkpoint").header("Host", "x").body(Full::new(Bytes::from(body)));
            let (head, body) = sender.send_request(request.unwrap()).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
        });
        assert_eq!(status, 200, "{line}");
        assert!(line.starts_with(&format!("— {name} ")), "{line}");
    }
}
