//! An issuer's keys, fetched: from the API server, which is asked with the pod's own token, or from an https URL.
//!
//! Fetched at the start, then as often as the issuer's `Cache-Control` says, at least hourly, and when a token names a
//! key that is not known, which anyone may write: so never twice within a minute. The last good set stays while the
//! issuer is away or answers what is none. Before there is one, tokens are told to come again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::kube::{ApiError, ApiServer, pause, random};
use crate::limits::{JWKS_TIMEOUT, MAX_JWKS_AGE, MAX_JWKS_BYTES, MAX_JWKS_PAUSE, MIN_API_PAUSE, MIN_JWKS_AGE};
use crate::metrics::{FetchOutcome, Metrics};
use crate::outbound::{Answer, Outbound, OutboundError, Trust, Url};
use crate::token::{Issuer, KeySet, KeySetError};
use crate::trouble::Trouble;

/// Where keys are fetched from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A path of the API server.
    ApiServer(Arc<ApiServer>, String),
    /// An https URL.
    Web(Arc<Outbound>, Url),
}

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Web(#[from] OutboundError),
    #[error("{url} answers {status}")]
    Status { url: Url, status: StatusCode },
    #[error("what was fetched: {0}")]
    Keys(#[from] KeySetError),
}

/// Keeps the keys of one issuer.
#[derive(Debug)]
pub struct Fetcher {
    issuer: String,
    source: Source,
    keys: watch::Sender<Arc<KeySet>>,
    wanted: Arc<Notify>,
    metrics: Arc<Metrics>,
    /// What was fetched last and is in use.
    bytes: Bytes,
    trouble: Trouble,
}

impl Fetcher {
    /// One that has fetched nothing yet, and the issuer whose keys it keeps.
    pub fn new(issuer: String, source: Source, metrics: Arc<Metrics>) -> (Self, Issuer) {
        let (sender, keys) = watch::channel(Arc::new(KeySet::unheard()));
        let wanted = Arc::new(Notify::new());
        let of = Issuer { url: issuer.clone(), keys, wanted: Some(Arc::clone(&wanted)) };
        (Self { issuer, source, keys: sender, wanted, metrics, bytes: Bytes::new(), trouble: Trouble::default() }, of)
    }

    /// Fetches until the process ends.
    pub async fn run(self) {
        let wanted = Arc::clone(&self.wanted);
        keep(self, &wanted).await;
    }

    /// Fetches once; gives for how long what was fetched may be used.
    async fn try_fetch(&mut self) -> Result<Duration, FetchError> {
        let answer = self.ask().await?;
        let lifetime = lifetime(&answer.headers);
        if answer.body == self.bytes {
            self.metrics.keys_fetched(FetchOutcome::Same);
            return Ok(lifetime);
        }
        self.keys.send_replace(Arc::new(KeySet::parse(&answer.body)?));
        self.bytes = answer.body;
        self.metrics.keys_fetched(FetchOutcome::Changed);
        tracing::info!(issuer = self.issuer, "an issuer's keys are in use");
        Ok(lifetime)
    }

    async fn ask(&self) -> Result<Answer, FetchError> {
        match &self.source {
            Source::ApiServer(api, path) => Ok(api.get(path, MAX_JWKS_BYTES).await?),
            Source::Web(outbound, url) => {
                let mut request = Request::new(Bytes::new());
                *request.uri_mut() = url.path().parse().expect("a URL's path is one");
                request
                    .headers_mut()
                    .insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
                let answer = outbound.call(url, &Trust::Web, request, (MAX_JWKS_BYTES, JWKS_TIMEOUT)).await?;
                if answer.status == StatusCode::OK {
                    return Ok(answer);
                }
                Err(FetchError::Status { url: url.clone(), status: answer.status })
            }
        }
    }
}

/// Something that is fetched again and again; in tests something that is only counted.
trait Fetch: Send {
    /// Fetches once; gives for how long what was fetched may be used, `None` if nothing was.
    fn fetch(&mut self) -> impl Future<Output = Option<Duration>> + Send;
}

impl Fetch for Fetcher {
    async fn fetch(&mut self) -> Option<Duration> {
        match self.try_fetch().await {
            Ok(lifetime) => {
                if self.trouble.is_over() {
                    tracing::info!(issuer = self.issuer, "the issuer's keys are fetched again");
                }
                Some(lifetime)
            }
            Err(error) => {
                self.metrics.keys_fetched(FetchOutcome::Failed);
                if self.trouble.failed(&error) {
                    let issuer = &self.issuer;
                    tracing::warn!(issuer, %error, "an issuer's keys cannot be fetched; those that are known stand");
                }
                None
            }
        }
    }
}

/// Fetches again when what was fetched is too old, or when newer is wanted, but then a minute after the last time at the
/// earliest; after a failure soon.
async fn keep(mut what: impl Fetch, wanted: &Notify) {
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let next = if let Some(lifetime) = what.fetch().await {
            failures = 0;
            lifetime
        } else {
            failures += 1;
            pause(failures, (MIN_API_PAUSE, MAX_JWKS_PAUSE), random())
        };
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = wanted.notified() => tokio::time::sleep_until(begun + MIN_JWKS_AGE.min(next)).await,
        }
    }
}

/// For how long an answer may be used: what `Cache-Control` says, within bounds.
fn lifetime(headers: &HeaderMap) -> Duration {
    let said = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let said = said.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let mut age = MAX_JWKS_AGE;
    for directive in said {
        match directive.split_once('=') {
            Some(("max-age", seconds)) => {
                age = age.min(seconds.trim_matches('"').parse().map_or(MAX_JWKS_AGE, Duration::from_secs));
            }
            None if directive == "no-store" || directive == "no-cache" => age = MIN_JWKS_AGE,
            _ => {}
        }
    }
    age.clamp(MIN_JWKS_AGE, MAX_JWKS_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_as_long_as_their_issuer_says_within_a_minute_and_an_hour() {
        for (said, seconds) in [
            ("", 3600),
            ("public, max-age=600", 600),
            ("max-age=5", 60),
            ("max-age=99999999", 3600),
            ("max-age=x", 3600),
            ("max-age=\"120\"", 120),
            ("no-cache, private", 60),
            ("MAX-AGE=90, must-revalidate", 90),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(said));
            assert_eq!(lifetime(&headers).as_secs(), seconds, "{said}");
        }
        assert_eq!(lifetime(&HeaderMap::new()), MAX_JWKS_AGE);
    }

    /// Notes when it is asked, and has these answers.
    struct Counted<'a> {
        start: Instant,
        answers: std::slice::Iter<'a, Option<u64>>,
        times: &'a mut Vec<u64>,
    }

    impl Fetch for Counted<'_> {
        async fn fetch(&mut self) -> Option<Duration> {
            self.times.push(self.start.elapsed().as_secs());
            self.answers.next().copied().flatten().map(Duration::from_secs)
        }
    }

    /// When keys are fetched, in seconds, within so many; newer ones are wanted all the time or never.
    async fn fetched(answers: &[Option<u64>], within: u64, always_wanted: bool) -> Vec<u64> {
        let (wanted, mut times) = (Notify::new(), Vec::new());
        let counted = Counted { start: Instant::now(), answers: answers.iter(), times: &mut times };
        let wanting = async {
            loop {
                if always_wanted {
                    wanted.notify_one();
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = keep(counted, &wanted) => {}
            () = wanting => {}
            () = tokio::time::sleep(Duration::from_secs(within)) => {}
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_when_they_are_old_and_for_unknown_ones_once_a_minute() {
        let answers = [Some(3600), Some(600), Some(3600)];
        assert_eq!(fetched(&answers, 5000, false).await, [0, 3600, 4200]);
        assert_eq!(fetched(&[Some(3600); 4], 200, true).await, [0, 60, 120, 180]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_is_away_is_asked_again_soon_and_then_less_often() {
        let times = fetched(&[], 600, false).await;
        assert!(times[1] <= 1 && times[2] <= 3, "{times:?}");
        assert!((13..40).contains(&times.len()), "{times:?}");
        assert!(fetched(&[], 600, true).await.len() < 40, "wanting it does not make it more often");
    }
}
