//! What changes while sidecars run: the members of their pool, its CA, and their tokens.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indelible_tests::evidence::{self, StoredChain};
use indelible_tests::printer::Printer;
use indelible_tests::world::{Answer, Authority, Collector, PodIdentity, Sidecar, SidecarOptions, World, eventually};

const BOUND: Duration = Duration::from_mins(1);
/// How soon a collector that joins a pool has to be used by sessions that have something to send.
const JOINED: Duration = Duration::from_secs(10);

/// A Service: one address, whose connections go to one of its endpoints after the other.
struct Service {
    address: SocketAddr,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoints = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
        let chosen = Arc::clone(&endpoints);
        // Ends with the process, as its connections do.
        std::thread::spawn(move || {
            for (n, client) in listener.incoming().flatten().enumerate() {
                let endpoints = chosen.lock().unwrap().clone();
                let Some(server) = endpoints.get(n % endpoints.len().max(1)) else { continue };
                let Ok(server) = TcpStream::connect(server) else { continue };
                relay(client.try_clone().unwrap(), server.try_clone().unwrap());
                relay(server, client);
            }
        });
        Self { address, endpoints }
    }

    fn serve(&self, collectors: &[&Collector]) {
        let address = |collector: &&Collector| collector.url().strip_prefix("https://").unwrap().parse().unwrap();
        *self.endpoints.lock().unwrap() = collectors.iter().map(address).collect();
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        // Either side may end it.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// A pod whose sidecar knows only the Service's address, and the file that says who is in the pool.
struct Scene {
    world: World,
    service: Service,
    list: PathBuf,
    epoch: u64,
    pod: PodIdentity,
    printer: Printer,
}

impl Scene {
    fn new(collectors: usize) -> Self {
        let world = World::start(0).unwrap();
        let pod = PodIdentity::new("payments", "api-0", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c11");
        let printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
        let (service, list) = (Service::start(), world.dir().join("pool.json"));
        let mut scene = Self { world, service, list, epoch: 0, pod, printer };
        scene.publish(&[], &scene.ca());
        for _ in 0..collectors {
            scene.add_collector();
        }
        let all: Vec<usize> = (0..collectors).collect();
        scene.publish(&all, &scene.ca());
        scene.service.serve(&scene.world.collectors.iter().collect::<Vec<_>>());
        scene
    }

    fn ca(&self) -> String {
        std::fs::read_to_string(self.world.authority.ca()).unwrap()
    }

    fn add_collector(&mut self) {
        let list = self.list.to_str().unwrap().to_owned();
        self.world.add_collector(&["--pool", &list]).unwrap();
    }

    /// Says who is in the pool, and whom to trust.
    fn publish(&mut self, members: &[usize], ca: &str) {
        self.epoch += 1;
        let collectors: Vec<&str> = members.iter().map(|n| self.world.collectors[*n].url()).collect();
        let list = serde_json::json!({
            "epoch": self.epoch, "server_name": "localhost", "collectors": collectors, "ca_pem": ca,
        });
        replace(&self.list, &list.to_string());
    }

    fn sidecar(&self) -> Sidecar {
        let options = SidecarOptions {
            collectors: vec![format!("https://{}", self.service.address)],
            flags: vec!["--server-name".to_owned(), "localhost".to_owned()],
            ..SidecarOptions::default()
        };
        let sidecar = self.world.sidecar(&self.pod, &options).unwrap();
        sidecar.armed().unwrap();
        sidecar
    }

    fn data(&self) -> Vec<PathBuf> {
        self.world.collectors.iter().map(Collector::data).collect()
    }

    /// How many records a collector's log holds.
    fn held(&self, collector: usize) -> usize {
        chain(&[self.world.collectors[collector].data()]).map_or(0, |chain| chain.records.len())
    }

    /// Prints some lines and waits until all of them are stored.
    fn print(&mut self) {
        self.printer.print(20, 100).unwrap();
        let lines = self.printer.printed();
        let stored = || chain(&self.data()).map(|chain| chain.records.values().filter(|r| r.source != 3).count());
        let all = || Ok((stored() == Some(usize::try_from(lines)?)).then_some(()));
        eventually("the lines are stored", BOUND, all).unwrap();
    }

    /// Ends everything. All that was printed has to be there, each line once.
    fn end(&mut self, sidecar: &mut Sidecar) -> Answer {
        sidecar.terminate().unwrap();
        for collector in &mut self.world.collectors {
            if collector.process().is_ok() {
                collector.terminate().unwrap();
            }
        }
        let chains = evidence::read(&self.data()).unwrap();
        let lines =
            chains.values().flat_map(|chain| chain.records.values()).filter(|record| record.source != 3).count();
        assert_eq!(lines as u64, self.printer.printed());
        self.world.verify(&[]).unwrap()
    }
}

/// The pod's chain as these directories hold it.
fn chain(data: &[PathBuf]) -> Option<StoredChain> {
    // A frame that is being written cannot be read yet.
    evidence::read(data).ok()?.into_values().next()
}

/// Replaces a file at once, as a volume of a Secret or ConfigMap does.
fn replace(path: &std::path::Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::File::create(&new).unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::rename(&new, path).unwrap();
}

#[test]
fn a_collector_that_joins_is_used_within_10_s_and_one_that_leaves_is_left_without_loss() {
    let mut scene = Scene::new(2);
    let mut sidecar = scene.sidecar();
    // Past the batches that go to one collector only, and at a rate at which all are used.
    let both = |scene: &mut Scene| {
        scene.printer.print(100, 500)?;
        Ok((scene.held(0) > 0 && scene.held(1) > 0).then_some(()))
    };
    eventually("both are used", BOUND, || both(&mut scene)).unwrap();

    scene.add_collector();
    scene.publish(&[0, 1, 2], &scene.ca());
    let joined = Instant::now();
    let used = |scene: &mut Scene| {
        scene.printer.print(100, 500)?;
        Ok((scene.held(2) > 0).then_some(()))
    };
    eventually("the third is used", JOINED, || used(&mut scene)).unwrap();
    eprintln!("used after {:?}", joined.elapsed());

    scene.publish(&[1, 2], &scene.ca());
    scene.service.serve(&scene.world.collectors[1..].iter().collect::<Vec<_>>());
    // It is left: while others get more, it gets nothing. Nothing of what it had in flight is missing in the end.
    let left = |scene: &mut Scene| {
        let (before, others) = (scene.held(0), scene.held(1));
        while scene.held(1) < others + 500 {
            scene.printer.print(100, 500)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok((scene.held(0) == before).then_some(()))
    };
    eventually("the first is left", BOUND, || left(&mut scene)).unwrap();
    scene.world.collectors[0].terminate().unwrap();
    scene.print();
    let answer = scene.end(&mut sidecar);
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
}

#[test]
fn a_change_of_the_pools_ca_cuts_off_no_sidecar_and_none_that_starts_again() {
    let mut scene = Scene::new(1);
    let mut sidecar = scene.sidecar();
    scene.print();

    // First everyone trusts both, then certificates change, as the operator does it.
    let dir = scene.world.dir().join("next");
    std::fs::create_dir(&dir).unwrap();
    let next = Authority::new(&dir).unwrap();
    let bundle = scene.ca() + &std::fs::read_to_string(next.ca()).unwrap();
    scene.publish(&[0], &bundle);
    let remembered = sidecar.state().join("ca.json");
    let knows = |scene: &mut Scene| {
        scene.printer.print(1, 100)?;
        Ok(std::fs::read_to_string(&remembered).is_ok_and(|text| text.matches("BEGIN").count() == 2).then_some(()))
    };
    eventually("the sidecar has the new bundle", BOUND, || knows(&mut scene)).unwrap();
    scene.world.collectors[0].certify(&next).unwrap();
    scene.world.collectors[0].kill().unwrap();
    scene.world.collectors[0].restart(&[]).unwrap();
    scene.print();

    // Its flag still says the old CA alone.
    sidecar.kill().unwrap();
    sidecar.restart().unwrap();
    scene.print();
    let answer = scene.end(&mut sidecar);
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
}

#[test]
fn a_token_that_was_renewed_is_used_and_lines_wait_for_it() {
    let mut scene = Scene::new(1);
    let mut sidecar = scene.sidecar();
    scene.print();

    // The node was away for longer than the token lived, and so was the API server.
    let file = sidecar.dir().join("token");
    let mut claims = scene.world.issuer.claims(&scene.pod);
    claims["exp"] = (jiff::Timestamp::now().as_second() - 10).into();
    replace(&file, &scene.world.issuer.sign(&claims).unwrap());
    sidecar.kill().unwrap();
    sidecar.restart().unwrap();
    let stored = scene.held(0);
    scene.printer.print(20, 100).unwrap();
    let told =
        |sidecar: &mut Sidecar| Ok(sidecar.process()?.stderr()?.contains(r#"reason="unauthorized""#).then_some(()));
    eventually("the sidecar says why nothing is taken", BOUND, || told(&mut sidecar)).unwrap();
    assert_eq!(scene.held(0), stored);

    let mut claims = scene.world.issuer.claims(&scene.pod);
    claims["jti"] = "renewed".into();
    replace(&file, &scene.world.issuer.sign(&claims).unwrap());
    scene.print();
    let answer = scene.end(&mut sidecar);
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
}
