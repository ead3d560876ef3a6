//! The demo's three pods: who they are, and what they print.
//!
//! Everything but the times follows from the seed: identities, lines, streams, where a file is rotated, which line is
//! cut by it. One pod is restarted once; one prints lines longer than the runtime keeps whole.

use std::io;
use std::path::Path;

use indelible_chain::id::Time;

use super::issuer::Pod;
use super::kubelet::{ContainerLog, Stream};

/// Size at which a live file is rotated; a kubelet's default is 10 MiB.
const ROTATE_BYTES: u64 = 48 * 1024;
/// One line in so many is longer than the runtime writes in one part.
const LONG_EVERY: u64 = 400;

/// A small generator of numbers (`SplitMix64`): the demo's content is repeatable, nothing secret is made with it.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers that follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let n = self.below(words.len() as u64);
        words.get(usize::try_from(n).unwrap_or_default()).copied().unwrap_or_default()
    }
}

/// A pod with its containers' logs.
#[derive(Debug)]
pub struct Workload {
    /// Who it is.
    pub pod: Pod,
    containers: Vec<Container>,
}

#[derive(Debug)]
struct Container {
    log: ContainerLog,
    numbers: Numbers,
    lines: u64,
    lines_each_tick: u64,
    restarts_at: Option<u64>,
}

/// What was printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Printed {
    /// Lines.
    pub lines: u64,
    /// Rotations.
    pub rotations: u64,
}

impl std::ops::AddAssign for Printed {
    fn add_assign(&mut self, more: Self) {
        self.lines += more.lines;
        self.rotations += more.rotations;
    }
}

/// Name, namespace, and of each container name, lines in 25 ms, and the tick at which it is restarted.
type Plan = (&'static str, &'static str, &'static [(&'static str, u64, Option<u64>)]);

const PLANS: [Plan; 3] = [
    ("checkout-6b7f", "shop", &[("app", 6, None), ("proxy", 2, None)]),
    ("ledger-0", "bank", &[("app", 5, Some(100))]),
    ("catalog-9c4d", "shop", &[("app", 9, None)]),
];

impl Workload {
    /// The three pods, their logs begun under `dir`.
    pub fn all(dir: &Path, seed: u64) -> io::Result<Vec<Self>> {
        let mut numbers = Numbers::new(seed);
        PLANS.iter().map(|plan| Self::begin(dir, plan, &mut numbers)).collect()
    }

    fn begin(dir: &Path, (name, namespace, containers): &Plan, numbers: &mut Numbers) -> io::Result<Self> {
        let uid = uuid(numbers);
        let pod = Pod {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
            uid,
            node: format!("node-{}", 1 + numbers.below(3)),
            service_account: "default".to_owned(),
        };
        let directory = directory(&pod);
        let begin = |(container, lines_each_tick, restarts_at): &(&str, u64, Option<u64>)| {
            Ok(Container {
                log: ContainerLog::create(&dir.join("logs"), &dir.join("written"), &directory, container)?,
                numbers: Numbers::new(numbers.next()),
                lines: 0,
                lines_each_tick: *lines_each_tick,
                restarts_at: *restarts_at,
            })
        };
        let containers = containers.iter().map(begin).collect::<io::Result<_>>()?;
        Ok(Self { pod, containers })
    }

    /// What the pod's containers print in one tick.
    pub fn print(&mut self, tick: u64, now: Time) -> io::Result<Printed> {
        let mut printed = Printed::default();
        for container in &mut self.containers {
            container.print(tick, now, &mut printed)?;
        }
        Ok(printed)
    }
}

/// `<namespace>_<pod>_<uid>`, as the kubelet names a pod's log directory.
pub fn directory(pod: &Pod) -> String {
    format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)
}

impl Container {
    fn print(&mut self, tick: u64, now: Time, printed: &mut Printed) -> io::Result<()> {
        if self.restarts_at == Some(tick) {
            self.log.line(now, Stream::Stderr, "panic: ledger is out of balance, restarting")?;
            self.log.restart()?;
            printed.lines += 1;
        }
        for n in 0..self.numbers.below(2 * self.lines_each_tick) {
            let now = now.plus_nanos(i64::try_from(n).unwrap_or_default() * 1000);
            let (stream, content) = self.content();
            if self.log.live_bytes() >= ROTATE_BYTES {
                printed.rotations += 1;
                self.log.line_across_rotation(now, stream, &content)?;
            } else {
                self.log.line(now, stream, &content)?;
            }
            printed.lines += 1;
        }
        Ok(())
    }

    fn content(&mut self) -> (Stream, String) {
        self.lines += 1;
        let numbers = &mut self.numbers;
        let stream = if numbers.below(10) == 0 { Stream::Stderr } else { Stream::Stdout };
        let level = if stream == Stream::Stderr { "warn" } else { "info" };
        let what = numbers.pick(&["order placed", "payment captured", "stock reserved", "login", "refund issued"]);
        let (user, cents) = (numbers.below(100_000), numbers.below(1_000_000));
        let mut line =
            format!(r#"{{"n":{},"level":"{level}","msg":"{what}","user":"u{user:05}","cents":{cents}"#, self.lines);
        if numbers.below(LONG_EVERY) == 0 {
            let items = 2000 + numbers.below(3000);
            let list: Vec<String> = (0..items).map(|_| numbers.below(1_000_000).to_string()).collect();
            line.push_str(r#","items":["#);
            line.push_str(&list.join(","));
            line.push(']');
        }
        line.push('}');
        (stream, line)
    }
}

fn uuid(numbers: &mut Numbers) -> String {
    let (a, b) = (numbers.next(), numbers.next());
    let (variant, node) = (0x8000 | (b >> 48 & 0x3fff), b & 0xffff_ffff_ffff);
    format!("{:08x}-{:04x}-4{:03x}-{variant:04x}-{node:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All files that were written, by path, without the times in them.
    fn content(seed: u64) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let mut printed = Printed::default();
        let mut pods = Workload::all(dir.path(), seed).unwrap();
        for tick in 0..240 {
            for pod in &mut pods {
                printed += pod.print(tick, Time::from_nanos(1)).unwrap();
            }
        }
        assert!(printed.lines > 2000 && printed.rotations > 4, "{printed:?}");
        let mut files = Vec::new();
        let mut rest = vec![dir.path().join("written")];
        while let Some(path) = rest.pop() {
            if path.is_dir() {
                rest.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let name = path.strip_prefix(dir.path()).unwrap().display().to_string();
                files.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
        files.sort();
        files
    }

    #[test]
    fn what_pods_print_follows_from_the_seed() {
        let files = content(1);
        assert_eq!(files.len(), 5, "four containers, one of them restarted");
        assert!(files.iter().any(|(_, text)| text.contains(" stdout P ")));
        assert_eq!(files, content(1));
        assert_ne!(files, content(2));
    }
}
