//! What most attacks begin with: a pool that has stored what a pod printed, sealed, and judged to be whole.

use std::cell::Cell;
use std::path::PathBuf;

use indelible_tests::peer::{Peer, Puppet, write_receipts};
use indelible_tests::tamper::Image;
use indelible_tests::world::{Answer, Collector, Finding, PodIdentity, World};

/// A sealed pool's evidence.
pub(super) struct Evidence {
    pub(super) world: World,
    pub(super) images: Vec<Image>,
    /// Kept receipts of all batches.
    pub(super) receipts: Vec<Vec<u8>>,
    /// The directories, which verify.
    pub(super) data: Vec<PathBuf>,
    changed: Cell<usize>,
}

pub(super) fn pod() -> PodIdentity {
    PodIdentity::new("payments", "api-0", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c11")
}

impl Evidence {
    /// A pool of `collectors` that took `batches` batches of one container: four of five went to the first collector,
    /// which so fills a tile first, the fifth to each in turn.
    pub(super) fn new(collectors: usize, batches: usize) -> Self {
        Self::with(collectors, batches, |_, _, _, _| {})
    }

    /// The same, with something that happens before the end.
    pub(super) fn with(
        collectors: usize,
        batches: usize,
        before_the_end: impl FnOnce(&World, &Puppet, &mut [Peer], &[Vec<u8>]),
    ) -> Self {
        let mut world = World::start(collectors).unwrap();
        let mut puppet = Puppet::new(&world, &pod(), 1).unwrap();
        let mut peers: Vec<_> = (0..collectors).map(|at| Peer::connect(&world, at).unwrap()).collect();
        for peer in &mut peers {
            puppet.introduce(peer).unwrap();
        }
        let mut receipts = Vec::new();
        for n in 0..=batches {
            if n == batches {
                puppet.end().unwrap();
            } else {
                puppet.print(3).unwrap();
            }
            let batch = puppet.seal();
            let to = if n % 5 == 4 { n / 5 % collectors } else { 0 };
            let receipt = peers[to].batch(&puppet.session, &batch).unwrap().expect(&[200]).unwrap();
            receipts.push([&receipt.body[..], &batch.commitment].concat());
        }
        before_the_end(&world, &puppet, &mut peers, &receipts);
        drop(peers);
        world.seal().unwrap();
        let data: Vec<_> = world.collectors.iter().map(Collector::data).collect();
        let images = data.iter().map(|data| Image::read(data).unwrap()).collect();
        let evidence = Self { world, images, receipts, data, changed: Cell::new(0) };
        let answer = evidence.world.verify(&[]).unwrap();
        assert_eq!((answer.code, answer.texts()), (0, String::new()), "the evidence is whole before it is attacked");
        evidence
    }

    /// Verifies the pool with other directories in place of its own.
    pub(super) fn verify(&self, changed: &[(usize, &Image)], flags: &[&str]) -> Answer {
        let mut sources = self.data.clone();
        for (at, image) in changed {
            sources[*at] = self.write(image);
        }
        self.world.verify_sources(&sources, flags).unwrap()
    }

    pub(super) fn write(&self, image: &Image) -> PathBuf {
        self.changed.set(self.changed.get() + 1);
        let to = self.world.dir().join(format!("changed-{}", self.changed.get()));
        image.write(&to, None).unwrap();
        to
    }

    /// Writes all kept receipts to a directory, one a file.
    pub(super) fn kept_receipts(&self) -> PathBuf {
        let to = self.world.dir().join("receipts");
        write_receipts(self.receipts.iter().map(Vec::as_slice), &to).unwrap();
        to
    }

    pub(super) fn origin(&self, at: usize) -> &str {
        self.world.collectors[at].origin()
    }
}

/// Asserts that exactly this axis fails, for exactly these classes; the others pass.
#[track_caller]
pub(super) fn assert_flips(answer: &Answer, axis: &str, exit: i32, classes: &[&str]) {
    assert_eq!(answer.code, exit, "{}", answer.texts());
    for (name, verdict) in &answer.verdicts {
        let expected = if name == axis { "fail" } else { "pass" };
        assert_eq!(verdict, expected, "{name}: {}", answer.texts());
    }
    assert_eq!(answer.classes(), classes, "{}", answer.texts());
}

/// Asserts that every finding tells a person which pod, container, time and collector are meant.
#[track_caller]
pub(super) fn assert_tells(answer: &Answer, origin: &str) {
    assert!(!answer.findings.is_empty());
    for Finding { class, text, .. } in &answer.findings {
        for part in ["payments/api-0", "container app", origin] {
            assert!(text.contains(part), "{class}: no {part} in: {text}");
        }
        assert!(has_time(text), "{class}: no time in: {text}");
    }
}

/// Whether there is something like `2026-11-22T20:15:01` in a text.
fn has_time(text: &str) -> bool {
    let form = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form };
    text.as_bytes().windows(form.len()).any(|window| window.iter().zip(form).all(fits))
}
