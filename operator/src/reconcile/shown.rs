//! What statuses say, as metrics: for alerts, which read no AuditLog.
//!
//! A scrape shows what was told last. A pool is forgotten when its AuditLog is gone, all are when another replica leads.
//! Labels are closed sets, and the AuditLog: as many as people made.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use crate::api::{AuditLogStatus, Coverage};
use crate::observed::PoolName;

/// The statuses of all pools.
#[derive(Clone, Debug, Default)]
pub struct Shown(watch::Sender<BTreeMap<PoolName, Arc<AuditLogStatus>>>);

impl Shown {
    /// This is what its status says.
    pub fn show(&self, name: &PoolName, status: &AuditLogStatus) {
        self.0.send_modify(|pools| _ = pools.insert(name.clone(), Arc::new(status.clone())));
    }

    /// All others are gone.
    pub fn retain(&self, mut is_there: impl FnMut(&PoolName) -> bool) {
        self.0.send_modify(|pools| pools.retain(|name, _| is_there(name)));
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pools = self.0.borrow();
        let gauge = ConstGauge::new(0_i64).metric_type();
        let help = "Conditions of an AuditLog: 1 true, 0 false; an unknown one is not shown";
        let mut conditions = encoder.encode_descriptor("condition", help, None, gauge)?;
        for (name, status) in &*pools {
            for condition in &status.conditions {
                let value = match condition.status.as_str() {
                    "True" => 1_i64,
                    "False" => 0,
                    _ => continue,
                };
                let labels = [("audit_log", name.label()), ("condition", condition.type_.clone())];
                ConstGauge::new(value).encode(conditions.encode_family(&labels)?)?;
            }
        }
        let help = "Pods of an AuditLog, as its status counts them";
        let mut pods = encoder.encode_descriptor("pods", help, None, gauge)?;
        for (name, status) in &*pools {
            let Coverage { selected, injected, streaming, needs_restart } = status.coverage;
            let states = [
                ("selected", selected),
                ("injected", injected),
                ("streaming", streaming),
                ("needs_restart", needs_restart),
            ];
            for (state, value) in states {
                let labels = [("audit_log", name.label()), ("state", state.to_owned())];
                ConstGauge::new(value).encode(pods.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{INTACT, Said, Status, merge};

    fn page(shown: &Shown) -> String {
        let mut registry = crate::metrics::registry();
        registry.register_collector(Box::new(shown.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    fn status(intact: Status) -> AuditLogStatus {
        let said = Said { kind: INTACT, status: intact, reason: "Because".into(), message: String::new() };
        AuditLogStatus {
            conditions: merge(&[], vec![said], 1, jiff::Timestamp::UNIX_EPOCH),
            coverage: Coverage { selected: 3, injected: 2, streaming: 1, needs_restart: 0 },
            ..AuditLogStatus::default()
        }
    }

    #[test]
    fn an_alarm_is_a_zero_and_what_is_unknown_is_not_there() {
        let (shown, name) = (Shown::default(), PoolName::new("audit", "main"));
        shown.show(&name, &status(Status::False));
        let text = page(&shown);
        let intact = "indelible_operator_condition{audit_log=\"audit.main\",condition=\"Intact\"}";
        assert!(text.contains(&format!("{intact} 0\n")), "{text}");
        assert!(text.contains("indelible_operator_pods{audit_log=\"audit.main\",state=\"streaming\"} 1\n"), "{text}");
        shown.show(&name, &status(Status::True));
        assert!(page(&shown).contains(&format!("{intact} 1\n")));
        shown.show(&name, &status(Status::Unknown));
        assert!(!page(&shown).contains(intact));
    }

    #[test]
    fn a_pool_that_is_gone_is_shown_no_more() {
        let (shown, gone, kept) = (Shown::default(), PoolName::new("audit", "gone"), PoolName::new("audit", "kept"));
        shown.show(&gone, &status(Status::True));
        shown.show(&kept, &status(Status::True));
        shown.retain(|name| *name != gone);
        let text = page(&shown);
        assert!(text.contains("audit.kept") && !text.contains("audit.gone"), "{text}");
    }
}
