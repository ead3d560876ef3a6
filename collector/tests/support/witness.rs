//! A witness in this process, over plain HTTP: judges by the format's own rules, remembers, and cosigns.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use indelible_chain::cosignature::{Cosigner, UnixSeconds};
use indelible_chain::note::VerifierKey;
use indelible_chain::witness::{AddCheckpoint, Head};
use tokio::net::TcpListener;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Signs with a key that is not its own.
    OtherKey,
    /// Answers 200 and no line.
    Silent,
    Broken,
    /// Three times of four somebody answers who is not the witness.
    Elsewhere,
}

struct State {
    log: VerifierKey,
    seen: Head,
    manner: Manner,
    asked: usize,
}

pub struct Witness {
    pub address: SocketAddr,
    cosigner: Arc<Cosigner>,
    state: Arc<Mutex<State>>,
}

impl Witness {
    /// One that knows a log, and has seen this much of it.
    pub async fn start(name: &str, log: VerifierKey, seen: Head) -> Self {
        let cosigner = Arc::new(Cosigner::new(name.parse().unwrap(), &[name.as_bytes()[0]; 32]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { log, seen, manner: Manner::Honest, asked: 0 }));
        let (judge, kept) = (Arc::clone(&cosigner), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (cosigner, state) = (Arc::clone(&judge), Arc::clone(&kept));
                let service = service_fn(move |request| answer(request, Arc::clone(&cosigner), Arc::clone(&state)));
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, cosigner, state }
    }

    pub fn is(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    pub fn key(&self) -> VerifierKey {
        self.cosigner.verifier_key().clone()
    }

    /// As the flag has it.
    pub fn flag(&self) -> String {
        format!("{}=http://{}/below", self.key(), self.address)
    }

    pub fn seen(&self) -> u64 {
        self.state.lock().unwrap().seen.size
    }

    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

async fn answer(
    request: Request<Incoming>,
    cosigner: Arc<Cosigner>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/below/add-checkpoint"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let whole = |status: u16, text: String| {
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(answer)
    };
    let mut state = state.lock().unwrap();
    state.asked += 1;
    if state.manner == Manner::Broken {
        return whole(500, "disk full".into());
    }
    if state.manner == Manner::Elsewhere && !state.asked.is_multiple_of(4) {
        return whole(503, "not the witness now".into());
    }
    let asked = AddCheckpoint::parse(&body).unwrap();
    let checkpoint = match asked.judge(&state.log, state.seen) {
        Ok(checkpoint) => checkpoint,
        Err(refusal) => {
            let text = refusal.known_size().map_or_else(|| refusal.to_string(), |size| format!("{size}\n"));
            return whole(refusal.status(), text);
        }
    };
    let now = UnixSeconds::new(1_800_000_000).unwrap();
    let other = Cosigner::new(cosigner.verifier_key().name().clone(), &[1; 32]);
    match state.manner {
        Manner::Honest | Manner::Elsewhere => {
            state.seen = Head { size: checkpoint.size(), root: checkpoint.root() };
            whole(200, format!("{}\n", cosigner.cosign(&checkpoint, now).unwrap()))
        }
        Manner::OtherKey => whole(200, format!("{}\n", other.cosign(&checkpoint, now).unwrap())),
        Manner::Silent | Manner::Broken => whole(200, String::new()),
    }
}
