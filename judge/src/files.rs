//! A city from files: junctions and roads (`roads::Map`), riders and stands (`roads::demand`), all of
//! them at junctions.

use crate::JudgeError;
use crate::city::{City, Request};
use indicatif::ProgressBar;
use roads::{Map, Matrix, demand};
use std::path::PathBuf;

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

/// Reads a city; `step` is called once a junction while its driving times are worked out.
pub fn city(files: &Files, step: &(dyn Fn() + Sync)) -> Result<City, JudgeError> {
    let map = Map::read(&files.nodes, &files.edges, &ProgressBar::hidden())?;
    let network = Matrix::new(&map, step)?;
    let stands = demand::stands(&files.fleet)?;
    let stands = stands.into_iter().map(|place| network.snap(place)).collect();
    let rides = demand::rides(&files.demand)?.into_iter();
    let requests = rides.map(|demand::Ride { at_ms, pickup, dropoff }| {
        let (from, to) = (network.snap(pickup), network.snap(dropoff));
        Request { at_ms, from, to }
    });
    let requests = requests.collect();
    let name = files.demand.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(City { name, requests, stands, network })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_is_read_sorted_counted_from_the_first_request_and_snapped() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let rides = "pickup_time,pickup_node_lat,pickup_node_lon,dropoff_node_lat,dropoff_node_lon\n\
                     2013-11-18 16:00:05,40.0,-73.0,40.009,-73.0\n\
                     2013-11-18 16:00:01,40.01,-73.0,40.0,-73.0\n";
        let mut files = Files {
            demand: file("demand.csv", rides),
            fleet: file("fleet.csv", "idx,node_lat,node_lon\n0,40.0,-73.0\n"),
            nodes: file("nodes.csv", "node,lat,lon\n0,40.0,-73.0\n1,40.01,-73.0\n"),
            edges: file("edges.csv", "from,to,length_km,travel_time_s\n0,1,1.2,300\n1,0,1.2,250\n"),
        };
        let read = city(&files, &|| {}).unwrap();
        assert_eq!(read.requests[0], Request { at_ms: 0, from: 1, to: 0 });
        assert_eq!(read.requests[1], Request { at_ms: 4_000, from: 0, to: 1 });
        assert_eq!(read.stands, [0]);
        assert_eq!((read.network.ms(0, 1), read.network.ms(1, 0)), (300_000, 250_000));
        files.demand = file("none.csv", "pickup_time\nnow\n");
        let error = city(&files, &|| {}).unwrap_err().to_string();
        assert!(error.contains("none.csv has no column pickup_lat"), "{error}");
    }
}
