//! Who may read what, by the cluster's word.
//!
//! A reader's token that is good (signed by a known issuer, for our reader audience alone) is reviewed: whose it is, and
//! whether that user may `get auditlogs/records` of the `AuditLog`, and so read everything; else in which opted-in
//! namespaces it may `get pods/log`, and so read what their pods printed, in sessions younger than the namespace: an older
//! one was another namespace's of that name. What is found is known for a minute, also that there is nothing. A token is
//! asked for once however many requests carry it, and while the API server is away readers are told to come again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt, TryStreamExt};
use indelible_chain::digest::Digest;
use indelible_chain::id::Time;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::config::ObjectName;
use crate::ingest::Namespaces;
use crate::kube::review::{Access, User};
use crate::kube::{ApiError, ApiServer};
use crate::limits::{MAX_REVIEWED, MAX_REVIEWED_NAMESPACES, REVIEWED, REVIEWS_AT_A_TIME};
use crate::metrics::{Metrics, ReviewOutcome};
use crate::store::KnownSession;
use crate::trouble::Trouble;

/// How readers are known.
#[derive(Debug)]
pub enum Readers {
    /// No token is asked for.
    None,
    /// Any good token reads everything.
    Jwks,
    /// The cluster says who may read what.
    Reviewed(Reviews),
}

/// What a reader may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// All there is.
    Everything,
    /// What the pods of these namespaces printed, in sessions that are not older than the namespace.
    Namespaces(BTreeMap<String, Time>),
}

/// Why a reader may read nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum Refused {
    #[error("the API server does not know the token; ask for a new one")]
    Unknown,
    #[error(
        "{user} may neither `get auditlogs/records` of {resource}, which reads everything, nor `get pods/log` in a namespace \
         that is opted in to it; grant one of them by a Role"
    )]
    Nothing { user: String, resource: ObjectName },
    #[error(
        "{user} may not `get auditlogs/records` of {resource}, and {found} namespaces are opted in to it: up to \
         {MAX_REVIEWED_NAMESPACES} are looked at one by one; grant auditlogs/records, or pods/log in all namespaces"
    )]
    TooMany { user: String, resource: ObjectName, found: usize },
}

/// Asks the cluster, and remembers for a while.
#[derive(Debug)]
pub struct Reviews {
    api: Arc<ApiServer>,
    resource: ObjectName,
    audience: String,
    metrics: Arc<Metrics>,
    // A cache, not state: what is lost from it is asked for again.
    known: Mutex<Known>,
    trouble: Mutex<Trouble>,
}

type Found = Result<Arc<Rights>, Refused>;

/// What was found of readers, by the digest of their tokens.
#[derive(Debug, Default)]
struct Known(HashMap<Digest, (Instant, Arc<OnceCell<Found>>)>);

impl Known {
    /// The place of a token, which is empty if nothing was found lately.
    fn place(&mut self, token: Digest, now: Instant) -> Arc<OnceCell<Found>> {
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < REVIEWED;
        if let Some((since, place)) = self.0.get(&token)
            && fresh(since)
        {
            return Arc::clone(place);
        }
        if self.0.len() >= MAX_REVIEWED {
            self.0.retain(|_, (since, _)| fresh(since));
        }
        if self.0.len() >= MAX_REVIEWED {
            let oldest = self.0.iter().min_by_key(|(_, (since, _))| *since).map(|(token, _)| *token);
            oldest.and_then(|token| self.0.remove(&token));
        }
        let place = Arc::new(OnceCell::new());
        self.0.insert(token, (now, Arc::clone(&place)));
        place
    }
}

impl Rights {
    /// Whether they reach to what a session sent.
    pub fn reach(&self, session: &KnownSession) -> bool {
        match self {
            Self::Everything => true,
            Self::Namespaces(created) => {
                created.get(&session.session.namespace).is_some_and(|created| session.received_at >= *created)
            }
        }
    }
}

impl Reviews {
    /// Of readers of one `AuditLog`, with tokens of this audience.
    pub fn new(api: Arc<ApiServer>, resource: ObjectName, audience: String, metrics: Arc<Metrics>) -> Self {
        Self { api, resource, audience, metrics, known: Mutex::default(), trouble: Mutex::default() }
    }

    /// What the bearer of a good token may read.
    pub async fn rights(&self, token: &str, namespaces: &Namespaces) -> Result<Found, ApiError> {
        let place = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.place(Digest::sha256(token.as_bytes()), Instant::now())
        };
        // Who asks while another does waits for the same answer; where there is none the next one asks again.
        let found = place.get_or_try_init(|| self.review(token, namespaces)).await;
        self.tell(found.as_ref().err());
        found.cloned()
    }

    /// That the cluster cannot be asked is logged when it begins, when it changes, and when it is over.
    fn tell(&self, failure: Option<&ApiError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = failure else {
            if trouble.is_over() {
                tracing::info!("it is known again who may read");
            }
            return;
        };
        self.metrics.reviewed(ReviewOutcome::Failed);
        if trouble.failed(error) {
            tracing::warn!(%error, "it is not known who may read; readers are told to come again, writes go on");
        }
    }

    async fn review(&self, token: &str, namespaces: &Namespaces) -> Result<Found, ApiError> {
        let Some(user) = self.api.user(token, &self.audience).await? else {
            self.metrics.reviewed(ReviewOutcome::Unknown);
            return Ok(Err(Refused::Unknown));
        };
        let found = self.rights_of(&user, namespaces).await?;
        self.metrics.reviewed(match found.as_deref() {
            Ok(Rights::Everything) => ReviewOutcome::Everything,
            Ok(Rights::Namespaces(_)) => ReviewOutcome::Namespaces,
            Err(_) => ReviewOutcome::Nothing,
        });
        Ok(found)
    }

    async fn rights_of(&self, user: &User, namespaces: &Namespaces) -> Result<Found, ApiError> {
        if self.api.may(user, Access::Records(&self.resource)).await? {
            return Ok(Ok(Arc::new(Rights::Everything)));
        }
        let (user_name, resource) = (user.name().to_owned(), self.resource.clone());
        let listed = match namespaces {
            Namespaces::Listed(list) => list.iter().map(|(name, created)| (name.to_owned(), created)).collect(),
            // How old a namespace is stands in the list only.
            Namespaces::Any | Namespaces::Unheard => Vec::new(),
        };
        let found = listed.len();
        let readable: BTreeMap<String, Time> = if found == 0 {
            BTreeMap::new()
        } else if self.api.may(user, Access::AllPodLogs).await? {
            listed.into_iter().collect()
        } else if found > MAX_REVIEWED_NAMESPACES {
            return Ok(Err(Refused::TooMany { user: user_name, resource, found }));
        } else {
            let asked = listed.into_iter().map(|(name, created)| async move {
                let may = self.api.may(user, Access::PodLogs(&name)).await?;
                Ok::<_, ApiError>(may.then_some((name, created)))
            });
            let answers: Vec<_> = stream::iter(asked).buffer_unordered(REVIEWS_AT_A_TIME).try_collect().await?;
            answers.into_iter().flatten().collect()
        };
        if readable.is_empty() {
            return Ok(Err(Refused::Nothing { user: user_name, resource }));
        }
        Ok(Ok(Arc::new(Rights::Namespaces(readable))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::issuer::Pod;
    use crate::testing::sidecar::Sidecar;

    #[test]
    fn a_namespaces_reader_reads_no_session_that_is_older_than_the_namespace() {
        let mut session = KnownSession::of(Sidecar::new(&Pod::named("a"), 1).session);
        session.received_at = Time::from_nanos(1000);
        let of = |namespace: &str, created| {
            Rights::Namespaces([(namespace.to_owned(), Time::from_nanos(created))].into()).reach(&session)
        };
        assert!(of("shop", 999));
        assert!(of("shop", 1000));
        assert!(!of("shop", 1001), "it was another namespace of that name");
        assert!(!of("other", 0));
        assert!(Rights::Everything.reach(&session));
    }

    #[test]
    fn what_was_found_is_known_for_a_minute_in_bounded_memory() {
        let mut known = Known::default();
        let start = Instant::now();
        let token = |n: usize| Digest::sha256(&n.to_be_bytes());
        let first = known.place(token(0), start);
        assert!(Arc::ptr_eq(&first, &known.place(token(0), start + REVIEWED - Duration::from_secs(1))));
        assert!(!Arc::ptr_eq(&first, &known.place(token(0), start + REVIEWED)));
        for n in 1..MAX_REVIEWED + 10 {
            known.place(token(n), start + REVIEWED);
        }
        assert_eq!(known.0.len(), MAX_REVIEWED);
    }
}
