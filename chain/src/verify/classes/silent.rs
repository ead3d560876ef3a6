//! The class `silent`: a container that should be covered is not.
//!
//! What should be covered is the caller's list; without one nothing is silent. Where a source is missing, its chain may
//! be there, and that is told with the source.

use std::collections::BTreeMap;

use crate::id::Time;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::ChainNo;
use super::super::limits::QUIET;
use super::super::terms::Expected;
use super::super::text::{Age, Utc};
use super::findings::{About, Findings, MISSING};
use super::unclosed::sign_of_life;

/// A container that has run for over 11 min and should be covered has no chain, or one that has been closed and not
/// resumed for that long: completeness fail.
pub(super) fn silent(case: &Case<'_>, out: &mut Findings) {
    if case.sources.may_be_elsewhere() {
        return;
    }
    let mut chains: BTreeMap<(&str, &str), Vec<ChainNo>> = BTreeMap::new();
    for chain in case.numbers() {
        if let Some(genesis) = case.genesis(chain) {
            chains.entry((&genesis.pod_uid, &genesis.container)).or_default().push(chain);
        }
    }
    for expected in case.terms.expected.iter().filter(|expected| in_scope(case, expected)) {
        let Expected { namespace, pod, pod_uid, containers, running_since } = expected;
        let age = case.terms.now.since(*running_since);
        if age <= QUIET {
            continue;
        }
        let is_wanted =
            |container: &String| case.terms.scope.container.as_ref().is_none_or(|wanted| wanted == container);
        for container in containers.iter().filter(|container| is_wanted(container)) {
            let chains = chains.get(&(pod_uid.as_str(), container.as_str())).map_or(&[][..], Vec::as_slice);
            let name = format!("container {container} of pod {namespace}/{pod}");
            let advice = "See whether the pod has its sidecar and the sidecar reaches the pool.";
            if chains.is_empty() {
                let since = Utc(*running_since);
                let text = format!(
                    "{name} should be covered and has run since {since}, {} ago, and no chain of it is in the sources. \
                     {advice}",
                    Age(age),
                );
                out.add(Class::Silent, MISSING, About::default(), text);
            } else if let Some((chain, ended)) = all_closed(case, chains)
                && case.terms.now.since(ended) > QUIET
            {
                let text = format!(
                    "{name} should be covered and still runs, but its chain ended at {} and none took over. {advice}",
                    Utc(ended),
                );
                out.add(Class::Silent, MISSING, About::default().chain(case, chain), text);
            }
        }
    }
}

fn in_scope(case: &Case<'_>, expected: &Expected) -> bool {
    case.terms.scope.names_pod(&expected.namespace, &expected.pod)
}

/// If all chains of a container are closed: the one that ended last, and when.
fn all_closed(case: &Case<'_>, chains: &[ChainNo]) -> Option<(ChainNo, Time)> {
    let is_closed = |chain: &ChainNo| case.of(*chain).end.is_some() || case.closed_by.contains_key(chain);
    if !chains.iter().all(is_closed) {
        return None;
    }
    chains.iter().filter_map(|chain| Some((*chain, sign_of_life(case, *chain)?))).max_by_key(|(_, time)| *time)
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::terms::Expected;
    use super::super::super::testing::{Shop, World, assert_honest, assert_only, at};
    use super::super::findings::MISSING;

    fn expecting(pod: &str, containers: &[&str], now: i64) -> Shop {
        let mut shop = World::shop();
        shop.world.terms.expected.push(Expected {
            namespace: "shop".into(),
            pod: pod.into(),
            pod_uid: format!("uid-of-{pod}"),
            containers: containers.iter().map(ToString::to_string).collect(),
            running_since: at(0),
        });
        shop.world.terms.now = at(now);
        shop
    }

    #[test]
    fn a_container_without_a_chain_is_silent_after_11_minutes() {
        assert_honest(&expecting("cart-1", &["app"], 660).world.judge());
        let report = expecting("cart-1", &["app"], 661).world.judge();
        let text = assert_only(&report, Class::Silent, MISSING);
        assert!(text.contains("container app of pod shop/cart-1"), "{text}");
        assert_eq!(report.exit, 2);
        assert_only(&expecting("cart-0", &["app", "proxy"], 680).world.judge(), Class::Silent, MISSING);
    }

    #[test]
    fn a_container_that_runs_on_after_its_chain_ended_is_silent_after_11_minutes() {
        // The final heartbeat is of 32 s.
        assert_honest(&expecting("cart-0", &["app"], 32 + 660).world.judge());
        assert_only(&expecting("cart-0", &["app"], 33 + 660).world.judge(), Class::Silent, MISSING);
    }
}
