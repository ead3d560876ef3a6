//! What the answers of collectors do: the rows of section 5's table of answers.
//!
//! | answer | to a batch | to an introduction |
//! | --- | --- | --- |
//! | 200 (201) | its receipt is checked and counts for its log | the same, and what waited for it is sent |
//! | 412 | session and chain are introduced, the same bytes are sent again | the same |
//! | 409, 422 | goes to another collector; by two (or all, if fewer), the chain is given up | not here for now |
//! | 400, 413 | goes to another collector | not here for now |
//! | 401, 403, 429, 503, 507, others, none | goes to another collector, this one pauses | this one pauses |

use std::time::Duration;

use indelible_chain::id::ChainId;
use indelible_chain::receipt::KeptReceipt;

use super::ask::Ask;
use super::collector::{CollectorId, Introduction};
use super::moment::Moment;
use super::pool::PoolList;
use super::queue::BatchId;
use super::receipts::{self, ReceiptError, Sent};
use super::retry::{Reason, Scope};
use super::{Answer, Failure, Forward, Notice, RequestId, What};

/// Collectors that must judge a chain's content before it is given up.
const JUDGES: usize = 2;

impl Forward {
    pub(super) fn answered(&mut self, now: Moment, request: RequestId, answer: Result<Answer, Failure>) {
        // A request of a connection that was lost meanwhile has been dealt with.
        let Some(super::Request { collector, what }) = self.requests.remove(&request) else { return };
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return self.unanswered(now, collector, &what, failure),
        };
        if let Some(epoch) = answer.epoch {
            self.pool.heard(epoch);
        }
        match what {
            What::Pool => self.pool_answered(now, collector, &answer),
            What::Session => self.session_answered(now, collector, &answer),
            What::Chain(chain) => self.chain_answered(now, (collector, chain), &answer),
            What::Batch { id, bytes } => self.batch_answered(now, (collector, id, bytes), &answer),
            What::Heartbeat => self.heartbeat_answered(now, collector, answer.status),
        }
    }

    /// No answer. After a timeout the connection is not believed any more; a broken one reports itself.
    fn unanswered(&mut self, now: Moment, collector: CollectorId, what: &What, failure: Failure) {
        match *what {
            What::Pool => self.pool_failed(now),
            What::Session => self.set_session(collector, Introduction::Unknown),
            What::Chain(chain) => self.set_chain((collector, chain), Introduction::Unknown),
            What::Batch { id, bytes } => self.landed(collector, id, bytes, |_| ()),
            What::Heartbeat => self.heartbeat_failed(now),
        }
        match failure {
            Failure::Transport => {
                self.ail(now, collector, Reason::Transport, "a request broke off");
                self.unpark(collector);
            }
            Failure::Timeout => {
                self.effects.push(super::Effect::Disconnect(collector));
                self.lost(now, collector, Reason::Timeout, "a request was not answered in time");
            }
        }
    }

    fn pool_answered(&mut self, now: Moment, collector: CollectorId, answer: &Answer) {
        match answer.status {
            200 => match PoolList::parse(&answer.body) {
                Ok(list) => {
                    self.pool_backoff.clear();
                    if self.pool.take(&list) {
                        self.take_list(list);
                    }
                }
                Err(error) => {
                    let text = format!("{:#}", anyhow::Error::from(error));
                    if self.pool_backoff.failures() == 0
                        && let Some(endpoint) = self.collectors.get(&collector).map(|c| c.endpoint.clone())
                    {
                        self.notice(Notice::BadPool { endpoint, text });
                    }
                    self.pool_failed(now);
                }
            },
            404 => {
                self.pool.none_kept();
                self.promote_bootstrap();
            }
            status => {
                self.pool_failed(now);
                self.collector_failed(now, collector, (Reason::of_status(status), answer.retry_after));
            }
        }
    }

    fn session_answered(&mut self, now: Moment, collector: CollectorId, answer: &Answer) {
        let reason = match answer.status {
            200 | 201 => match self.check(collector, answer, Sent::Other) {
                Ok(_) => {
                    self.set_session(collector, Introduction::Known);
                    return self.introduced(now, collector);
                }
                Err(error) => self.bad_receipt(collector, &error),
            },
            status => Reason::of_status(status),
        };
        self.set_session(collector, Introduction::Unknown);
        self.collector_failed(now, collector, (reason, answer.retry_after));
    }

    fn chain_answered(&mut self, now: Moment, at: (CollectorId, ChainId), answer: &Answer) {
        let (collector, chain) = at;
        let genesis = self.queue.genesis(chain).or(self.asks.get(&chain).map(|ask| &ask.genesis)).cloned();
        let sent = match (&genesis, answer.status) {
            (Some(genesis), 201) => Sent::NewChain(genesis, self.session),
            _ => Sent::Other,
        };
        let reason = match answer.status {
            200 | 201 => match self.check(collector, answer, sent) {
                Ok((log, _)) => {
                    let is_ours = |ask: &Ask| ask.introduced(&answer.body, &log);
                    let is_new = answer.status == 201 || self.asks.get(&chain).is_some_and(is_ours);
                    self.set_chain(at, Introduction::Known);
                    self.introduced(now, collector);
                    if is_new {
                        self.chain_was_new(chain, collector);
                    } else {
                        self.chain_was_known(chain);
                    }
                    return self.forget_chain_if_done(chain);
                }
                Err(error) => self.bad_receipt(collector, &error),
            },
            412 => {
                // The collector does not know the session after all: it is introduced, then the chain again.
                *self.tally.retries.entry(Reason::NotIntroduced).or_default() += 1;
                self.unknown_there(collector, chain);
                return self.pause_chain(now, at, None);
            }
            status => Reason::of_status(status),
        };
        match reason.scope_for_chain() {
            Scope::Item => {
                *self.tally.retries.entry(reason).or_default() += 1;
                self.set_chain(at, Introduction::Unknown);
                self.pause_chain(now, at, answer.retry_after);
                self.unpark_chain(collector, chain);
            }
            Scope::Collector => {
                self.set_chain(at, Introduction::Unknown);
                self.collector_failed(now, collector, (reason, answer.retry_after));
            }
        }
    }

    fn batch_answered(&mut self, now: Moment, at: (CollectorId, BatchId, u64), answer: &Answer) {
        let (collector, id, bytes) = at;
        let Some(pending) = self.queue.get(id) else {
            // Its chain was given up meanwhile.
            return self.landed(collector, id, bytes, |_| ());
        };
        let (chain, commitment, since) = (pending.sealed.chain, pending.sealed.commitment, pending.since);
        let reason = match answer.status {
            200 => match self.check(collector, answer, Sent::Batch(&commitment)) {
                Ok((log, receipt)) => {
                    self.tally.receipt.observe(now.since(since));
                    self.note_conflict(collector, chain, answer);
                    self.kept.keep(&log, KeptReceipt { receipt, commitment });
                    self.recovered(now, collector);
                    self.landed(collector, id, bytes, |pending| pending.receipts.push(log.id));
                    return self.settle(chain);
                }
                Err(error) => self.bad_receipt(collector, &error),
            },
            status => Reason::of_status(status),
        };
        match reason.scope() {
            Scope::Collector => {
                self.landed(collector, id, bytes, |_| ());
                self.collector_failed(now, collector, (reason, answer.retry_after));
            }
            Scope::Item => {
                *self.tally.retries.entry(reason).or_default() += 1;
                self.batch_not_taken(now, at, (reason, answer.retry_after));
            }
        }
    }

    fn batch_not_taken(&mut self, now: Moment, at: (CollectorId, BatchId, u64), why: (Reason, Option<Duration>)) {
        let ((collector, id, bytes), (reason, retry_after)) = (at, why);
        let Some(pending) = self.queue.get(id) else { return };
        let chain = pending.sealed.chain;
        let mut pause = pending.pauses.get(&collector).copied().unwrap_or_default();
        let again = pause.failures() == 0;
        pause.fail(now, retry_after, &mut self.dice);
        if reason == Reason::NotIntroduced {
            self.unknown_there(collector, chain);
            if again {
                // The same bytes to the same collector; if it forgets again, to another.
                self.queue.pause(id, collector, pause);
                return self.park(id, collector, bytes);
            }
        }
        self.landed(collector, id, bytes, |pending| {
            pending.pauses.insert(collector, pause);
            if reason == Reason::Refused && !pending.refusals.contains(&collector) {
                pending.refusals.push(collector);
            }
        });
        let judges = self.pool_size().min(JUDGES);
        if self.queue.get(id).is_some_and(|pending| pending.refusals.len() >= judges) {
            self.reject(chain);
        }
    }

    fn heartbeat_answered(&mut self, now: Moment, collector: CollectorId, status: u16) {
        match status {
            200..=299 => {
                self.tally.heartbeats_sent += 1;
                self.rhythm.succeeded(now);
                self.introduced(now, collector);
            }
            412 => {
                self.set_session(collector, Introduction::Unknown);
                *self.tally.retries.entry(Reason::NotIntroduced).or_default() += 1;
                self.heartbeat_failed(now);
            }
            status => {
                let reason = Reason::of_status(status);
                *self.tally.retries.entry(reason).or_default() += 1;
                self.heartbeat_failed(now);
            }
        }
    }

    pub(super) fn heartbeat_failed(&mut self, now: Moment) {
        self.tally.heartbeats_failed += 1;
        self.rhythm.failed(now);
    }

    /// A collector answered something else well: that ends what kept it from being reached, and not what keeps it
    /// from taking batches.
    fn introduced(&mut self, now: Moment, id: CollectorId) {
        let ailment = self.collectors.get(&id).and_then(|collector| collector.ailment);
        match ailment {
            None | Some(Reason::Transport | Reason::Timeout | Reason::Unauthorized | Reason::Forbidden) => {
                self.recovered(now, id);
            }
            Some(_) => {}
        }
    }

    fn collector_failed(&mut self, now: Moment, id: CollectorId, (reason, retry_after): (Reason, Option<Duration>)) {
        let text = match reason {
            Reason::Unauthorized => {
                "it does not accept the pod's token (401): check --token and the collector's issuer"
            }
            Reason::Forbidden => "the pod's token does not allow it (403): check the pod's identity and namespace",
            Reason::Busy => "it is over a limit (429)",
            Reason::Unavailable => "it takes nothing at present (503)",
            Reason::NoSpace => "it has no space left (507)",
            Reason::BadReceipt => "it gave a wrong receipt",
            _ => "it answered with an error",
        };
        self.ail_until(now, id, reason, (retry_after, text));
        self.unpark(id);
    }

    fn check(
        &mut self,
        id: CollectorId,
        answer: &Answer,
        sent: Sent<'_>,
    ) -> Result<(receipts::LogIdentity, indelible_chain::receipt::Receipt), ReceiptError> {
        // An answer without the connection that it came by cannot be: `lost` takes the requests with it.
        let log = self.collectors.get(&id).and_then(|collector| collector.open_log()).ok_or(ReceiptError::Log)?.clone();
        let receipt = receipts::check(&answer.body, &log, sent)?;
        Ok((log, receipt))
    }

    fn bad_receipt(&mut self, id: CollectorId, error: &ReceiptError) -> Reason {
        self.tally.receipts_refused += 1;
        if let Some(collector) = self.collectors.get(&id)
            && collector.ailment != Some(Reason::BadReceipt)
        {
            let endpoint = collector.endpoint.clone();
            self.notice(Notice::BadReceipt { endpoint, text: error.to_string() });
        }
        Reason::BadReceipt
    }

    fn note_conflict(&mut self, id: CollectorId, chain: ChainId, answer: &Answer) {
        let Some(other) = answer.conflict else { return };
        self.tally.conflicts += 1;
        if let Some(endpoint) = self.collectors.get(&id).map(|collector| collector.endpoint.clone()) {
            self.notice(Notice::Conflict { endpoint, chain, other });
        }
    }

    fn set_session(&mut self, id: CollectorId, introduction: Introduction) {
        if let Some(collector) = self.collectors.get_mut(&id) {
            collector.session = introduction;
        }
    }

    fn set_chain(&mut self, (id, chain): (CollectorId, ChainId), introduction: Introduction) {
        if let Some(collector) = self.collectors.get_mut(&id) {
            collector.chains.entry(chain).or_default().introduction = introduction;
        }
    }

    /// 412: session and chain are to be introduced again. What is being asked already is not asked twice.
    fn unknown_there(&mut self, id: CollectorId, chain: ChainId) {
        let Some(collector) = self.collectors.get_mut(&id) else { return };
        if collector.session == Introduction::Known {
            collector.session = Introduction::Unknown;
        }
        collector.chains.entry(chain).or_default().introduction = Introduction::Unknown;
    }

    fn pause_chain(&mut self, now: Moment, (id, chain): (CollectorId, ChainId), asked: Option<Duration>) {
        if let Some(collector) = self.collectors.get_mut(&id) {
            collector.chains.entry(chain).or_default().pause.fail(now, asked, &mut self.dice);
        }
    }
}
