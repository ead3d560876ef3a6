//! Honest histories raise nothing, and attacks raise exactly what names them.

use super::testing::{World, assert_honest, at, found, seq};
use super::{Class, Level};

#[test]
fn an_honest_pod_raises_nothing() {
    let shop = World::shop();
    let report = shop.world.judge();
    assert_honest(&report);
    let [chain] = report.chains.as_slice() else { panic!("{:?}", report.chains) };
    assert_eq!((chain.records, chain.next_seq, chain.closed), (41, seq(41), true));
    assert_eq!((chain.namespace.as_str(), chain.pod.as_str(), chain.container.as_str()), ("shop", "cart-0", "app"));
    assert_eq!(chain.head, shop.chain.head.link);
    assert_eq!((report.counts.records, report.counts.batches, report.counts.duplicates), (41, 5, 0));
    assert!(report.logs.iter().all(|log| log.sealed && log.newest_leaf_time == Some(at(60))));
}

#[test]
fn a_removed_middle_batch_is_named_by_pod_container_time_and_collector() {
    let mut shop = World::shop();
    shop.world.logs[1].entries.remove(3);
    let report = shop.world.judge();
    assert_eq!(found(&report), [(Class::BadLeaf, Level::Fail)]);
    assert_eq!(report.exit, 1);
    let text = &report.findings[0].text;
    for part in ["records 10 to 19", "container app of pod shop/cart-0", "shop/c1-", "./c1", "2026-"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
