//! Which heartbeats go into the log and when, and how little memory all of them may take.

use indelible_chain::id::Head;

use super::*;
use crate::testing::issuer::Pod;
use crate::testing::sidecar::{Chain, Sidecar};

fn at(seconds: i64) -> Time {
    Time::from_nanos(1_795_400_000_000_000_000 + seconds * Time::SECOND)
}

fn sidecar(seed: u8) -> Sidecar {
    Sidecar::new(&Pod::named("a"), seed)
}

fn spoken(sidecar: &Sidecar, time: Time, heads: Vec<(ChainId, Head)>) -> CheckedHeartbeat {
    let containers = vec![Some("app".to_owned()); heads.len()];
    CheckedHeartbeat {
        heartbeat: sidecar.heartbeat(time, heads),
        session: Arc::new(KnownSession::of(sidecar.session.clone())),
        containers,
    }
}

fn ids(groups: &[Vec<(SessionId, Vec<u8>)>]) -> Vec<SessionId> {
    groups.iter().flatten().map(|(id, _)| *id).collect()
}

#[test]
fn each_session_has_a_heartbeat_in_the_log_every_five_minutes_and_each_heartbeat_once() {
    let mut heartbeats = Heartbeats::default();
    let one = sidecar(1);
    let mut logged_at = Vec::new();
    for minute in 0..14 {
        // A heartbeat each 30 s, of which two fall between any two looks.
        for half in 0..2 {
            let now = at(minute * 60 + half * 30);
            heartbeats.note(spoken(&one, now, vec![]), now).unwrap();
        }
        let now = at(minute * 60 + 59);
        let due = ids(&heartbeats.due(now));
        if !due.is_empty() {
            logged_at.push(minute);
            heartbeats.logged(due, now);
        }
        assert!(heartbeats.due(now).is_empty(), "each heartbeat once");
    }
    assert_eq!(logged_at, [0, 5, 10]);
}

#[test]
fn at_the_end_every_heartbeat_that_is_not_in_the_log_is_held_for_it_due_or_not() {
    let mut heartbeats = Heartbeats::default();
    let (one, two) = (sidecar(1), sidecar(2));
    for sidecar in [&one, &two] {
        heartbeats.note(spoken(sidecar, at(0), vec![]), at(0)).unwrap();
    }
    heartbeats.logged([one.id(), two.id()], at(1));
    heartbeats.note(spoken(&one, at(30), vec![]), at(30)).unwrap();
    assert!(heartbeats.due(at(31)).is_empty());
    assert_eq!(ids(&heartbeats.held()), [one.id()]);
}

#[test]
fn a_heartbeat_that_could_not_be_appended_is_due_again() {
    let mut heartbeats = Heartbeats::default();
    let one = sidecar(1);
    heartbeats.note(spoken(&one, at(0), vec![]), at(0)).unwrap();
    assert_eq!(ids(&heartbeats.due(at(1))), [one.id()]);
    assert_eq!(ids(&heartbeats.due(at(61))), [one.id()]);
}

#[test]
fn a_session_that_has_fallen_silent_is_not_logged_again() {
    let mut heartbeats = Heartbeats::default();
    let one = sidecar(1);
    heartbeats.note(spoken(&one, at(0), vec![]), at(0)).unwrap();
    heartbeats.logged([one.id()], at(1));
    assert!(heartbeats.due(at(100_000)).is_empty());
}

#[test]
fn an_older_heartbeat_changes_nothing_unless_the_newer_one_is_from_the_future() {
    let mut heartbeats = Heartbeats::default();
    let one = sidecar(1);
    let spoke = |heartbeats: &Heartbeats| heartbeats.coverage(at(-1000), None, 10, |_| true)[0].last_heartbeat;
    heartbeats.note(spoken(&one, at(10), vec![]), at(10)).unwrap();
    heartbeats.note(spoken(&one, at(5), vec![]), at(11)).unwrap();
    assert_eq!(spoke(&heartbeats), at(10));
    heartbeats.note(spoken(&one, at(5000), vec![]), at(12)).unwrap();
    heartbeats.note(spoken(&one, at(20), vec![]), at(20)).unwrap();
    assert_eq!(spoke(&heartbeats), at(20));
}

#[test]
fn liveness_leaves_are_cut_where_a_body_is_full() {
    let mut heartbeats = Heartbeats::default();
    let heads: Vec<_> = {
        let mut ids: Vec<_> = (0..128).map(|i| Chain::of(&Pod::named("a"), &i.to_string()).id()).collect();
        ids.sort();
        ids.into_iter().map(|id| (id, Head::start_of(id))).collect()
    };
    for seed in 0..200 {
        heartbeats.note(spoken(&sidecar(seed), at(0), heads.clone()), at(0)).unwrap();
    }
    let groups = heartbeats.due(at(1));
    assert!(groups.len() > 1);
    assert_eq!(ids(&groups).len(), 200);
    for group in groups {
        assert!(indelible_chain::leaf::liveness(group, at(1)).is_ok());
    }
}

#[test]
fn coverage_shows_who_spoke_by_session_id_and_page_by_page() {
    let mut heartbeats = Heartbeats::default();
    let chain = Chain::of(&Pod::named("a"), "app");
    for seed in 0..5 {
        let time = at(i64::from(seed));
        heartbeats.note(spoken(&sidecar(seed), time, vec![(chain.id(), chain.head())]), time).unwrap();
    }
    assert!(heartbeats.coverage(at(1), None, 10, |_| false).is_empty(), "a reader who sees none");
    let all = heartbeats.coverage(at(1), None, 10, |_| true);
    assert_eq!(all.len(), 4, "the first spoke before");
    let shown = CoveredChain { chain: chain.id(), container: Some("app".into()), next_seq: Seq::ZERO };
    assert_eq!(all[0].chains, [shown]);
    let id = |covered: &Covered| covered.session.session.id().unwrap();
    let mut paged = Vec::new();
    while let Some(covered) = heartbeats.coverage(at(1), paged.last().copied(), 1, |_| true).pop() {
        paged.push(id(&covered));
    }
    assert_eq!(paged, all.iter().map(id).collect::<Vec<_>>());
    assert!(paged.is_sorted());
}

#[test]
fn memory_is_bounded_and_silent_sessions_give_way() {
    let mut heartbeats = Heartbeats::default();
    let template = spoken(&sidecar(1), at(0), vec![]);
    let note = |heartbeats: &mut Heartbeats, i: usize, now: Time| {
        // What is held is bounded whoever signed it: the same signature will do for all.
        let mut heartbeat = template.heartbeat.clone();
        heartbeat.session = SessionId::new(Digest::sha256(&i.to_be_bytes()));
        heartbeat.time = now;
        let session = Arc::clone(&template.session);
        heartbeats.note(CheckedHeartbeat { heartbeat, session, containers: vec![] }, now)
    };
    let mut held = 0;
    while note(&mut heartbeats, held, at(0)).is_ok() {
        held += 1;
        assert!(heartbeats.len() <= MAX_HEARD_SESSIONS && heartbeats.bytes <= MAX_HEARD_BYTES);
    }
    assert!(held > 20_000, "{held}");
    assert_eq!(note(&mut heartbeats, 0, at(1)), Ok(()), "who is known goes on");
    assert_eq!(note(&mut heartbeats, held, at(HEARD_FOR_SECONDS - 1)), Err(NoteError::Full));
    assert_eq!(note(&mut heartbeats, held, at(HEARD_FOR_SECONDS)), Ok(()));
    assert_eq!(heartbeats.len(), 2, "the one who spoke a second later, and the new one");
    assert_eq!(heartbeats.bytes, heartbeats.sessions.values().map(Heard::cost).sum::<usize>());
}
