//! What the API server knows of a reader: whose token it is, and what that user may do.
//!
//! `TokenReview` and `SubjectAccessReview`. Which tokens are handed to it at all is decided before
//! ([`crate::token::Tokens::reader`]): only those that are good for us and for nobody else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ApiError, ApiServer};
use crate::config::ObjectName;

/// A user, as the API server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    username: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// What a user may do or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<'a> {
    /// `get auditlogs/records` of one `AuditLog`.
    Records(&'a ObjectName),
    /// `get pods/log` in one namespace.
    PodLogs(&'a str),
    /// `get pods/log` in every namespace.
    AllPodLogs,
}

#[derive(Deserialize)]
struct TokenReview {
    #[serde(default)]
    status: TokenStatus,
}

#[derive(Deserialize, Default)]
struct TokenStatus {
    #[serde(default)]
    authenticated: bool,
    user: Option<User>,
    #[serde(default)]
    audiences: Vec<String>,
}

#[derive(Deserialize)]
struct AccessReview {
    status: AccessStatus,
}

#[derive(Deserialize)]
struct AccessStatus {
    allowed: bool,
    #[serde(default)]
    denied: bool,
}

impl User {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.username
    }
}

impl ApiServer {
    /// Whose token this is; `None` if it is nobody's, or for another audience.
    pub async fn user(&self, token: &str, audience: &str) -> Result<Option<User>, ApiError> {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": { "token": token, "audiences": [audience] },
        });
        let answer = self.create("/apis/authentication.k8s.io/v1/tokenreviews", &review).await?;
        let TokenReview { status } = parse("TokenReview", &answer)?;
        let for_us = status.authenticated && status.audiences.iter().any(|one| one == audience);
        Ok(status.user.filter(|user| for_us && !user.username.is_empty()))
    }

    /// Whether a user may do something.
    pub async fn may(&self, user: &User, access: Access<'_>) -> Result<bool, ApiError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra,
                "resourceAttributes": access.attributes(),
            },
        });
        let answer = self.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
        let AccessReview { status: AccessStatus { allowed, denied } } = parse("SubjectAccessReview", &answer)?;
        Ok(allowed && !denied)
    }
}

impl Access<'_> {
    fn attributes(self) -> serde_json::Value {
        match self {
            Self::Records(ObjectName { namespace, name }) => json!({
                "verb": "get", "group": "indelible.dev", "resource": "auditlogs", "subresource": "records",
                "namespace": namespace, "name": name,
            }),
            Self::PodLogs(namespace) => json!({
                "verb": "get", "group": "", "resource": "pods", "subresource": "log", "namespace": namespace,
            }),
            // No namespace is all of them.
            Self::AllPodLogs => json!({ "verb": "get", "group": "", "resource": "pods", "subresource": "log" }),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(expected: &'static str, bytes: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::Garbage { expected, text: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_asked_for_as_rbac_names_it() {
        let name = ObjectName { namespace: "audit".into(), name: "payments".into() };
        let records = Access::Records(&name).attributes();
        assert_eq!(records["resource"], "auditlogs");
        assert_eq!((&records["namespace"], &records["name"]), (&json!("audit"), &json!("payments")));
        assert_eq!(Access::PodLogs("shop").attributes()["namespace"], "shop");
        assert!(Access::AllPodLogs.attributes().get("namespace").is_none());
    }

    #[test]
    fn an_answer_without_a_verdict_is_none() {
        let read = |text: &'static str| parse::<AccessReview>("SubjectAccessReview", text.as_bytes());
        assert!(read("{}").is_err());
        assert!(read(r#"{"status":{}}"#).is_err());
        assert!(read(r#"{"status":{"allowed":false}}"#).is_ok());
        let TokenReview { status } = parse("TokenReview", br#"{"status":{"error":"x"}}"#).unwrap();
        assert!(!status.authenticated);
    }
}
