//! The peer of one connection: whether it has shown a good token, and whether it takes what it has asked for.
//!
//! A connection and its windows are memory, and so is an answer that nobody takes. Pings keep both alive, so who shows
//! no token within some seconds, or leaves an answer untaken for a minute, is cut off.

use std::sync::Arc;

use http::Request;
use tokio::sync::{SetOnce, oneshot};

use crate::limits::{STREAM_TIMEOUT, TOKEN_TIMEOUT};

/// What is known of a peer. Requests carry it from their connection to where a token is judged or an answer given.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    admitted: SetOnce<()>,
    given_up: SetOnce<()>,
}

impl Peer {
    /// Who sent a request.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// It has shown a token that is good, or none is asked for.
    pub(super) fn admit(&self) {
        let _ = self.0.admitted.set(());
    }

    /// It takes nothing.
    pub(super) fn give_up(&self) {
        let _ = self.0.given_up.set(());
    }

    /// Gives the peer up if the answer whose other end is dropped when it is sent is not sent in time.
    pub(super) fn must_take(self, sent: oneshot::Receiver<()>) {
        tokio::spawn(async move {
            if tokio::time::timeout(STREAM_TIMEOUT, sent).await.is_err() {
                self.give_up();
            }
        });
    }

    /// Ends when the connection is to be closed, and says why.
    pub(super) async fn cut_off(&self) -> &'static str {
        tokio::select! {
            () = self.strange() => "no good token was shown",
            () = self.0.given_up.wait() => "an answer was not taken",
        }
    }

    async fn strange(&self) {
        if tokio::time::timeout(TOKEN_TIMEOUT, self.0.admitted.wait()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_token_is_cut_off_and_who_has_shown_one_is_not() {
        let start = Instant::now();
        assert_eq!(Peer::default().cut_off().await, "no good token was shown");
        assert_eq!(start.elapsed().as_secs(), TOKEN_TIMEOUT.as_secs());
        let peer = Peer::default();
        peer.admit();
        assert!(timeout(TOKEN_TIMEOUT * 100, peer.cut_off()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_an_answer_untaken_is_cut_off_and_who_takes_it_is_not() {
        let peer = Peer::default();
        peer.admit();
        let (taken, sent) = oneshot::channel();
        peer.clone().must_take(sent);
        drop(taken);
        assert!(timeout(STREAM_TIMEOUT * 2, peer.cut_off()).await.is_err());
        let (_untaken, sent) = oneshot::channel();
        peer.clone().must_take(sent);
        assert_eq!(peer.cut_off().await, "an answer was not taken");
    }
}
