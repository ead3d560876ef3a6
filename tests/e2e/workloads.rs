//! Workloads whose output can be foretold: each container prints numbered lines and counts them itself.
//!
//! Line `n` of a workload is `<workload> <n> <filling>`, where the filling is one letter many times, or numbers that do
//! not compress. The number goes on over restarts of a container: it is kept in the pod's `/count`. A container that ends prints `<workload> end <n>` last, so that who reads its output later knows how
//! many lines there must be; one that runs says it when asked (`kubectl exec … cat /count/<container>`).

use serde_json::Value;

use crate::manifests::{container, cron_job, deployment, job, pod, pod_spec};

/// What a container prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printing {
    /// The first word of its lines.
    pub name: &'static str,
    /// What fills each line up.
    pub filling: Filling,
}

/// What a line has behind its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// So many bytes.
    Letters(usize),
    /// So many numbers, each from the one before by an LCG (Knuth's MMIX constants), from the line's own number on.
    Numbers(usize),
}

const FACTOR: i64 = 6_364_136_223_846_793_005;
const STEP: i64 = 1_442_695_040_888_963_407;

impl Printing {
    /// Line `n`, to the byte.
    pub fn line(&self, n: u64) -> String {
        let filling = match self.filling {
            Filling::Letters(count) => "x".repeat(count),
            Filling::Numbers(count) => {
                let next = |before: &i64| Some(before.wrapping_mul(FACTOR).wrapping_add(STEP));
                let numbers = std::iter::successors(Some(n.cast_signed()), next).skip(1).take(count);
                numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" ")
            }
        };
        format!("{} {n} {filling}", self.name)
    }

    /// A shell function `line`, which prints the next line and counts it.
    fn function(&self, container: &str) -> String {
        let name = self.name;
        let (once, filling) = match self.filling {
            Filling::Letters(count) => (format!("fill=$(head -c {count} /dev/zero | tr '\\0' x)"), String::new()),
            Filling::Numbers(count) => {
                let step = format!("x=$((x*{FACTOR}+{STEP})); fill=\"$fill${{fill:+ }}$x\";");
                (String::new(), format!(" x=$n; fill=; {}", step.repeat(count)))
            }
        };
        format!(
            "trap 'touch /count/stop' TERM\n{once}\n\
             n=$(cat /count/{container} 2>/dev/null || echo 0)\n\
             line() {{ n=$((n+1));{filling} echo \"{name} $n $fill\"; echo $n >/count/{container}; }}\n"
        )
    }

    /// Prints until it is told to stop: `burst` lines, then a pause.
    fn endless(&self, container: &str, burst: u32, pause: &str) -> String {
        format!(
            "{}while [ ! -e /count/stop ]; do i=0; while [ $i -lt {burst} ]; do line; i=$((i+1)); done; sleep {pause}; done\n\
             echo \"{} end $n\"",
            self.function(container),
            self.name
        )
    }

    /// Prints `count` lines and ends.
    fn finite(&self, container: &str, count: u32, exit: u8) -> String {
        let end = if exit == 0 { format!("echo \"{} end $n\"", self.name) } else { String::new() };
        format!(
            "{}i=0; while [ $i -lt {count} ]; do line; i=$((i+1)); done\n{end}\nexit {exit}",
            self.function(container)
        )
    }
}

const fn printing(name: &'static str, bytes: usize) -> Printing {
    Printing { name, filling: Filling::Letters(bytes) }
}

pub const CHATTY: Printing = printing("chatty", 150);
pub const LONG: Printing = printing("long", 40_960);
pub const CRASHING: Printing = printing("crashing", 40);
pub const JOB: Printing = printing("job", 60);
pub const CRON: Printing = printing("cron", 60);
pub const QUIET: Printing = printing("quiet", 10);
pub const REPLICA: Printing = printing("replica", 30);
pub const INIT: Printing = printing("init", 20);
pub const NATIVE: Printing = printing("native", 20);
pub const MAIN: Printing = printing("main", 20);

pub const NOISE: Printing = Printing { name: "noise", filling: Filling::Numbers(8) };

/// All of them, for who finds a line and wants to know whose it should be.
pub const ALL: [Printing; 11] = [CHATTY, LONG, CRASHING, JOB, CRON, QUIET, REPLICA, INIT, NATIVE, MAIN, NOISE];

/// The eight workloads of a namespace.
pub fn eight(namespace: &str) -> Vec<Value> {
    let alone = |script: String, restart: &str| pod_spec(&[], &[container("app", &script)], restart);
    let mut native = container("native", &NATIVE.endless("native", 1, "1"));
    native["restartPolicy"] = "Always".into();
    let several = pod_spec(
        &[container("first", &INIT.finite("first", 25, 0)), native],
        &[container("app", &MAIN.endless("app", 1, "1"))],
        "Always",
    );
    vec![
        deployment(namespace, "chatty", 1, &alone(CHATTY.endless("app", 20, "0.1"), "Always")),
        pod(namespace, "long", &alone(LONG.endless("app", 1, "2"), "Always")),
        pod(namespace, "crashing", &alone(CRASHING.finite("app", 10, 1), "Always")),
        job(namespace, "job", &alone(JOB.finite("app", 200, 0), "Never")),
        cron_job(namespace, "cron", &alone(CRON.finite("app", 50, 0), "Never")),
        pod(namespace, "several", &several),
        pod(
            namespace,
            "quiet",
            &alone(
                format!(
                    "{}\nline\nwhile [ ! -e /count/stop ]; do sleep 1; done\necho \"quiet end $n\"",
                    QUIET.function("app")
                ),
                "Always",
            ),
        ),
        deployment(namespace, "replica", 3, &alone(REPLICA.endless("app", 1, "0.5"), "Always")),
    ]
}

/// How many pods of them run for good: those that coverage must know.
pub const LASTING: u64 = 8;

/// A deployment of one endless pod, `rate` lines each tenth of a second.
pub fn steady(namespace: &str, name: &str, rate: u32) -> Value {
    deployment(namespace, name, 1, &pod_spec(&[], &[container("app", &REPLICA.endless("app", rate, "0.1"))], "Always"))
}

/// The same of lines that do not compress: from 120 lines a second on it becomes a busy session, within a minute.
pub fn noisy(namespace: &str, name: &str, rate: u32) -> Value {
    deployment(namespace, name, 1, &pod_spec(&[], &[container("app", &NOISE.endless("app", rate, "0.1"))], "Always"))
}

/// A bare pod that prints `count` lines and ends.
pub fn brief(namespace: &str, name: &str, count: u32) -> Value {
    pod(namespace, name, &pod_spec(&[], &[container("app", &JOB.finite("app", count, 0))], "Never"))
}
