//! A city's streets as they are stored: lines, edges, states and turns, and the order in which the
//! hierarchy contracts them. Nothing in it changes after the build.

use crate::geometry::{between, metres, number, whole};
use proto::Point;

/// A street in one direction; its number.
pub(crate) type EdgeId = u32;

/// A city's streets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// Where it came from, for people.
    pub(crate) source: String,
    /// Offsets into `line`, one for each street and one more.
    pub(crate) first_point: Vec<u32>,
    /// The lines of all streets.
    pub(crate) line: Vec<Point>,
    /// Length of each street in centimetres.
    pub(crate) length_cm: Vec<u32>,
    /// For each edge twice its street, and one more if it runs against the street's line.
    pub(crate) edge_street: Vec<u32>,
    /// How long each edge takes in milliseconds, by the source.
    pub(crate) edge_ms: Vec<u32>,
    /// The edge of each state. State `e` is where a drive begins that begins on edge `e`.
    pub(crate) edge_of: Vec<u32>,
    /// Offsets into `head` and `turn_ms`, one for each state and one more.
    pub(crate) first_out: Vec<u32>,
    /// The states that turns lead to.
    pub(crate) head: Vec<u32>,
    /// What turns cost on top of the edge that is left, in milliseconds.
    pub(crate) turn_ms: Vec<u32>,
    /// The states in the order in which they are contracted.
    pub(crate) order: Vec<u32>,
}

/// What is wrong with a network that was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} do not fit together")]
pub(crate) struct Inconsistent(&'static str);

impl Network {
    /// The street of an edge, and whether the edge runs against its line.
    pub(crate) fn street_of(&self, edge: EdgeId) -> (u32, bool) {
        let doubled = self.edge_street[edge as usize];
        (doubled / 2, doubled % 2 == 1)
    }

    pub(crate) fn streets(&self) -> u32 {
        number(self.length_cm.len())
    }

    pub(crate) fn edges(&self) -> u32 {
        number(self.edge_ms.len())
    }

    pub(crate) fn states(&self) -> u32 {
        number(self.edge_of.len())
    }

    /// The line of a street.
    pub(crate) fn line_of(&self, street: u32) -> &[Point] {
        let at = street as usize;
        &self.line[self.first_point[at] as usize..self.first_point[at + 1] as usize]
    }

    /// The turns out of a state: indexes into `head` and `turn_ms`.
    pub(crate) fn turns_from(&self, state: u32) -> std::ops::Range<usize> {
        let at = state as usize;
        self.first_out[at] as usize..self.first_out[at + 1] as usize
    }

    /// What the turn from one state to another costs, in milliseconds; nothing if there is none.
    pub(crate) fn turn_between(&self, from: u32, to: u32) -> u32 {
        let turns = self.turns_from(from).filter(|turn| self.head[*turn] == to);
        turns.map(|turn| self.turn_ms[turn]).min().unwrap_or(0)
    }

    /// What it costs to drive a state's edge and turn, for each turn, at these times for edges.
    pub(crate) fn weights(&self, edge_ms: &[u32]) -> Vec<u32> {
        let mut weights = Vec::with_capacity(self.head.len());
        for state in 0..self.states() {
            let ms = edge_ms[self.edge_of[state as usize] as usize];
            let turns = &self.turn_ms[self.turns_from(state)];
            weights.extend(turns.iter().map(|turn_ms| ms.saturating_add(*turn_ms)));
        }
        weights
    }

    /// The states of each edge beyond the one where drives begin, as (edge, state), by edge.
    pub(crate) fn further_states(&self) -> Vec<(EdgeId, u32)> {
        let further = self.edges()..self.states();
        let mut states: Vec<_> =
            further.map(|state| (self.edge_of[state as usize], state)).collect();
        states.sort_unstable();
        states
    }

    /// The part of an edge's line between two places on it, each in 65,536ths of its length.
    pub(crate) fn part(&self, edge: EdgeId, from: u32, to: u32) -> Vec<Point> {
        let (street, back) = self.street_of(edge);
        let mut line = self.line_of(street).to_vec();
        if back {
            line.reverse();
        }
        let lengths: Vec<f64> = line.windows(2).map(|pair| metres(pair[0], pair[1])).collect();
        let total: f64 = lengths.iter().sum();
        let at = |share: u32| f64::from(share) / f64::from(WHOLE) * total;
        let (from_m, to_m) = (at(from), at(to));
        let (mut part, mut here_m) = (Vec::new(), 0.0);
        for (pair, length) in line.windows(2).zip(lengths) {
            let place = |wanted: f64| between(pair[0], pair[1], (wanted - here_m) / length);
            let end_m = here_m + length;
            if part.is_empty() && from_m <= end_m && length > 0.0 {
                part.push(place(from_m));
            }
            if !part.is_empty() && to_m <= end_m && length > 0.0 {
                part.push(place(to_m));
                return part;
            }
            if !part.is_empty() {
                part.push(pair[1]);
            }
            here_m = end_m;
        }
        if part.is_empty() {
            part.push(line[line.len() - 1]);
        }
        part
    }

    /// Makes all drives take this share of the source's time; an edge takes 1 ms at least.
    pub(crate) fn scale(&mut self, share: f64) {
        let times = self.edge_ms.iter_mut().map(|ms| (ms, 1));
        for (ms, least) in times.chain(self.turn_ms.iter_mut().map(|ms| (ms, 0))) {
            *ms = whole(f64::from(*ms) * share).max(least);
        }
    }

    /// Whether everything points to something that is there.
    pub(crate) fn check(&self) -> Result<(), Inconsistent> {
        let offsets = |first: &[u32], keys: usize, members: usize| {
            first.len() == keys + 1
                && first[0] == 0
                && first.is_sorted()
                && first[keys] as usize == members
        };
        let below = |values: &[u32], limit: usize| values.iter().all(|v| (*v as usize) < limit);
        let (streets, states) = (self.length_cm.len(), self.edge_of.len());
        let lines = offsets(&self.first_point, streets, self.line.len())
            && self.first_point.windows(2).all(|pair| pair[1] - pair[0] >= 2);
        let edges = self.edge_street.len() == self.edge_ms.len()
            && self.edge_street.iter().all(|doubled| (*doubled as usize) / 2 < streets);
        let begins = self.edge_of.iter().take(self.edge_ms.len()).enumerate();
        let all_begin =
            states >= self.edge_ms.len() && begins.into_iter().all(|(e, of)| *of as usize == e);
        let turns = offsets(&self.first_out, states, self.head.len())
            && self.head.len() == self.turn_ms.len()
            && below(&self.head, states);
        let mut order = self.order.clone();
        order.sort_unstable();
        for (fits, what) in [
            (streets > 0 && lines, "streets and their lines"),
            (edges, "edges and streets"),
            (all_begin && below(&self.edge_of, self.edge_ms.len()), "states and edges"),
            (turns, "turns and states"),
            (order.into_iter().eq(0..self.states()), "order and states"),
        ] {
            if !fits {
                return Err(Inconsistent(what));
            }
        }
        Ok(())
    }
}

/// Places on an edge are counted in this many parts of its length.
pub(crate) const WHOLE: u32 = 1 << 16;

/// What a part of an edge takes, in milliseconds, rounded down.
pub(crate) fn part_ms(edge_ms: u32, at: u32) -> u32 {
    let part = u64::from(edge_ms) * u64::from(at.min(WHOLE)) / u64::from(WHOLE);
    u32::try_from(part).unwrap_or(edge_ms)
}
