//! Which street a place is on: the nearest one, in an R*-tree (crate `rstar`) over all straight
//! pieces of all streets. A place that is exactly a junction is on its streets alone, and not on a
//! bridge above.

use crate::geometry::{Plane, length_m, metres, share_along, whole};
use crate::network::{EdgeId, Network, WHOLE};
use proto::Point;
use rstar::RTree;
use rstar::primitives::{GeomWithData, Line};

/// What is not farther than this beyond the nearest street counts as just as near: at a junction
/// one stands on all of its streets.
const TIE_M: f32 = 1.0;
/// No place is on more streets than this.
const STREETS_MAX: usize = 8;

/// A place is too far from any street.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapError {
    /// There is a street, but too far off.
    #[error("{place:?} is {metres} m from the nearest road, more than {limit_m} m")]
    TooFar {
        /// What was asked for.
        place: Point,
        /// How far the nearest street is.
        metres: u32,
        /// How far it may be.
        limit_m: u32,
    },
}

/// A place on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnEdge {
    /// Which edge.
    pub(crate) edge: EdgeId,
    /// How far along, in 65,536ths of its length.
    pub(crate) at: u32,
}

/// A place as the roads know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snap {
    /// Every edge that it is on: both directions of a street, all streets of a junction.
    pub(crate) on: Vec<OnEdge>,
    /// How far the road is, in metres.
    pub off_m: u32,
}

type Piece = GeomWithData<Line<[f32; 2]>, (u32, u32)>;

/// The streets of a city by place.
#[derive(Debug)]
pub(crate) struct Index {
    plane: Plane,
    tree: RTree<Piece>,
    /// Where streets begin and end, sorted: the place, the street, and how far along that is.
    ends: Vec<(Point, u32, u32)>,
    /// For each street its edges along and against its line.
    edges: Vec<[Option<EdgeId>; 2]>,
    pub(crate) limit_m: u32,
}

impl Index {
    pub(crate) fn of(network: &Network, limit_m: u32) -> Self {
        let middle = network.line[network.line.len() / 2];
        let plane = Plane::around(middle);
        let mut pieces = Vec::with_capacity(network.line.len());
        for street in 0..network.streets() {
            let line = network.line_of(street);
            for (piece, pair) in (0..).zip(line.windows(2)) {
                let ends = Line::new(plane.place(pair[0]), plane.place(pair[1]));
                pieces.push(GeomWithData::new(ends, (street, piece)));
            }
        }
        let mut ends: Vec<_> = (0..network.streets())
            .flat_map(|street| {
                let line = network.line_of(street);
                [(line[0], street, 0), (line[line.len() - 1], street, WHOLE)]
            })
            .collect();
        ends.sort_unstable();
        let mut edges = vec![[None; 2]; network.streets() as usize];
        for edge in 0..network.edges() {
            let (street, back) = network.street_of(edge);
            edges[street as usize][usize::from(back)] = Some(edge);
        }
        Self { plane, tree: RTree::bulk_load(pieces), ends, edges, limit_m }
    }

    /// The edges that a place is on.
    pub(crate) fn snap(&self, network: &Network, place: Point) -> Result<Snap, SnapError> {
        let mut on = Vec::new();
        let from = self.ends.partition_point(|(end, ..)| *end < place);
        for (_, street, at) in self.ends[from..].iter().take_while(|(end, ..)| *end == place) {
            self.add(network, *street, *at, &mut on);
        }
        if !on.is_empty() {
            return Ok(Snap { on, off_m: 0 });
        }
        let here = self.plane.place(place);
        let mut streets: Vec<u32> = Vec::new();
        let mut nearest_m = None;
        for (piece, square) in self.tree.nearest_neighbor_iter_with_distance_2(here) {
            let off_m = square.sqrt();
            let first_m = *nearest_m.get_or_insert(off_m);
            if off_m > first_m + TIE_M || streets.len() == STREETS_MAX {
                break;
            }
            let (street, at) = piece.data;
            if !streets.contains(&street) {
                streets.push(street);
                self.add(network, street, share(network, street, at, here, piece.geom()), &mut on);
            }
        }
        let metres = whole(f64::from(nearest_m.unwrap_or(f32::MAX)));
        if metres > self.limit_m {
            return Err(SnapError::TooFar { place, metres, limit_m: self.limit_m });
        }
        Ok(Snap { on, off_m: metres })
    }

    fn add(&self, network: &Network, street: u32, at: u32, on: &mut Vec<OnEdge>) {
        debug_assert!(network.streets() > street);
        for (edge, at) in self.edges[street as usize].into_iter().zip([at, WHOLE - at]) {
            on.extend(edge.map(|edge| OnEdge { edge, at }));
        }
    }
}

/// How far along its street the nearest point of a piece is.
fn share(network: &Network, street: u32, piece: u32, here: [f32; 2], ends: &Line<[f32; 2]>) -> u32 {
    let (line, piece) = (network.line_of(street), piece as usize);
    let total = length_m(line);
    if total == 0.0 {
        return 0;
    }
    let before = length_m(&line[..=piece]);
    let within = share_along(here, ends.from, ends.to) * metres(line[piece], line[piece + 1]);
    whole((before + within) / total * f64::from(WHOLE)).min(WHOLE)
}
