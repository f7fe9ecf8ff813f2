//! From places on streets to states of the graph, and back to times.
//!
//! A drive leaves its first edge by one of the turns at its end, and arrives somewhere on its last.
//! So it begins in the states that those turns lead to, late by the rest of the edge and the turn,
//! and ends in any state of the last edge, later by the part that is driven. A drive that stays on
//! one edge asks the graph nothing.

use crate::hierarchy::Direction;
use crate::index::{OnEdge, Snap};
use crate::network::{EdgeId, Network, part_ms};

/// The graph as a query sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streets<'a> {
    pub(crate) network: &'a Network,
    /// The states of edges that have more than one, by edge.
    pub(crate) further: &'a [(EdgeId, u32)],
    /// What each edge takes now, in milliseconds.
    pub(crate) edge_ms: &'a [u32],
}

/// The shortest times from sources with a head start to targets, in milliseconds.
pub(crate) type Ask<'a> = dyn Fn(&[(u32, u32)], &[u32]) -> Vec<u32> + 'a;

/// A state in which a drive can begin or end, and what lies between it and the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) state: u32,
    /// In milliseconds; below zero where the state's own time counts what is behind the place.
    pub(crate) ms: i64,
    pub(crate) on: OnEdge,
}

impl End {
    /// As a source: the state, and what it costs to be there.
    pub(crate) fn head_start(&self) -> (u32, u32) {
        (self.state, u32::try_from(self.ms).unwrap_or(0))
    }

    /// The time between this place and another that is so far from its state.
    pub(crate) fn total_ms(&self, ms: u32) -> u64 {
        u64::try_from(self.ms.saturating_add(ms.into())).unwrap_or(0)
    }
}

impl Streets<'_> {
    /// How drives from a place begin.
    pub(crate) fn departures(&self, place: &Snap) -> Vec<End> {
        let mut ends = Vec::with_capacity(place.on.len() * 3);
        for on in &place.on {
            let ms = self.edge_ms[on.edge as usize];
            let rest_ms = ms - part_ms(ms, on.at);
            for turn in self.network.turns_from(on.edge) {
                let ms = rest_ms.saturating_add(self.network.turn_ms[turn]);
                ends.push(End { state: self.network.head[turn], ms: ms.into(), on: *on });
            }
        }
        ends
    }

    /// The same in fewer states: every drive that leaves an edge takes all of its time from the state
    /// in which drives begin there, so the time from that state, less the part behind the place, is
    /// the time from the place. It is not where a drive may end on the same edge: such an edge is
    /// left by its turns.
    fn beginnings(&self, place: &Snap, goals: &[End]) -> Vec<End> {
        let mut ends = Vec::with_capacity(place.on.len());
        for on in &place.on {
            if goals.iter().any(|goal| goal.on.edge == on.edge) {
                ends.extend(self.departures(&Snap { on: vec![*on], off_m: place.off_m }));
            } else {
                let behind_ms = part_ms(self.edge_ms[on.edge as usize], on.at);
                ends.push(End { state: on.edge, ms: -i64::from(behind_ms), on: *on });
            }
        }
        ends
    }

    /// How drives to a place end.
    pub(crate) fn arrivals(&self, place: &Snap) -> Vec<End> {
        let mut ends = Vec::with_capacity(place.on.len());
        for on in &place.on {
            let ms = i64::from(part_ms(self.edge_ms[on.edge as usize], on.at));
            ends.push(End { state: on.edge, ms, on: *on });
            let from = self.further.partition_point(|(edge, _)| *edge < on.edge);
            let states = self.further[from..].iter().take_while(|(edge, _)| *edge == on.edge);
            ends.extend(states.map(|(_, state)| End { state: *state, ms, on: *on }));
        }
        ends
    }

    /// The drive that stays on one edge, if there is one: its edge's two places and its time.
    pub(crate) fn direct(&self, from: &Snap, to: &Snap) -> Option<(OnEdge, OnEdge, u32)> {
        let pairs = from.on.iter().flat_map(|a| to.on.iter().map(move |b| (*a, *b)));
        let ahead = pairs.filter(|(a, b)| a.edge == b.edge && a.at <= b.at);
        let timed = ahead.map(|(a, b)| {
            let ms = self.edge_ms[a.edge as usize];
            (a, b, part_ms(ms, b.at) - part_ms(ms, a.at))
        });
        timed.min_by_key(|(.., ms)| *ms)
    }

    /// The times between one place and each of many.
    pub(crate) fn times(
        &self,
        direction: Direction,
        one: &Snap,
        many: &[Snap],
        ask: &Ask<'_>,
    ) -> Vec<u64> {
        let (ours, theirs): (_, Vec<_>) = match direction {
            Direction::Out => {
                (self.departures(one), many.iter().map(|place| self.arrivals(place)).collect())
            }
            Direction::Into => {
                let goals = self.arrivals(one);
                let begins = many.iter().map(|place| self.beginnings(place, &goals)).collect();
                (goals, begins)
            }
        };
        let sources: Vec<_> = ours.iter().map(End::head_start).collect();
        let targets: Vec<_> = theirs.iter().flatten().map(|end| end.state).collect();
        let mut between = ask(&sources, &targets).into_iter();
        let mut answers = Vec::with_capacity(many.len());
        for (place, ends) in many.iter().zip(&theirs) {
            let direct = match direction {
                Direction::Out => self.direct(one, place),
                Direction::Into => self.direct(place, one),
            };
            let direct_ms = direct.map(|(.., ms)| u64::from(ms));
            let through = ends.iter().zip(&mut between);
            let through_ms = through.map(|(end, ms)| end.total_ms(ms)).min();
            answers.push(direct_ms.into_iter().chain(through_ms).min().unwrap_or(u64::MAX));
        }
        answers
    }
}
