//! What the sidecar tells about itself, as text in the `OpenMetrics` format.
//!
//! A function of a snapshot: the owners of capture and forwarding keep plain numbers, and a scrape asks them. Names are
//! `indelible_sidecar_<what>_<unit>`; labels are closed sets.

pub mod serve;
pub mod spread;

use std::fmt;
use std::time::Duration;

use indelible_chain::control::ResumeReason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::capture::Stats;
use crate::forward::retry::Reason;
use crate::forward::{Gauges, Tally};
use crate::metrics::spread::Spread;

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Capture's.
    pub capture: Stats,
    /// Forwarding's counters.
    pub tally: Tally,
    /// Forwarding's state.
    pub gauges: Gauges,
    /// Bytes of files that may be held (`--max-held-bytes`).
    pub held_limit: u64,
    /// The share of the node's log file system that is free, in percent, if it can be told.
    pub node_free: Option<u8>,
}

/// The text of a scrape.
pub fn render(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix("indelible_sidecar");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let metric = ConstCounter::new(value);
        metric.encode(self.0.encode_descriptor(name, help, unit, metric.metric_type())?)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        metric.encode(self.0.encode_descriptor(name, help, unit, metric.metric_type())?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        let metric = ConstGauge::new(value.as_secs_f64());
        metric.encode(self.0.encode_descriptor(name, help, Some(&Unit::Seconds), metric.metric_type())?)
    }

    fn spread(&mut self, name: &str, help: &str, value: &Spread) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(value.sum(), value.count(), &value.buckets(), None)
    }

    /// A counter for each of a closed set of reasons.
    fn reasons(&mut self, name: &str, help: &str, counts: impl Iterator<Item = (&'static str, u64)>) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (reason, count) in counts {
            ConstCounter::new(count).encode(encoder.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn capture(&mut self, stats: &Stats) -> fmt::Result {
        let Stats {
            chains,
            records,
            bytes,
            late,
            malformed,
            gaps,
            gap_bytes,
            resumed,
            suspended,
            state_write_failures,
            unreceipted_bytes,
            held_bytes,
            unread_bytes,
            blocked,
            read,
            batch,
            state_sync,
        } = *stats;
        self.gauge("chains", "Containers that are captured", None, chains)?;
        self.counter("records", "Records sealed", None, records)?;
        self.counter("sealed", "Bytes of records sealed", Some(&Unit::Bytes), bytes)?;
        self.counter("late_records", "Records that came after their file was left", None, late)?;
        self.counter("malformed_records", "Records of bytes that are no log line", None, malformed)?;
        self.counter("gaps", "Gaps declared", None, gaps)?;
        self.counter("gap", "Bytes of declared gaps whose size is known", Some(&Unit::Bytes), gap_bytes)?;
        let help = "Chains begun because an earlier one could not go on, by the reason";
        self.reasons("resumed", help, ResumeReason::ALL.map(|(_, word)| word).into_iter().zip(resumed))?;
        let help = "Chains that collectors rejected twice within an hour, of which nothing is read";
        self.gauge("suspended_chains", help, None, suspended)?;
        let help = "Times that the state could not be written, each of which holds capture up";
        self.counter("state_write_failures", help, None, state_write_failures)?;
        let help = "Bytes of records that are not receipted";
        self.gauge("unreceipted_records", help, Some(&Unit::Bytes), unreceipted_bytes)?;
        self.gauge("held", "Bytes of files that are held for delivery", Some(&Unit::Bytes), held_bytes)?;
        self.gauge("unread", "Bytes of files that are not read yet", Some(&Unit::Bytes), unread_bytes)?;
        let help = "Chains that are not read on before receipts come";
        self.gauge("blocked_chains", help, None, blocked)?;
        let help = "From a record's printing to its reading, of the first record of each batch";
        self.spread("read", help, &read)?;
        self.spread("batch", "From a batch's first record's reading to its seal", &batch)?;
        self.spread("state_sync", "Making a decision durable in --state", &state_sync)
    }

    fn tally(&mut self, tally: &Tally) -> fmt::Result {
        let Tally {
            batches_sealed,
            batches_sent,
            sent_bytes,
            batches_receipted,
            retries,
            receipts_refused,
            conflicts,
            chains_rejected,
            heartbeats_sent,
            heartbeats_failed,
            receipt,
        } = tally;
        self.counter("batches_sealed", "Batches sealed", None, *batches_sealed)?;
        self.counter("batches_sent", "Batches sent, each try", None, *batches_sent)?;
        self.counter("sent", "Bytes of batches sent, each try", Some(&Unit::Bytes), *sent_bytes)?;
        self.counter("batches_receipted", "Batches that enough logs have", None, *batches_receipted)?;
        let help = "Requests that have to be made again, by the reason of their failure";
        let count = |reason: Reason| (reason.label(), retries.get(&reason).copied().unwrap_or(0));
        self.reasons("retries", help, Reason::ALL.into_iter().map(count))?;
        self.counter("receipts_refused", "Receipts that were none for what was sent", None, *receipts_refused)?;
        self.counter("conflicts", "Batches that a collector says contradict another one", None, *conflicts)?;
        self.counter("chains_rejected", "Chains given up because collectors judged them", None, *chains_rejected)?;
        self.counter("heartbeats_sent", "Heartbeats that a collector noted", None, *heartbeats_sent)?;
        self.counter("heartbeats_failed", "Heartbeats that were not noted", None, *heartbeats_failed)?;
        self.spread("receipt", "From a batch's seal to each receipt for it", receipt)
    }

    fn gauges(&mut self, gauges: &Gauges) -> fmt::Result {
        let Gauges { unreceipted_batches, unreceipted_bytes, lag, record_lag, pool, connections } = *gauges;
        self.gauge("unreceipted_batches", "Batches that are not receipted", None, unreceipted_batches)?;
        let help = "Bytes of batches that are not receipted";
        self.gauge("unreceipted", help, Some(&Unit::Bytes), unreceipted_bytes)?;
        self.seconds("lag", "Age of the oldest batch that is not receipted", lag)?;
        let help = "Age of the oldest record read and not receipted, since its container printed it";
        self.seconds("record_lag", help, record_lag)?;
        self.gauge("pool_collectors", "Collectors of the pool", None, pool)?;
        self.gauge("connections", "Open connections to collectors", None, connections)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        out.capture(&self.capture)?;
        out.tally(&self.tally)?;
        out.gauges(&self.gauges)?;
        let help = "Bytes of files that may be held for delivery";
        out.gauge("held_limit", help, Some(&Unit::Bytes), self.held_limit)?;
        let help = "Share of the node's log file system that is free, in percent";
        self.node_free.map_or(Ok(()), |free| out.gauge("node_free_percent", help, None, free.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_every_reason_and_units_in_names() {
        let mut snapshot = Snapshot::default();
        snapshot.tally.retries.insert(Reason::Busy, 3);
        snapshot.tally.sent_bytes = 7;
        snapshot.gauges.lag = Duration::from_millis(1_500);
        snapshot.gauges.record_lag = Duration::from_millis(2_500);
        snapshot.capture.gap_bytes = 11;
        snapshot.capture.state_write_failures = 2;
        snapshot.capture.suspended = 1;
        snapshot.capture.read.observe(Duration::from_millis(80));
        snapshot.node_free = Some(40);
        snapshot.capture.count_resumed(ResumeReason::FileGone);
        let text = render(snapshot);
        for line in [
            "indelible_sidecar_sent_bytes_total 7",
            "indelible_sidecar_lag_seconds 1.5",
            "indelible_sidecar_retries_total{reason=\"busy\"} 3",
            "indelible_sidecar_retries_total{reason=\"no_space\"} 0",
            "indelible_sidecar_unreceipted_bytes 0",
            "indelible_sidecar_record_lag_seconds 2.5",
            "indelible_sidecar_gap_bytes_total 11",
            "indelible_sidecar_state_write_failures_total 2",
            "indelible_sidecar_suspended_chains 1",
            "indelible_sidecar_read_seconds_bucket{le=\"0.1\"} 1",
            "indelible_sidecar_read_seconds_count 1",
            "indelible_sidecar_node_free_percent 40",
            "indelible_sidecar_resumed_total{reason=\"file-gone\"} 1",
            "indelible_sidecar_resumed_total{reason=\"after-end\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
    }
}
