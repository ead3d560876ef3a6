//! What the API server was asked for, and what its refusal means for a person.
//!
//! Core: errors in, text out. A refusal names the right that is missing and the commands that give it; an API server that
//! is away, one that wants a login and one that does not know the kind are told apart, because the remedy differs.

use std::fmt::{self, Write as _};

use kube::client::AuthError;

use crate::text::one_line;

/// The chart's role for people who read a pool.
pub const AUDITOR: &str = "indelible-auditor";
/// The chart's role for people who acknowledge findings.
pub const ACKNOWLEDGER: &str = "indelible-acknowledger";

/// One thing that a user may or may not do with the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// What is done, as RBAC says it; more than one where an API server may ask for either.
    verbs: &'static [&'static str],
    /// To what, as `kubectl create role` takes it: `pods`, `auditlogs.indelible.dev`, `pods/portforward`; or a path that
    /// is no resource, with its slash.
    resource: &'static str,
    /// Which one of them; all where it is empty.
    name: String,
    /// In which namespace; in the whole cluster where it is empty.
    namespace: String,
    /// A role of the chart that has it, with all else that its command needs.
    role: &'static str,
}

impl Right {
    /// To do something to all of a kind, in the whole cluster.
    pub const fn to(verbs: &'static [&'static str], resource: &'static str) -> Self {
        Self { verbs, resource, name: String::new(), namespace: String::new(), role: "" }
    }

    /// In this namespace only.
    pub fn within(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// To this one only.
    pub fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// As one of those that this role of the chart has.
    pub const fn by(mut self, role: &'static str) -> Self {
        self.role = role;
        self
    }

    /// The commands that give it to `who`, as flags of a binding (`--user=alice`).
    fn grant(&self, who: &str) -> String {
        let Self { verbs, resource, name, namespace, role } = self;
        // A binding of its own for each user: one of that name may be there.
        let whose: String = who.rsplit(['=', ':', '/']).next().unwrap_or_default().to_lowercase();
        let whose: String = whose.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let whose = whose.trim_matches('-');
        if !role.is_empty() {
            return format!("kubectl create rolebinding {role}-{whose} -n {namespace} --clusterrole={role} {who}");
        }
        let verbs = verbs.join(",");
        let role = format!("{}-{}", verbs.replace(',', "-"), resource.replace(['/', '.'], "-").trim_matches('-'));
        let which = if name.is_empty() { String::new() } else { format!(" --resource-name={name}") };
        if resource.starts_with('/') {
            return format!(
                "kubectl create clusterrole {role} --verb={verbs} --non-resource-url={resource}\n  \
                 kubectl create clusterrolebinding {role}-{whose} --clusterrole={role} {who}"
            );
        }
        if namespace.is_empty() {
            return format!(
                "kubectl create clusterrole {role} --verb={verbs} --resource={resource}{which}\n  \
                 kubectl create clusterrolebinding {role}-{whose} --clusterrole={role} {who}"
            );
        }
        format!(
            "kubectl create role {role} -n {namespace} --verb={verbs} --resource={resource}{which}\n  \
             kubectl create rolebinding {role}-{whose} -n {namespace} --role={role} {who}"
        )
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verbs, resource, name, namespace, role: _ } = self;
        write!(f, "{} {resource}", verbs.join(" and "))?;
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        if !namespace.is_empty() {
            write!(f, " in namespace {namespace}")?;
        }
        Ok(())
    }
}

/// Why the API server did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct AskError {
    /// What a caller treats differently.
    pub kind: AskErrorKind,
    text: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskErrorKind {
    /// The user may not.
    Forbidden,
    /// There is no such object.
    NotFound,
    /// The API server does not serve that kind.
    NoKind,
    /// A policy of the cluster denied it.
    Policy,
    /// Somebody else was faster.
    Conflict,
    /// It is not what the API server takes.
    Invalid,
    /// Nobody answers, or not in time.
    Away,
    /// The user is not known, or could not log in.
    Login,
    /// Something else.
    Other,
}

impl AskError {
    /// An API server that did not answer in time.
    pub fn late(right: &Right, server: &str, seconds: u64) -> Self {
        let text = format!("the API server {server} did not answer within {seconds} s when asked to {right}");
        Self { kind: AskErrorKind::Away, text }
    }

    /// An answer without what was asked for.
    pub fn nothing(right: &Right, server: &str) -> Self {
        let text = format!("the API server {server} gave nothing when asked to {right}");
        Self { kind: AskErrorKind::Other, text }
    }

    /// A list that is longer than this program reads.
    pub fn too_many(right: &Right, most: usize) -> Self {
        Self { kind: AskErrorKind::Other, text: format!("there are more than {most}, the most that are read: {right}") }
    }

    /// What an error of the client means.
    pub fn new(right: &Right, server: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::refused(right, server, status),
            kube::Error::Auth(error) => Self { kind: AskErrorKind::Login, text: login(error) },
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                // A login that is made while a request is on its way fails inside of it.
                let causes: Vec<&dyn std::error::Error> =
                    std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source()).collect();
                if let Some(error) = causes.iter().find_map(|cause| cause.downcast_ref::<AuthError>()) {
                    return Self { kind: AskErrorKind::Login, text: login(error) };
                }
                // The last cause says it best: the ones above are layers of the client.
                let last = causes.last().map(ToString::to_string).unwrap_or_default();
                let text = format!("the API server {server} does not answer: {}", one_line(&last));
                Self { kind: AskErrorKind::Away, text }
            }
            other => {
                let text = format!("the API server {server} could not be asked to {right}: {}", one_line(&why(other)));
                Self { kind: AskErrorKind::Other, text }
            }
        }
    }

    fn refused(right: &Right, server: &str, status: &kube::core::Status) -> Self {
        let said = one_line(&status.message);
        match status.code {
            401 => Self {
                kind: AskErrorKind::Login,
                text: format!(
                    "the API server {server} does not know you: log in again as your cluster asks for it, and see whether \
                     `kubectl auth whoami` answers"
                ),
            },
            // A policy's refusal is no missing right of RBAC.
            403 | 422 if said.contains("ValidatingAdmissionPolicy") => {
                Self { kind: AskErrorKind::Policy, text: format!("refused by a policy of the cluster: {said}") }
            }
            403 => Self {
                kind: AskErrorKind::Forbidden,
                text: format!(
                    "you may not {right}{}; who may grant it does so with\n  {}",
                    reason(&said),
                    right.grant(&subject(&said))
                ),
            },
            404 if status.details.as_ref().is_none_or(|of| of.name.is_empty()) => Self {
                kind: AskErrorKind::NoKind,
                text: format!("the API server {server} does not serve what was asked for: {right}"),
            },
            404 => Self { kind: AskErrorKind::NotFound, text: format!("there is none to {right} ({said})") },
            409 => Self { kind: AskErrorKind::Conflict, text: format!("refused: {said}") },
            400 | 422 => Self { kind: AskErrorKind::Invalid, text: format!("refused: {said}") },
            429 | 500..=599 => Self {
                kind: AskErrorKind::Away,
                text: format!("the API server {server} is in trouble ({}: {said})", status.code),
            },
            code => {
                Self { kind: AskErrorKind::Other, text: format!("the API server {server} answered {code}: {said}") }
            }
        }
    }

    /// Whether the object is not there, of whatever reason.
    pub const fn is_absence(&self) -> bool {
        matches!(self.kind, AskErrorKind::NotFound | AskErrorKind::NoKind)
    }
}

/// What a refusal says beside who may not do what: an authorizer's own words.
fn reason(said: &str) -> String {
    let tail = said.rsplit_once("at the cluster scope: ").or_else(|| said.rsplit_once("\": "));
    tail.map(|(_, reason)| format!(" ({reason})")).unwrap_or_default()
}

/// Whom a refusal names, as a flag for a binding.
fn subject(said: &str) -> String {
    let user = said.split_once("User \"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(user, _)| user);
    let account = user.strip_prefix("system:serviceaccount:").and_then(|of| of.split_once(':'));
    match account {
        Some((namespace, name)) => format!("--serviceaccount={namespace}:{name}"),
        None if user.is_empty() => "--user=YOU".to_owned(),
        None => format!("--user={user}"),
    }
}

/// Why a login failed, with what the helper said.
fn login(error: &AuthError) -> String {
    let why = match error {
        AuthError::AuthExecRun { cmd, out } => {
            let mut said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            if said.is_empty() {
                said = out.status.to_string();
            }
            format!("the command of your kubeconfig failed: {}: {}", one_line(cmd), one_line(&said))
        }
        AuthError::AuthExecStart(e) => format!("the command of your kubeconfig cannot be started: {e}"),
        other => one_line(&why(other)),
    };
    format!("your kubeconfig's context needs a login: {why}; log in, and see whether `kubectl auth whoami` answers")
}

/// An error with its causes, each once: many of the client's repeat the one below.
pub fn why(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    fn refused(code: u16, message: &str, name: &str) -> AskError {
        let details = StatusDetails {
            name: name.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        let status = Status { details: Some(details), ..Status::failure(message, "").with_code(code) };
        let right = Right::to(&["get"], "auditlogs.indelible.dev").within("audit").called("payments");
        AskError::new(&right, "https://api", &kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_refusal_names_the_right_and_the_commands_that_give_it_to_this_user() {
        let error = refused(403, "auditlogs is forbidden: User \"alice\" cannot get resource", "payments");
        assert_eq!(error.kind, AskErrorKind::Forbidden);
        let text = error.to_string();
        for part in [
            "you may not get auditlogs.indelible.dev payments in namespace audit",
            "create role get-auditlogs-indelible-dev -n audit --verb=get --resource=auditlogs.indelible.dev --resource-name=payments\n",
            "create rolebinding get-auditlogs-indelible-dev-alice -n audit --role=get-auditlogs-indelible-dev --user=alice",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let text = refused(403, "User \"system:serviceaccount:ci:nightly\" cannot", "x").to_string();
        assert!(text.ends_with("--serviceaccount=ci:nightly"), "{text}");
        let text =
            refused(403, "User \"a\" cannot get x in the namespace \"y\": no access before noon", "x").to_string();
        assert!(text.contains("in namespace audit (no access before noon);"), "{text}");
    }

    #[test]
    fn a_right_of_a_role_of_the_chart_is_given_by_that_role() {
        let right = Right::to(&["list"], "pods").within("audit").by(AUDITOR);
        let grant =
            "kubectl create rolebinding indelible-auditor-b-c -n audit --clusterrole=indelible-auditor --user=sso:b@c";
        assert_eq!(right.grant("--user=sso:b@c"), grant);
    }

    #[test]
    fn rights_of_the_whole_cluster_and_on_paths_are_given_by_a_cluster_role() {
        let grant = Right::to(&["list"], "namespaces").grant("--user=a");
        assert!(
            grant.contains("clusterrolebinding list-namespaces-a --clusterrole=list-namespaces --user=a"),
            "{grant}"
        );
        let grant = Right::to(&["get"], "/openid/v1/jwks").grant("--user=a");
        assert!(
            grant.contains("clusterrole get-openid-v1-jwks --verb=get --non-resource-url=/openid/v1/jwks"),
            "{grant}"
        );
    }

    #[test]
    fn what_is_not_there_is_told_from_a_kind_that_is_not_served() {
        assert_eq!(refused(404, "not found", "payments").kind, AskErrorKind::NotFound);
        assert_eq!(refused(404, "404 page not found", "").kind, AskErrorKind::NoKind);
        assert_eq!(refused(401, "Unauthorized", "").kind, AskErrorKind::Login);
        assert_eq!(refused(503, "apiserver is shutting down", "").kind, AskErrorKind::Away);
        let denied = "auditlogs \"payments\" is forbidden: ValidatingAdmissionPolicy 'indelible-acknowledge' denied";
        assert_eq!(refused(403, denied, "payments").kind, AskErrorKind::Policy);
    }

    #[test]
    fn what_an_api_server_says_cannot_move_the_cursor() {
        let text = refused(422, "a\u{1b}[2Jb", "x").to_string();
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
