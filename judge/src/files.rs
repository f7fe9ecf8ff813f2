//! A city from files, `.csv` or `.csv.gz`, columns by name:
//!
//! | file | columns |
//! |---|---|
//! | demand | `pickup_time` (`2013-11-18 16:00:00`), `pickup_node_lat, pickup_node_lon, dropoff_node_lat, dropoff_node_lon` |
//! | fleet | `node_lat, node_lon` |
//! | nodes | `node, lat, lon`; `node` counts from 0 |
//! | edges | `from, to, length_km, travel_time_s`, directed |
//! | reference results | `fleet, policy, rate, wait_mean` |

use crate::city::{City, Request};
use crate::network::{Network, NetworkError, Road};
use flate2::read::MultiGzDecoder;
use proto::Point;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be opened.
    #[error("cannot open {path}: {source}; name the files of your city, or none for an invented one", path = path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no CSV, or a column is missing or says what it must not.
    #[error("{path}: {source}; `hansom judge --help` names the columns", path = path.display())]
    Csv {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: csv::Error,
    },
    /// A value makes no sense.
    #[error("{path}, row {row}: {problem}", path = path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which row, from 1.
        row: usize,
        /// What is wrong.
        problem: String,
    },
    /// Roads and junctions do not fit together.
    #[error("{path}: {source}", path = path.display())]
    Network {
        /// Which file.
        path: PathBuf,
        /// How.
        source: NetworkError,
    },
}

/// Where the files of a city are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Who asks for rides.
    pub demand: PathBuf,
    /// Where cars stand.
    pub fleet: PathBuf,
    /// Junctions.
    pub nodes: PathBuf,
    /// Roads.
    pub edges: PathBuf,
}

/// What others reached on the same city.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
pub struct Reference {
    /// Cars.
    pub fleet: usize,
    /// How it assigned them.
    pub policy: String,
    /// Share of the requests served, 0 to 1.
    pub rate: f64,
    /// Mean wait of those served, in seconds.
    pub wait_mean: f64,
}

#[derive(Deserialize)]
struct Node {
    node: usize,
    lat: f64,
    lon: f64,
}

#[derive(Deserialize)]
struct Edge {
    from: u32,
    to: u32,
    length_km: f64,
    travel_time_s: f64,
}

#[derive(Deserialize)]
struct Stand {
    node_lat: f64,
    node_lon: f64,
}

#[derive(Deserialize)]
struct Ride {
    pickup_time: String,
    pickup_node_lat: f64,
    pickup_node_lon: f64,
    dropoff_node_lat: f64,
    dropoff_node_lon: f64,
}

/// The rows of a file.
fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, FileError> {
    let file = File::open(path).map_err(|source| FileError::Open { path: path.into(), source })?;
    let file = BufReader::new(file);
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> =
        if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let read: Result<Vec<T>, _> = csv::Reader::from_reader(bytes).into_deserialize().collect();
    read.map_err(|source| FileError::Csv { path: path.into(), source })
}

/// What others reached.
pub fn references(path: &Path) -> Result<Vec<Reference>, FileError> {
    rows(path)
}

/// Reads a city; `step` is called once a junction while its driving times are worked out.
pub fn city(files: &Files, step: &(dyn Fn() + Sync)) -> Result<City, FileError> {
    let value =
        |path: &Path, row, problem: String| FileError::Value { path: path.into(), row, problem };
    let mut junctions = Vec::new();
    for (row, Node { node, lat, lon }) in (1..).zip(rows::<Node>(&files.nodes)?) {
        if node != junctions.len() {
            return Err(value(
                &files.nodes,
                row,
                format!("node {node}, {} expected", junctions.len()),
            ));
        }
        let place = Point::from_degrees(lat, lon);
        junctions.push(place.map_err(|error| value(&files.nodes, row, error.to_string()))?);
    }
    let mut roads = Vec::new();
    for (row, edge) in (1..).zip(rows::<Edge>(&files.edges)?) {
        let Edge { from, to, length_km, travel_time_s } = edge;
        let whole = |amount: f64| {
            let fits = amount.is_finite() && (0.0..4e9).contains(&amount);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits")]
            let whole = fits.then_some(amount.round() as u32);
            whole.ok_or_else(|| value(&files.edges, row, format!("{amount} is no length or time")))
        };
        let (metres, ms) = (whole(length_km * 1_000.0)?, whole(travel_time_s * 1_000.0)?);
        roads.push(Road { from, to, metres, ms });
    }
    let exact: BTreeMap<Point, u32> = junctions.iter().copied().zip(0..).collect();
    let network = Network::new(junctions, &roads, step)
        .map_err(|source| FileError::Network { path: files.edges.clone(), source })?;
    let snap = |path: &Path, row, lat, lon| {
        let place = Point::from_degrees(lat, lon);
        let place = place.map_err(|error| value(path, row, error.to_string()))?;
        Ok(exact.get(&place).copied().unwrap_or_else(|| network.snap(place)))
    };
    let mut stands = Vec::new();
    for (row, Stand { node_lat, node_lon }) in (1..).zip(rows::<Stand>(&files.fleet)?) {
        stands.push(snap(&files.fleet, row, node_lat, node_lon)?);
    }
    let mut requests = Vec::new();
    for (row, ride) in (1..).zip(rows::<Ride>(&files.demand)?) {
        let at_ms = clock_ms(&ride.pickup_time).ok_or_else(|| {
            let problem = format!("'{}' is no time like 2013-11-18 16:00:00", ride.pickup_time);
            value(&files.demand, row, problem)
        })?;
        let from = snap(&files.demand, row, ride.pickup_node_lat, ride.pickup_node_lon)?;
        let to = snap(&files.demand, row, ride.dropoff_node_lat, ride.dropoff_node_lon)?;
        requests.push(Request { at_ms, from, to });
    }
    requests.sort_by_key(|request| request.at_ms);
    let first_ms = requests.first().map_or(0, |request| request.at_ms);
    requests.iter_mut().for_each(|request| request.at_ms -= first_ms);
    let name = files.demand.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(City { name, requests, stands, network })
}

/// The time of a day, in milliseconds: demand is of one day.
fn clock_ms(text: &str) -> Option<u64> {
    let (_, time) = text.split_once([' ', 'T'])?;
    let parts: Result<Vec<u64>, _> = time.splitn(3, ':').map(str::parse).collect();
    let [hour, minute, second] = parts.ok()?.try_into().ok()?;
    let fits = hour < 24 && minute < 60 && second < 61;
    fits.then_some((hour * 3_600 + minute * 60 + second) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(demand: &str) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = Files {
            demand: file("demand.csv", demand),
            fleet: file("fleet.csv", "idx,node_lat,node_lon\n0,40.0,-73.0\n"),
            nodes: file("nodes.csv", "node,lat,lon\n0,40.0,-73.0\n1,40.01,-73.0\n"),
            edges: file("edges.csv", "from,to,length_km,travel_time_s\n0,1,1.2,300\n1,0,1.2,250\n"),
        };
        (dir, files)
    }

    const HEADER: &str =
        "pickup_time,pickup_node_lat,pickup_node_lon,dropoff_node_lat,dropoff_node_lon\n";

    #[test]
    fn a_city_is_read_sorted_counted_from_the_first_request_and_snapped() {
        let rides = "2013-11-18 16:00:05,40.0,-73.0,40.009,-73.0\n\
                     2013-11-18 16:00:01,40.01,-73.0,40.0,-73.0\n";
        let (_dir, files) = files(&format!("{HEADER}{rides}"));
        let city = city(&files, &|| {}).unwrap();
        let (first, second) = (city.requests[0], city.requests[1]);
        assert_eq!(first, Request { at_ms: 0, from: 1, to: 0 });
        assert_eq!(second, Request { at_ms: 4_000, from: 0, to: 1 });
        assert_eq!(city.stands, [0]);
    }

    #[test]
    fn a_mistake_names_its_file_and_what_would_be_right() {
        let cases = [
            ("pickup_time\nnow\n".to_owned(), "names the columns"),
            (format!("{HEADER}now,1,2,3,4\n"), "row 1: 'now' is no time like"),
            (format!("{HEADER}2013-11-18 16:00:05,91,2,3,4\n"), "latitude"),
        ];
        for (demand, expected) in cases {
            let (_dir, files) = files(&demand);
            let error = city(&files, &|| {}).unwrap_err().to_string();
            assert!(error.contains("demand.csv") && error.contains(expected), "{error}");
        }
    }
}
