//! What senders send, made beforehand: sessions, chains and signed batches, which any number of collectors may get.

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use indelible_chain::batch::{Batch, BatchBuilder, Commitment};
use indelible_chain::digest::Digest;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::{PrivateKey, PublicKey};
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::session::Session;
use indelible_chain::stored::Packer;

use crate::corpus::{Corpus, Numbers, Workload};
use crate::world::Pod;

/// What records hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payloads {
    /// W1's payloads.
    Lines,
    /// So many bytes that nothing makes smaller.
    Noise(usize),
}

impl Payloads {
    fn next<'a>(self, corpus: &'a mut Corpus, noise: &'a mut (Numbers, Vec<u8>)) -> &'a [u8] {
        match self {
            Self::Lines => corpus.payload(),
            Self::Noise(bytes) => {
                let (numbers, buffer) = noise;
                buffer.clear();
                while buffer.len() < bytes {
                    buffer.extend_from_slice(&numbers.draw().to_be_bytes());
                }
                buffer.truncate(bytes);
                buffer
            }
        }
    }
}

/// How much is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Pods, each with a session and a connection.
    pub pods: usize,
    /// Chains of a pod, each with one batch in flight.
    pub slots: usize,
    /// Batches of a chain.
    pub batches: usize,
    /// Records of a batch.
    pub records: u32,
    /// What they hold.
    pub payloads: Payloads,
    /// Seed of keys and payloads.
    pub seed: u64,
}

/// All of it.
#[derive(Debug)]
pub struct Made {
    /// What was asked for.
    pub plan: Plan,
    /// The pods.
    pub pods: Vec<MadePod>,
}

/// A pod with its session.
#[derive(Debug)]
pub struct MadePod {
    /// The pod.
    pub pod: Pod,
    /// Its session.
    pub session: SessionId,
    /// What its batches are signed with, as others know it.
    pub key: PublicKey,
    /// What introduces it.
    pub introduction: Bytes,
    /// Its chains.
    pub chains: Vec<MadeChain>,
}

/// A chain with all of its batches.
#[derive(Debug)]
pub struct MadeChain {
    /// The chain.
    pub id: ChainId,
    /// What introduces it.
    pub introduction: Bytes,
    /// Bodies of `POST /v1/batches`, in the chain's order.
    pub batches: Vec<Bytes>,
}

/// Makes it, on all cores that this thread may use.
pub fn make(plan: Plan) -> Result<Made> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let numbers: Vec<_> = (0..plan.pods).collect();
    let mut pods = Vec::new();
    std::thread::scope(|scope| {
        let made: Vec<_> = numbers
            .chunks(plan.pods.div_ceil(threads).max(1))
            .map(|numbers| scope.spawn(|| numbers.iter().map(|n| of_pod(plan, *n)).collect::<Result<Vec<_>>>()))
            .collect();
        for made in made {
            pods.extend(made.join().map_err(|_| anyhow!("a thread that makes batches has panicked"))??);
        }
        anyhow::Ok(())
    })?;
    Ok(Made { plan, pods })
}

fn of_pod(plan: Plan, number: usize) -> Result<MadePod> {
    let pod = Pod::numbered(number);
    let key = PrivateKey::from_seed(Digest::sha256(format!("{} {number}", plan.seed).as_bytes()).as_bytes());
    let session = Session {
        public_key: key.public(),
        cluster_uid: String::new(),
        namespace: pod.namespace.clone(),
        pod_name: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        node_name: "node-1".into(),
        service_account: "default".into(),
        audit_log: "audit/bench".into(),
        software: "bench/1".into(),
        excluded: String::new(),
        started_at: Time::from_nanos(1),
    };
    let id = session.id()?;
    let mut packer = Packer::new()?;
    let seed = plan.seed.wrapping_add(number as u64);
    let (mut corpus, mut noise) = (Corpus::new(Workload::W1, seed), (Numbers::new(seed), Vec::new()));
    let mut payload = |builder: &mut BatchBuilder, time| {
        let payload = plan.payloads.next(&mut corpus, &mut noise);
        builder.push(&Record { time, source: Source::Stdout, flags: Flags::NONE, payload });
    };
    let chains = (0..plan.slots).map(|slot| of_chain(plan, &pod, (id, &key), slot, &mut payload, &mut packer));
    let chains = chains.collect::<Result<_>>()?;
    Ok(MadePod { introduction: session.encode()?.into(), pod, session: id, key: key.public(), chains })
}

fn of_chain(
    plan: Plan,
    pod: &Pod,
    (session, key): (SessionId, &PrivateKey),
    slot: usize,
    mut push: impl FnMut(&mut BatchBuilder, Time),
    packer: &mut Packer,
) -> Result<MadeChain> {
    let genesis = Genesis {
        capture: Capture::CriLogFile,
        cluster_uid: String::new(),
        namespace: pod.namespace.clone(),
        pod_name: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        container: format!("app-{slot}"),
        path: String::new(),
        incarnation: 0,
    };
    let id = genesis.chain_id()?;
    let mut builder = BatchBuilder::new(id, Head::start_of(id));
    let mut time = 1_780_000_000_000_000_000;
    let mut batches = Vec::with_capacity(plan.batches);
    for _ in 0..plan.batches {
        for _ in 0..plan.records {
            push(&mut builder, Time::from_nanos(time));
            time += 100_000;
        }
        let commitment = builder.seal(session, key).context("a batch has records")?;
        batches.push(Upload { commitment, body: packer.pack(builder.body()) }.encode().into());
        builder.clear();
    }
    let introduction = [session.as_bytes().as_slice(), &genesis.encode()?].concat();
    Ok(MadeChain { id, introduction: introduction.into(), batches })
}

/// What a batch commits to.
pub fn upload(batch: &[u8]) -> Result<Commitment> {
    Ok(Upload::decode(batch)?.commitment)
}

/// The records of a batch as they are before they are packed.
pub fn unpacked(batch: &[u8]) -> Result<Vec<u8>> {
    let Upload { commitment, body } = Upload::decode(batch)?;
    Ok(Packer::new()?.unpack(body, commitment.body_len as usize)?.to_vec())
}

/// Unpacks a batch of a pod and checks its signature and its links, as a collector does; gives how many records it has.
pub fn checked(pod: &MadePod, batch: &[u8], packer: &mut Packer) -> Result<u32> {
    let Upload { commitment, body } = Upload::decode(batch)?;
    let body = packer.unpack(body, commitment.body_len as usize)?;
    Ok(Batch::new(commitment, body).check(&pod.key)?.commitment().count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_what_a_collector_takes() {
        let plan = Plan { pods: 3, slots: 2, batches: 2, records: 5, payloads: Payloads::Lines, seed: 7 };
        let made = make(plan).unwrap();
        assert_eq!(made.pods.len(), 3);
        for pod in &made.pods {
            let session = Session::decode(&pod.introduction).unwrap();
            assert_eq!(session.id().unwrap(), pod.session);
            for chain in &pod.chains {
                let mut head = Head::start_of(chain.id);
                for batch in &chain.batches {
                    assert_eq!(checked(pod, batch, &mut Packer::new().unwrap()).unwrap(), 5);
                    let commitment = upload(batch).unwrap();
                    assert_eq!(commitment.head_before(), head);
                    assert_eq!(unpacked(batch).unwrap().len(), commitment.body_len as usize);
                    head = commitment.head_after();
                }
            }
        }
    }
}
