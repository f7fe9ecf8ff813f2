//! A drive as a line through the city.

use crate::geometry::{metres, whole};
use crate::index::OnEdge;
use crate::network::{EdgeId, Network, part_ms};
use proto::Point;

/// A drive, place by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where one is after how many milliseconds; at least one, times do not fall.
    pub stops: Vec<(u64, Point)>,
    /// The edges that are driven, and how many 65,536ths of each.
    pub(crate) edges: Vec<(EdgeId, u32)>,
    /// What its turns take, in milliseconds.
    pub(crate) turns_ms: u64,
}

/// A part of an edge that is driven, and what the turn before it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) edge: EdgeId,
    /// In 65,536ths.
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) turn_ms: u32,
}

impl Route {
    /// How long it takes, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        self.stops.last().map_or(0, |stop| stop.0)
    }

    /// How long it is, in metres.
    pub fn length_m(&self) -> f64 {
        self.stops.windows(2).map(|pair| metres(pair[0].1, pair[1].1)).sum()
    }

    /// How long it is, in whole metres.
    pub fn whole_m(&self) -> u32 {
        whole(self.length_m())
    }

    /// Not moving.
    pub(crate) fn standing(on: OnEdge, network: &Network) -> Self {
        let here = network.part(on.edge, on.at, on.at);
        Self { stops: vec![(0, here[0])], edges: Vec::new(), turns_ms: 0 }
    }

    /// The line of these parts, at these times for edges.
    pub(crate) fn of(network: &Network, edge_ms: &[u32], legs: &[Leg]) -> Self {
        let (mut stops, mut at_ms, mut turns_ms) = (Vec::new(), 0_u64, 0);
        let mut edges = Vec::new();
        for leg in legs {
            let Leg { edge, from, to, turn_ms } = *leg;
            at_ms += u64::from(turn_ms);
            turns_ms += u64::from(turn_ms);
            let ms = edge_ms[edge as usize];
            let leg_ms = u64::from(part_ms(ms, to) - part_ms(ms, from));
            let line = network.part(edge, from, to);
            let total_m: f64 = line.windows(2).map(|pair| metres(pair[0], pair[1])).sum();
            let mut driven_m = 0.0;
            stops.push((at_ms, line[0]));
            for pair in line.windows(2) {
                driven_m += metres(pair[0], pair[1]);
                let share = if total_m > 0.0 { driven_m / total_m } else { 1.0 };
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of one street")]
                let ms = u64::from(whole(leg_ms as f64 * share));
                stops.push((at_ms + ms.min(leg_ms), pair[1]));
            }
            at_ms += leg_ms;
            edges.push((edge, to - from));
        }
        if let Some((last_ms, place)) = stops.last().copied()
            && last_ms < at_ms
        {
            stops.push((at_ms, place));
        }
        Self { stops, edges, turns_ms }
    }
}
