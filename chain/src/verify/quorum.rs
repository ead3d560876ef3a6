//! How much of a log a quorum of the policy's witnesses has seen.
//!
//! A log only grows: who has cosigned a tree has seen every tree that it extends. So of each witness its largest
//! cosignature counts, wherever it is kept, with the log or by the witness itself, if it is of the leaves that the view
//! shows. Witnesses that are asked one after the other have no tree in common, and have seen the same leaves all the same.

use std::collections::BTreeMap;

use super::case::Case;
use super::classes::rewritten::here;
use super::facts::ViewId;
use super::settle::Roots;

/// What a quorum has seen of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witnessed {
    /// So many leaves.
    pub(super) size: u64,
    /// The witnesses that have seen as many, in the policy's order; more of them may have than it takes.
    pub(super) by: Vec<String>,
}

/// The most leaves of a view that a quorum has seen; none if there is no quorum, not even for an empty tree. Under a
/// policy that asks for none, all leaves.
pub(super) fn witnessed(case: &Case<'_>, view: ViewId) -> Option<Witnessed> {
    let policy = &case.terms.policy;
    let largest = largest(case, view);
    let seen = |name: &str, size: u64| largest.get(name).is_some_and(|largest| *largest >= size);
    let mut sizes: Vec<u64> = largest.values().copied().collect();
    if !policy.needs_witnesses() {
        sizes = vec![case.facts.view(view).heads.last()?.size];
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let size = sizes.into_iter().find(|size| policy.is_met_by(|witness| seen(witness.name(), *size)))?;
    let by = policy.witnesses().iter().map(|witness| witness.name().to_owned()).filter(|name| seen(name, size));
    Some(Witnessed { size, by: by.collect() })
}

/// Of each witness the largest tree of this view that it has cosigned.
pub(super) fn largest<'a>(case: &'a Case<'_>, view: ViewId) -> BTreeMap<&'a str, u64> {
    let (facts, standing) = (case.facts.view(view), &case.standings[view.0]);
    let claims = case.sources.claims[facts.log].iter();
    let claims: Vec<_> = claims.filter(|claim| !claim.witnesses.is_empty() && claim.size <= facts.size()).collect();
    let roots = Roots::at_sizes(facts, claims.iter().map(|claim| claim.size));
    let is_here = |size, root| {
        here(&facts.heads, size, roots.at(size).filter(|_| standing.is_true)).is_some_and(|here| here == root)
    };
    let claimed = claims.into_iter().filter(|claim| is_here(claim.size, claim.root));
    let claimed = claimed.map(|claim| (claim.size, &claim.witnesses));
    let mut largest: BTreeMap<&str, u64> = BTreeMap::new();
    for (size, witnesses) in facts.heads.iter().map(|head| (head.size, &head.witnesses)).chain(claimed) {
        for name in witnesses {
            let most = largest.entry(name).or_default();
            *most = (*most).max(size);
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::super::class::{Class, Level};
    use super::super::terms::{Known, KnownBy};
    use super::super::testing::{Shop, World, assert_honest, at, found};
    use crate::cosignature::Cosigner;
    use crate::policy::Policy;

    fn cosigner(n: u8) -> Cosigner {
        Cosigner::new(format!("w{n}").parse().unwrap(), &[90 + n; 32])
    }

    /// The shop before its logs are sealed, under a policy that asks for two of two witnesses.
    fn shop() -> Shop {
        let mut shop = World::shop_before_signing();
        let logs = shop.world.logs.iter().map(|log| log.signer.verifier_key().to_string());
        let logs = logs.collect::<Vec<_>>().join("\nlog ");
        let witnesses = [1, 2].map(|n| format!("witness w{n} {}\n", cosigner(n).verifier_key())).concat();
        let policy = format!("log {logs}\n{witnesses}group g all w1 w2\nquorum g\n");
        shop.world.terms.policy = Policy::parse(policy.as_bytes()).unwrap();
        shop
    }

    #[test]
    fn witnesses_that_cosigned_different_trees_have_seen_what_both_hold() {
        // What only one of them has seen is told once it has waited for two hours.
        for (now, is_stale) in [(60 + 7200, false), (61 + 7200, true)] {
            let mut shop = shop();
            for log in &mut shop.world.logs {
                log.sign_with(&cosigner(1), at(50));
                log.seal(at(60));
                log.sign_with(&cosigner(2), at(61));
            }
            shop.world.terms.now = at(now);
            let report = shop.world.judge();
            assert_eq!(report.logs[0].witnesses, ["w1", "w2"]);
            if is_stale {
                assert_eq!(found(&report), [(Class::Stale, Level::Warn); 2]);
                let text = &report.findings[0].text;
                assert!(text.contains("newest 1 leaves"), "{text}");
            } else {
                assert_honest(&report);
            }
        }
    }

    #[test]
    fn what_a_witness_itself_holds_counts_if_it_is_of_these_leaves() {
        for is_same in [true, false] {
            let mut shop = shop();
            for log in &mut shop.world.logs {
                log.sign_with(&cosigner(1), at(50));
                if !is_same {
                    // The witness has seen another log of that key.
                    log.seal(at(70));
                }
                log.sign_with(&cosigner(2), at(71));
                let (_, note) = log.notes.remove(0);
                shop.world.terms.known.push(Known { by: KnownBy::Witness, label: "w2".into(), note });
                if !is_same {
                    log.entries.pop();
                    log.seal(at(72));
                    log.sign_with(&cosigner(1), at(73));
                }
            }
            let classes: Vec<Class> = found(&shop.world.judge()).into_iter().map(|(class, _)| class).collect();
            if is_same {
                assert_eq!(classes, []);
            } else {
                assert!(classes.contains(&Class::Rewritten) && classes.contains(&Class::Unreadable), "{classes:?}");
            }
        }
    }
}
