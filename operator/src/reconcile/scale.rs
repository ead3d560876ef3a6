//! What happens before the number of collectors changes.
//!
//! Pure. Down: the leaving collectors are taken out of the pool's list first, and stop 10 s later, when sidecars have
//! heard of it; then their volumes are served by readers. Up: a reader lets go of its volume before the collector comes
//! back to it. A restart at any point finds the step in the cluster: in the StatefulSet, the readers, and the annotation
//! that says since when collectors are leaving.

use jiff::{SignedDuration, Timestamp};

use super::facts::{Dereferenced, Leaving};

/// How long sidecars have to leave collectors that are no longer in the list.
pub const LEAVE: SignedDuration = SignedDuration::from_secs(10);

/// The step to take now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The StatefulSet's replicas.
    pub replicas: u32,
    /// Collectors below this ordinal are in the pool's list.
    pub listed: u32,
    /// What the ConfigMap says of those that leave.
    pub leaving: Option<Leaving>,
    /// Ordinals whose volume a reader serves.
    pub readers: Vec<u32>,
    /// When to look again.
    pub due: Option<Timestamp>,
}

/// What to do when `wanted` collectors are asked for.
pub fn step(now: Timestamp, wanted: u32, found: &Dereferenced) -> Scale {
    let Some(set) = &found.set else {
        let replicas = up(0, wanted, found);
        return Scale {
            replicas,
            listed: replicas,
            leaving: None,
            readers: readers(replicas, wanted, found),
            due: None,
        };
    };
    if wanted >= set.replicas {
        let replicas = up(set.replicas, wanted, found);
        let readers = readers(replicas, wanted, found);
        return Scale { replicas, listed: replicas, leaving: None, readers, due: None };
    }
    let leaving = match found.config.as_ref().and_then(|config| config.leaving) {
        // A clock that was set back must not hold this up.
        Some(leaving) if leaving.to == wanted && leaving.since <= now => leaving,
        _ => Leaving { to: wanted, since: now },
    };
    let gone = leaving.since.saturating_add(LEAVE).unwrap_or(now);
    if now < gone {
        let readers = readers(set.replicas, set.replicas, found);
        return Scale { replicas: set.replicas, listed: wanted, leaving: Some(leaving), readers, due: Some(gone) };
    }
    // The annotation stays until the StatefulSet has what is wanted: a crash between the two writes finds it.
    let readers = readers(wanted, wanted, found);
    Scale { replicas: wanted, listed: wanted, leaving: Some(leaving), readers, due: None }
}

/// How far up it may go: not past an ordinal whose volume a reader still has.
fn up(from: u32, wanted: u32, found: &Dereferenced) -> u32 {
    let held = |ordinal: &u32| found.readers.contains(ordinal) || found.reader_pod(*ordinal).is_some();
    (from..wanted).find(held).unwrap_or(wanted)
}

/// Volumes to serve: bound ones beyond all collectors that there are, will be, or still end.
fn readers(replicas: u32, wanted: u32, found: &Dereferenced) -> Vec<u32> {
    let beyond = replicas.max(wanted);
    let idle = |ordinal: &u32| *ordinal >= beyond && found.pod(*ordinal).is_none();
    let kept = found.claims.iter().filter(|(_, claim)| claim.volume.is_some() && !claim.deleting);
    kept.map(|(ordinal, _)| *ordinal).filter(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Claim, Pod, PoolConfig, Set};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A StatefulSet of `set` with all its pods, and `claims` bound claims.
    fn found(set: u32, claims: u32) -> Dereferenced {
        let claim = || Claim { volume: Some("pv".to_owned()), ..Claim::default() };
        Dereferenced {
            set: Some(Set { replicas: set, ..Set::default() }),
            pods: (0..set).map(|ordinal| Pod { ordinal, ..Pod::default() }).collect(),
            claims: (0..claims).map(|ordinal| (ordinal, claim())).collect(),
            ..Dereferenced::default()
        }
    }

    #[test]
    fn a_new_pool_begins_with_all_its_collectors() {
        let scale = step(at(0), 3, &Dereferenced::default());
        assert_eq!((scale.replicas, scale.listed, scale.readers, scale.due), (3, 3, vec![], None));
    }

    #[test]
    fn collectors_leave_the_list_ten_seconds_before_they_stop() {
        let mut pool = found(5, 5);
        let first = step(at(0), 2, &pool);
        assert_eq!((first.replicas, first.listed), (5, 2));
        assert_eq!(first.leaving, Some(Leaving { to: 2, since: at(0) }));
        assert_eq!((first.due, first.readers), (Some(at(10)), vec![]));

        pool.config = Some(PoolConfig { leaving: first.leaving, ..PoolConfig::default() });
        assert_eq!(step(at(9), 2, &pool).replicas, 5);
        let last = step(at(10), 2, &pool);
        assert_eq!((last.replicas, last.listed, last.due), (2, 2, None));
    }

    #[test]
    fn a_second_scale_down_waits_again_and_one_that_is_taken_back_is_forgotten() {
        let mut pool = found(5, 5);
        pool.config = Some(PoolConfig { leaving: Some(Leaving { to: 4, since: at(0) }), ..PoolConfig::default() });
        let scale = step(at(60), 2, &pool);
        assert_eq!((scale.replicas, scale.leaving), (5, Some(Leaving { to: 2, since: at(60) })));
        let scale = step(at(60), 5, &pool);
        assert_eq!((scale.replicas, scale.listed, scale.leaving), (5, 5, None));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_hold_a_scale_down_up() {
        let mut pool = found(3, 3);
        pool.config = Some(PoolConfig { leaving: Some(Leaving { to: 2, since: at(9_999) }), ..PoolConfig::default() });
        assert_eq!(step(at(0), 2, &pool).due, Some(at(10)));
    }

    #[test]
    fn a_volume_is_served_by_a_reader_once_its_collector_is_gone() {
        let mut pool = found(2, 4);
        pool.pods.push(Pod { ordinal: 3, terminating: true, ..Pod::default() });
        assert_eq!(step(at(0), 2, &pool).readers, [2]);
        pool.pods.pop();
        assert_eq!(step(at(0), 2, &pool).readers, [2, 3]);
        // What was never bound holds nothing.
        pool.claims.get_mut(&3).unwrap().volume = None;
        assert_eq!(step(at(0), 2, &pool).readers, [2]);
    }

    #[test]
    fn a_reader_lets_go_of_its_volume_before_the_collector_comes_back() {
        let mut pool = found(2, 5);
        pool.readers = vec![2, 3, 4];
        let scale = step(at(0), 4, &pool);
        assert_eq!((scale.replicas, scale.readers), (2, vec![4]));
        // The Deployment is gone, its pod not yet.
        pool.readers = vec![4];
        pool.pods.push(Pod { ordinal: 3, kept: true, terminating: true, ..Pod::default() });
        assert_eq!(step(at(0), 4, &pool).replicas, 3);
        pool.pods.pop();
        assert_eq!(step(at(0), 4, &pool).replicas, 4);
    }

    #[test]
    fn a_pool_that_comes_again_smaller_serves_the_volumes_beyond_it() {
        let mut pool = found(0, 3);
        pool.set = None;
        let scale = step(at(0), 1, &pool);
        assert_eq!((scale.replicas, scale.readers), (1, vec![1, 2]));
    }
}
