//! What the system says of this machine and of processes on it, from `/proc`.

use serde::{Deserialize, Serialize};
use std::fs::read_to_string;

/// Units of time in `/proc/PID/stat`: Linux shows a hundredth of a second to programs, whatever its
/// own ticks are. A measurement of seconds is therefore good to a percent.
const TICK_US: u64 = 10_000;
/// Units of memory there, on every machine that nodes run on.
const PAGE_BYTES: u64 = 4_096;

/// The machine that figures were taken on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// What the processor calls itself.
    pub model: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl Machine {
    /// This one. What the system does not say is left empty.
    pub fn this() -> Self {
        let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kib = field(&memory, "MemTotal").trim_end_matches(" kB").parse::<u64>();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            model: field(&cpu, "model name").to_owned(),
            memory_mib: kib.unwrap_or(0) / 1_024,
            kernel: kernel.trim().to_owned(),
        }
    }

    /// In a line.
    pub fn line(&self) -> String {
        let Self { cores, model, memory_mib, kernel } = self;
        format!("{cores} cores of {model}, {memory_mib} MiB, Linux {kernel}")
    }
}

/// The value of the first line with this name in a file of `name : value`.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    });
    values.next().unwrap_or_default()
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads so far, in microseconds.
    pub cpu_us: u64,
    /// Memory that it holds now, in bytes.
    pub rss_bytes: u64,
}

impl Usage {
    /// Of a process; zeros if there is none.
    pub fn of(process: u32) -> Self {
        let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        Self::parse(&stat).unwrap_or_default()
    }

    /// Of this process.
    pub fn mine() -> Self {
        Self::of(std::process::id())
    }

    /// The sum over several.
    pub(crate) fn of_all(processes: &[u32]) -> Self {
        processes.iter().map(|process| Self::of(*process)).fold(Self::default(), |sum, one| Self {
            cpu_us: sum.cpu_us + one.cpu_us,
            rss_bytes: sum.rss_bytes + one.rss_bytes,
        })
    }

    /// Reads a line of `/proc/PID/stat`. The name in its second field may hold anything, so fields
    /// are counted from the last bracket.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // Fields 14, 15 and 24 of the manual's page; the first two are before the bracket.
        let (user, system, pages) = (number(11)?, number(12)?, number(21)?);
        Some(Self { cpu_us: (user + system) * TICK_US, rss_bytes: pages * PAGE_BYTES })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_odd_name_is_read() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 777 1000000 2048 18446";
        let usage = Usage::parse(stat).unwrap();
        assert_eq!(usage, Usage { cpu_us: 2_000_000, rss_bytes: 2_048 * 4_096 });
        assert_eq!(Usage::parse("12 (short) S 1"), None);
        assert_eq!(Usage::of(u32::MAX), Usage::default());
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
        assert!(machine.line().contains("cores of "));
        assert!(Usage::mine().rss_bytes > 0);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 2\nmodel name\t: AMD: EPYC\nmodel name\t: other\n";
        assert_eq!((field(text, "model name"), field(text, "none")), ("AMD: EPYC", ""));
    }
}
