//! The peer of one connection: whether it has shown a good token, and whether it takes what it has asked for.
//!
//! A connection and its windows are memory, and so is an answer that nobody takes. Pings keep both alive, so who shows
//! no token within some seconds, is one of too many who show none, or leaves an answer untaken for a minute, is cut off.
//! A pod has its share of connections.

use std::sync::Arc;

use http::Request;
use tokio::sync::{SetOnce, oneshot};

use super::Problem;
use super::gate::{Gate, PodCount};
use super::strangers::Stranger;
use crate::limits::{STREAM_TIMEOUT, TOKEN_TIMEOUT};
use crate::metrics::Unserved;

/// What is known of a peer. Requests carry it from their connection to where a token is judged or an answer given.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    /// With the pod's count, if it was a pod's token.
    admitted: SetOnce<Option<PodCount>>,
    given_up: SetOnce<()>,
    crowded_out: SetOnce<()>,
}

impl Peer {
    /// Who sent a request.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// It has shown a reader's token that is good, or none is asked for.
    pub(super) fn admit(&self) {
        let _ = self.0.admitted.set(None);
    }

    /// It has shown a pod's token that is good: the connection counts among those of the pod, unless it has been admitted
    /// before. Without a place among them it is not admitted.
    pub(super) fn admit_pod(&self, gate: &Gate, pod: &str) -> Result<(), Problem> {
        if !self.0.admitted.initialized() {
            let _ = self.0.admitted.set(Some(gate.connection(pod)?));
        }
        Ok(())
    }

    /// The pod among whose connections this one counts.
    pub(super) fn pod(&self) -> Option<&PodCount> {
        self.0.admitted.get()?.as_ref()
    }

    /// Too many came after it that have shown no token, as it has shown none.
    pub(super) fn crowd_out(&self) {
        let _ = self.0.crowded_out.set(());
    }

    /// Ends when it was crowded out.
    pub(super) async fn crowded_out(&self) -> Unserved {
        self.0.crowded_out.wait().await;
        Unserved::Crowd
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

    /// Ends when the connection is to be closed, and says why. It is among the strangers until it is admitted.
    pub(super) async fn cut_off(&self, stranger: Option<Stranger>) -> Unserved {
        tokio::select! {
            why = self.strange(stranger) => why,
            () = self.0.given_up.wait() => Unserved::Untaken,
        }
    }

    async fn strange(&self, stranger: Option<Stranger>) -> Unserved {
        tokio::select! {
            biased;
            admitted = tokio::time::timeout(TOKEN_TIMEOUT, self.0.admitted.wait()) => match admitted {
                Ok(_) => drop(stranger),
                Err(_) => return Unserved::NotAdmitted,
            },
            why = self.crowded_out() => return why,
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::limits::MAX_POD_CONNECTIONS;

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_token_is_cut_off_and_who_has_shown_one_is_not() {
        let start = Instant::now();
        assert_eq!(Peer::default().cut_off(None).await, Unserved::NotAdmitted);
        assert_eq!(start.elapsed().as_secs(), TOKEN_TIMEOUT.as_secs());
        let peer = Peer::default();
        peer.admit();
        assert!(timeout(TOKEN_TIMEOUT * 100, peer.cut_off(None)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_beyond_those_of_its_pod_is_cut_off_and_one_that_was_admitted_is_not() {
        let gate = Gate::new(Arc::new(crate::metrics::Metrics::new()));
        let peers: Vec<_> = (0..=MAX_POD_CONNECTIONS).map(|_| Peer::default()).collect();
        let (last, others) = peers.split_last().unwrap();
        for peer in others {
            peer.admit_pod(&gate, "a").unwrap();
        }
        assert_eq!(last.admit_pod(&gate, "a").unwrap_err().status(), 429);
        assert_eq!(last.cut_off(None).await, Unserved::NotAdmitted);
        others[0].admit_pod(&gate, "a").unwrap();
        assert!(timeout(TOKEN_TIMEOUT * 100, others[0].cut_off(None)).await.is_err());
        drop(peers);
        Peer::default().admit_pod(&gate, "a").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_an_answer_untaken_is_cut_off_and_who_takes_it_is_not() {
        let peer = Peer::default();
        peer.admit();
        let (taken, sent) = oneshot::channel();
        peer.clone().must_take(sent);
        drop(taken);
        assert!(timeout(STREAM_TIMEOUT * 2, peer.cut_off(None)).await.is_err());
        let (_untaken, sent) = oneshot::channel();
        peer.clone().must_take(sent);
        assert_eq!(peer.cut_off(None).await, Unserved::Untaken);
    }
}
