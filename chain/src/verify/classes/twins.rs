//! The class `twins`: two speak where one pod can only have one voice.
//!
//! Of a pod's sessions only the youngest goes on, of chains only one takes over from another, and after its end a pod
//! begins nothing. Who is the impostor cannot be told from the evidence, so all are named.

use std::collections::BTreeMap;

use crate::id::Time;
use crate::statement::Statement;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{ChainNo, SessionLeaf, SessionNo};
use super::super::limits::{NAMED, OVERLAP};
use super::super::text::{Utc, list};
use super::findings::{About, Findings, INVENTED};

/// A session signs a heartbeat dated over 60 s after another session of that pod UID was introduced (a heartbeat is dated
/// by the smaller of signed time and `received_at`, a session by its own start, but neither before the first nor after
/// the last log received it); or two chains resume one chain; or a leaf 1 received over 60 s after statement 11 for its
/// pod: authenticity fail, undecided, all named.
///
/// A log whose `received_at` fell by over 60 s dates nothing here: what is left is what was signed.
/// "Another" is one that was introduced later: every restart of a sidecar goes on after the session before it was. One
/// that says that it began before, and of which nothing is dated over 60 s after the other was introduced, is not.
pub(super) fn twins(case: &Case<'_>, out: &mut Findings) {
    two_sessions(case, out);
    two_chains(case, out);
    after_the_end(case, out);
}

/// When a session was introduced. What it says itself counts as far as collectors bear it out: whoever holds a token
/// says anything, and an honest sidecar's clock may have stepped back since the life before. Nor is it the first or the
/// last that collectors say: one of them may have a wrong clock, and a session that lives on comes to others of the
/// pool hours later.
fn introduced(case: &Case<'_>, session: SessionNo) -> Option<Time> {
    let facts = case.facts.of_session(session);
    let started = facts.session.as_ref().filter(|_| facts.is_attested())?.started_at;
    let leaves = facts.leaves.iter().filter(|leaf| !leaf.is_foreign && has_clock(case, leaf));
    let received = leaves.map(|leaf| leaf.received_at);
    let (first, last) = (received.clone().min(), received.max());
    Some(first.zip(last).map_or(started, |(first, last)| started.clamp(first, last)))
}

/// Whether the time of a leaf accuses anyone: the clock of a log that went back was wrong before or after, and nothing
/// tells when it was right.
fn has_clock(case: &Case<'_>, leaf: &SessionLeaf) -> bool {
    !case.facts.view(leaf.place.view).clock.fell
}

fn two_sessions(case: &Case<'_>, out: &mut Findings) {
    let mut pods: BTreeMap<&str, Vec<(Time, SessionNo)>> = BTreeMap::new();
    for (number, facts) in (0..).zip(&case.facts.sessions) {
        let Some(session) = facts.session.as_deref().filter(|session| case.pod_in_scope(session)) else { continue };
        if let Some(time) = introduced(case, SessionNo(number)) {
            pods.entry(&session.pod_uid).or_default().push((time, SessionNo(number)));
        }
    }
    for mut sessions in pods.into_values() {
        sessions.sort_unstable();
        for (at, (introduced, session)) in sessions.iter().enumerate() {
            let Some((beat, place)) = case.facts.of_session(*session).newest_beat else { continue };
            let outlived = sessions[at + 1..].iter().take_while(|(time, _)| beat.since(*time) > OVERLAP);
            let mut twins =
                outlived.filter(|(time, other)| !came_before(case, (*time, *other), (*introduced, *session)));
            let Some((time, other)) = twins.next() else { continue };
            let text = format!(
                "{} was still speaking at {} (leaf {} of {}), although {} had been introduced for the same pod at {}. \
                 One of the two is an impostor; which one is undecided: someone may have got a token of that pod.",
                case.sidecar(*session),
                Utc(beat),
                place.index,
                case.log(place.view),
                case.sidecar(*other),
                Utc(*time),
            );
            out.add(Class::Twins, INVENTED, About::leaf(case, place), text);
        }
    }
}

/// Whether a session that was introduced later may have been over by then: lives that follow each other at once can be
/// introduced crosswise, if the last request of the one was still on its way.
fn came_before(case: &Case<'_>, (time, session): (Time, SessionNo), (next_time, next): (Time, SessionNo)) -> bool {
    let started = |session| case.facts.of_session(session).session.as_ref().map(|session| session.started_at);
    let last = case.facts.of_session(session).newest_beat.map_or(time, |(beat, _)| beat.max(time));
    started(session) < started(next) && last.since(next_time) <= OVERLAP
}

fn two_chains(case: &Case<'_>, out: &mut Findings) {
    let mut successors: BTreeMap<ChainNo, BTreeMap<ChainNo, usize>> = BTreeMap::new();
    for takeover in &case.takeovers {
        if let Some(target) = takeover.target {
            successors.entry(target).or_default().entry(takeover.chain).or_insert(takeover.batch);
        }
    }
    successors.retain(|target, _| case.in_scope(*target));
    for (target, chains) in successors.into_iter().filter(|(_, chains)| chains.len() > 1) {
        let named = chains.iter().map(|(chain, batch)| format!("{} ({})", case.who(*chain), case.leaf(*batch)));
        let text = format!(
            "{} chains say that they take over from that of {}: {}. Only one can; which one is undecided: someone may \
             have got a token of that pod.",
            chains.len(),
            case.who(target),
            list(named, NAMED),
        );
        out.add(Class::Twins, INVENTED, About::default().chain(case, target), text);
    }
}

fn after_the_end(case: &Case<'_>, out: &mut Findings) {
    let mut ends: BTreeMap<&str, Time> = BTreeMap::new();
    for (_, _, statement) in &case.facts.authority {
        if let Statement::Ended { pod_uid, at, .. } = statement {
            ends.entry(pod_uid).and_modify(|end| *end = (*end).min(*at)).or_insert(*at);
        }
    }
    for (number, facts) in (0..).zip(&case.facts.sessions) {
        let Some(session) = facts.session.as_deref().filter(|session| case.pod_in_scope(session)) else { continue };
        let Some(end) = ends.get(session.pod_uid.as_str()) else { continue };
        let late = facts.leaves.iter().find(|leaf| has_clock(case, leaf) && leaf.received_at.since(*end) > OVERLAP);
        if let Some(leaf) = late {
            let text = format!(
                "{} was introduced at {} (leaf {} of {}), although that pod had ended at {}. Someone may have kept a \
                 token of that pod, or the statement of its end is wrong: undecided.",
                case.sidecar(SessionNo(number)),
                Utc(leaf.received_at),
                leaf.place.index,
                case.log(leaf.place.view),
                Utc(*end),
            );
            out.add(Class::Twins, INVENTED, About::leaf(case, leaf.place), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Chain, Shop, Sidecar, World, assert_honest, assert_only, at, found};
    use super::super::findings::INVENTED;
    use crate::control::{Control, ResumeReason};
    use crate::note::NoteSigner;
    use crate::statement::{EndReason, Statement};

    fn restart(shop: &mut Shop) -> Sidecar {
        let again = Sidecar::of("cart-0", 2, at(34));
        shop.world.logs.iter_mut().for_each(|log| log.introduce(&again, at(35)));
        again
    }

    #[test]
    fn a_session_that_speaks_over_a_minute_after_the_next_was_introduced_is_a_twin() {
        for (seconds, is_twin) in [(95, false), (96, true)] {
            let mut shop = World::shop_before_signing();
            restart(&mut shop);
            shop.world.logs[0].heartbeats(&[shop.sidecar.heartbeat(&[], at(seconds))], at(97));
            shop.world.sign_all();
            let report = shop.world.judge();
            if is_twin {
                let text = assert_only(&report, Class::Twins, INVENTED);
                assert!(text.contains("pod shop/cart-0") && text.contains("undecided"), "{text}");
            } else {
                assert_honest(&report);
            }
        }
    }

    const HOUR: i64 = 3600;

    /// The sessions of one pod, as three collectors see them whose clocks are ahead by so many seconds. Times are given
    /// in seconds as they really are, but those that a sidecar signs.
    struct Lives {
        world: World,
        ahead: [i64; 3],
    }

    impl Lives {
        fn new(ahead: [i64; 3]) -> Self {
            let mut world = World::of(3);
            for (log, ahead) in world.logs.iter_mut().zip(ahead) {
                log.entries.clear();
                log.start(at(ahead));
            }
            Self { world, ahead }
        }

        /// A session that starts at a time by its own clock, and that these collectors take in when they do.
        fn begin(&mut self, seed: u8, started_at: i64, introductions: &[(usize, i64)]) -> Sidecar {
            let sidecar = Sidecar::of("cart-0", seed, at(started_at));
            for (log, now) in introductions {
                self.introduce(&sidecar, *log, *now);
            }
            sidecar
        }

        fn introduce(&mut self, sidecar: &Sidecar, log: usize, now: i64) {
            self.world.logs[log].introduce(sidecar, at(now + self.ahead[log]));
        }

        fn beat(&mut self, sidecar: &Sidecar, signed: i64, log: usize, now: i64) {
            self.world.logs[log].heartbeats(&[sidecar.heartbeat(&[], at(signed))], at(now + self.ahead[log]));
        }

        fn twins(mut self) -> Vec<String> {
            self.world.sign_all();
            self.world.terms.now = at(12 * HOUR);
            let findings = self.world.judge().findings.into_iter();
            findings.filter(|finding| finding.class == Class::Twins).map(|finding| finding.text).collect()
        }
    }

    /// One collector's clock an hour off, or none.
    fn one_collector_off() -> impl Iterator<Item = [i64; 3]> {
        let off = (0..3).flat_map(|log| {
            [-HOUR, HOUR].map(|off| {
                let mut ahead = [0; 3];
                ahead[log] = off;
                ahead
            })
        });
        std::iter::once([0; 3]).chain(off)
    }

    #[test]
    fn a_sidecar_whose_clock_steps_back_between_two_lives_is_no_twin_of_itself() {
        for back in [25, HOUR] {
            let mut lives = Lives::new([0; 3]);
            let old = lives.begin(1, 0, &[(0, 1), (1, 1)]);
            lives.beat(&old, 8, 1, 9);
            let new = lives.begin(2, 12 - back, &[(0, 13), (1, 13)]);
            for n in 1..=10 {
                lives.beat(&new, 12 - back + n * 300, 0, 12 + n * 300);
            }
            assert_eq!(lives.twins(), [""; 0], "{back} s back");
        }
    }

    #[test]
    fn a_life_that_was_introduced_after_the_next_one_is_no_twin_of_it() {
        // A request that was on its way when its sidecar died, at a collector that the network kept from it for a while.
        for (late, is_twin) in [(1, false), (50, false), (80, true)] {
            let mut lives = Lives::new([0; 3]);
            let _old = lives.begin(1, 0, &[(0, late + 1)]);
            let new = lives.begin(2, 1, &[(1, 1)]);
            for n in 1..=10 {
                lives.beat(&new, n * 300, 1, n * 300);
            }
            assert_eq!(lives.twins().len(), usize::from(is_twin), "{late} s late");
        }
    }

    #[test]
    fn a_clock_that_is_an_hour_off_makes_no_twins_of_two_lives() {
        // Both lives, or the one or the other, on a node whose clock is wrong, or else a collector's is.
        let nodes = [(-HOUR, -HOUR), (HOUR, HOUR), (-HOUR, 0), (0, -HOUR), (HOUR, 0), (0, HOUR)];
        let nodes = nodes.map(|(old, new)| ([0; 3], old, new));
        for (ahead, old_ahead, new_ahead) in one_collector_off().map(|ahead| (ahead, 0, 0)).chain(nodes) {
            for (old_logs, new_logs) in [([0, 1], [0, 2]), ([1, 0], [2, 1]), ([0, 1], [0, 1]), ([2, 1], [1, 0])] {
                let mut lives = Lives::new(ahead);
                let old = lives.begin(1, old_ahead, &old_logs.map(|log| (log, 1)));
                lives.beat(&old, 270 + old_ahead, old_logs[0], 271);
                lives.beat(&old, 300 + old_ahead, old_logs[1], 301);
                let new = lives.begin(2, 310 + new_ahead, &new_logs.map(|log| (log, 311)));
                for n in 1..=30 {
                    let now = 310 + n * 300;
                    lives.beat(&new, now + new_ahead, new_logs[usize::from(n % 2 == 0)], now + 1);
                }
                assert_eq!(lives.twins(), [""; 0], "{ahead:?} {old_ahead} {new_ahead}: {old_logs:?} {new_logs:?}");
            }
        }
    }

    #[test]
    fn a_session_of_a_stolen_token_is_a_twin_whatever_it_says_of_its_start() {
        for started_at in [-100_000_000, -HOUR, 50, 100, HOUR, 100_000_000] {
            for is_introduced_again in [false, true] {
                let mut lives = Lives::new([0; 3]);
                let pod = lives.begin(1, 0, &[(0, 1), (1, 1)]);
                // It signs no heartbeat that would tell.
                lives.begin(2, started_at, &[(2, 100)]);
                if is_introduced_again {
                    // That the pod's own comes to another collector later makes it no younger.
                    lives.introduce(&pod, 2, 130);
                }
                lives.beat(&pod, 161, 1, 162);
                let twins = lives.twins();
                assert_eq!(twins.len(), 1, "{started_at}: {twins:?}");
                assert!(twins[0].contains("had been introduced for the same pod at"), "{}", twins[0]);
            }
        }
    }

    #[test]
    fn a_session_of_a_stolen_token_is_a_twin_though_a_clock_is_an_hour_off() {
        let nodes = [-HOUR, HOUR].map(|off| ([0; 3], off));
        for (ahead, node) in one_collector_off().map(|ahead| (ahead, 0)).chain(nodes) {
            for at_logs in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2]] {
                for started_at in [-100_000_000, 2 * HOUR, 100_000_000] {
                    let mut lives = Lives::new(ahead);
                    let pod = lives.begin(1, node, &[(0, 1), (1, 1), (2, HOUR)]);
                    lives.begin(2, started_at, &at_logs.iter().map(|log| (*log, 2 * HOUR)).collect::<Vec<_>>());
                    let now = 3 * HOUR + 70;
                    lives.beat(&pod, now + node, 0, now);
                    let twins = lives.twins();
                    assert_eq!(twins.len(), 1, "{ahead:?} {node} {at_logs:?} {started_at}: {twins:?}");
                }
            }
        }
    }

    #[test]
    fn two_chains_that_take_over_from_one_are_twins() {
        let mut shop = World::shop_before_signing();
        for incarnation in [100, 200] {
            let mut chain = Chain::of(&shop.sidecar, "app", incarnation);
            let resumed =
                Control::Resumed { reason: ResumeReason::AfterEnd, from: Some((shop.chain.id, shop.chain.head)) };
            let batch = chain.control(&shop.sidecar, &resumed, at(40));
            let end = chain.end(&shop.sidecar, at(41));
            shop.world.logs[0].genesis(&chain, &shop.sidecar, at(40));
            shop.world.logs[0].batch(&batch, at(41));
            shop.world.logs[0].batch(&end, at(42));
        }
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::Twins, INVENTED);
    }

    #[test]
    fn a_session_introduced_over_a_minute_after_its_pods_end_is_a_twin() {
        for (seconds, is_twin) in [(95, false), (96, true)] {
            let mut shop = World::shop_before_signing();
            let authority = NoteSigner::new("operator".parse().unwrap(), &[9; 32]);
            let (pod_uid, reason) = (shop.sidecar.session.pod_uid.clone(), EndReason::Deleted);
            shop.world.logs[0].authority(&authority, Statement::Ended { pod_uid, reason, at: at(35) }, at(36));
            let again = Sidecar::of("cart-0", 2, at(34));
            shop.world.logs.iter_mut().for_each(|log| log.introduce(&again, at(seconds)));
            shop.world.sign_all();
            // Without the authority's key its statement means nothing.
            shop.world.terms.authorities.extend(is_twin.then(|| authority.verifier_key().clone()));
            let report = shop.world.judge();
            assert_eq!(found(&report), if is_twin { vec![(Class::Twins, INVENTED.1)] } else { vec![] });
        }
    }

    #[test]
    fn a_collector_whose_clock_was_set_back_makes_no_twins() {
        let mut shop = World::shop_before_signing();
        let authority = NoteSigner::new("operator".parse().unwrap(), &[9; 32]);
        shop.world.terms.authorities.push(authority.verifier_key().clone());
        // Log 1 knows another pod's session that began while its clock was ahead; then it is an hour behind.
        let other = Sidecar::of("cart-1", 3, at(3000));
        shop.world.logs[1].introduce(&other, at(6600));
        let (pod_uid, reason) = (other.session.pod_uid.clone(), EndReason::Deleted);
        shop.world.logs[0].authority(&authority, Statement::Ended { pod_uid, reason, at: at(3001) }, at(3002));
        let again = Sidecar::of("cart-0", 2, at(3640));
        shop.world.logs[1].introduce(&again, at(34));
        shop.world.logs[0].heartbeats(&[shop.sidecar.heartbeat(&[], at(3600))], at(3601));
        shop.world.sign_all();
        shop.world.terms.now = at(6700);
        let report = shop.world.judge();
        assert!(found(&report).iter().all(|(class, _)| *class != Class::Twins), "{:#?}", report.findings);
        assert!(found(&report).iter().any(|(class, _)| *class == Class::Clock), "{:#?}", report.findings);
    }
}
