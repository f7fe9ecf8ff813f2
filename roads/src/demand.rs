//! Who rides in a city, as tables say it, columns by name:
//!
//! | table | columns |
//! |---|---|
//! | rides | `pickup_time` (`2013-11-18 16:00:00`, or seconds), and for pickup and drop-off each `pickup_node_lat, pickup_node_lon` or else `pickup_lat, pickup_lon` |
//! | stands | `node_lat, node_lon` or else `lat, lon` |
//! | published results | `fleet, policy, rate, wait_mean, wait_p95` |
//!
//! Where a place is given twice, by GPS and as the nearest junction (`*_node_*`), the junction is
//! taken: so did those whose results stand beside ours.

use crate::source::SourceError;
use crate::table::Table;
use indicatif::ProgressBar;
use proto::Point;
use std::path::Path;

/// One rider's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ride {
    /// When he asks, in milliseconds since the first one.
    pub at_ms: u64,
    /// From where.
    pub pickup: Point,
    /// Where to.
    pub dropoff: Point,
}

/// What others reached on a city.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Published {
    /// How many cars it had.
    pub fleet: u32,
    /// How it assigned them.
    pub policy: String,
    /// Share of requests carried, 0 to 1.
    pub served_share: f64,
    /// Mean of request to pickup, in seconds.
    pub wait_mean_s: f64,
    /// 95th percentile of the same.
    pub wait_p95_s: f64,
}

/// The rides, in order of time.
pub fn rides(path: &Path) -> Result<Vec<Ride>, SourceError> {
    let table = open(path)?;
    let (at, pickup, dropoff) = (
        table.column("pickup_time")?,
        place_columns(&table, "pickup_")?,
        place_columns(&table, "dropoff_")?,
    );
    let rows =
        table.collect(|row| Ok((row.moment(at)?, row.point(pickup)?, row.point(dropoff)?)))?;
    let first_s = rows.iter().map(|row| row.0).fold(f64::INFINITY, f64::min);
    let mut rides: Vec<Ride> = rows
        .into_iter()
        .map(|(at_s, pickup, dropoff)| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let at_ms = ((at_s - first_s) * 1_000.0).round() as u64;
            Ride { at_ms, pickup, dropoff }
        })
        .collect();
    rides.sort_by_key(|ride| ride.at_ms);
    Ok(rides)
}

/// Where cars stand.
pub fn stands(path: &Path) -> Result<Vec<Point>, SourceError> {
    let table = open(path)?;
    let place = place_columns(&table, "")?;
    table.collect(|row| row.point(place))
}

/// What others reached.
pub fn published(path: &Path) -> Result<Vec<Published>, SourceError> {
    let table = open(path)?;
    let (fleet, policy, rate) =
        (table.column("fleet")?, table.column("policy")?, table.column("rate")?);
    let (mean, p95) = (table.column("wait_mean")?, table.column("wait_p95")?);
    table.collect(|row| {
        Ok(Published {
            fleet: row.number(fleet)?,
            policy: row.text(policy).into(),
            served_share: row.amount(rate, 1.0)?,
            wait_mean_s: row.amount(mean, f64::MAX)?,
            wait_p95_s: row.amount(p95, f64::MAX)?,
        })
    })
}

fn open(path: &Path) -> Result<Table, SourceError> {
    Table::open(path, &ProgressBar::hidden())
}

/// The columns of a place: its junction if the table has one, else its GPS position.
fn place_columns(table: &Table, prefix: &str) -> Result<(usize, usize), SourceError> {
    let node = if table.has(&format!("{prefix}node_lat")) { "node_" } else { "" };
    let column = |name: &str| table.column(&format!("{prefix}{node}{name}"));
    Ok((column("lat")?, column("lon")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;
    use std::path::PathBuf;

    fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        let bytes = if name.ends_with(".gz") {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        } else {
            text.as_bytes().to_vec()
        };
        std::fs::write(&path, bytes).unwrap();
        path
    }

    const RIDES: &str = "idx,pickup_time,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon,pickup_node_lat,pickup_node_lon,dropoff_node_lat,dropoff_node_lon\n\
        0,2013-11-18 16:00:05,40.1,-73.1,40.2,-73.2,40.11,-73.11,40.21,-73.21\n\
        1,2013-11-18 16:00:00,40.3,-73.3,40.4,-73.4,40.31,-73.31,40.41,-73.41\n";

    #[test]
    fn rides_are_sorted_counted_from_the_first_and_taken_at_the_junction() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["rides.csv", "rides.csv.gz"] {
            let rides = rides(&file(dir.path(), name, RIDES)).unwrap();
            let at: Vec<_> = rides.iter().map(|ride| ride.at_ms).collect();
            assert_eq!(at, [0, 5_000], "{name}");
            assert_eq!(format!("{:?}", rides[1].pickup), "40.1100000,-73.1100000");
        }
    }

    #[test]
    fn rides_in_seconds_by_gps_alone_are_read_too() {
        let text =
            "pickup_time,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n30,1,2,3,4\n31.5,1,2,3,4\n";
        let dir = tempfile::tempdir().unwrap();
        let rides = rides(&file(dir.path(), "d.csv", text)).unwrap();
        assert_eq!((rides[0].at_ms, rides[1].at_ms), (0, 1_500));
    }

    #[test]
    fn a_mistake_names_its_file_line_and_column() {
        let dir = tempfile::tempdir().unwrap();
        let cases = [
            ("lat,lon\n1,2\n3,x\n", "f.csv, line 3, column lon: 'x' is not a number"),
            ("lat,lon\n91,2\n", "line 2, column lat: latitude must be within"),
            ("lat,lng\n1,2\n", "f.csv has no column lon"),
            ("lat,lon\n", "f.csv has no rows"),
            ("lat,lon\n1\n", "line: 2"),
        ];
        for (text, expected) in cases {
            let error = stands(&file(dir.path(), "f.csv", text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should say {expected:?}");
        }
        let error = stands(&dir.path().join("none.csv")).unwrap_err().to_string();
        assert!(error.contains("none.csv"), "{error}");
        let broken = dir.path().join("broken.csv.gz");
        std::fs::write(&broken, b"\x1f\x8bnot gzip").unwrap();
        assert!(stands(&broken).is_err());
    }
}
