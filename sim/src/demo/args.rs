//! The flags of `hansom demo` and what they come to.

use super::script::{Orders, WIPE_NODES_MIN};
use super::{DemoError, Open, Settings};
use crate::city::{City, Request};
use crate::dice::Dice;
use crate::drives::Ways;
use crate::pace::CityMs;
use crate::policy::Policy;
use crate::steady::Steady;
use crate::synthetic::{self, Plan};
use crate::whole::whole;
use crate::workload::Habits;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use roads::{Map, Roads, demand};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Run a city against a cluster of real processes, kill some, and judge what happened.
///
/// Without any flag: an invented town, three nodes of which one is killed and comes back and one
/// loses its disk and is replaced, about a minute, no files needed. Exit status 0 if the judge found
/// nothing and every partition has all its replicas in the end, 1 if not or the run failed, 2 if a
/// flag or a file is wrong.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = LAYOUT)]
pub struct Args {
    /// How many node processes.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,

    /// Everything that is left to chance comes from here: town, samples, clients, who is killed.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,

    /// City seconds in a wall second. Shortens the policy durations (offer, booking, patience,
    /// claim window, ping period) too, but no protocol timer.
    #[arg(long, default_value_t = 40.0, value_name = "X")]
    pub speed: f64,

    /// Take bookings for so many seconds of wall time; what is under way then is carried to its
    /// end [default: 25 for the invented town, all demand for files]
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,

    /// How many riders ask [default: 400 for the invented town]; from files a seeded sample.
    #[arg(long, value_name = "N")]
    pub bookings: Option<usize>,

    /// How many cars [default: 240 for the invented town]; from files a seeded sample.
    #[arg(long, value_name = "N")]
    pub fleet_size: Option<usize>,

    /// A directory in the layout below; reads demand, fleet, network and reference results.
    #[arg(long, value_name = "DIR", help_heading = "City from files")]
    pub data: Option<PathBuf>,

    /// Who asks for a ride, when and where; .csv or .csv.gz.
    #[arg(long, value_name = "FILE", help_heading = "City from files")]
    pub demand: Option<PathBuf>,

    /// Where the cars stand at the start; without it they stand at pickups, by --fleet-size.
    #[arg(long, value_name = "FILE", help_heading = "City from files")]
    pub fleet: Option<PathBuf>,

    /// The roads (edges), on which cars drive and by which nodes estimate; without it and without
    /// --roads both do so in straight lines, at 16 km/h with a detour.
    #[arg(long, value_name = "FILE", help_heading = "City from files")]
    pub network: Option<PathBuf>,

    /// The junctions (nodes) of the roads [default: nodes.csv(.gz) beside --network]
    #[arg(long, value_name = "FILE", help_heading = "City from files", requires = "network")]
    pub network_nodes: Option<PathBuf>,

    /// The roads as a file of `hansom roads build`, with turns and restrictions; without FILE an
    /// invented grid of streets. Without --demand the riders are invented too, on these streets.
    #[arg(long, value_name = "FILE", conflicts_with = "network", help_heading = "City from files")]
    pub roads: Option<Option<PathBuf>>,

    /// Run the city once for each of these, on the same draws, and compare them: `ours` is what
    /// ships, `first-come` the same without a claim window, `straight` the same with nodes that know
    /// no roads, `nearest` sends the nearest car at once or never. Nothing is done to the nodes.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', conflicts_with_all = ["kills", "kill_all", "riders", "operations"])]
    pub policies: Vec<Policy>,

    /// How long a rider waits for a driver to be found, in seconds of city time.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub patience_s: u64,

    /// How probably a driver says yes to an offer.
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    pub acceptance: f64,

    /// Kill nobody, and leave all disks alone.
    #[arg(long, conflicts_with_all = ["kills", "kill_all"], help_heading = "What is done to the nodes")]
    pub no_kill: bool,

    /// Leave all disks alone. Otherwise, with three nodes or more, one loses its disk late in the run:
    /// it is killed, its data deleted, and a node with a new number started in its place.
    #[arg(long, help_heading = "What is done to the nodes")]
    pub no_wipe: bool,

    /// Instead of that, kill so many nodes with SIGKILL, one after the other, each back on its disk
    /// after 0 to 10 s, the next only when every partition has all its replicas again; and measure
    /// how long partitions were away. Takes a steady load, see --riders, and lasts as long as it takes.
    #[arg(long, value_name = "N", conflicts_with_all = ["seconds", "bookings", "data", "demand"], help_heading = "What is done to the nodes")]
    pub kills: Option<u32>,

    /// After all that, kill all nodes at once, start them again, and measure until every partition
    /// answers.
    #[arg(long, help_heading = "What is done to the nodes")]
    pub kill_all: bool,

    /// In the place of riders who ask once: so many who ask again as soon as their last ride is over,
    /// for --seconds or as long as --kills takes [default: 300 with --kills, and as many cars]
    #[arg(long, value_name = "N", conflicts_with_all = ["bookings", "data", "demand"], help_heading = "Steady load")]
    pub riders: Option<usize>,

    /// Under a steady load, requests a second of all clients together: riders look at their bookings
    /// as often as that takes. Positions on sockets are not counted [default: 500]
    #[arg(long, value_name = "N", conflicts_with_all = ["bookings", "data", "demand"], help_heading = "Steady load")]
    pub operations: Option<u32>,

    /// Write the report as JSON to this file; `-` for stdout, and the table to stderr.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Keep data, logs and history; they are kept anyway when the run is not green.
    #[arg(long)]
    pub keep: bool,

    /// The binary to start [default: this one]
    #[arg(long, value_name = "PATH", hide = true)]
    pub hansom: Option<PathBuf>,

    /// Plant a known mistake in the nodes; the judge must find it.
    #[cfg(feature = "plant")]
    #[arg(long, value_name = "FAULT")]
    pub plant: Option<String>,
}

const LAYOUT: &str = "\
Layout of the files (each .csv or .csv.gz; columns by name, in any order, others ignored):
  demand     pickup_time (2013-11-18 16:00:00, or seconds), and for pickup and dropoff each
             pickup_node_lat, pickup_node_lon or else pickup_lat, pickup_lon
  fleet      node_lat, node_lon or else lat, lon
  nodes      node (from 0), lat, lon
  edges      from, to, length_km, travel_time_s; directed
  reference  fleet, policy, rate, wait_mean, wait_p95

In a --data directory they are called
  requests_full_hour, taxis_full_hour, nodes, edges_16h_17h, our_python_baselines (may be missing)
and --demand, --fleet, --network or --roads replace one of them.

Time: what is policy is city time, and a node is told its part of --speed: offers, bookings, attempts,
claim windows, the pickup cap, and how fast cars are. What is no policy is not scaled: a claim's
reservation, how old a position may be, the second after which a booking that found nobody searches
again, round trips and disks. At speed 30 a decision of 100 ms costs the rider 3 s of his city.

Examples:
  hansom demo
  hansom demo --seed 7 --json -
  hansom demo --data ./nyc_hour_20131118 --fleet-size 4500 --speed 30
  hansom demo --data ./nyc_hour_20131118 --fleet-size 3000 --speed 30 --policies nearest,straight,ours
  hansom demo --roads --policies nearest,ours --fleet-size 120
  hansom demo --roads porto.roads --fleet-size 300 --bookings 900
  hansom demo --nodes 5 --kills 30 --kill-all
  hansom demo --riders 300 --operations 500 --seconds 60 --no-kill
";

/// The invented town, if nothing else is said: half a minute of bookings and twenty seconds until
/// the last rider is home, at speed 40. At the peak three cars in four are busy.
const TOWN_BOOKINGS: usize = 400;
const TOWN_FLEET: usize = 240;
const TOWN_SECONDS: u64 = 25;
/// A steady load, if nothing else is said.
const STEADY_RIDERS: usize = 300;
const STEADY_OPERATIONS: u32 = 500;
/// The wishes that riders of a steady load take in turn; more than come up in most runs, and they
/// may come up again.
const STEADY_WISHES: usize = 20_000;
/// Junctions along each side of the invented streets, 200 m apart: a town of 6 km.
const STREETS: u32 = 30;
/// Straight-line driving for files without a network: the median of Manhattan's afternoon.
const STRAIGHT: (f64, f64) = (16.0 / 3.6, 1.4);

impl Args {
    /// Checks the flags and builds the city. Nothing is started.
    pub(crate) fn check(self) -> Result<Settings, DemoError> {
        let usage = |sentence: &str| Err(DemoError::Usage(sentence.into()));
        if !(self.speed.is_finite() && (0.1..=1000.0).contains(&self.speed)) {
            return usage("--speed must be 0.1 to 1000");
        }
        if !(0.0..=1.0).contains(&self.acceptance) {
            return usage("--acceptance must be 0 to 1");
        }
        if self.patience_s == 0 || self.patience_s > 86_400 {
            return usage("--patience-s must be 1 to 86400");
        }
        if self.bookings == Some(0) || self.fleet_size == Some(0) || self.seconds == Some(0) {
            return usage("--bookings, --fleet-size and --seconds must be 1 or more");
        }
        if self.riders == Some(0) || self.operations == Some(0) || self.kills == Some(0) {
            return usage("--riders, --operations and --kills must be 1 or more");
        }
        if self.kills.is_some() && usize::from(self.nodes) < WIPE_NODES_MIN {
            return usage("--kills takes --nodes 3 or more: nobody can take over from fewer");
        }
        let (orders, steady) = (self.orders(), self.steady());
        let city = self.city()?;
        if city.requests.is_empty() || city.fleet.is_empty() {
            return usage("the city has no requests or no cars");
        }
        let program = match self.hansom.clone() {
            Some(program) => program,
            None => std::env::current_exe().map_err(|source| DemoError::System {
                what: "find this program's own file".into(),
                source,
            })?,
        };
        let mut habits = Habits::usual(self.speed);
        habits.patience_ms = self.patience_s * 1000;
        habits.acceptance = self.acceptance;
        Ok(Settings {
            city,
            habits,
            nodes: usize::from(self.nodes),
            seed: self.seed,
            orders,
            steady,
            policies: self.policies.clone(),
            keep: self.keep,
            json: self.json,
            program,
            #[cfg(feature = "plant")]
            plant: self.plant,
            #[cfg(not(feature = "plant"))]
            plant: None,
        })
    }

    fn orders(&self) -> Orders {
        let kills = self.kills.unwrap_or(0);
        let kill = !self.no_kill && kills == 0 && self.policies.is_empty();
        let wipe = kill && !self.no_wipe && usize::from(self.nodes) >= WIPE_NODES_MIN;
        Orders { kill, wipe, kills, kill_all: self.kill_all }
    }

    fn steady(&self) -> Option<Open> {
        let wanted = self.kills.is_some() || self.riders.is_some() || self.operations.is_some();
        let operations = f64::from(self.operations.unwrap_or(STEADY_OPERATIONS));
        wanted.then(|| Open {
            load: Steady { riders: self.riders.unwrap_or(STEADY_RIDERS), operations },
            lasts: Duration::from_secs(self.seconds.unwrap_or(TOWN_SECONDS)),
        })
    }

    fn city(&self) -> Result<City, DemoError> {
        let from_files = self.data.is_some() || self.demand.is_some();
        if !from_files {
            if self.fleet.is_some() || self.network.is_some() {
                return Err(DemoError::Usage(
                    "--fleet and --network need --demand or --data: the invented town has its own"
                        .into(),
                ));
            }
            let streets = self.streets()?;
            return Ok(match streets {
                Some(roads) => synthetic::on_streets(self.plan(), roads),
                None => synthetic::town(self.plan()),
            });
        }
        let mut city = self.city_of_files()?;
        if let Some(seconds) = self.seconds {
            city.close_at(CityMs(self.city_ms(seconds)));
        }
        city.sample(self.fleet_size, self.bookings, self.seed);
        Ok(city)
    }

    fn city_ms(&self, wall_s: u64) -> u64 {
        whole(wall_s as f64 * 1000.0 * self.speed)
    }

    /// What --roads says.
    fn streets(&self) -> Result<Option<Roads>, DemoError> {
        let settings = roads::Settings::default();
        Ok(match &self.roads {
            None => None,
            Some(Some(file)) => Some(Roads::open(file, &settings)?),
            Some(None) => {
                let map = Map::invented(STREETS, &mut ChaCha8Rng::seed_from_u64(self.seed));
                Some(Roads::of_map(&map, &settings)?)
            }
        })
    }

    fn plan(&self) -> Plan {
        let steady = self.steady();
        let usual = steady.map_or(TOWN_FLEET, |open| open.load.riders);
        let wishes = if steady.is_some() { STEADY_WISHES } else { TOWN_BOOKINGS };
        Plan {
            seed: self.seed,
            fleet: self.fleet_size.unwrap_or(usual),
            bookings: self.bookings.unwrap_or(wishes),
            window: CityMs(self.city_ms(self.seconds.unwrap_or(TOWN_SECONDS))),
        }
    }

    fn city_of_files(&self) -> Result<City, DemoError> {
        let in_data = |name: &str| self.data.as_deref().map(|directory| either(directory, name));
        let demand_file = self.demand.clone().or_else(|| in_data("requests_full_hour"));
        let Some(demand_file) = demand_file else {
            return Err(DemoError::Usage("say where the demand is: --demand or --data".into()));
        };
        let requests: Vec<Request> =
            demand::rides(&demand_file)?.into_iter().map(Request::from).collect();
        let fleet = match self.fleet.clone().or_else(|| in_data("taxis_full_hour")) {
            Some(file) => demand::stands(&file)?,
            None => self.cars_at_pickups(&requests)?,
        };
        let network = self.network.clone().or_else(|| in_data("edges_16h_17h"));
        let roads = match (self.streets()?, network) {
            (Some(roads), _) => Ways::streets(roads),
            (None, Some(edges)) => {
                let map = Map::read(&self.junctions(&edges), &edges, &ProgressBar::hidden())?;
                Ways::streets(Roads::of_map(&map, &roads::Settings::default())?)
            }
            (None, None) => Ways::straight(STRAIGHT.0, STRAIGHT.1),
        };
        let references = in_data("our_python_baselines").filter(|file| file.is_file());
        let references = references.map_or(Ok(Vec::new()), |file| demand::published(&file))?;
        let name = demand_file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(City { name, requests, fleet, roads, references })
    }

    /// The junctions belong to the edges: beside them unless said otherwise.
    fn junctions(&self, edges: &Path) -> PathBuf {
        self.network_nodes
            .clone()
            .unwrap_or_else(|| either(edges.parent().unwrap_or(Path::new("")), "nodes"))
    }

    fn cars_at_pickups(&self, requests: &[Request]) -> Result<Vec<proto::units::Point>, DemoError> {
        let Some(cars) = self.fleet_size else {
            return Err(DemoError::Usage(
                "say where the cars are (--fleet), or how many stand at pickups (--fleet-size)"
                    .into(),
            ));
        };
        let mut dice = Dice::of(self.seed, "cars at pickups");
        Ok((0..cars).map(|_| requests[dice.below(requests.len())].pickup).collect())
    }
}

/// `name` in `directory`, gzipped or not, whichever is there; the gzipped name if neither is.
fn either(directory: &Path, name: &str) -> PathBuf {
    let plain = directory.join(format!("{name}.csv"));
    if plain.is_file() { plain } else { directory.join(format!("{name}.csv.gz")) }
}

#[cfg(test)]
mod tests;
