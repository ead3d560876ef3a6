//! Errors as RFC 9457 problems: a stable type, a title, a status, and a detail that names thing, limit and remedy.

use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use indelible_chain::bytes::DecodeError;

use super::body::AnswerBody;
use crate::desk::Unanswered;
use crate::heartbeats::NoteError;
use crate::ingest::Refusal;
use crate::kube::ApiError;
use crate::readers::Refused;
use crate::store::{AppendError, ReadError};
use crate::token::TokenError;

/// What the types of problems begin with.
const TYPES: &str = "https://indelible.dev/problems/";

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    slug: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, detail: detail.into(), retry_after: None, allow: None }
    }

    /// Something that there is not.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A path or query that cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// A method that the path does not have: nothing here is ever overwritten or removed.
    pub(super) fn method(method: &Method, path: &str, allow: &'static str) -> Self {
        let detail = format!("{method} is not for {path}, only {allow} is; what is stored is never changed or removed");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail) }
    }

    /// More than is served at a time.
    pub(super) fn overloaded(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { retry_after: Some(Duration::from_secs(1)), ..Self::new(status, "overloaded", detail) }
    }

    /// What will pass without the caller's doing.
    pub(super) fn later(slug: &'static str, detail: impl Into<String>) -> Self {
        Self { retry_after: Some(Duration::from_secs(5)), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, slug, detail) }
    }

    pub(super) fn unauthorized(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, slug, detail)
    }

    /// Something that the caller may not do.
    pub(super) fn forbidden(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, slug, detail)
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The last part of its stable type.
    pub(super) const fn reason(&self) -> &'static str {
        self.slug
    }

    pub(super) fn into_response(self) -> Response<AnswerBody> {
        let Self { status, slug, detail, retry_after, allow } = self;
        let problem = serde_json::json!({
            "type": format!("{TYPES}{slug}"),
            "title": status.canonical_reason().unwrap_or("Refused"),
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut response = Response::new(AnswerBody::from(problem.to_string().into_bytes()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = retry_after {
            // Whole seconds, never 0: at once is not after.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status()).expect("refusals have statuses of the interface's table");
        Self { retry_after: refusal.retry_after(), ..Self::new(status, refusal.slug(), refusal.to_string()) }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        if let TokenError::Unheard(_) = error {
            return Self::later("keys-not-known", error.to_string());
        }
        Self::unauthorized("token", error.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::unauthorized("token", refused.to_string()),
            Refused::Nothing { .. } | Refused::TooMany { .. } => Self::forbidden("not-a-reader", refused.to_string()),
        }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        // What the API server says of the collector's own rights is for its operators: in the log, not in the answer.
        let detail = if error.is_away() {
            "who may read is asked of the API server, which does not answer; try again"
        } else {
            "who may read is asked of the API server, which refuses to say; the collector's log says why"
        };
        Self::later("readers-not-known", detail)
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let (status, slug, retry) = match &error {
            AppendError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", Some(1)),
            AppendError::SessionNotIntroduced(_) => (StatusCode::PRECONDITION_FAILED, "session-not-introduced", None),
            AppendError::ChainNotIntroduced(_) => (StatusCode::PRECONDITION_FAILED, "chain-not-introduced", None),
            AppendError::Foreign { .. } => (StatusCode::FORBIDDEN, "other-chain", None),
            AppendError::TokenOver(_) => (StatusCode::SERVICE_UNAVAILABLE, "token-over", Some(5)),
            AppendError::TooManyConflicts { .. } => (StatusCode::CONFLICT, "conflicts", None),
            AppendError::Leaf(DecodeError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", None),
            AppendError::Leaf(_) => (StatusCode::BAD_REQUEST, "malformed", None),
            AppendError::Read(_) => (StatusCode::SERVICE_UNAVAILABLE, "unreadable", Some(1)),
            AppendError::NoSpace { .. } => (StatusCode::INSUFFICIENT_STORAGE, "no-space", Some(30)),
            AppendError::Stalled(_) => (StatusCode::SERVICE_UNAVAILABLE, "stalled", Some(5)),
            AppendError::Sealed => (StatusCode::SERVICE_UNAVAILABLE, "sealed", Some(5)),
            AppendError::Fatal(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopped", Some(5)),
        };
        Self { retry_after: retry.map(Duration::from_secs), ..Self::new(status, slug, error.to_string()) }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "cannot read what is stored; if it lasts, the volume is failing: verify a copy of it");
        let detail = format!("what is stored cannot be read now: {error}");
        Self { slug: "unreadable", ..Self::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }
}

impl From<Unanswered> for Problem {
    fn from(error: Unanswered) -> Self {
        Self::overloaded(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<NoteError> for Problem {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Full => Self::overloaded(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            NoteError::Sealed => AppendError::Sealed.into(),
            NoteError::Encode(error) => Self::malformed(error.to_string()),
        }
    }
}
