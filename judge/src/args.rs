//! The command line.

use crate::contest::Terms;
use crate::files::Files;
use crate::ours::Ours;
use actors::policy::Policy;
use std::path::PathBuf;

const EXAMPLES: &str = "\
What is compared, on the same riders, cars and draws:
  batch     every N seconds the assignment that serves most riders with least driving
  nearest   the nearest idle car: plain, and with its cap on pickup time tuned for each fleet in two ways:
            for least penalised wait, and for that among caps that serve as many as batch, less a point
  ours      the cores that ship, with their defaults, in a virtual city: dispatch, claims at the driver,
            cells and demand boards; the same for every fleet, unless --set says otherwise
  and ours with one part left out or added at a time (--ablations)

Examples:
  An invented town, in a few seconds
    hansom judge

  An hour of Manhattan, as data/nyc_hour_20131118 has it
    D=../shared/data/nyc_hour_20131118
    hansom judge --demand $D/requests_full_hour.csv.gz --fleet $D/taxis_full_hour.csv.gz \\
      --nodes $D/nodes.csv.gz --edges $D/edges_16h_17h.csv.gz \\
      --references $D/our_python_baselines.csv --cars 2500,3000,3500,4500 --seeds 20 --report ./judge

  The conditions of the published runs: one in 5, pickup within 3 minutes without penalty
    hansom judge ... --fleet $D/taxis_thesis.csv.gz --demand $D/requests_thesis.csv.gz \\
      --every 5 --seeds 3 --soft-s 180 --patience-s 3600 \\
      --set attempt_ms=60000 --set attempt_cap_pct=[1,3,100] --set ride_weight_pct=0

Columns (CSV or CSV.gz, by name): demand pickup_time, pickup_node_lat, pickup_node_lon,
dropoff_node_lat, dropoff_node_lon; fleet node_lat, node_lon; nodes node, lat, lon; edges from, to,
length_km, travel_time_s.

Reading the table: a wait means nothing without the share that was served, so look at `penalised`,
where the unserved count with all their patience. `+-` is half a 95 % interval over paired seeds.";

/// A setting that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--set {setting}: {problem}; `hansom node --help` has the names")]
pub struct BadSetting {
    /// What was said.
    pub setting: String,
    /// What is wrong.
    pub problem: String,
}

/// A contender, as the command names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    /// The optimum every so often.
    Batch,
    /// The nearest without a cap.
    Nearest,
    /// The nearest with its cap tuned, both ways.
    Tuned,
    /// What ships.
    Ours,
}

impl Who {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Batch, Self::Nearest, Self::Tuned, Self::Ours];
}

/// Compare policies of dispatch on one city, under a virtual clock.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Who asks for rides; without files the town is invented
    #[arg(long, value_name = "CSV", requires_all = ["fleet", "nodes", "edges"])]
    pub demand: Option<PathBuf>,
    /// Where cars may stand at the beginning; each seed draws its fleet from these
    #[arg(long, value_name = "CSV", requires = "demand")]
    pub fleet: Option<PathBuf>,
    /// Junctions
    #[arg(long, value_name = "CSV", requires = "demand")]
    pub nodes: Option<PathBuf>,
    /// Roads
    #[arg(long, value_name = "CSV", requires = "demand")]
    pub edges: Option<PathBuf>,
    /// What others reached, to stand beside ours: fleet, policy, rate, wait_mean
    #[arg(long, value_name = "CSV")]
    pub references: Option<PathBuf>,
    /// Sizes of the fleet [default: 330 in the invented town, else all cars]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub cars: Vec<usize>,
    /// Keep every Nth request and car, in N shifted ways that count as seeds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub every: u64,
    /// Draws of fleet and chance; all policies have the same
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Draws that the knobs are tuned on, others than those that are judged
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub tune_seeds: u64,
    /// How long riders wait for a car to arrive, in seconds
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=36_000))]
    pub patience_s: u64,
    /// Pickups later than this are counted as late, in seconds; for the cost of the published runs
    #[arg(long, value_name = "S")]
    pub soft_s: Option<u64>,
    /// How often `batch` assigns, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub batch_s: u64,
    /// Another value of the policy for ours, as `hansom node --help` names them: soon_ms=0; may be given again
    #[arg(long, value_name = "NAME=JSON")]
    pub set: Vec<String>,
    /// How often ours may give a rider a better car before the pickup
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub improve: u16,
    /// How much sooner that one must be there, in seconds; a car nearer than this keeps its rider
    #[arg(long, value_name = "S", default_value_t = 20)]
    pub improve_gain_s: u32,
    /// Run only these; nothing is swept over its caps without `tuned`
    #[arg(long, value_name = "WHO,WHO", value_enum, value_delimiter = ',', default_values_t = Who::ALL)]
    pub only: Vec<Who>,
    /// Leave out one part of ours at a time
    #[arg(long)]
    pub ablations: bool,
    /// Compare in an unkind world: declines, slow answers, wrong estimates, delays and losses, nodes killed; then with each off in turn
    #[arg(long)]
    pub realism: bool,
    /// Write the report (report.md, report.svg, report.json) into this directory
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// What ships, for these riders, with what was set.
    pub(crate) fn ours(&self) -> Result<Ours, BadSetting> {
        let patience_ms = u32::try_from(self.patience_s * 1_000).unwrap_or(u32::MAX);
        let policy = Policy {
            booking_ttl_ms: patience_ms,
            pickup_within_ms: patience_ms,
            pickup_cap_ms: patience_ms,
            ..Policy::default()
        };
        let mut values = serde_json::to_value(policy).unwrap_or_default();
        for setting in &self.set {
            let bad = |problem: String| BadSetting { setting: setting.clone(), problem };
            let no_pair = || bad("is no NAME=JSON, as in soon_ms=0".into());
            let (name, value) = setting.split_once('=').ok_or_else(no_pair)?;
            let known = values.get_mut(name);
            let known = known.ok_or_else(|| bad("names no value of the policy".into()))?;
            *known = serde_json::from_str(value).map_err(|error| bad(error.to_string()))?;
        }
        let all = self.set.join(" ");
        let bad = |problem: String| BadSetting { setting: all.clone(), problem };
        let mut policy: Policy =
            serde_json::from_value(values).map_err(|error| bad(error.to_string()))?;
        if self.improve > 0 {
            let gain_ms = self.improve_gain_s * 1_000;
            policy.reassign_max = self.improve;
            (policy.reassign_gain_ms, policy.reassign_left_ms) = (gain_ms, gain_ms);
        }
        policy.check().map_err(|error| bad(error.to_string()))?;
        Ok(Ours { policy, boards: true, roads: true })
    }

    /// Whether it is to run.
    pub(crate) fn runs(&self, who: Who) -> bool {
        self.only.contains(&who)
    }

    /// What all contenders have in common.
    pub(crate) fn terms(&self) -> Terms {
        let soft_ms = self.soft_s.map(|s| s * 1_000);
        let (patience_ms, batch_ms) = (self.patience_s * 1_000, self.batch_s * 1_000);
        Terms { patience_ms, soft_ms, batch_ms }
    }

    /// The files, if a city was named.
    pub(crate) fn files(&self) -> Option<Files> {
        let Self { demand, fleet, nodes, edges, .. } = self;
        Some(Files {
            demand: demand.clone()?,
            fleet: fleet.clone()?,
            nodes: nodes.clone()?,
            edges: edges.clone()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn ours(words: &str) -> Result<Ours, BadSetting> {
        let words = ["judge"].into_iter().chain(words.split_whitespace());
        Command::try_parse_from(words).unwrap().args.ours()
    }

    #[test]
    fn what_is_set_is_over_the_defaults_and_checked() {
        let set = ours("--patience-s 60 --set soon_ms=0 --set attempt_cap_pct=[10,20,30]").unwrap();
        let policy = Policy {
            booking_ttl_ms: 60_000,
            pickup_within_ms: 60_000,
            pickup_cap_ms: 60_000,
            soon_ms: 0,
            attempt_cap_pct: [10, 20, 30],
            ..Policy::default()
        };
        assert_eq!(set.policy, policy);
        let wrong = ["soon=1", "soon_ms", "soon_ms=x", "soon_ms=-1", "age_weight_pct=101"];
        for setting in wrong {
            let error = ours(&format!("--set {setting}")).unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn only_those_who_are_named_run_and_all_where_nobody_is() {
        let runs = |words: &str| {
            let words = ["judge"].into_iter().chain(words.split_whitespace());
            let args = Command::try_parse_from(words).unwrap().args;
            Who::ALL.map(|who| args.runs(who))
        };
        assert_eq!(runs(""), [true; 4]);
        assert_eq!(runs("--only ours,batch"), [true, false, false, true]);
    }
}
