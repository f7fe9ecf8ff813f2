//! Shortest drives by a customizable contraction hierarchy (Dibbelt, Strasser and Wagner, 2016;
//! crate `cch`): contracted once for the streets, customized in milliseconds for the times, asked
//! in microseconds.
//!
//! Ordinary contraction hierarchies (crate `fast_paths`) took 88 s to prepare Porto's graph of turns
//! and 11.5 ms for 50 places to one on a busy machine, where this one's whole build took 7 s and the
//! query 0.2 to 0.5 ms.
//!
//! The crate's own query knows one source at no cost; a place on a two-way street is two sources
//! with a rest of an edge to drive each, at a junction more. So the walk up the elimination tree is
//! here, for many sources with a head start and many targets at once; many-to-one is the same with
//! both directions swapped.

use crate::geometry::{between, number};
use crate::map::Road;
use crate::network::Network;
use crate::perfect;
use cch::graph::Graph;
use cch::{Cch, INF_WEIGHT, Metric, PathQuery};
use proto::Point;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// No node: the parent of a root.
const NONE: u32 = u32::MAX;
/// Working memory is kept for this many queries at once; more allocate their own.
const SCRATCH_MAX: usize = 16;

/// Which way a query is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the sources to each target.
    Out,
    /// From each target to the sources.
    Into,
}

/// The contracted streets.
pub(crate) struct Hierarchy {
    cch: Cch,
    scratch: Mutex<Vec<Scratch>>,
}

impl fmt::Debug for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hierarchy").field("arcs", &self.arcs()).finish_non_exhaustive()
    }
}

/// The times that a hierarchy is fitted to.
#[derive(Debug)]
pub(crate) struct Times {
    metric: Metric,
    out: Upward,
    back: Upward,
}

/// The arcs from each node to those above it that a shortest drive can use in one direction. What an
/// arc leads to and what it costs stand side by side, since a query reads both.
#[derive(Debug)]
struct Upward {
    first: Vec<u32>,
    arcs: Vec<(u32, u32)>,
}

impl Upward {
    fn of(cch: &Cch, weights: &[u32], shortest: &[u32]) -> Self {
        let (mut first, mut arcs) = (vec![0], Vec::new());
        for pair in cch.up_first_out.windows(2) {
            for arc in pair[0] as usize..pair[1] as usize {
                let ms = weights[arc];
                if ms < INF_WEIGHT && ms == shortest[arc] {
                    arcs.push((cch.up_head[arc], ms));
                }
            }
            first.push(number(arcs.len()));
        }
        Self { first, arcs }
    }

    fn from(&self, rank: u32) -> &[(u32, u32)] {
        let at = rank as usize;
        &self.arcs[self.first[at] as usize..self.first[at + 1] as usize]
    }
}

/// A query's working memory, left as it was found: nothing reached, nothing marked.
#[derive(Debug)]
struct Scratch {
    /// The best known time of each node, by rank.
    ms: Vec<u32>,
    marked: Vec<bool>,
    /// Walks up the elimination tree, one after the other: each ends where an earlier one passed.
    walks: Vec<u32>,
    /// Where each of them ends in `walks`.
    ends: Vec<usize>,
}

/// The order in which a network's states are contracted: nested dissection by inertial flow.
///
/// What cuts a city best in two is a few streets. But cuts are looked for between nodes, so the
/// graph that is dissected has a node for each end of a street: the two ends of a street are
/// joined, and ends between which one can turn. States follow their streets. (Dissecting the states
/// themselves gives Porto's hierarchy 1.4 times the arcs, and queries take twice as long. The idea is
/// that of Buchhold, Wagner, Zeitz and Zündorf, "Customizable contraction hierarchies with turn
/// costs", 2020.)
pub(crate) fn order(network: &Network) -> Vec<u32> {
    let ends = network.streets() * 2;
    let mut joined: Vec<(u32, u32)> = (0..network.streets()).map(|s| (s * 2, s * 2 + 1)).collect();
    // A number of an edge is twice its street, and one more if it runs against its line.
    let end = |state: u32, reached: bool| {
        let (street, back) = network.street_of(network.edge_of[state as usize]);
        street * 2 + u32::from(back != reached)
    };
    for state in 0..network.states() {
        let here = end(state, true);
        for turn in network.turns_from(state) {
            let there = end(network.head[turn], false);
            joined.push((here.min(there), here.max(there)));
        }
    }
    joined.sort_unstable();
    joined.dedup();
    let (tail, head): (Vec<u32>, Vec<u32>) = joined.into_iter().unzip();
    let places = (0..ends).map(|end| {
        let line = network.line_of(end / 2);
        let (first, last) = (line[0], line[line.len() - 1]);
        // A little inward, so that the ends at a junction lie apart.
        if end % 2 == 0 { between(first, last, 0.25) } else { between(first, last, 0.75) }
    });
    let order = dissected(places, &tail, &head);
    // A street comes when its later end does.
    let mut of_street = vec![0; network.streets() as usize];
    for (place, end) in (0_u32..).zip(order) {
        of_street[end as usize / 2] = place;
    }
    let mut states: Vec<u32> = (0..network.states()).collect();
    states.sort_by_key(|state| {
        of_street[network.street_of(network.edge_of[*state as usize]).0 as usize]
    });
    states
}

/// Nested dissection by inertial flow of the graph of these arcs, whose nodes are at these places.
fn dissected(places: impl Iterator<Item = Point>, tail: &[u32], head: &[u32]) -> Vec<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "a guide for cutting, no place to be at")]
    let places = places.map(|place| (place.lat() as f32, place.lng() as f32));
    let (lat, lng): (Vec<f32>, Vec<f32>) = places.unzip();
    cch::inertial_order(number(lat.len()), tail, head, &lat, &lng)
}

impl Hierarchy {
    /// Contracts a network in its order.
    pub(crate) fn of(network: &Network) -> Self {
        Self::contracted(network.first_out.clone(), network.head.clone(), &network.order)
    }

    /// Contracts a map whose states are its junctions, and the weights of its roads in that order.
    pub(crate) fn of_junctions(places: &[Point], out: &[Vec<Road>]) -> (Self, Vec<u32>) {
        let roads = out.iter().flatten();
        let tail: Vec<u32> = roads.clone().map(|road| road.from).collect();
        let head: Vec<u32> = roads.clone().map(|road| road.to).collect();
        let order = dissected(places.iter().copied(), &tail, &head);
        let ends = out.iter().scan(0, |end, roads| {
            *end += roads.len();
            Some(number(*end))
        });
        let first_out = std::iter::once(0).chain(ends).collect();
        (Self::contracted(first_out, head, &order), roads.map(|road| road.ms).collect())
    }

    fn contracted(first_out: Vec<u32>, head: Vec<u32>, order: &[u32]) -> Self {
        let graph = Graph { first_out, weight: vec![0; head.len()], head };
        Self { cch: Cch::build(&graph, order), scratch: Mutex::default() }
    }

    /// How many arcs it has.
    pub(crate) fn arcs(&self) -> u64 {
        self.cch.cch_arc_count() as u64
    }

    /// Fits it to times; each of `weights` belongs to the turn of the same number.
    pub(crate) fn customize(&self, weights: &[u32]) -> Times {
        let metric = self.cch.customize(weights);
        let (up, down) = perfect::shortest(&self.cch, &metric);
        let out = Upward::of(&self.cch, &metric.forward, &up);
        let back = Upward::of(&self.cch, &metric.backward, &down);
        Times { metric, out, back }
    }

    /// The shortest times from any of `sources` (each with what it costs to be there) to each of
    /// `targets`, or the other way round; [`INF_WEIGHT`] where there is none.
    pub(crate) fn times(
        &self,
        times: &Times,
        direction: Direction,
        sources: &[(u32, u32)],
        targets: &[u32],
    ) -> Vec<u32> {
        let mut scratch = self.scratch().pop().unwrap_or_else(|| Scratch::of(&self.cch));
        let (out, back) = match direction {
            Direction::Out => (&times.out, &times.back),
            Direction::Into => (&times.back, &times.out),
        };
        let answer = scratch.run(&self.cch, (out, back), sources, targets);
        let mut kept = self.scratch();
        if kept.len() < SCRATCH_MAX {
            kept.push(scratch);
        }
        answer
    }

    /// The states of a shortest drive, both ends included.
    pub(crate) fn path(&self, times: &Times, from: u32, to: u32) -> Option<Vec<u32>> {
        PathQuery::new(&self.cch.view()).path(&times.metric.view(), from, to)
    }

    fn scratch(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scratch {
    fn of(cch: &Cch) -> Self {
        let nodes = cch.node_count();
        Self {
            ms: vec![INF_WEIGHT; nodes],
            marked: vec![false; nodes],
            walks: vec![],
            ends: vec![],
        }
    }

    fn run(
        &mut self,
        cch: &Cch,
        (out, back): (&Upward, &Upward),
        sources: &[(u32, u32)],
        targets: &[u32],
    ) -> Vec<u32> {
        let Self { ms, marked, walks, ends } = self;
        for (source, head_start_ms) in sources {
            let rank = cch.rank[*source as usize] as usize;
            ms[rank] = ms[rank].min(*head_start_ms);
            ancestors(cch, rank, marked, walks);
            ends.push(walks.len());
        }
        // What is above is settled after what is below: the last walk first, each from its bottom.
        let mut end = walks.len();
        for begin in ends.drain(..).rev().skip(1).chain([0]) {
            for rank in &walks[begin..end] {
                marked[*rank as usize] = false;
                let here_ms = ms[*rank as usize];
                if here_ms < INF_WEIGHT {
                    for (to, weight) in out.from(*rank) {
                        let there_ms = &mut ms[*to as usize];
                        *there_ms = (*there_ms).min(here_ms.saturating_add(*weight));
                    }
                }
            }
            end = begin;
        }
        // And down again: what is above comes first, so each walk from its top, the first one first.
        for target in targets {
            let begin = walks.len();
            ancestors(cch, cch.rank[*target as usize] as usize, marked, walks);
            for rank in walks[begin..].iter().rev() {
                let mut best_ms = ms[*rank as usize];
                for (from, weight) in back.from(*rank) {
                    best_ms = best_ms.min(ms[*from as usize].saturating_add(*weight));
                }
                ms[*rank as usize] = best_ms;
            }
        }
        let times = targets.iter().map(|target| ms[cch.rank[*target as usize] as usize]);
        let times = times.map(|ms| ms.min(INF_WEIGHT)).collect();
        for rank in walks.drain(..) {
            (ms[rank as usize], marked[rank as usize]) = (INF_WEIGHT, false);
        }
        times
    }
}

/// Adds a node and those above it that are not marked yet, and marks them.
fn ancestors(cch: &Cch, rank: usize, marked: &mut [bool], found: &mut Vec<u32>) {
    let mut here = number(rank);
    while here != NONE && !std::mem::replace(&mut marked[here as usize], true) {
        found.push(here);
        here = cch.elimination_tree_parent[here as usize];
    }
}
