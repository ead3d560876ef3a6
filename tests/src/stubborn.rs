//! A pod whose collector is killed: it keeps its receipts, and sends again whatever it has none for.
//!
//! What it sends it makes itself, as every puppet does; that a collector dies at a named step takes a build with debug
//! assertions.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::peer::{Peer, Puppet};
use crate::tamper::actor::Batch;
use crate::world::{World, eventually};

/// The steps of the store while it takes batches after which a crash leaves something else. The names are the store's own.
pub const STEPS: [&str; 9] = [
    "commit-write",
    "commit-sync",
    "commit-answer",
    "roll-sync",
    "roll-index",
    "roll-create",
    "roll-done",
    "tick-checkpoint",
    "tick-publish",
];

/// How long a collector may take to come to a step.
const BOUND: Duration = Duration::from_mins(1);

/// The pod; it writes to the world's first collector.
#[derive(Debug)]
pub struct Stubborn {
    /// What it prints with.
    pub puppet: Puppet,
    /// Receipts with their commitments, as a sidecar keeps them.
    pub receipts: Vec<Vec<u8>>,
    peer: Option<Peer>,
    unsent: Option<Batch>,
}

impl Stubborn {
    /// One that has sent nothing yet.
    pub fn new(puppet: Puppet) -> Self {
        Self { puppet, receipts: Vec::new(), peer: None, unsent: None }
    }

    /// Whether a batch has got no receipt yet.
    pub fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// Lets go of its connection.
    pub fn hang_up(&mut self) {
        self.peer = None;
    }

    /// Sends the batch that got no receipt, or else what `print` has the puppet print; whether it got one.
    pub fn send(&mut self, world: &World, print: impl FnOnce(&mut Puppet) -> Result<()>) -> Result<bool> {
        let batch = if let Some(batch) = self.unsent.take() {
            batch
        } else {
            print(&mut self.puppet)?;
            self.puppet.seal()
        };
        if let Ok(receipt) = self.try_send(world, &batch) {
            self.receipts.push([&receipt[..], &batch.commitment].concat());
        } else {
            (self.peer, self.unsent) = (None, Some(batch));
        }
        Ok(self.unsent.is_none())
    }

    fn try_send(&mut self, world: &World, batch: &Batch) -> Result<bytes::Bytes> {
        let peer = match &mut self.peer {
            Some(peer) => peer,
            none => {
                let mut peer = Peer::connect(world, 0)?;
                self.puppet.introduce(&mut peer)?;
                none.insert(peer)
            }
        };
        Ok(peer.batch(&self.puppet.session, batch)?.expect(&[200])?.body)
    }

    /// Runs the killed collector until it dies of a step, sending meanwhile. A step can be taken before it listens.
    pub fn until_killed_at(
        &mut self,
        world: &mut World,
        step: &str,
        mut print: impl FnMut(&mut Puppet) -> Result<()>,
    ) -> Result<()> {
        if world.collectors[0].restart(&[("INDELIBLE_FAILPOINT", step)]).is_err() {
            return Ok(());
        }
        eventually(&format!("the collector comes to {step}"), BOUND, || {
            self.send(world, &mut print)?;
            let ended = world.collectors[0].process()?.ended()?;
            ensure!(ended.is_none_or(|status| status.code().is_none()), "it ended by itself: {ended:?}");
            Ok(ended.map(drop))
        })
    }

    /// Sends until all has its receipt, ends the chain, and lets go of its connection.
    pub fn end(&mut self, world: &World) -> Result<()> {
        if self.unsent.is_some() {
            ensure!(self.send(world, |_| Ok(()))?, "what got no receipt is taken");
        }
        ensure!(self.send(world, Puppet::end)?, "the end is taken");
        self.peer = None;
        Ok(())
    }
}
