//! What happens to volumes: growing, and setting one aside.
//!
//! Pure. A volume is set aside in steps that a restart finds in the cluster: the list `A-volumes` names it, then its claim
//! is deleted (which waits for its pod), then the pod is evicted; the StatefulSet makes both anew. Nothing here deletes a
//! PersistentVolume, and one that would be deleted with its claim is refused.

use jiff::Timestamp;

use super::facts::{Claim, Dereferenced, Reclaim, SetAsideVolume};
use super::validate::Pool;
use crate::names::ANNOTATION_REPLACE_VOLUME;
use crate::quantity::Quantity;

/// Volumes that ask for less than the spec: their claims get this size.
pub fn growing(pool: &Pool, found: &Dereferenced) -> Vec<u32> {
    let smaller =
        |claim: &Claim| Quantity::parse(&claim.requested).is_some_and(|size| size.units() < pool.storage_bytes);
    let live = found.claims.iter().filter(|(_, claim)| !claim.deleting && claim.volume.is_some());
    live.filter(|(_, claim)| smaller(claim)).map(|(ordinal, _)| *ordinal).collect()
}

/// Whether the StatefulSet has to be made again for the size of new volumes: its claim template cannot be changed. Its
/// pods stay.
pub fn remake(pool: &Pool, found: &Dereferenced) -> bool {
    let differs = |text: &str| Quantity::parse(text).is_none_or(|size| size.units() != pool.storage_bytes);
    found.set.as_ref().is_some_and(|set| !set.deleting && differs(&set.storage))
}

/// The next step of setting a volume aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The list gets this entry, before anything is done.
    List(SetAsideVolume),
    /// The claim is deleted (by uid: its successor has the same name), and its pod evicted.
    Delete {
        /// Which.
        ordinal: u32,
        /// The claim's uid.
        claim_uid: String,
    },
    /// The claim is another one: the annotation is taken off.
    Done {
        /// Which.
        ordinal: u32,
        /// The volume that is kept.
        volume: String,
    },
    /// It is not done; the text says why and what to do.
    Refuse(String),
}

/// What to do about `indelible.dev/replace-volume`.
pub fn replace(pool: &Pool, found: &Dereferenced, now: Timestamp) -> Option<Replace> {
    let ordinal = pool.replace_volume?;
    let claim = found.claims.get(&ordinal);
    let listed = found.set_aside.iter().rev().find(|entry| entry.ordinal == ordinal && !entry.done);
    if let Some(entry) = listed {
        if claim.is_some_and(|claim| claim.uid == entry.claim_uid) {
            return Some(Replace::Delete { ordinal, claim_uid: entry.claim_uid.clone() });
        }
        // No claim yet, or the successor's: what was asked for with this annotation has been done.
        return Some(Replace::Done { ordinal, volume: entry.volume.clone() });
    }
    let pod = pool.name.pod(ordinal);
    let Some((claim, volume)) = claim.and_then(|claim| Some((claim, claim.volume.clone()?))) else {
        return Some(Replace::Refuse(format!(
            "{pod} has no volume to replace; remove annotation {ANNOTATION_REPLACE_VOLUME}"
        )));
    };
    if claim.reclaim != Some(Reclaim::Retain) {
        return Some(Replace::Refuse(format!(
            "volume {volume} of {pod} would be deleted with its claim, and its evidence with it; keep it first: {}",
            retain(&volume)
        )));
    }
    let key = found.pod(ordinal).and_then(|pod| pod.told_key.as_ref()).map(ToString::to_string);
    let claim_uid = claim.uid.clone();
    Some(Replace::List(SetAsideVolume { ordinal, volume, claim_uid, public_key: key, since: now, done: false }))
}

/// Entries that are done: their claim has gone, and nobody asks for it any more. Only then may the same be asked again.
pub fn finish(pool: &Pool, found: &mut Dereferenced) {
    for entry in &mut found.set_aside {
        let there = found.claims.get(&entry.ordinal).is_some_and(|claim| claim.uid == entry.claim_uid);
        entry.done |= !there && pool.replace_volume != Some(entry.ordinal);
    }
}

/// The command that keeps a volume.
pub fn retain(volume: &str) -> String {
    format!("kubectl patch pv {volume} -p '{{\"spec\":{{\"persistentVolumeReclaimPolicy\":\"Retain\"}}}}'")
}

/// The list of volumes that were set aside. What is no list is none: it is a view, the volumes are kept without it.
pub fn parse(text: &str) -> Vec<SetAsideVolume> {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Pod, Set};
    use super::super::validate::validate;
    use super::*;
    use crate::api::AuditLog;

    fn pool(annotation: Option<&str>) -> Pool {
        let mut log = AuditLog::new("payments", serde_json::from_value(serde_json::json!({})).unwrap());
        log.metadata.namespace = Some("audit".to_owned());
        log.metadata.annotations =
            annotation.map(|pod| [(ANNOTATION_REPLACE_VOLUME.to_owned(), pod.to_owned())].into());
        validate(&log, &Dereferenced::default()).unwrap()
    }

    fn found(size: &str, reclaim: Reclaim) -> Dereferenced {
        let claim = |ordinal: u32| Claim {
            uid: format!("claim-{ordinal}"),
            requested: size.to_owned(),
            volume: Some(format!("pv-{ordinal}")),
            reclaim: Some(reclaim),
            ..Claim::default()
        };
        Dereferenced {
            set: Some(Set { replicas: 3, storage: size.to_owned(), ..Set::default() }),
            pods: (0..3).map(|ordinal| Pod { ordinal, ..Pod::default() }).collect(),
            claims: (0..3).map(|ordinal| (ordinal, claim(ordinal))).collect(),
            ..Dereferenced::default()
        }
    }

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn volumes_grow_to_what_the_spec_says_and_never_shrink() {
        assert_eq!(growing(&pool(None), &found("10Gi", Reclaim::Retain)), [0, 1, 2]);
        assert_eq!(growing(&pool(None), &found("20Gi", Reclaim::Retain)), Vec::<u32>::new());
        assert_eq!(growing(&pool(None), &found("21474836480", Reclaim::Retain)), Vec::<u32>::new());
        assert_eq!(growing(&pool(None), &found("40Gi", Reclaim::Retain)), Vec::<u32>::new());
    }

    #[test]
    fn the_stateful_set_is_made_again_only_for_another_size() {
        assert!(remake(&pool(None), &found("10Gi", Reclaim::Retain)));
        assert!(!remake(&pool(None), &found("20480Mi", Reclaim::Retain)));
        assert!(!remake(&pool(None), &Dereferenced::default()));
    }

    #[test]
    fn a_volume_that_would_be_deleted_with_its_claim_is_not_set_aside() {
        let Some(Replace::Refuse(text)) = replace(&pool(Some("payments-1")), &found("20Gi", Reclaim::Delete), now())
        else {
            panic!()
        };
        assert!(text.contains("kubectl patch pv pv-1 -p"), "{text}");
        assert_eq!(replace(&pool(None), &found("20Gi", Reclaim::Delete), now()), None);
    }

    #[test]
    fn a_volume_is_listed_first_then_its_claim_deleted_and_the_request_taken_off_last() {
        let (asked, mut state) = (pool(Some("payments-1")), found("20Gi", Reclaim::Retain));
        let Some(Replace::List(entry)) = replace(&asked, &state, now()) else { panic!() };
        assert_eq!((entry.volume.as_str(), entry.claim_uid.as_str()), ("pv-1", "claim-1"));
        state.set_aside.push(entry);
        let step = replace(&asked, &state, now());
        assert_eq!(step, Some(Replace::Delete { ordinal: 1, claim_uid: "claim-1".to_owned() }));

        state.claims.get_mut(&1).unwrap().uid = "claim-1b".to_owned();
        let done = Some(Replace::Done { ordinal: 1, volume: "pv-1".to_owned() });
        assert_eq!(replace(&asked, &state, now()), done);
        // Nothing is forgotten while the request still stands: a crash here finds the same step.
        finish(&asked, &mut state);
        assert_eq!(replace(&asked, &state, now()), done);
        finish(&pool(None), &mut state);
        assert!(
            matches!(replace(&asked, &state, now()), Some(Replace::List(_))),
            "asked again later, it is done again"
        );
    }
}
