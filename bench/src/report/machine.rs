//! What is to be known of the machine that figures are from.

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its processor.
    pub processor: String,
    /// How many cores.
    pub cores: usize,
    /// Whether the processor has instructions for SHA-256.
    pub sha: bool,
    /// Memory in MB.
    pub memory_mb: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The file system that temporary files are on.
    pub file_system: String,
    /// Processes that wanted to run, averaged over the last minute.
    pub load: String,
}

impl Machine {
    /// This one; what it does not say stays empty.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let of = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let flags = of(&cpu, "flags");
        let kib = of(&memory, "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or_default();
        Self {
            processor: of(&cpu, "model name"),
            // This thread is bound to some of them.
            cores: cpu.lines().filter(|line| line.starts_with("processor")).count(),
            sha: flags.split(' ').any(|flag| flag == "sha_ni" || flag == "sha2"),
            memory_mb: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/self/mounts"), &std::env::temp_dir().display().to_string()),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// The kind of the mount that `dir` is on.
fn file_system(mounts: &str, dir: &str) -> String {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let on = fields.filter(|fields| fields.len() > 2 && std::path::Path::new(dir).starts_with(fields[1]));
    on.max_by_key(|fields| fields[1].len()).map(|fields| fields[2].to_owned()).unwrap_or_default()
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { processor, cores, sha, memory_mb, kernel, file_system, load } = self;
        let sha = if *sha { "with" } else { "without" };
        write!(
            f,
            "{processor}, {cores} cores, {sha} SHA instructions, {memory_mb} MB, Linux {kernel}, {file_system}; load {load}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_on_its_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /tmpfoo xfs rw 0 0\n";
        assert_eq!(file_system(mounts, "/tmp/x"), "tmpfs");
        assert_eq!(file_system(mounts, "/var/tmp"), "ext4");
    }
}
