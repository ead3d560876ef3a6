//! A tiny honest world for the judge's tests: collectors that take what sidecars send, and a reader of their logs.
//!
//! [`World::shop`] is one pod with one container, two collectors, a session that both introduced, and a chain that is
//! closed. Tests change one thing and see that exactly one class is raised. Nothing here judges anything.

use crate::batch::{BatchBuilder, Commitment};
use crate::checkpoint::{Checkpoint, Origin};
use crate::control::Control;
use crate::cosignature::{Cosigner, UnixSeconds};
use crate::digest::Digest;
use crate::genesis::{Capture, Genesis};
use crate::heartbeat::Heartbeat;
use crate::id::{ChainId, Head, LeafIndex, Seq, Time};
use crate::key::PrivateKey;
use crate::leaf::{Attestation, Attested, Leaf, liveness};
use crate::merkle::{MemoryHashes, leaf_hash, root_at};
use crate::note::NoteSigner;
use crate::policy::Policy;
use crate::receipt::{KeptReceipt, Receipt};
use crate::record::{Flags, Record, Source};
use crate::session::Session;
use crate::statement::{SealReason, SignedStatement, Statement};
use crate::stored::{Codec, Stored};

use super::{
    Axis, Class, Frame, Judge, Keys, Level, Preparer, Report, SourceKind, Terms, TokenCheck, TokenVerdict, Verdict,
};

/// When everything begins.
pub(super) const START: Time = Time::from_nanos(1_795_400_000 * Time::SECOND);

/// A time so many seconds after the start.
pub(super) const fn at(seconds: i64) -> Time {
    START.plus_nanos(seconds * Time::SECOND)
}

/// What a log stored.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) leaf: Vec<u8>,
    pub(super) codec: Codec,
    pub(super) body: Vec<u8>,
    /// The index that a reader gives it, if it is not its position.
    pub(super) index: Option<u64>,
    pub(super) flaw: Option<String>,
}

/// A collector's log.
pub(super) struct Log {
    pub(super) signer: NoteSigner,
    pub(super) entries: Vec<Entry>,
    /// The newest first.
    pub(super) notes: Vec<(String, Vec<u8>)>,
    pub(super) kind: SourceKind,
}

impl Log {
    pub(super) fn new(name: &str, seed: u8) -> Self {
        let key = PrivateKey::from_seed(&[seed; 32]).public();
        let origin = Origin::of_key(name, &key).unwrap();
        let signer = NoteSigner::new(origin.key_name().unwrap(), &[seed; 32]);
        Self { signer, entries: Vec::new(), notes: Vec::new(), kind: SourceKind::Copy }
    }

    pub(super) fn origin(&self) -> Origin {
        self.signer.verifier_key().name().clone().into()
    }

    pub(super) fn push(&mut self, leaf: &Leaf, body: &[u8]) -> LeafIndex {
        self.push_raw(leaf.encode().unwrap(), body)
    }

    pub(super) fn push_raw(&mut self, leaf: Vec<u8>, body: &[u8]) -> LeafIndex {
        self.entries.push(Entry { leaf, codec: Codec::Plain, body: body.to_vec(), index: None, flaw: None });
        LeafIndex::new(self.entries.len() as u64 - 1)
    }

    pub(super) fn say(&mut self, statement: Statement, time: Time) -> LeafIndex {
        self.push(&Leaf::Statement { statement, time }, b"")
    }

    pub(super) fn start(&mut self, time: Time) {
        self.say(Statement::Started { software: "collector/0".into() }, time);
    }

    pub(super) fn seal(&mut self, time: Time) {
        self.say(Statement::Sealed { reason: SealReason::Shutdown }, time);
        self.sign();
    }

    pub(super) fn introduce(&mut self, sidecar: &Sidecar, time: Time) {
        self.introduce_by(sidecar, &sidecar.attested(), time);
    }

    pub(super) fn introduce_by(&mut self, sidecar: &Sidecar, attested: &Attested, time: Time) -> LeafIndex {
        let (session, attested) = (sidecar.session.clone(), attested.clone());
        self.push(&Leaf::Session { session, attested, received_at: time }, b"jwt")
    }

    pub(super) fn genesis(&mut self, chain: &Chain, sidecar: &Sidecar, time: Time) {
        let (genesis, session) = (chain.genesis.clone(), sidecar.session.id().unwrap());
        self.push(&Leaf::Genesis { genesis, session, received_at: time }, b"");
    }

    pub(super) fn batch(&mut self, batch: &Sealed, time: Time) -> LeafIndex {
        self.push(&Leaf::Batch { commitment: batch.commitment, received_at: time }, &batch.body)
    }

    pub(super) fn batches(&mut self, batches: &[Sealed], time: Time) {
        for batch in batches {
            self.batch(batch, time);
        }
    }

    pub(super) fn heartbeats(&mut self, heartbeats: &[Heartbeat], time: Time) -> LeafIndex {
        let encoded = heartbeats.iter().map(|heartbeat| (heartbeat.session, heartbeat.encode().unwrap())).collect();
        let (leaf, body) = liveness(encoded, time).unwrap();
        self.push(&leaf, &body)
    }

    pub(super) fn authority(&mut self, key: &NoteSigner, statement: Statement, time: Time) {
        let id = *key.verifier_key().id().as_bytes();
        let signed = SignedStatement::sign(key.private_key(), id, self.origin().as_str(), statement);
        self.push(&Leaf::Authority { signed, received_at: time }, b"");
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let hashes: MemoryHashes = self.entries.iter().map(|entry| leaf_hash(&entry.leaf)).collect();
        Checkpoint::new(self.origin(), self.entries.len() as u64, root_at(self.entries.len() as u64, &hashes).unwrap())
    }

    /// Signs what is there now.
    pub(super) fn sign(&mut self) {
        let note = self.checkpoint().sign(&self.signer).unwrap().to_string();
        self.notes.insert(0, (format!("checkpoints/{}", self.entries.len()), note.into_bytes()));
    }

    /// Forgets all checkpoints and signs what is there now.
    pub(super) fn sign_anew(&mut self) {
        self.notes.clear();
        self.sign();
    }

    /// Signs what is there now and lets a witness cosign it.
    pub(super) fn sign_with(&mut self, witness: &Cosigner, time: Time) {
        let mut note = self.checkpoint().sign(&self.signer).unwrap();
        let seconds = UnixSeconds::new((time.nanos() / Time::SECOND).unsigned_abs()).unwrap();
        note.add(witness.cosign(&self.checkpoint(), seconds).unwrap()).unwrap();
        self.notes.insert(0, (format!("checkpoints/{}", self.entries.len()), note.to_string().into_bytes()));
    }

    /// The receipt of a batch, as a sidecar keeps it.
    pub(super) fn receipt(&self, index: LeafIndex) -> KeptReceipt {
        let leaf = &self.entries[usize::try_from(index.get()).unwrap()].leaf;
        let Leaf::Batch { commitment, received_at } = Leaf::decode(leaf).unwrap() else { panic!("not a batch") };
        let key = self.signer.private_key();
        let receipt = Receipt::sign(key, self.origin().log_id(), index, leaf_hash(leaf), received_at);
        KeptReceipt { receipt, commitment }
    }
}

/// A session with its key.
pub(super) struct Sidecar {
    pub(super) session: Session,
    pub(super) key: PrivateKey,
}

impl Sidecar {
    pub(super) fn of(pod: &str, seed: u8, started_at: Time) -> Self {
        let key = PrivateKey::from_seed(&[seed; 32]);
        let session = Session {
            public_key: key.public(),
            cluster_uid: String::new(),
            namespace: "shop".into(),
            pod_name: pod.into(),
            pod_uid: format!("uid-of-{pod}"),
            node_name: "node".into(),
            service_account: "default".into(),
            audit_log: "shop/audit".into(),
            software: "sidecar/0".into(),
            excluded: String::new(),
            started_at,
        };
        Self { session, key }
    }

    pub(super) fn attested(&self) -> Attested {
        Attested {
            attestation: Attestation::ServiceAccountToken,
            issuer: "https://issuer".into(),
            subject: "system:serviceaccount:shop:default".into(),
            pod_uid: self.session.pod_uid.clone(),
            token_id: "jti".into(),
            token_digest: Digest::sha256(b"jwt"),
            token_expires: at(3600),
        }
    }

    pub(super) fn heartbeat(&self, heads: &[(ChainId, Head)], time: Time) -> Heartbeat {
        self.heartbeat_with(heads, Vec::new(), time)
    }

    pub(super) fn heartbeat_with(
        &self,
        heads: &[(ChainId, Head)],
        receipts: Vec<(String, KeptReceipt)>,
        time: Time,
    ) -> Heartbeat {
        let (session, ca_digest) = (self.session.id().unwrap(), Digest::sha256(b"ca"));
        let mut heads = heads.to_vec();
        heads.sort_by_key(|(chain, _)| *chain);
        let mut heartbeat = Heartbeat { session, time, ca_digest, heads, receipts, signature: [0; 64] };
        heartbeat.sign(&self.key).unwrap();
        heartbeat
    }
}

/// A sealed batch with its body.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) commitment: Commitment,
    pub(super) body: Vec<u8>,
}

/// A chain as its sidecar writes it.
#[derive(Clone)]
pub(super) struct Chain {
    pub(super) genesis: Genesis,
    pub(super) id: ChainId,
    pub(super) head: Head,
}

impl Chain {
    pub(super) fn of(sidecar: &Sidecar, container: &str, incarnation: u64) -> Self {
        let session = &sidecar.session;
        let genesis = Genesis {
            capture: Capture::CriLogFile,
            cluster_uid: session.cluster_uid.clone(),
            namespace: session.namespace.clone(),
            pod_name: session.pod_name.clone(),
            pod_uid: session.pod_uid.clone(),
            container: container.into(),
            path: String::new(),
            incarnation,
        };
        let id = genesis.chain_id().unwrap();
        Self { genesis, id, head: Head::start_of(id) }
    }

    /// Signs a batch of these records and goes on after it.
    pub(super) fn seal(&mut self, sidecar: &Sidecar, records: &[Record<'_>]) -> Sealed {
        let mut builder = BatchBuilder::new(self.id, self.head);
        for record in records {
            builder.push(record);
        }
        let commitment = builder.seal(sidecar.session.id().unwrap(), &sidecar.key).unwrap();
        self.head = builder.head();
        Sealed { commitment, body: builder.body().to_vec() }
    }

    /// Signs a batch of `count` lines, a second apart, the content of which follows from their positions.
    pub(super) fn lines(&mut self, sidecar: &Sidecar, count: u64, time: Time) -> Sealed {
        self.lines_saying("line", sidecar, count, time)
    }

    /// The same with another content.
    pub(super) fn lines_saying(&mut self, what: &str, sidecar: &Sidecar, count: u64, time: Time) -> Sealed {
        let first = self.head.next_seq.get();
        let lines: Vec<String> = (first..first + count).map(|seq| format!("{what} {seq}")).collect();
        let records: Vec<_> = lines.iter().map(|line| stdout(line, time)).collect();
        self.seal(sidecar, &records)
    }

    pub(super) fn control(&mut self, sidecar: &Sidecar, control: &Control, time: Time) -> Sealed {
        let payload = control.encode();
        self.seal(sidecar, &[Record { source: Source::Control, ..stdout(&payload, time) }])
    }

    pub(super) fn end(&mut self, sidecar: &Sidecar, time: Time) -> Sealed {
        self.control(sidecar, &Control::End, time)
    }
}

pub(super) fn stdout(line: &str, time: Time) -> Record<'_> {
    Record { time, source: Source::Stdout, flags: Flags::NONE, payload: line.as_bytes() }
}

/// A check of tokens that knows one token and always says the same of it.
pub(super) struct Says(pub(super) TokenVerdict);

impl TokenCheck for Says {
    fn check(&self, jwt: &[u8], _: &Session, _: &Attested, _: Time) -> TokenVerdict {
        assert_eq!(jwt, b"jwt");
        self.0.clone()
    }
}

/// Collectors, and what a verifier brings.
pub(super) struct World {
    pub(super) logs: Vec<Log>,
    pub(super) terms: Terms,
}

/// The world of one pod.
pub(super) struct Shop {
    pub(super) world: World,
    pub(super) sidecar: Sidecar,
    pub(super) chain: Chain,
    /// Four batches of ten lines, the first and third in log 0, the others in log 1, and the end in log 0.
    pub(super) batches: Vec<Sealed>,
}

impl World {
    /// Two collectors that have started.
    pub(super) fn new() -> Self {
        Self::of(2)
    }

    pub(super) fn of(collectors: u8) -> Self {
        let mut logs: Vec<Log> = (0..collectors).map(|n| Log::new(&format!("shop/c{n}"), 10 + n)).collect();
        for log in &mut logs {
            log.start(START);
        }
        let keys = logs.iter().map(|log| log.signer.verifier_key().clone());
        let policy = Policy::from_log_keys(keys).unwrap();
        Self { logs, terms: Terms::new(policy, at(120)) }
    }

    /// One pod whose container printed forty lines and ended; both logs sealed.
    pub(super) fn shop() -> Shop {
        let mut shop = Self::shop_before_signing();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop
    }

    /// The same before anything is sealed or signed.
    pub(super) fn shop_before_signing() -> Shop {
        let mut world = Self::new();
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let mut chain = Chain::of(&sidecar, "app", 0);
        for log in &mut world.logs {
            log.introduce(&sidecar, at(2));
            log.genesis(&chain, &sidecar, at(3));
        }
        let mut batches = Vec::new();
        for n in 0..4 {
            let batch = chain.lines(&sidecar, 10, at(10 + n));
            world.logs[usize::try_from(n).unwrap() % 2].batch(&batch, at(11 + n));
            batches.push(batch);
        }
        let end = chain.end(&sidecar, at(30));
        world.logs[0].batch(&end, at(31));
        batches.push(end);
        let beat = sidecar.heartbeat(&[(chain.id, chain.head)], at(32));
        world.logs[1].heartbeats(&[beat], at(33));
        Shop { world, sidecar, chain, batches }
    }

    /// Asks for this witness's cosignatures.
    pub(super) fn ask_for(&mut self, witness: &Cosigner) {
        let logs = self.logs.iter().map(|log| log.signer.verifier_key().to_string());
        let logs = logs.collect::<Vec<_>>().join("\nlog ");
        let text = format!("log {logs}\nwitness w1 {}\nquorum w1\n", witness.verifier_key());
        self.terms.policy = Policy::parse(text.as_bytes()).unwrap();
    }

    /// Gives the issuer's keys.
    pub(super) fn vouch(&mut self) {
        self.terms.tokens = Some(Box::new(Says(TokenVerdict::Holds)));
    }

    pub(super) fn sign_all(&mut self) {
        self.logs.iter_mut().for_each(Log::sign);
    }

    /// Judges all logs, each a source of its own.
    pub(super) fn judge(self) -> Report {
        self.judge_with(|_| ())
    }

    /// Judges all logs, after `more` has told the judge something else.
    pub(super) fn judge_with(self, more: impl FnOnce(&mut Judge)) -> Report {
        self.judge_and(more).report
    }

    /// Judges all logs and gives them back.
    pub(super) fn judge_keeping(self) -> (Report, Vec<Log>) {
        let Judged { report, logs, .. } = self.judge_and(|_| ());
        (report, logs)
    }

    /// Judges all logs and says how many links inside batches were asked for.
    pub(super) fn judge_counting(self) -> (Report, usize) {
        let Judged { report, asked, .. } = self.judge_and(|_| ());
        (report, asked)
    }

    fn judge_and(self, more: impl FnOnce(&mut Judge)) -> Judged {
        let mut judge = Judge::new(self.terms);
        let (mut keys, mut preparer) = (Keys::default(), Preparer::new().unwrap());
        let mut views = Vec::new();
        for (number, log) in self.logs.iter().enumerate() {
            let source = judge.source(&format!("./c{number}"), log.kind);
            let Some(view) = judge.log(source, Some(log.origin().as_str()), &log.notes) else { continue };
            for frame in log.frames() {
                keys.learn(frame.leaf);
                judge.take(view, preparer.prepare(&frame, &keys));
            }
            views.push((view, log));
        }
        more(&mut judge);
        let mut asked = 0;
        loop {
            let wanted = judge.wanted();
            if wanted.is_empty() {
                break;
            }
            asked += judge.asked();
            for (view, index) in wanted {
                let (_, log) = views.iter().find(|(of, _)| *of == view).unwrap();
                let frame = log.frames().find(|frame| frame.index == index).unwrap();
                judge.take_again(view, &frame, &mut preparer);
            }
        }
        drop(views);
        Judged { report: judge.report(), logs: self.logs, asked }
    }
}

/// What came of judging a world.
struct Judged {
    report: Report,
    logs: Vec<Log>,
    /// Links inside batches that were asked for.
    asked: usize,
}

impl Log {
    pub(super) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.entries.iter().enumerate().map(|(position, entry)| {
            let Entry { leaf, codec, body, index, flaw } = entry;
            let index = LeafIndex::new(index.unwrap_or(position as u64));
            Frame { index, leaf, body: Stored { codec: *codec, bytes: body }, flaw: flaw.as_deref() }
        })
    }
}

/// The findings' classes and levels.
pub(super) fn found(report: &Report) -> Vec<(Class, Level)> {
    report.findings.iter().map(|finding| (finding.class, finding.level)).collect()
}

/// Asserts that exactly this was found, that its axis alone is not `pass`, and that the text names the pod.
#[track_caller]
pub(super) fn assert_only(report: &Report, class: Class, (axis, level): (Axis, Level)) -> String {
    let [finding] = report.findings.as_slice() else { panic!("found {:#?}", report.findings) };
    assert_eq!((finding.class, finding.axis, finding.level), (class, axis, level), "{}", finding.text);
    let verdict = match level {
        Level::Warn => Verdict::Warn,
        Level::Unknown => Verdict::Unknown,
        Level::Fail => Verdict::Fail,
    };
    for other in Axis::ALL {
        assert_eq!(report.verdicts.on(other), if other == axis { verdict } else { Verdict::Pass }, "{other}");
    }
    finding.text.clone()
}

/// Asserts that nothing was found.
#[track_caller]
pub(super) fn assert_honest(report: &Report) {
    assert!(report.findings.is_empty(), "found {:#?}", report.findings);
    assert_eq!(report.exit, 0);
    assert_eq!(report.verdicts.on(Axis::Integrity), Verdict::Pass);
}

/// A position.
pub(super) const fn seq(n: u64) -> Seq {
    Seq::new(n)
}
