//! The flags of `hansom demo` and what they come to.

use super::{DemoError, Settings};
use crate::city::City;
use crate::csv::{self, either};
use crate::dice::Dice;
use crate::pace::CityMs;
use crate::roads::Roads;
use crate::synthetic::{self, Plan};
use crate::whole::whole;
use crate::workload::Habits;
use std::path::{Path, PathBuf};

/// Run a city against a cluster of real processes, kill one, and judge what happened.
///
/// Without any flag: an invented town, three nodes, under a minute, no files needed. Exit status 0
/// if the judge found nothing, 1 if it did or the run failed, 2 if a flag or a file is wrong.
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

    /// The roads (edges); without it cars drive in straight lines at 16 km/h with a detour.
    #[arg(long, value_name = "FILE", help_heading = "City from files")]
    pub network: Option<PathBuf>,

    /// The junctions (nodes) of the roads [default: nodes.csv(.gz) beside --network]
    #[arg(long, value_name = "FILE", help_heading = "City from files", requires = "network")]
    pub network_nodes: Option<PathBuf>,

    /// How long a rider waits for a driver to be found, in seconds of city time.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub patience_s: u64,

    /// How probably a driver says yes to an offer.
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    pub acceptance: f64,

    /// Kill nobody.
    #[arg(long)]
    pub no_kill: bool,

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
and --demand, --fleet, --network replace one of them.

Examples:
  hansom demo
  hansom demo --seed 7 --json -
  hansom demo --data ./nyc_hour_20131118 --fleet-size 4500 --speed 30
";

/// The invented town, if nothing else is said: half a minute of bookings and twenty seconds until
/// the last rider is home, at speed 40. At the peak three cars in four are busy.
const TOWN_BOOKINGS: usize = 400;
const TOWN_FLEET: usize = 240;
const TOWN_SECONDS: u64 = 25;
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
            kill: !self.no_kill,
            keep: self.keep,
            json: self.json,
            program,
            #[cfg(feature = "plant")]
            plant: self.plant,
            #[cfg(not(feature = "plant"))]
            plant: None,
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
            return Ok(self.town());
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

    fn town(&self) -> City {
        synthetic::town(Plan {
            seed: self.seed,
            fleet: self.fleet_size.unwrap_or(TOWN_FLEET),
            bookings: self.bookings.unwrap_or(TOWN_BOOKINGS),
            window: CityMs(self.city_ms(self.seconds.unwrap_or(TOWN_SECONDS))),
        })
    }

    fn city_of_files(&self) -> Result<City, DemoError> {
        let in_data = |name: &str| self.data.as_deref().map(|directory| either(directory, name));
        let demand_file = self.demand.clone().or_else(|| in_data("requests_full_hour"));
        let Some(demand_file) = demand_file else {
            return Err(DemoError::Usage("say where the demand is: --demand or --data".into()));
        };
        let requests = csv::demand(&demand_file)?;
        let fleet = match self.fleet.clone().or_else(|| in_data("taxis_full_hour")) {
            Some(file) => csv::fleet(&file)?,
            None => self.cars_at_pickups(&requests)?,
        };
        let roads = match self.network.clone().or_else(|| in_data("edges_16h_17h")) {
            Some(edges) => Roads::Network(csv::network(&self.junctions(&edges), &edges)?),
            None => Roads::straight(STRAIGHT.0, STRAIGHT.1),
        };
        let references = in_data("our_python_baselines").filter(|file| file.is_file());
        let references = references.map_or(Ok(Vec::new()), |file| csv::references(&file))?;
        let name = demand_file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(City { name, requests, fleet, roads, references })
    }

    /// The junctions belong to the edges: beside them unless said otherwise.
    fn junctions(&self, edges: &Path) -> PathBuf {
        self.network_nodes
            .clone()
            .unwrap_or_else(|| either(edges.parent().unwrap_or(Path::new("")), "nodes"))
    }

    fn cars_at_pickups(
        &self,
        requests: &[crate::city::Request],
    ) -> Result<Vec<proto::units::Point>, DemoError> {
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
        let words = std::iter::once("demo").chain(line.split_whitespace());
        Cli::try_parse_from(words).expect("clap takes it").args.check()
    }

    fn refusal(line: &str) -> String {
        let error = parse(line).expect_err("a usage error");
        assert!(error.is_usage(), "{error}");
        error.to_string()
    }

    #[test]
    fn without_flags_there_is_a_town() {
        let settings = parse("").unwrap();
        assert_eq!(settings.city.requests.len(), TOWN_BOOKINGS);
        assert_eq!(settings.city.fleet.len(), TOWN_FLEET);
        assert!(settings.city.last_request() <= CityMs(1_000_000));
        assert!(settings.kill && settings.nodes == 3);
    }

    #[test]
    fn flags_that_do_not_fit_are_refused_by_name() {
        for (line, word) in [
            ("--speed 0", "--speed"),
            ("--speed nan", "--speed"),
            ("--acceptance 1.5", "--acceptance"),
            ("--patience-s 0", "--patience-s"),
            ("--fleet-size 0", "--fleet-size"),
            ("--fleet cars.csv", "--demand"),
            ("--data /nowhere", "requests_full_hour.csv.gz"),
        ] {
            let said = refusal(line);
            assert!(said.contains(word), "{line}: {said}");
        }
    }

    #[test]
    fn a_directory_in_the_layout_is_a_city() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "requests_full_hour.csv",
            "pickup_time,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n\
             2013-11-18 16:00:00,40.75,-73.98,40.76,-73.97\n2013-11-18 16:01:00,40.75,-73.98,40.76,-73.97\n",
        );
        write("taxis_full_hour.csv", "idx,lat,lon\n0,40.75,-73.98\n1,40.76,-73.97\n");
        write("nodes.csv", "node,lat,lon\n0,40.75,-73.98\n1,40.76,-73.97\n");
        write("edges_16h_17h.csv", "from,to,length_km,travel_time_s\n0,1,1.4,300\n1,0,1.4,300\n");
        write(
            "our_python_baselines.csv",
            "fleet,policy,rate,wait_mean,wait_p95\n2,nearest,0.9,10,20\n",
        );
        let data = dir.path().display();
        let settings = parse(&format!("--data {data} --fleet-size 1 --seconds 1")).unwrap();
        let City { requests, fleet, roads, references, .. } = &settings.city;
        assert_eq!((requests.len(), fleet.len(), references.len()), (1, 1, 1));
        assert!(matches!(roads, Roads::Network(network) if network.junctions() == 2));
        // Demand alone: cars at pickups, straight roads.
        let demand = dir.path().join("requests_full_hour.csv");
        let settings = parse(&format!("--demand {} --fleet-size 5", demand.display())).unwrap();
        assert_eq!(settings.city.fleet.len(), 5);
        assert!(matches!(settings.city.roads, Roads::Straight { .. }));
        assert!(refusal(&format!("--demand {}", demand.display())).contains("--fleet-size"));
    }
}
