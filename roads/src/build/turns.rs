//! What a query walks over. A state is an edge that is being driven; an arc is a turn from its end
//! onto the next edge. So a forbidden turn is an arc that is not there, and turning has a price.
//!
//! A restriction through ways forbids a sequence of three edges or more: whether a turn is allowed
//! then depends on what was driven before. An edge amid such a sequence has a second state, "come
//! here that way" (one for each beginning of a forbidden sequence that ends with it), as in
//! Villeneuve and Desaulniers, "The shortest path problem with forbidden paths" (2005). All other
//! edges have one state. The answer is exact with a handful of states more.
//!
//! Edges instead of junctions as states cost memory and time; but where junctions are the states, a
//! forbidden left turn is got round by turning about in the next street.

use super::forbid::{Sequence, angle_deg};
use super::grid::Grid;
use super::streets::SIGNAL_MS;
use crate::geometry::{number, whole};
use std::collections::{BTreeMap, BTreeSet};

/// What turning costs, after OSRM's car profile: at most so much for the sharpest turn ...
const TURN_MS: f64 = 7_500.0;
/// ... more of it where oncoming traffic must be crossed, by this factor ...
const TURN_BIAS: f64 = 1.075;
/// ... and so much more to turn about.
const U_TURN_MS: u32 = 20_000;

/// What a turn costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prices {
    /// Nothing: the times of the source have it in them.
    Free,
    /// By angle and traffic light, where one drives on the right.
    Right,
    /// The same where one drives on the left.
    Left,
}

/// States and arcs; the first states are those of the edges, by number.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pub(crate) edge_of: Vec<u32>,
    pub(crate) first_out: Vec<u32>,
    pub(crate) head: Vec<u32>,
    /// What the turn costs on top of the edge that is left, in milliseconds.
    pub(crate) turn_ms: Vec<u32>,
}

/// What is known of the junctions, by number.
pub(crate) struct Junctions<'a> {
    pub(crate) blocked: &'a dyn Fn(u32) -> bool,
    pub(crate) signal: &'a dyn Fn(u32) -> bool,
    /// Whether one turns about also where one can go on.
    pub(crate) about: bool,
}

/// All states and turns of a grid.
pub(crate) fn turns(
    grid: &Grid,
    forbidden: &BTreeSet<Sequence>,
    junctions: &Junctions<'_>,
    prices: Prices,
) -> Turns {
    // The beginnings of forbidden sequences that are longer than the edge alone.
    let mut amid: BTreeMap<&[u32], u32> = BTreeMap::new();
    let mut histories: Vec<&[u32]> = Vec::new();
    for sequence in forbidden {
        for length in 2..sequence.len() {
            let begun = &sequence[..length];
            if !amid.contains_key(begun) {
                amid.insert(begun, number(grid.edges.len() + histories.len()));
                histories.push(begun);
            }
        }
    }
    let edges: Vec<u32> = (0..number(grid.edges.len())).collect();
    let all = edges.chunks(1).chain(histories.iter().copied());
    let mut turns = Turns { first_out: vec![0], ..Turns::default() };
    for history in all {
        let edge = history[history.len() - 1];
        turns.edge_of.push(edge);
        for next in allowed(grid, history, forbidden, junctions) {
            let driven: Vec<u32> = history.iter().copied().chain([next]).collect();
            let longest = (0..driven.len() - 1).find_map(|from| amid.get(&driven[from..]));
            turns.head.push(longest.copied().unwrap_or(next));
            turns.turn_ms.push(price(grid, junctions, prices, edge, next));
        }
        turns.first_out.push(number(turns.head.len()));
    }
    turns
}

/// Where one may go on to. One turns about only where there is nothing else to do, unless it is said
/// that one may everywhere.
fn allowed(
    grid: &Grid,
    history: &[u32],
    forbidden: &BTreeSet<Sequence>,
    junctions: &Junctions<'_>,
) -> Vec<u32> {
    let edge = grid.edge(history[history.len() - 1]);
    let legal = |next: u32| {
        let driven: Vec<u32> = history.iter().copied().chain([next]).collect();
        !(0..driven.len() - 1).any(|from| forbidden.contains(&driven[from..]))
    };
    let onward: Vec<u32> = if (junctions.blocked)(edge.head) {
        Vec::new()
    } else {
        let out = grid.out(edge.head).iter().copied();
        out.filter(|next| (junctions.about || Some(*next) != edge.twin) && legal(*next)).collect()
    };
    if onward.is_empty() {
        edge.twin.filter(|twin| legal(*twin)).into_iter().collect()
    } else {
        onward
    }
}

fn price(grid: &Grid, junctions: &Junctions<'_>, prices: Prices, from: u32, to: u32) -> u32 {
    let bias = match prices {
        Prices::Free => return 0,
        Prices::Right => TURN_BIAS,
        Prices::Left => 1.0 / TURN_BIAS,
    };
    let junction = grid.edge(from).head;
    let light_ms = if (junctions.signal)(junction) { SIGNAL_MS } else { 0 };
    let about = grid.edge(from).twin == Some(to);
    // Where nothing else leads away, the street only bends.
    let bends =
        grid.out(junction).iter().all(|out| *out == to || Some(*out) == grid.edge(from).twin);
    if bends && !about {
        return light_ms;
    }
    let share = angle_deg(grid, from, to) / 180.0;
    let steepness = if share >= 0.0 {
        13.0 / bias * share - 6.5 * bias
    } else {
        13.0 * bias * -share - 6.5 / bias
    };
    let turn_ms = whole(TURN_MS / (1.0 + (-steepness).exp()));
    light_ms + turn_ms + if about { U_TURN_MS } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::streets::Street;
    use proptest::prelude::*;
    use proto::Point;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const JUNCTIONS: u32 = 6;
    /// No sequence of these tests is longer, so no longer history matters.
    const SEQUENCE_MAX: usize = 4;

    fn street((a, b, ahead, back): (u32, u32, Option<u32>, Option<u32>)) -> Street {
        let at = |n: u32| Point::from_degrees(f64::from(n) / 1e3, f64::from(n * n) / 1e3).unwrap();
        let line = vec![at(a), at(b)];
        Street { ends: [a, b], line, way: 0, ahead_ms: ahead, back_ms: back, length_cm: 1 }
    }

    /// Streets between six junctions, some of them one-way.
    fn grids() -> impl Strategy<Value = Grid> {
        let ms = || prop::option::weighted(0.8, 1_u32..50);
        let street = (0..JUNCTIONS, 0..JUNCTIONS, ms(), ms()).prop_map(street);
        prop::collection::vec(street, 1..14)
            .prop_map(|streets| Grid::of(streets, JUNCTIONS as usize))
    }

    /// Some walks along a grid, by dice.
    fn walks(grid: &Grid, dice: &[(usize, usize, usize)]) -> BTreeSet<Sequence> {
        let mut walks = BTreeSet::new();
        for (start, length, step) in dice.iter().filter(|_| !grid.edges.is_empty()) {
            let mut walk = vec![number(start % grid.edges.len())];
            while walk.len() < 2 + length % (SEQUENCE_MAX - 1) {
                let out = grid.out(grid.edge(walk[walk.len() - 1]).head);
                let Some(next) = out.get((step + walk.len()) % out.len().max(1)) else { break };
                walk.push(*next);
            }
            if walk.len() > 1 {
                walks.insert(walk);
            }
        }
        walks
    }

    fn relax<K: Ord + Clone>(
        start: K,
        mut next: impl FnMut(&K) -> Vec<(K, u32)>,
    ) -> BTreeMap<K, u32> {
        let mut best = BTreeMap::from([(start.clone(), 0)]);
        let mut waiting = BinaryHeap::from([Reverse((0, start))]);
        while let Some(Reverse((ms, here))) = waiting.pop() {
            for (there, cost) in next(&here) {
                let there_ms = ms + cost;
                if best.get(&there).is_none_or(|known| there_ms < *known) {
                    best.insert(there.clone(), there_ms);
                    waiting.push(Reverse((there_ms, there)));
                }
            }
        }
        best
    }

    /// The shortest times from the beginning of an edge to that of each other.
    fn by_edge<K>(times: BTreeMap<K, u32>, edge: impl Fn(&K) -> u32) -> BTreeMap<u32, u32> {
        let mut best = BTreeMap::new();
        for (state, ms) in times {
            let known = best.entry(edge(&state)).or_insert(ms);
            *known = (*known).min(ms);
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn restrictions_hold_as_an_oracle_that_remembers_the_whole_way_says(
            grid in grids(),
            dice in prop::collection::vec((0_usize..99, 0_usize..9, 0_usize..9), 0..6),
            blocked in 0..JUNCTIONS * 2,
        ) {
            let forbidden = walks(&grid, &dice);
            let junctions = Junctions { blocked: &|junction| junction == blocked, signal: &|_| false, about: false };
            let turns = turns(&grid, &forbidden, &junctions, Prices::Free);
            for start in 0..number(grid.edges.len()) {
                let found = relax(start, |state| {
                    let at = *state as usize;
                    let ms = grid.edge(turns.edge_of[at]).ms;
                    let arcs = turns.first_out[at] as usize..turns.first_out[at + 1] as usize;
                    turns.head[arcs].iter().map(|to| (*to, ms)).collect()
                });
                let truth = relax(vec![start], |history| {
                    let last = history[history.len() - 1];
                    let next = allowed(&grid, history, &forbidden, &junctions);
                    let longer = next.into_iter().map(|edge| {
                        let all: Vec<u32> = history.iter().copied().chain([edge]).collect();
                        (all[all.len().saturating_sub(SEQUENCE_MAX)..].to_vec(), grid.edge(last).ms)
                    });
                    longer.collect()
                });
                let found = by_edge(found, |state| turns.edge_of[*state as usize]);
                let truth = by_edge(truth, |history| history[history.len() - 1]);
                prop_assert_eq!(found, truth, "from edge {}, forbidden {:?}", start, &forbidden);
            }
        }
    }

    #[test]
    fn a_turn_across_the_oncoming_traffic_is_dearer_and_turning_about_dearest() {
        // From the south to a crossing, with streets to the west, north and east.
        let at = |lat: f64, lng: f64| Point::from_degrees(lat, lng).unwrap();
        let arm = |n: u32, lat, lng| Street {
            ends: [0, n],
            line: vec![at(0.0, 0.0), at(lat, lng)],
            way: 0,
            ahead_ms: Some(1),
            back_ms: Some(1),
            length_cm: 1,
        };
        let arms =
            [arm(1, -0.001, 0.0), arm(2, 0.0, -0.001), arm(3, 0.001, 0.0), arm(4, 0.0, 0.001)];
        let grid = Grid::of(arms.to_vec(), 5);
        let plain = Junctions { blocked: &|_| false, signal: &|_| false, about: false };
        let light =
            Junctions { blocked: &|_| false, signal: &|junction| junction == 0, about: false };
        let cost = |junctions, prices, to| price(&grid, junctions, prices, 1, to);
        let [about, left, straight, right] = [0, 2, 4, 6].map(|to| cost(&plain, Prices::Right, to));
        assert!(straight < right && right < left && left + U_TURN_MS / 2 < about);
        assert_eq!(cost(&light, Prices::Right, 4), straight + SIGNAL_MS);
        let (over_there, as_here) = (cost(&plain, Prices::Left, 6), cost(&plain, Prices::Left, 2));
        assert!(over_there > as_here, "where one drives on the left, right is the dear one");
        assert_eq!(cost(&light, Prices::Free, 2), 0);
    }
}
