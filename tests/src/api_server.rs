//! A twin of a cluster's API server: answers what a test has laid down, and remembers what it was asked for.
//!
//! Plain HTTP/1.1 on loopback, one thread a connection. It knows no kinds and no rules: a path has an answer or is not
//! found, as on a cluster that does not serve the kind. What takes a real API server is tested on one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};

/// Requests are small.
const MAX_BODY: usize = 1 << 20;

/// An answer, and what is to be answered after it.
type Answers = Vec<(u16, Value)>;

#[derive(Default)]
struct State {
    /// By method and path; of several answers the last one stays.
    answers: BTreeMap<String, Answers>,
    asked: Vec<(String, String)>,
}

/// The server. Ends with the process.
pub struct ApiServer {
    url: String,
    dir: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

impl ApiServer {
    /// Begins to listen.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&of_thread);
                // A client that has gone away is its own affair.
                std::thread::spawn(move || serve(stream, &state).ok());
            }
        });
        Ok(Self { url, dir: tempfile::tempdir()?, state })
    }

    /// Lays down an answer to "GET /path"; a further one to the same is given to the next request.
    pub fn answer(&self, request: &str, status: u16, body: Value) -> &Self {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers.entry(request.to_owned()).or_default().push((status, body));
        self
    }

    /// What was asked with this method and path: the bodies.
    pub fn asked(&self, request: &str) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.iter().filter(|(asked, _)| asked == request).map(|(_, body)| body.clone()).collect()
    }

    /// A kubeconfig whose only context has namespace `audit`.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.dir.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "twin",
            "clusters": [{"name": "twin", "cluster": {"server": self.url}}],
            "contexts": [{"name": "twin", "context": {"cluster": "twin", "user": "alice", "namespace": "audit"}}],
            "users": [{"name": "alice", "user": {}}],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

/// A refusal, as an API server words it.
pub fn status(code: u16, reason: &str, message: &str, name: &str) -> Value {
    let details = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
        "details": details, "code": code})
}

/// A list of objects of that kind.
pub fn list(kind: &str, items: &[Value]) -> Value {
    json!({"kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let request = format!("{method} {}", target.split('?').next().unwrap_or_default());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>()?.min(MAX_BODY);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, answer) = answer(&mut state.lock().unwrap_or_else(PoisonError::into_inner), &request, &body);
        write!(
            stream,
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
    }
}

fn answer(state: &mut State, request: &str, body: &[u8]) -> (u16, String) {
    state.asked.push((request.to_owned(), String::from_utf8_lossy(body).into_owned()));
    match state.answers.get_mut(request) {
        None => (404, "404 page not found\n".to_owned()),
        Some(answers) => {
            let (status, body) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            (status, body.to_string())
        }
    }
}
