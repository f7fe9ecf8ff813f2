//! The command line.

use crate::files::Files;
use std::path::PathBuf;

const EXAMPLES: &str = "\
What is compared, on the same riders, cars and draws:
  nearest   the nearest idle car, its cap on pickup time tuned for each fleet by a grid that is printed
  batch     every N seconds the assignment that serves most riders with least driving
  ours      the cores that ship, in a virtual city: dispatch, claims at the driver, cells and demand
            boards; two knobs tuned for each fleet on the same seeds as the cap of nearest
  and ours with one part left out at a time (--ablations)

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
      --every 5 --soft-s 180 --patience-s 3600

Columns (CSV or CSV.gz, by name): demand pickup_time, pickup_node_lat, pickup_node_lon,
dropoff_node_lat, dropoff_node_lon; fleet node_lat, node_lon; nodes node, lat, lon; edges from, to,
length_km, travel_time_s.

Reading the table: a wait means nothing without the share that was served, so look at `penalised`,
where the unserved count with all their patience. `+-` is half a 95 % interval over paired seeds.";

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
