//! Cities from files, `.csv` or `.csv.gz`. Columns are found by name in the header; their order is
//! free and others are ignored.
//!
//! | file | columns |
//! |---|---|
//! | demand | `pickup_time` (`2013-11-18 16:00:00`, or seconds), and for pickup and drop-off each `pickup_node_lat, pickup_node_lon` or else `pickup_lat, pickup_lon` |
//! | fleet | `node_lat, node_lon` or else `lat, lon` |
//! | network nodes | `node, lat, lon`; `node` counts from 0 |
//! | network edges | `from, to, length_km, travel_time_s`, directed |
//! | reference results | `fleet, policy, rate, wait_mean, wait_p95` |
//!
//! Where a place is given twice, by GPS and as the nearest junction (`*_node_*`), the junction is
//! taken: so did those whose results stand beside ours.

use crate::city::{Reference, Request};
use crate::pace::CityMs;
use crate::roads::{Network, NetworkError, Road};
use crate::whole::whole32;
use ::csv::{Reader, StringRecord};
use flate2::read::MultiGzDecoder;
use proto::units::Point;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened.
    #[error("cannot open {path}: {source}", path = path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not CSV, or its compression is broken.
    #[error("{path}: {source}", path = path.display())]
    Csv {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: ::csv::Error,
    },
    /// The header lacks a column.
    #[error("{path} has no column {wanted}", path = path.display())]
    NoColumn {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
    /// A field does not say what it must.
    #[error("{path}, line {line}, column {column}: {problem}", path = path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// Counted from 1, the header included.
        line: u64,
        /// By name.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A header and nothing else.
    #[error("{path} has no rows", path = path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
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

/// An open table: its rows and the columns a caller asked for.
struct Table {
    path: PathBuf,
    header: StringRecord,
    rows: Reader<Box<dyn Read>>,
}

/// One row, with what is needed to say where a mistake is.
struct Row<'a> {
    path: &'a Path,
    header: &'a StringRecord,
    record: &'a StringRecord,
}

impl Table {
    fn open(path: &Path) -> Result<Self, FileError> {
        let file =
            File::open(path).map_err(|source| FileError::Open { path: path.into(), source })?;
        let file = BufReader::new(file);
        let gzipped = path.extension().is_some_and(|extension| extension == "gz");
        let bytes: Box<dyn Read> =
            if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut rows = Reader::from_reader(bytes);
        let header = rows.headers().cloned();
        let header = header.map_err(|source| FileError::Csv { path: path.into(), source })?;
        Ok(Self { path: path.into(), header, rows })
    }

    fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// The index of a column that must be there.
    fn column(&self, name: &str) -> Result<usize, FileError> {
        let place = self.header.iter().position(|column| column == name);
        place.ok_or_else(|| FileError::NoColumn { path: self.path.clone(), wanted: name.into() })
    }

    /// The columns of a place: its junction if the file has one, else its GPS position.
    fn place_columns(&self, prefix: &str) -> Result<(usize, usize), FileError> {
        let snapped = format!("{prefix}node_lat");
        let (lat, lng) = if self.has(&snapped) {
            (snapped, format!("{prefix}node_lon"))
        } else {
            (format!("{prefix}lat"), format!("{prefix}lon"))
        };
        Ok((self.column(&lat)?, self.column(&lng)?))
    }

    /// Makes something of every row.
    fn collect<T>(
        mut self,
        mut make: impl FnMut(&Row<'_>) -> Result<T, FileError>,
    ) -> Result<Vec<T>, FileError> {
        let mut made = Vec::new();
        let mut record = StringRecord::new();
        let Self { path, header, rows } = &mut self;
        while rows
            .read_record(&mut record)
            .map_err(|source| FileError::Csv { path: path.clone(), source })?
        {
            made.push(make(&Row { path, header, record: &record })?);
        }
        if made.is_empty() {
            return Err(FileError::Empty { path: self.path });
        }
        Ok(made)
    }
}

impl Row<'_> {
    fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default().trim()
    }

    fn problem(&self, column: usize, problem: impl Into<String>) -> FileError {
        FileError::Field {
            path: self.path.into(),
            line: self.record.position().map_or(0, ::csv::Position::line),
            column: self.header.get(column).unwrap_or_default().into(),
            problem: problem.into(),
        }
    }

    fn number<T: FromStr>(&self, column: usize) -> Result<T, FileError> {
        let text = self.text(column);
        text.parse().map_err(|_| self.problem(column, format!("'{text}' is not a number")))
    }

    /// A finite number that is not below zero.
    fn amount(&self, column: usize) -> Result<f64, FileError> {
        let amount: f64 = self.number(column)?;
        if amount.is_finite() && amount >= 0.0 {
            Ok(amount)
        } else {
            Err(self.problem(column, format!("{amount} must be 0 or more")))
        }
    }

    fn point(&self, (lat, lng): (usize, usize)) -> Result<Point, FileError> {
        let (degrees_lat, degrees_lng) = (self.number(lat)?, self.number(lng)?);
        Point::from_degrees(degrees_lat, degrees_lng)
            .map_err(|error| self.problem(lat, error.to_string()))
    }

    /// Seconds since some fixed moment.
    fn moment(&self, column: usize) -> Result<f64, FileError> {
        let text = self.text(column);
        if let Ok(seconds) = text.parse::<f64>()
            && seconds.is_finite()
        {
            return Ok(seconds);
        }
        calendar_s(text).ok_or_else(|| {
            self.problem(column, format!("'{text}' is not a time like 2013-11-18 16:00:00"))
        })
    }
}

/// Seconds from 1970 to `YYYY-MM-DD HH:MM:SS` in that calendar, without any time zone.
fn calendar_s(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let three = |text: &str, by: char| -> Option<[i32; 3]> {
        let numbers: Result<Vec<i32>, _> = text.splitn(3, by).map(str::parse).collect();
        numbers.ok()?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(time, ':')?);
    let fits = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..61).contains(&second);
    if !fits {
        return None;
    }
    // Days of the proleptic Gregorian calendar, years beginning in March (Hinnant's algorithm).
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
            - 719_468;
    Some(f64::from(days) * 86_400.0 + f64::from(hour * 3600 + minute * 60 + second))
}

/// The demand, in order of time; the first request is the city's first moment.
pub fn demand(path: &Path) -> Result<Vec<Request>, FileError> {
    let table = Table::open(path)?;
    let (at, pickup, dropoff) = (
        table.column("pickup_time")?,
        table.place_columns("pickup_")?,
        table.place_columns("dropoff_")?,
    );
    let rows =
        table.collect(|row| Ok((row.moment(at)?, row.point(pickup)?, row.point(dropoff)?)))?;
    let first_s = rows.iter().map(|row| row.0).fold(f64::INFINITY, f64::min);
    let mut requests: Vec<Request> = rows
        .into_iter()
        .map(|(at_s, pickup, dropoff)| {
            let at = CityMs(crate::whole::whole((at_s - first_s) * 1000.0));
            Request { at, pickup, dropoff }
        })
        .collect();
    requests.sort_by_key(|request| request.at);
    Ok(requests)
}

/// Where the cars stand.
pub fn fleet(path: &Path) -> Result<Vec<Point>, FileError> {
    let table = Table::open(path)?;
    let place = table.place_columns("")?;
    table.collect(|row| row.point(place))
}

/// A road network from its two files.
pub fn network(nodes: &Path, edges: &Path) -> Result<Network, FileError> {
    let table = Table::open(nodes)?;
    let (node, place) = (table.column("node")?, (table.column("lat")?, table.column("lon")?));
    let mut expected = 0;
    let junctions = table.collect(|row| {
        let number: u32 = row.number(node)?;
        if number != expected {
            return Err(row.problem(node, format!("{number} where {expected} was expected")));
        }
        expected += 1;
        row.point(place)
    })?;
    let table = Table::open(edges)?;
    let (from, to) = (table.column("from")?, table.column("to")?);
    let (length, time) = (table.column("length_km")?, table.column("travel_time_s")?);
    let roads = table.collect(|row| {
        Ok(Road {
            from: row.number(from)?,
            to: row.number(to)?,
            metres: row.amount(length)? * 1000.0,
            ms: whole32(row.amount(time)? * 1000.0),
        })
    })?;
    Network::new(junctions, &roads)
        .map_err(|source| FileError::Network { path: edges.into(), source })
}

/// What others reached.
pub fn references(path: &Path) -> Result<Vec<Reference>, FileError> {
    let table = Table::open(path)?;
    let (fleet, policy, rate) =
        (table.column("fleet")?, table.column("policy")?, table.column("rate")?);
    let (mean, p95) = (table.column("wait_mean")?, table.column("wait_p95")?);
    table.collect(|row| {
        Ok(Reference {
            fleet: row.number(fleet)?,
            policy: row.text(policy).into(),
            served_share: row.amount(rate)?,
            wait_mean_s: row.amount(mean)?,
            wait_p95_s: row.amount(p95)?,
        })
    })
}

/// `name` in `directory`, gzipped or not, whichever is there; the gzipped name if neither is.
pub fn either(directory: &Path, name: &str) -> PathBuf {
    let plain = directory.join(format!("{name}.csv"));
    if plain.is_file() { plain } else { directory.join(format!("{name}.csv.gz")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

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

    const DEMAND: &str = "idx,pickup_time,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon,pickup_node_lat,pickup_node_lon,dropoff_node_lat,dropoff_node_lon\n\
        0,2013-11-18 16:00:05,40.1,-73.1,40.2,-73.2,40.11,-73.11,40.21,-73.21\n\
        1,2013-11-18 16:00:00,40.3,-73.3,40.4,-73.4,40.31,-73.31,40.41,-73.41\n";

    #[test]
    fn demand_is_sorted_counted_from_the_first_and_taken_at_the_junction() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["demand.csv", "demand.csv.gz"] {
            let requests = demand(&file(dir.path(), name, DEMAND)).unwrap();
            let at: Vec<_> = requests.iter().map(|request| request.at.0).collect();
            assert_eq!(at, [0, 5_000], "{name}");
            assert_eq!(format!("{:?}", requests[1].pickup), "40.1100000,-73.1100000");
        }
    }

    #[test]
    fn demand_in_seconds_by_gps_alone_is_read_too() {
        let text =
            "pickup_time,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon\n30,1,2,3,4\n31.5,1,2,3,4\n";
        let dir = tempfile::tempdir().unwrap();
        let requests = demand(&file(dir.path(), "d.csv", text)).unwrap();
        assert_eq!((requests[0].at, requests[1].at), (CityMs(0), CityMs(1_500)));
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
            let error = fleet(&file(dir.path(), "f.csv", text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} should say {expected:?}");
        }
        let error = fleet(&dir.path().join("none.csv")).unwrap_err().to_string();
        assert!(error.contains("none.csv"), "{error}");
        let broken = dir.path().join("broken.csv.gz");
        std::fs::write(&broken, b"not gzip").unwrap();
        assert!(matches!(fleet(&broken), Err(FileError::Csv { .. })));
    }

    #[test]
    fn a_network_is_read_and_its_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = file(dir.path(), "nodes.csv", "node,lat,lon\n0,40.0,-73.0\n1,40.01,-73.0\n");
        let edges =
            "from,to,length_km,speed_kmh,travel_time_s\n0,1,1.2,14.4,300\n1,0,1.2,14.4,250\n";
        let network = super::network(&nodes, &file(dir.path(), "e.csv", edges)).unwrap();
        assert_eq!(network.junctions(), 2);
        let loose = file(dir.path(), "loose.csv", "from,to,length_km,travel_time_s\n0,7,1,1\n");
        let error = super::network(&nodes, &loose).unwrap_err().to_string();
        assert!(error.contains("names junction 7"), "{error}");
        let gap = file(dir.path(), "gap.csv", "node,lat,lon\n0,40,-73\n2,40,-73\n");
        let error = super::network(&gap, &loose).unwrap_err().to_string();
        assert!(error.contains("line 3, column node: 2 where 1 was expected"), "{error}");
    }

    #[test]
    fn calendar_seconds_agree_with_known_moments() {
        for (text, seconds) in [
            ("1970-01-01 00:00:00", 0.0),
            ("2000-02-29 12:00:00", 951_825_600.0),
            ("2013-11-18T16:00:00", 1_384_790_400.0),
        ] {
            assert_eq!(calendar_s(text), Some(seconds), "{text}");
        }
        for text in ["", "2013-11-18", "2013-13-18 16:00:00", "2013-11-18 24:00:00", "a b"] {
            assert_eq!(calendar_s(text), None, "{text}");
        }
    }
}
