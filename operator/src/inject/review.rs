//! `AdmissionReview` of `admission.k8s.io/v1`: what is asked, and how it is answered.
//!
//! Pure. Whatever cannot be read is refused with a text that says what was expected.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Incoming};

const VERSION: &str = "admission.k8s.io/v1";
/// The API server shortens longer warnings.
const MAX_WARNING: usize = 1024;

/// Why a body is no question.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or not of this shape.
    #[error("the body is no AdmissionReview: {0}")]
    Shape(#[from] serde_json::Error),
    /// Of another version.
    #[error("the body has apiVersion {0:?} and kind {1:?}, expected {VERSION:?} and \"AdmissionReview\"")]
    Version(String, String),
    /// An answer instead of a question.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// Without a pod.
    #[error("request.object is no pod: {0}")]
    Pod(#[source] serde_json::Error),
    /// Without a namespace.
    #[error("the request has no namespace, and pods have one")]
    NoNamespace,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    operation: String,
    resource: Resource,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Resource {
    group: String,
    resource: String,
}

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// To be repeated in the answer.
    pub uid: String,
    /// What it is about.
    pub about: About,
}

/// What a question is about.
#[derive(Debug)]
pub enum About {
    /// A pod that is created.
    Pod {
        /// Where.
        namespace: String,
        /// The pod.
        incoming: Box<Incoming>,
    },
    /// Something that we have no opinion of.
    Other,
}

/// Reads a question.
pub fn read(body: &[u8]) -> Result<Question, Malformed> {
    let review: Review = serde_json::from_slice(body)?;
    if review.api_version != VERSION || review.kind != "AdmissionReview" {
        return Err(Malformed::Version(review.api_version, review.kind));
    }
    let Request { uid, operation, resource, sub_resource, namespace, object } =
        review.request.ok_or(Malformed::NoRequest)?;
    let is_pod = resource.group.is_empty() && resource.resource == "pods";
    if !is_pod || operation != "CREATE" || sub_resource.is_some_and(|name| !name.is_empty()) {
        return Ok(Question { uid, about: About::Other });
    }
    if namespace.is_empty() {
        return Err(Malformed::NoNamespace);
    }
    let incoming = Box::new(Incoming::new(object).map_err(Malformed::Pod)?);
    Ok(Question { uid, about: About::Pod { namespace, incoming } })
}

/// Writes an answer.
pub fn write(uid: &str, answer: &Answer) -> Vec<u8> {
    let mut response = json!({"uid": uid, "allowed": !matches!(answer, Answer::Deny(_))});
    let shortened = |text: &String| text.chars().take(MAX_WARNING).collect::<String>();
    match answer {
        Answer::Inject { patch, pool, warnings } => {
            let patch = serde_json::to_vec(patch).expect("a patch is made of plain values");
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch));
            // In the API server's own audit log: which pool.
            response["auditAnnotations"] = json!({"injected": pool});
            if !warnings.is_empty() {
                response["warnings"] = warnings.iter().map(shortened).collect();
            }
        }
        Answer::Leave { warning } => {
            if let Some(warning) = warning {
                response["warnings"] = json!([shortened(warning)]);
            }
        }
        Answer::Deny(message) => response["status"] = json!({"code": 403, "reason": "Forbidden", "message": message}),
    }
    json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;

    fn review(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut review = json!({"apiVersion": VERSION, "kind": "AdmissionReview", "request": {
            "uid": "u1", "operation": "CREATE", "namespace": "pay", "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": samples::pod(),
        }});
        change(&mut review);
        review.to_string().into_bytes()
    }

    #[test]
    fn pods_that_are_created_are_what_we_have_an_opinion_of() {
        let question = read(&review(|_| ())).unwrap();
        assert!(question.uid == "u1" && matches!(question.about, About::Pod { namespace, .. } if namespace == "pay"));
        for (path, value) in [
            ("operation", json!("UPDATE")),
            ("subResource", json!("ephemeralcontainers")),
            ("resource", json!({"group": "apps", "version": "v1", "resource": "pods"})),
            ("resource", json!({"group": "", "version": "v1", "resource": "services"})),
        ] {
            let question = read(&review(|review| review["request"][path] = value)).unwrap();
            assert!(matches!(question.about, About::Other), "{path}");
        }
    }

    #[test]
    fn what_is_no_question_says_what_was_expected() {
        for (body, words) in [
            (b"".to_vec(), "no AdmissionReview"),
            (b"{\"apiVersion\":".to_vec(), "no AdmissionReview"),
            (b"[]".to_vec(), "no AdmissionReview"),
            (b"{}".to_vec(), "expected \"admission.k8s.io/v1\""),
            (review(|review| review["apiVersion"] = json!("admission.k8s.io/v1beta1")), "admission.k8s.io/v1beta1"),
            (review(|review| review["request"] = Value::Null), "has no request"),
            (review(|review| review["request"]["object"] = Value::Null), "request.object is no pod"),
            (
                review(|review| review["request"]["object"]["spec"]["containers"] = json!("x")),
                "request.object is no pod",
            ),
            (review(|review| review["request"]["namespace"] = json!("")), "no namespace"),
        ] {
            let text = read(&body).unwrap_err().to_string();
            assert!(text.contains(words) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn an_answer_repeats_the_uid_and_carries_patch_warning_or_message() {
        let written = |answer: &Answer| {
            let review: Value = serde_json::from_slice(&write("u1", answer)).unwrap();
            assert_eq!((&review["kind"], &review["response"]["uid"]), (&json!("AdmissionReview"), &json!("u1")));
            review["response"].clone()
        };
        let inject = written(&Answer::Inject {
            patch: json_patch::Patch(Vec::new()),
            pool: "a.b".to_owned(),
            warnings: vec!["w".to_owned()],
        });
        assert_eq!(
            inject,
            json!({"uid": "u1", "allowed": true, "patchType": "JSONPatch", "patch": "W10=",
            "auditAnnotations": {"injected": "a.b"}, "warnings": ["w"]})
        );
        let long = written(&Answer::Leave { warning: Some("é".repeat(5_000)) });
        assert_eq!(long["warnings"][0].as_str().unwrap().chars().count(), MAX_WARNING);
        assert_eq!(written(&Answer::Leave { warning: None }), json!({"uid": "u1", "allowed": true}));
        let deny = written(&Answer::Deny("no".to_owned()));
        assert_eq!(
            deny,
            json!({"uid": "u1", "allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "no"}})
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>, cut in 0_usize..600) {
            let _ = read(&body);
            let whole = review(|_| ());
            let _ = read(&whole[..cut.min(whole.len())]);
        }
    }
}
