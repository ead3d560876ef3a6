//! Whether the evidence has room and lasts: Durable, StorageLow.

use super::super::facts::Reclaim;
use super::super::volumes::retain;
use super::Pass;
use crate::conditions::{DURABLE, STORAGE_LOW, Said, Status};
use crate::limits::STORAGE_LOW_PERCENT;
use crate::observed::Storage;

/// Whether volumes outlive their claims.
pub(super) fn durable(pass: &Pass<'_>) -> Said {
    let bound = pass.found.claims.values().filter_map(|claim| Some((claim.volume.as_ref()?, claim.reclaim)));
    let bound: Vec<(&String, Option<Reclaim>)> = bound.collect();
    let deleted: Vec<&String> =
        bound.iter().filter(|(_, reclaim)| *reclaim == Some(Reclaim::Delete)).map(|(volume, _)| *volume).collect();
    if let Some(first) = deleted.first() {
        let text = format!(
            "{} of {} volumes are deleted with their claims, for example with the namespace; keep each: {}",
            deleted.len(),
            bound.len(),
            retain(first)
        );
        return Said::new(DURABLE, false, "ReclaimPolicyDelete", text);
    }
    let known = bound.iter().filter(|(_, reclaim)| reclaim.is_some()).count();
    if known < bound.len() || bound.len() < pass.scale.replicas as usize {
        return Said::new(DURABLE, Status::Unknown, "VolumesPending", format!("{known} volumes are known"));
    }
    Said::new(
        DURABLE,
        true,
        "ReclaimPolicyRetain",
        format!("{known} volumes are kept, whatever happens to their claims"),
    )
}

/// Whether a volume is nearly full. Nothing is said until a collector has told.
pub(super) fn storage_low(pass: &Pass<'_>) -> Option<Said> {
    // A sealed log does not grow: its volume may be as full as it is.
    let grows = |pod: &&String| pass.pool.name.ordinal(pod).is_some();
    let storage = pass.observed?.storage.iter().filter(|(pod, _)| grows(pod));
    let percent = |of: &Storage| {
        u64::try_from(u128::from(of.used_bytes) * 100 / u128::from(of.size_bytes.max(1))).unwrap_or(u64::MAX)
    };
    let (pod, fullest) = storage.max_by_key(|(_, storage)| percent(storage))?;
    let full = percent(fullest);
    if full < STORAGE_LOW_PERCENT {
        return Some(Said::new(
            STORAGE_LOW,
            false,
            "EnoughSpace",
            format!("the fullest volume, of {pod}, is full to {full}%"),
        ));
    }
    let text = format!(
        "the volume of {pod} is full to {full}%{}; raise collectors.storage.size, or add collectors by collectors.replicas",
        until_full(fullest)
    );
    Some(Said::new(STORAGE_LOW, true, if full >= 100 { "Full" } else { "FillingUp" }, text))
}

/// How long it lasts, in the unit that people would use.
fn until_full(storage: &Storage) -> String {
    let left = storage.size_bytes.saturating_sub(storage.used_bytes);
    let Some(seconds) = left.checked_div(storage.growth_bytes_per_second) else { return String::new() };
    let (amount, unit) = match seconds {
        0..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!(" and lasts for {amount} {unit} at this rate")
}
