//! The flags of `hansom chaos` and what they come to.

use super::fault::{Kind, Needs};
use crate::demo::DemoError;
use std::path::PathBuf;
use std::time::Duration;

/// Run a city against real nodes while they are killed, paused, cut off from each other, starved,
/// filled, wiped, joined and drained; then judge what the clients saw, and write a report.
///
/// Faults come from the seed, one every six seconds or so, each kind once before any comes again.
/// Faults that take nodes away wait until the cluster has recovered from the last one, so that all
/// but two kinds (kill-majority, kill-all) leave every partition a majority; slow links and starved
/// nodes come beside them.
///
/// Exit status 0 only if the run is GREEN: no law was broken, every partition recovered from every
/// fault, and each kind of fault was done and met a leader. 1 if not, 2 if a flag is wrong.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// For how long faults are done, in minutes; what is under way then is carried to its end, and each
    /// kind is done once, however long that takes.
    #[arg(long, default_value_t = 5.0, value_name = "M")]
    pub minutes: f64,

    /// How many nodes, as real processes.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=7))]
    pub nodes: u16,

    /// Requests a second of all clients together; positions on sockets are not counted. Only requests
    /// that got a final answer are counted in the report.
    #[arg(long, default_value_t = 300, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=20_000))]
    pub rate: u32,

    /// Everything that is left to chance comes from here: town, clients, which faults, and whom they
    /// meet.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,

    /// Only these faults, separated by commas [default: all that are permitted here]
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    pub faults: Vec<Kind>,

    /// How links are cut: `namespaces` gives each node a network of its own (root, or user
    /// namespaces), `proxies` stand between nodes on loopback; `auto` takes the first that is
    /// permitted. Nothing outside of this process's namespaces or loopback is touched.
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub net: Net,

    /// Into how many partitions durable state is cut.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub partitions: u16,

    /// Riders who ask for a ride again and again.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub riders: u16,

    /// Cars; fewer than riders, so that drivers are contended for.
    #[arg(long, default_value_t = 160, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub cars: u16,

    /// City seconds in a wall second. Shortens the policy durations (offer, booking, patience), but no
    /// protocol timer.
    #[arg(long, default_value_t = 40.0, value_name = "X")]
    pub speed: f64,

    /// Write report.html, report.json and history.jsonl into this directory, which is made if it is
    /// not there.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,

    /// Keep data and logs; they are kept anyway when the run is not GREEN.
    #[arg(long)]
    pub keep: bool,

    /// The binary to start [default: this one]
    #[arg(long, value_name = "PATH", hide = true)]
    pub hansom: Option<PathBuf>,

    /// This process is in namespaces of its own already.
    #[arg(long, hide = true)]
    pub inside: bool,

    /// Plant a known mistake in the nodes; the judge must find it.
    #[cfg(feature = "plant")]
    #[arg(long, value_name = "FAULT")]
    pub plant: Option<String>,
}

/// How links are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Net {
    /// As the system permits.
    Auto,
    /// A network for each node.
    Namespaces,
    /// Proxies on loopback.
    Proxies,
}

/// The flag that says [`Args::inside`].
pub(super) const INSIDE: &str = "--inside";

const EXAMPLES: &str = "\
Kinds of faults:
  kill           SIGKILL; back on its disk after 0-10 s
  pause          SIGSTOP for 0.1-30 s
  isolate        no other node hears it, and it hears none; clients reach all
  split          two parts that do not hear each other
  one-way        one direction is lost, of a link or of all of a node's
  bridge         two parts, and one node that hears both
  ring           each node hears its two neighbours alone (4 nodes or more)
  flap           cut off and back every 200 ms
  slow           a link delays, loses, repeats and reorders packets
  starve         shares one core with busy processes
  full-disk      no room left on its disk (namespaces only: one node's disk is small)
  kill-majority  a majority of the nodes killed at once, and started again
  kill-all       all nodes killed at once, and started again
  wipe           killed, its disk deleted; a node with a new number in its place
  join-drain     a new node joins, an old one is drained and stopped for good

Examples:
  hansom chaos
  hansom chaos --minutes 60 --report ./chaos
  hansom chaos --minutes 1 --nodes 3 --faults kill,pause,isolate --seed 7
  hansom chaos --net proxies --faults one-way,flap,slow
";

/// The longest run: half a day.
const MINUTES: std::ops::RangeInclusive<f64> = 0.1..=720.0;
/// Drivers and riders, requests and speed, all checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) lasts: Duration,
    pub(super) nodes: usize,
    pub(super) rate: f64,
    pub(super) seed: u64,
    pub(super) kinds: Vec<Kind>,
    /// Whether the kinds were named, so that one that is not permitted is an error.
    pub(super) named: bool,
    pub(super) net: Net,
    pub(super) partitions: u16,
    pub(super) riders: usize,
    pub(super) cars: usize,
    pub(super) speed: f64,
    pub(super) report: Option<PathBuf>,
    pub(super) keep: bool,
    pub(super) program: PathBuf,
    pub(super) inside: bool,
    pub(super) plant: Option<String>,
}

impl Args {
    /// Checks the flags.
    pub(super) fn check(self) -> Result<Settings, DemoError> {
        let usage = |sentence: String| Err(DemoError::Usage(sentence));
        if !MINUTES.contains(&self.minutes) {
            return usage("--minutes must be 0.1 to 720".into());
        }
        if !(1.0..=1000.0).contains(&self.speed) {
            return usage("--speed must be 1 to 1000".into());
        }
        let (nodes, named) = (usize::from(self.nodes), !self.faults.is_empty());
        let mut kinds = if named { self.faults } else { Kind::ALL.to_vec() };
        kinds.sort_unstable();
        kinds.dedup();
        if let Some(kind) = kinds.iter().find(|kind| kind.nodes_min() > nodes)
            && named
        {
            return usage(format!("{kind} takes --nodes {} or more", kind.nodes_min()));
        }
        kinds.retain(|kind| kind.nodes_min() <= nodes);
        if self.net == Net::Proxies && named && kinds.contains(&Kind::FullDisk) {
            return usage("full-disk takes --net namespaces".into());
        }
        let program = match self.hansom {
            Some(program) => program,
            None => std::env::current_exe().map_err(|source| DemoError::System {
                what: "find this program's own file".into(),
                source,
            })?,
        };
        Ok(Settings {
            lasts: Duration::from_secs_f64(self.minutes * 60.0),
            nodes,
            rate: f64::from(self.rate),
            seed: self.seed,
            kinds,
            named,
            net: self.net,
            partitions: self.partitions,
            riders: self.riders.into(),
            cars: self.cars.into(),
            speed: self.speed,
            report: self.report,
            keep: self.keep,
            program,
            inside: self.inside,
            #[cfg(feature = "plant")]
            plant: self.plant,
            #[cfg(not(feature = "plant"))]
            plant: None,
        })
    }
}

impl Settings {
    /// Leaves out what cannot be done on this ground, and says which.
    pub(super) fn leave_out(&mut self, can: impl Fn(Needs) -> bool) -> Vec<Kind> {
        let out: Vec<Kind> = self.kinds.iter().copied().filter(|kind| !can(kind.needs())).collect();
        self.kinds.retain(|kind| !out.contains(kind));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Settings, DemoError> {
        let words = std::iter::once("chaos").chain(line.split_whitespace());
        Cli::try_parse_from(words).expect("clap takes it").args.check()
    }

    #[test]
    fn without_flags_everything_is_done_to_five_nodes_for_five_minutes() {
        let settings = parse("").unwrap();
        assert_eq!((settings.nodes, settings.lasts), (5, Duration::from_secs(300)));
        assert_eq!((settings.kinds.len(), settings.named), (Kind::ALL.len(), false));
    }

    #[test]
    fn kinds_are_chosen_once_each_and_refused_where_they_make_no_sense() {
        let settings = parse("--faults pause,kill,kill --minutes 0.5").unwrap();
        assert_eq!(settings.kinds, [Kind::Kill, Kind::Pause]);
        assert!(parse("--nodes 3").unwrap().kinds.iter().all(|kind| *kind != Kind::Ring));
        for (line, word) in [
            ("--nodes 3 --faults ring", "ring takes --nodes 4"),
            ("--minutes 721", "--minutes"),
            ("--minutes NaN", "--minutes"),
            ("--speed 0", "--speed"),
            ("--net proxies --faults full-disk", "namespaces"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.is_usage() && error.to_string().contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn the_help_names_every_kind() {
        for kind in Kind::ALL {
            assert!(EXAMPLES.contains(&format!("  {kind} ")), "{kind}");
        }
        assert!(Cli::try_parse_from(["chaos", INSIDE]).unwrap().args.inside);
    }

    #[test]
    fn what_cannot_be_done_is_left_out_and_named() {
        let mut settings = parse("").unwrap();
        let out = settings.leave_out(|needs| needs != Needs::SmallDisk);
        assert_eq!(out, [Kind::FullDisk]);
        assert!(!settings.kinds.contains(&Kind::FullDisk));
    }
}
