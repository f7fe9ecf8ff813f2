//! The streets of a city as a node uses them: how long is the drive, from one to many and from many
//! to one, along which line; at times that follow what cars report.

use crate::build::{BuildError, network_of};
use crate::file::{self, FileError};
use crate::hierarchy::{Direction, Hierarchy, Times};
use crate::index::{Index, Snap, SnapError};
use crate::map::Map;
use crate::network::{EdgeId, Network, WHOLE};
use crate::observed::{DRIVE_MS, Observed, Unusable};
use crate::oracle::{self, Backward};
use crate::query::{End, Streets};
use crate::route::{Leg, Route};
use arc_swap::ArcSwap;
use proto::Point;
use std::path::Path;

/// A place farther than this from any street is refused, in metres, unless said otherwise.
pub const OFF_ROAD_MAX_M: u32 = 500;

/// How a file of streets is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A place farther than this from any street is refused, in metres.
    pub off_road_max_m: u32,
    /// How long drives take, in percent of what the file says: a map knows speed limits and no
    /// traffic. `hansom roads eval` fits it to trips.
    pub time_pct: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { off_road_max_m: OFF_ROAD_MAX_M, time_pct: 100 }
    }
}

/// The times that hold now. Queries that began with the ones before end with them.
#[derive(Debug)]
struct Live {
    edge_ms: Vec<u32>,
    times: Times,
}

/// A city's streets, to be shared. All times are in milliseconds.
#[derive(Debug)]
pub struct Roads {
    network: Network,
    index: Index,
    hierarchy: Hierarchy,
    further: Vec<(EdgeId, u32)>,
    live: ArcSwap<Live>,
    observed: Observed,
}

/// What Dijkstra's algorithm needs, for the times that held when it was made.
#[derive(Debug)]
pub(crate) struct Oracle {
    backward: Backward,
    edge_ms: Vec<u32>,
    weights: Vec<u32>,
}

impl Roads {
    /// Reads a file of `hansom roads build`.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self, FileError> {
        Ok(Self::new(file::load(path)?, settings))
    }

    /// The streets of a map. They take what its roads take, and turning costs nothing.
    pub fn of_map(map: &Map, settings: &Settings) -> Result<Self, BuildError> {
        Ok(Self::new(network_of(map)?, settings))
    }

    /// Writes a file in which everything is so many times as fast as here, whatever was observed:
    /// for nodes of a city whose clock runs faster than theirs. Returns its size in bytes.
    pub fn save_faster(&self, path: &Path, times: f64) -> Result<u64, FileError> {
        let mut network = self.network.clone();
        network.scale(1.0 / times);
        file::save(&network, path)
    }

    pub(crate) fn new(mut network: Network, settings: &Settings) -> Self {
        network.scale(f64::from(settings.time_pct) / 100.0);
        let hierarchy = Hierarchy::of(&network);
        let edge_ms = network.edge_ms.clone();
        let times = hierarchy.customize(&network.weights(&edge_ms));
        Self {
            index: Index::of(&network, settings.off_road_max_m),
            further: network.further_states(),
            observed: Observed::new(network.edges()),
            live: ArcSwap::from_pointee(Live { edge_ms, times }),
            hierarchy,
            network,
        }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Where the streets came from.
    pub fn source(&self) -> &str {
        &self.network.source
    }

    /// The streets that a place is on.
    pub fn snap(&self, place: Point) -> Result<Snap, SnapError> {
        self.index.snap(&self.network, place)
    }

    /// How long the drive takes, in milliseconds.
    pub fn eta_ms(&self, from: Point, to: Point) -> Result<u64, SnapError> {
        Ok(self.one_to_many(&self.snap(from)?, &[self.snap(to)?])[0])
    }

    /// How long the drives from one place to many take, in their order.
    pub fn one_to_many(&self, from: &Snap, to: &[Snap]) -> Vec<u64> {
        self.fast(Direction::Out, from, to)
    }

    /// How long the drives from many places to one take, in their order.
    pub fn many_to_one(&self, from: &[Snap], to: &Snap) -> Vec<u64> {
        self.fast(Direction::Into, to, from)
    }

    fn streets<'a>(&'a self, edge_ms: &'a [u32]) -> Streets<'a> {
        Streets { network: &self.network, further: &self.further, edge_ms }
    }

    fn fast(&self, direction: Direction, one: &Snap, many: &[Snap]) -> Vec<u64> {
        let live = self.live.load();
        self.streets(&live.edge_ms).times(direction, one, many, &|sources, targets| {
            self.hierarchy.times(&live.times, direction, sources, targets)
        })
    }

    /// The same by Dijkstra's algorithm.
    pub(crate) fn slow(
        &self,
        oracle: &Oracle,
        direction: Direction,
        one: &Snap,
        many: &[Snap],
    ) -> Vec<u64> {
        let Oracle { backward, edge_ms, weights } = oracle;
        self.streets(edge_ms).times(direction, one, many, &|sources, targets| {
            oracle::times(&self.network, backward, weights, direction, sources, targets)
        })
    }

    pub(crate) fn oracle(&self) -> Oracle {
        let edge_ms = self.live.load().edge_ms.clone();
        let weights = self.network.weights(&edge_ms);
        Oracle { backward: Backward::of(&self.network), edge_ms, weights }
    }

    /// The fastest drive, street by street. It begins and ends on the road: where a place is off
    /// it, with the nearest point of the road.
    pub fn route(&self, from: Point, to: Point) -> Result<Route, SnapError> {
        let (from, to) = (self.snap(from)?, self.snap(to)?);
        let live = self.live.load();
        let streets = self.streets(&live.edge_ms);
        let ask = |direction, sources: &[(u32, u32)], targets: &[u32]| {
            self.hierarchy.times(&live.times, direction, sources, targets)
        };
        let (starts, goals) = (streets.departures(&from), streets.arrivals(&to));
        let sources: Vec<_> = starts.iter().map(End::head_start).collect();
        let targets: Vec<_> = goals.iter().map(|end| end.state).collect();
        let there = ask(Direction::Out, &sources, &targets);
        let total = |(end, ms): &(&End, u32)| end.total_ms(*ms);
        let goal = goals.iter().zip(there).min_by_key(total);
        let direct = streets.direct(&from, &to);
        let through = goal.filter(|goal| direct.is_none_or(|(.., ms)| total(goal) < u64::from(ms)));
        let Some((goal, _)) = through else {
            let (on, at) = direct.map_or((from.on[0], from.on[0].at), |(a, b, _)| (a, b.at));
            let leg = Leg { edge: on.edge, from: on.at, to: at, turn_ms: 0 };
            return Ok(Route::of(&self.network, &live.edge_ms, &[leg]));
        };
        // Which of the beginnings it was: asked backwards from the end that was chosen.
        let firsts: Vec<_> = starts.iter().map(|end| end.state).collect();
        let back = ask(Direction::Into, &[goal.head_start()], &firsts);
        let start = starts.iter().zip(back).min_by_key(total).map(|(start, _)| *start);
        let path = start.and_then(|start| {
            Some((start, self.hierarchy.path(&live.times, start.state, goal.state)?))
        });
        let Some((start, states)) = path else {
            return Ok(Route::standing(from.on[0], &self.network));
        };
        let mut legs = vec![Leg { edge: start.on.edge, from: start.on.at, to: WHOLE, turn_ms: 0 }];
        let mut before = start.on.edge; // a drive begins in the state of the edge's own number
        for state in states {
            let turn_ms = self.network.turn_between(before, state);
            legs.push(Leg {
                edge: self.network.edge_of[state as usize],
                from: 0,
                to: WHOLE,
                turn_ms,
            });
            before = state;
        }
        if let Some(last) = legs.last_mut() {
            last.to = goal.on.at;
        }
        Ok(Route::of(&self.network, &live.edge_ms, &legs))
    }

    /// Learns from a car that was seen at `from` and `took_ms` later at `to`, and is taken to have
    /// driven the fastest way. Positions some 5 to 60 s apart say most. Takes effect with the next
    /// [`Self::recustomize`].
    pub fn observe(&self, from: Point, to: Point, took_ms: u64) -> Result<(), Unusable> {
        let route = self.route(from, to)?;
        let ms = route.edges.iter().map(|(edge, parts)| {
            u64::from(crate::network::part_ms(self.network.edge_ms[*edge as usize], *parts))
        });
        let ms = ms.sum::<u64>() + route.turns_ms;
        if ms < *DRIVE_MS.start() || took_ms < *DRIVE_MS.start() {
            return Err(Unusable::TooShort { ms, took_ms });
        }
        if ms > *DRIVE_MS.end() || took_ms > *DRIVE_MS.end() {
            return Err(Unusable::TooLong { ms, took_ms });
        }
        self.observed.learn(&route.edges, ms, took_ms);
        Ok(())
    }

    /// Puts what was learned into effect. Queries go on meanwhile with the times before; call it
    /// where some milliseconds of work may be done, seconds apart.
    pub fn recustomize(&self) {
        let edge_ms = self.observed.applied(&self.network.edge_ms);
        let times = self.hierarchy.customize(&self.network.weights(&edge_ms));
        self.live.store(std::sync::Arc::new(Live { edge_ms, times }));
    }
}
