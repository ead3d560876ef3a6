//! A pod that does nothing wrong, beside those that do.

use std::time::{Duration, Instant};

use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, Sidecar, SidecarOptions, World, eventually};

/// How long receipts may take on a busy machine beside everything that the tests do to the collector.
pub(super) const BOUND: Duration = Duration::from_mins(1);

pub(super) struct Honest {
    printer: Printer,
    /// Lines that an earlier run of the sidecar has counted.
    counted: u64,
    pub(super) sidecar: Sidecar,
    /// The longest that receipts took.
    pub(super) slowest: Duration,
}

impl Honest {
    pub(super) fn start(world: &World, collectors: Vec<String>) -> Self {
        let pod = PodIdentity::new("shop", "cart-1", "6b2e1f0a-8a44-4a55-b8f6-5b1d0f8f2c21");
        let printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
        let flags = vec!["--metrics=127.0.0.1:0".into()];
        let options = SidecarOptions { collectors, flags, ..SidecarOptions::default() };
        let sidecar = world.sidecar(&pod, &options).unwrap();
        sidecar.armed().unwrap();
        Self { printer, counted: 0, sidecar, slowest: Duration::ZERO }
    }

    /// Kills its sidecar and starts it again.
    pub(super) fn restart(&mut self) {
        self.sidecar.kill().unwrap();
        self.sidecar.restart().unwrap();
        self.counted = self.printer.printed();
    }

    /// Prints some lines and waits until everything that was printed is receipted.
    pub(super) fn print(&mut self) {
        self.printer.print(50, 100).unwrap();
        let (since, printed) = (Instant::now(), self.printer.printed() - self.counted);
        let sidecar = &mut self.sidecar;
        eventually("what an honest pod prints is receipted", BOUND, || {
            // One that has just been started again says where its metrics are in a moment.
            let Ok(told) = sidecar.metrics() else { return Ok(None) };
            let is = |name: &str| told.sum(&format!("indelible_sidecar_{name}"), &[]);
            #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
            let sealed = is("records_total") >= printed as f64 && is("unread_bytes") == 0.0;
            Ok((sealed && is("unreceipted_records_bytes") == 0.0).then_some(()))
        })
        .unwrap();
        self.slowest = self.slowest.max(since.elapsed());
    }

    /// Ends the pod and the pool. Everything that was printed is there, once, and nothing else.
    pub(super) fn end(mut self, mut world: World) {
        self.sidecar.terminate().unwrap();
        world.seal().unwrap();
        let answer = world.verify(&[]).unwrap();
        assert_eq!((answer.code, answer.texts()), (0, String::new()));
        let chain = answer.chain("shop_cart-1_6b2e1f0a-8a44-4a55-b8f6-5b1d0f8f2c21/app").unwrap();
        // What the sidecar says of the container's start and end.
        assert!(chain.closed && chain.records == self.printer.printed() + 2, "{chain:?}");
    }
}
