//! The core's decisions as tables of events and effects, and as a property over everything that can go wrong.
//!
//! Each file holds one kind of event; [`world`](super::world) is the pool that they all play against.

mod anything;
mod connections;
mod delivery;
mod heartbeats;
mod members;

use std::time::Duration;

use bytes::Bytes;
use indelible_chain::id::ChainId;

use super::world::{Open, World};
use super::{Answer, Call};
use crate::limits::FIRST_BATCHES;

const A: &str = "https://a:1";
const B: &str = "https://b:1";
const C: &str = "https://c:1";
const SECOND: Duration = Duration::from_secs(1);

fn is_batch(open: &Open) -> bool {
    matches!(open.call, Call::Batch(_))
}

/// A session that is connected, introduced, and has one chain.
fn ready(collectors: &[&str], copies: usize) -> (World, ChainId) {
    let mut world = World::new(collectors, copies, 1);
    let chain = world.introduce("app");
    world.settle();
    (world, chain)
}

fn busy(world: &mut World, chain: ChainId) {
    for _ in 0..FIRST_BATCHES {
        world.seal(chain, 40 << 10);
        world.settle();
    }
    world.pass(SECOND);
    world.settle();
}

fn list(epoch: u64, collectors: &[&str]) -> Answer {
    let collectors = collectors.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"epoch":{epoch},"server_name":"pool","collectors":[{collectors}],"ca_pem":""}}"#);
    Answer { status: 200, body: Bytes::from(body), ..Answer::default() }
}
