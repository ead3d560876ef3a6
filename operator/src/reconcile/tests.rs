//! Whole passes against an API server in memory that fails where it is told to.

use std::collections::BTreeMap;
use std::sync::Mutex as StdMutex;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use indelible_chain::note::VerifierKey;
use kube::api::DynamicObject;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::observed::{Observed, ObservedLog};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const AUDIT_LOGS: &str = "/apis/indelible.dev/v1alpha1/namespaces/audit/auditlogs/payments";

/// Objects by path, requests counted, one of them refused.
#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    requests: Vec<String>,
    fail_at: Option<usize>,
    version: u64,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let nth = self.requests.len();
        self.requests.push(format!("{method} {path}"));
        if self.fail_at == Some(nth) {
            return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        let named = path.strip_suffix("/status").unwrap_or(path);
        match *method {
            Method::GET if path == "/.well-known/openid-configuration" => (StatusCode::OK, json!({"issuer": "i"})),
            Method::GET => self.get(path),
            Method::POST => {
                let object: Value = serde_json::from_slice(body).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                self.put(&format!("{path}/{name}"), object.clone())
            }
            Method::PATCH => {
                let patch: Value = serde_json::from_slice(body).unwrap();
                let merged = if path.ends_with("/status") {
                    let mut object = self.objects.get(named).cloned().unwrap_or_default();
                    object["status"] = patch["status"].clone();
                    object
                } else {
                    patch
                };
                self.put(named, merged)
            }
            Method::DELETE => {
                self.objects.remove(path);
                (StatusCode::OK, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            _ => status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn get(&self, path: &str) -> (StatusCode, Value) {
        if let Some(object) = self.objects.get(path) {
            return (StatusCode::OK, object.clone());
        }
        let is_list = ["/pods", "/persistentvolumeclaims", "/deployments", "/events"];
        if is_list.iter().any(|kind| path.ends_with(kind)) {
            let within = format!("{path}/");
            let items: Vec<&Value> =
                self.objects.iter().filter(|(at, _)| at.starts_with(&within)).map(|(_, object)| object).collect();
            return (StatusCode::OK, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}));
        }
        status(StatusCode::NOT_FOUND, "NotFound")
    }

    /// A conflict where the version is not the newest one; a new version where the content is another one.
    fn put(&mut self, path: &str, mut object: Value) -> (StatusCode, Value) {
        let old = self.objects.get(path).cloned();
        let asked = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let version = old.as_ref().map(|old| old["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
        if asked.is_some() && asked != version {
            return status(StatusCode::CONFLICT, "Conflict");
        }
        object["metadata"]["resourceVersion"] = version.clone().unwrap_or_default().into();
        if old.as_ref() != Some(&object) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.objects.insert(path.to_owned(), object.clone());
        }
        (StatusCode::OK, object)
    }
}

fn status(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason,
    });
    (code, status)
}

type Shared = Arc<StdMutex<Server>>;

fn client(server: Shared) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let (code, value) = server.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
            let bytes = Bytes::from(value.to_string());
            let response = Response::builder().status(code).body(Full::new(bytes));
            response.map_err(kube::Error::HttpError)
        }
    });
    Client::new(service, "audit")
}

fn audit_log() -> Value {
    json!({
        "apiVersion": "indelible.dev/v1alpha1", "kind": "AuditLog",
        "metadata": { "name": "payments", "namespace": "audit", "uid": "u", "generation": 1, "resourceVersion": "0" },
        "spec": {},
    })
}

/// A process that begins, with the API server as another one has left it.
fn context(server: &Shared, observed: Observations) -> Arc<Context> {
    let needed = ["op", "run", "--namespace", "audit", "--collector-image", "c", "--sidecar-image", "s"];
    let Ok(crate::config::Task::Run(config)) = crate::config::read(needed.map(Into::into)) else { panic!() };
    let key: VerifierKey = VKEY.parse().unwrap();
    let client = client(Arc::clone(server));
    let seams = Seams {
        client: client.clone(),
        config: Arc::new(*config),
        cluster: Cluster { uid: "uid".to_owned(), issuer: "i".to_owned(), chooses_uids: false },
        keys: PublicKeys { witness: key.clone(), authority: key },
        views: watch::channel(PoolViews::new()).0,
        observed: watch::channel(observed).1,
        injection: watch::channel(Injection::default()).1,
        events: Arc::new(Events::new(client, "me".to_owned())),
        metrics: Metrics::default(),
    };
    Arc::new(Context {
        seams,
        opt_ins: Arc::default(),
        stale: Arc::default(),
        versions: Arc::default(),
        volumes: Arc::default(),
        memory: Mutex::default(),
    })
}

async fn look_at(context: &Arc<Context>, log: Value) -> Option<Duration> {
    let log: Guarded = serde_json::from_value(log).unwrap();
    let action = Box::pin(pass::look_at(Arc::new(log), Arc::clone(context))).await.unwrap();
    if action == Action::await_change() { None } else { Some(Duration::ZERO) }
}

fn new_server() -> Shared {
    let server = Server { objects: [(AUDIT_LOGS.to_owned(), audit_log())].into(), ..Server::default() };
    Arc::new(StdMutex::new(server))
}

/// What is there, without what differs between two runs of the same.
fn children(server: &Shared) -> Vec<String> {
    let server = server.lock().unwrap();
    server.objects.keys().filter(|path| !path.contains("/events/") && *path != AUDIT_LOGS).cloned().collect()
}

fn forget_requests(server: &Shared) -> Vec<String> {
    std::mem::take(&mut server.lock().unwrap().requests)
}

fn ca(server: &Shared) -> Option<Value> {
    let path = "/api/v1/namespaces/audit/secrets/payments-ca";
    server.lock().unwrap().objects.get(path).map(|secret| secret["data"]["ca.key"].clone())
}

#[test]
fn failures_are_tried_again_ever_more_slowly() {
    assert_eq!(backoff(1), RETRY_FIRST);
    assert_eq!(backoff(2), RETRY_FIRST * 2);
    assert_eq!(backoff(40), RETRY_LAST);
}

#[tokio::test]
async fn a_pass_that_ends_at_any_request_is_finished_by_the_next_process() {
    let whole = new_server();
    look_at(&context(&whole, Observations::new()), audit_log()).await;
    let (expected, requests) = (children(&whole), forget_requests(&whole).len());
    assert_eq!(expected.len(), 10, "{expected:?}");
    assert!(requests > 15, "{requests}");
    for fail_at in 0..requests {
        let server = new_server();
        server.lock().unwrap().fail_at = Some(fail_at);
        look_at(&context(&server, Observations::new()), audit_log()).await;
        let ca_before = ca(&server);
        server.lock().unwrap().fail_at = None;
        look_at(&context(&server, Observations::new()), audit_log()).await;
        assert_eq!(children(&server), expected, "failed at request {fail_at}");
        assert!(ca_before.is_none() || ca(&server) == ca_before, "the CA was replaced after request {fail_at} failed");
    }
}

#[tokio::test]
async fn nothing_is_asked_while_nothing_changes() {
    let server = new_server();
    let context = context(&server, Observations::new());
    look_at(&context, audit_log()).await;
    forget_requests(&server);
    // What the watches would have heard by now.
    for object in server.lock().unwrap().objects.values() {
        let Ok(object) = serde_json::from_value::<DynamicObject>(object.clone()) else { continue };
        let kind = object.types.clone().unwrap_or_default().kind;
        context.versions.set(&kind, &object, object.metadata.resource_version.clone());
    }
    // The first look after the writing reads once, since the writing itself was heard of.
    context.stale.mark(PoolName::new("audit", "payments"));
    look_at(&context, audit_log()).await;
    forget_requests(&server);
    for _ in 0..3 {
        look_at(&context, audit_log()).await;
    }
    assert_eq!(forget_requests(&server), Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_else_changed_is_put_right() {
    let server = new_server();
    let context = context(&server, Observations::new());
    look_at(&context, audit_log()).await;
    let budget = "/apis/policy/v1/namespaces/audit/poddisruptionbudgets/payments";
    let expected = server.lock().unwrap().objects[budget].clone();
    server.lock().unwrap().objects.remove(budget);
    context.stale.mark(PoolName::new("audit", "payments"));
    look_at(&context, audit_log()).await;
    assert_eq!(server.lock().unwrap().objects[budget]["spec"], expected["spec"]);
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_in_its_own_words() {
    let server = new_server();
    server.lock().unwrap().fail_at = Some(12);
    look_at(&context(&server, Observations::new()), audit_log()).await;
    let status = server.lock().unwrap().objects[AUDIT_LOGS]["status"].clone();
    let degraded = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Degraded").unwrap().clone();
    assert_eq!(degraded["reason"], "ApplyFailed");
    let message = degraded["message"].as_str().unwrap();
    assert!(message.ends_with("payments-reader: InternalError"), "{message}");
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_read_says_so_and_changes_nothing_else() {
    let server = new_server();
    let mut bad = audit_log();
    bad["spec"]["collectors"] = json!({"replicas": "many"});
    look_at(&context(&server, Observations::new()), bad).await;
    let requests = forget_requests(&server);
    assert!(requests.iter().all(|request| request.ends_with("/status") || request.contains("/events")), "{requests:?}");
    let status = server.lock().unwrap().objects[AUDIT_LOGS]["status"].clone();
    let ready = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap().clone();
    assert_eq!((ready["status"].as_str(), ready["reason"].as_str()), (Some("False"), Some("InvalidSpec")));
    assert!(ready["message"].as_str().unwrap().contains("many"), "{ready}");
}

#[tokio::test]
async fn a_paused_audit_log_is_told_of_and_not_changed() {
    let server = new_server();
    let mut paused = audit_log();
    paused["spec"]["paused"] = true.into();
    look_at(&context(&server, Observations::new()), paused).await;
    assert_eq!(children(&server), Vec::<String>::new());
    let status = server.lock().unwrap().objects[AUDIT_LOGS]["status"].to_string();
    assert!(status.contains("Paused"), "{status}");
}

#[tokio::test]
async fn a_collector_gets_a_certificate_only_for_its_pinned_key() {
    let server = new_server();
    look_at(&context(&server, Observations::new()), audit_log()).await;
    let pod = |key: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "payments-0", "namespace": "audit", "resourceVersion": "1",
                "labels": { "app.kubernetes.io/managed-by": "indelible-operator", "indelible.dev/audit-log": "audit.payments" },
            },
            "status": {
                "podIP": "10.0.0.1",
                "initContainerStatuses": [{
                    "name": "key", "image": "c", "imageID": "c", "ready": true, "restartCount": 0,
                    "state": { "terminated": { "exitCode": 0, "message": key } },
                }],
            },
        })
    };
    let log = ObservedLog {
        ordinal: 0,
        collector: "payments-0".to_owned(),
        public_key: VKEY.parse().unwrap(),
        tree_size: 0,
        newest_leaf_time: None,
        witnessed_size: 0,
        state: crate::api::LogState::Open,
    };
    let observed = Observed { logs: vec![log], ..Observed::default() };
    let certificates = async |told: &str| {
        server.lock().unwrap().objects.insert("/api/v1/namespaces/audit/pods/payments-0".to_owned(), pod(told));
        let observed = Observations::from([(PoolName::new("audit", "payments"), Arc::new(observed.clone()))]);
        look_at(&context(&server, observed), audit_log()).await;
        let server = server.lock().unwrap();
        let data = server.objects["/api/v1/namespaces/audit/secrets/payments-tls"]["data"].clone();
        data.as_object().map(|data| data.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    let other = indelible_chain::note::VerifierKey::new(
        "example.com/foo".parse().unwrap(),
        indelible_chain::note::Algorithm::Ed25519,
        indelible_chain::key::PrivateKey::from_seed(&[9; 32]).public(),
    );
    assert_eq!(certificates(&other.to_string()).await, Vec::<String>::new());
    assert_eq!(certificates(VKEY).await, ["payments-0.crt", "payments-0.key"]);
}
