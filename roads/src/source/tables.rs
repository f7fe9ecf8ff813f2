//! A road network as two tables, gzipped or not: junctions (`node, lat, lon`, `node` counting from
//! 0) and directed roads (`from, to, length_km, travel_time_s`). Other columns are passed over.

use super::{SourceError, open};
use indicatif::ProgressBar;
use proto::Point;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What the header of a table of junctions holds.
pub(crate) const NODE_COLUMNS: [&str; 3] = ["node", "lat", "lon"];
/// What the header of a table of roads holds.
pub(crate) const EDGE_COLUMNS: [&str; 4] = ["from", "to", "length_km", "travel_time_s"];

#[derive(Debug, Deserialize)]
struct NodeRow {
    node: u32,
    lat: f64,
    lon: f64,
}

#[derive(Debug, Deserialize)]
struct EdgeRow {
    from: u32,
    to: u32,
    length_km: f64,
    travel_time_s: f64,
}

/// A directed road between two junctions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Road {
    /// Index of the junction it leaves.
    pub(crate) from: u32,
    /// Index of the junction it reaches.
    pub(crate) to: u32,
    /// How long it is, in metres.
    pub(crate) metres: f64,
    /// How long it takes, in milliseconds.
    pub(crate) ms: f64,
}

/// Reads both tables.
pub(crate) fn read(
    nodes: &Path,
    edges: &Path,
    bar: &ProgressBar,
) -> Result<(Vec<Point>, Vec<Road>), SourceError> {
    let wrong =
        |path: &Path, row: usize, problem| SourceError::Row { path: path.into(), row, problem };
    let mut junctions = Vec::new();
    for (index, row) in rows::<NodeRow>(nodes, bar)?.into_iter().enumerate() {
        if row.node as usize != index {
            let problem = format!("node {} where {index} was expected", row.node);
            return Err(wrong(nodes, index + 1, problem));
        }
        let at = Point::from_degrees(row.lat, row.lon);
        junctions.push(at.map_err(|error| wrong(nodes, index + 1, error.to_string()))?);
    }
    let mut roads = Vec::new();
    for (index, row) in rows::<EdgeRow>(edges, bar)?.into_iter().enumerate() {
        let EdgeRow { from, to, length_km, travel_time_s } = row;
        if let Some(stranger) = [from, to].into_iter().find(|n| *n as usize >= junctions.len()) {
            let problem = format!("junction {stranger}, but there are {}", junctions.len());
            return Err(wrong(edges, index + 1, problem));
        }
        let amounts = [length_km, travel_time_s];
        if !amounts.iter().all(|amount| amount.is_finite() && *amount >= 0.0) {
            let problem = "length and time must be 0 or more".to_owned();
            return Err(wrong(edges, index + 1, problem));
        }
        let (metres, ms) = (length_km * 1_000.0, travel_time_s * 1_000.0);
        roads.push(Road { from, to, metres, ms });
    }
    Ok((junctions, roads))
}

fn rows<T: DeserializeOwned>(path: &Path, bar: &ProgressBar) -> Result<Vec<T>, SourceError> {
    let mut reader = csv::Reader::from_reader(open(path, bar)?);
    let rows: Result<Vec<T>, csv::Error> = reader.deserialize().collect();
    rows.map_err(|source| SourceError::Table { path: path.into(), source })
}
