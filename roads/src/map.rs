//! A road network as it comes in tables: junctions, and directed roads between them. It knows no
//! turns: from a junction one may go on along every road that leaves it.

use crate::geometry::whole;
use crate::source::SourceError;
use crate::table::Table;
use indicatif::ProgressBar;
use proto::Point;
use rand::{Rng, RngExt};
use std::path::Path;

/// What the header of a table of junctions holds.
pub(crate) const NODE_COLUMNS: [&str; 3] = ["node", "lat", "lon"];
/// What the header of a table of roads holds.
pub(crate) const EDGE_COLUMNS: [&str; 4] = ["from", "to", "length_km", "travel_time_s"];

/// No road of a table is longer, in kilometres ...
const LENGTH_MAX_KM: f64 = 10_000.0;
/// ... or takes more than this, in seconds: a week, so that sums of many fit into 32 bits of ms.
const TIME_MAX_S: f64 = 604_800.0;

/// A directed road between two junctions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Road {
    /// Index of the junction it leaves.
    pub from: u32,
    /// Index of the junction it reaches.
    pub to: u32,
    /// How long it is, in metres.
    pub metres: u32,
    /// How long it takes, in milliseconds, at least 1.
    pub ms: u32,
}

/// A road that leads to a junction that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a road names junction {junction}, but there are {junctions}")]
pub struct Stranger {
    /// What it names.
    pub junction: u32,
    /// How many there are.
    pub junctions: usize,
}

/// Junctions and directed roads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    junctions: Vec<Point>,
    roads: Vec<Road>,
}

impl Map {
    /// A map of these, checked.
    pub fn new(junctions: Vec<Point>, roads: Vec<Road>) -> Result<Self, Stranger> {
        let (ends, there) = (roads.iter().flat_map(|road| [road.from, road.to]), junctions.len());
        match ends.max().filter(|junction| *junction as usize >= there) {
            Some(junction) => Err(Stranger { junction, junctions: there }),
            None => Ok(Self { junctions, roads }),
        }
    }

    /// Reads two tables: junctions (`node, lat, lon`, `node` counting from 0) and directed roads
    /// (`from, to, length_km, travel_time_s`). The bar moves by their bytes on disk.
    pub fn read(nodes: &Path, edges: &Path, bar: &ProgressBar) -> Result<Self, SourceError> {
        let table = Table::open(nodes, bar)?;
        let [node, lat, lng] = NODE_COLUMNS;
        let (node, place) = (table.column(node)?, (table.column(lat)?, table.column(lng)?));
        let mut expected = 0;
        let junctions = table.collect(|row| {
            let number: u32 = row.number(node)?;
            if number != expected {
                return Err(row.problem(node, format!("{number} where {expected} was expected")));
            }
            expected += 1;
            row.point(place)
        })?;
        let table = Table::open(edges, bar)?;
        let [from, to, length, time] = EDGE_COLUMNS;
        let (ends, amounts) = (
            [table.column(from)?, table.column(to)?],
            [table.column(length)?, table.column(time)?],
        );
        let roads = table.collect(|row| {
            let [from, to] = ends.map(|column| {
                let junction: u32 = row.number(column)?;
                if junction as usize >= junctions.len() {
                    let problem = format!("junction {junction}, but there are {}", junctions.len());
                    return Err(row.problem(column, problem));
                }
                Ok(junction)
            });
            let metres = whole(row.amount(amounts[0], LENGTH_MAX_KM)? * 1_000.0);
            let ms = whole(row.amount(amounts[1], TIME_MAX_S)? * 1_000.0).max(1);
            Ok(Road { from: from?, to: to?, metres, ms })
        })?;
        Ok(Self { junctions, roads })
    }

    /// An invented town: a grid of `side` (2 at least) times `side` junctions 200 m apart, with
    /// speeds of 12 to 30 km/h, one street in three a one-way street.
    pub fn invented(side: u32, dice: &mut impl Rng) -> Self {
        const BLOCK_M: u32 = 200;
        const E7_PER_M: f64 = 89.93; // one metre north in 1e-7 degrees
        let side = side.max(2);
        #[expect(clippy::cast_possible_truncation, reason = "a town of some kilometres")]
        let e7 = |blocks: u32| (f64::from(blocks * BLOCK_M) * E7_PER_M) as i32;
        let place = |i: u32| Point::from_e7(e7(i / side), e7(i % side)).expect("near the equator");
        let mut roads = Vec::new();
        let mut street = |from: u32, to: u32| {
            let (metres, ms) = (BLOCK_M, dice.random_range(24_000..60_000));
            let one_way = dice.random_range(0..3) == 0
                && !(from / side).is_multiple_of(5)
                && !(from % side).is_multiple_of(5);
            // One-way streets alternate, so that every junction can be left and reached.
            let (from, to) =
                if one_way && from.is_multiple_of(2) { (to, from) } else { (from, to) };
            roads.push(Road { from, to, metres, ms });
            if !one_way {
                roads.push(Road { from: to, to: from, metres, ms });
            }
        };
        for i in 0..side * side {
            if i % side + 1 < side {
                street(i, i + 1);
            }
            if i / side + 1 < side {
                street(i, i + side);
            }
        }
        Self { junctions: (0..side * side).map(place).collect(), roads }
    }

    /// Where the junctions are.
    pub fn junctions(&self) -> &[Point] {
        &self.junctions
    }

    /// All roads, in the order they were given.
    pub fn roads(&self) -> &[Road] {
        &self.roads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    fn read(nodes: &str, edges: &str) -> Result<Map, String> {
        let dir = tempfile::tempdir().unwrap();
        let [n, e] = [("nodes.csv", nodes), ("edges.csv", edges)].map(|(name, text)| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        });
        Map::read(&n, &e, &ProgressBar::hidden()).map_err(|error| error.to_string())
    }

    #[test]
    fn two_tables_are_a_map_and_their_mistakes_are_named() {
        let nodes = "node,lat,lon\n0,40.0,-73.0\n1,40.01,-73.0\n";
        let edges = "from,to,length_km,speed_kmh,travel_time_s\n0,1,1.2,14.4,300\n1,0,1.2,9,0\n";
        let map = read(nodes, edges).unwrap();
        let road = |from, to, ms| Road { from, to, metres: 1_200, ms };
        assert_eq!(map.roads(), [road(0, 1, 300_000), road(1, 0, 1)]);
        assert_eq!(map.junctions()[1], Point::from_degrees(40.01, -73.0).unwrap());
        let header = "from,to,length_km,travel_time_s\n";
        let gap = "node,lat,lon\n0,40,-73\n2,40,-73\n";
        for (nodes, edges, expected) in [
            (nodes, "0,7,1,1\n", "edges.csv, line 2, column to: junction 7, but there are 2"),
            (nodes, "0,1,1,-1\n", "column travel_time_s: -1 must be 0 to 604800"),
            (nodes, "0,1,NaN,1\n", "column length_km: NaN must be"),
            (nodes, "", "edges.csv has no rows"),
            (gap, "0,1,1,1\n", "line 3, column node: 2 where 1 was expected"),
        ] {
            let error = read(nodes, &format!("{header}{edges}")).unwrap_err();
            assert!(error.contains(expected), "{error:?} should say {expected:?}");
        }
    }

    #[test]
    fn a_road_to_nowhere_is_refused() {
        let here = Point::from_e7(0, 0).unwrap();
        let road = Road { from: 0, to: 5, metres: 1, ms: 1 };
        let refused = Map::new(vec![here], vec![road]);
        assert_eq!(refused, Err(Stranger { junction: 5, junctions: 1 }));
    }

    #[test]
    fn the_invented_town_is_the_same_for_the_same_dice() {
        let town = |seed| Map::invented(8, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(town(1), town(1));
        assert_ne!(town(1), town(2));
        assert_eq!(town(1).junctions().len(), 64);
    }
}
