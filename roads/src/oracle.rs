//! The same answers by Dijkstra's algorithm (1959) alone: what the hierarchy is checked against and
//! measured beside.

use crate::geometry::number;
use crate::hierarchy::Direction;
use crate::network::Network;
use cch::INF_WEIGHT;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The turns into each state, for walking backwards: which turn, and from where.
#[derive(Debug)]
pub(crate) struct Backward {
    first: Vec<u32>,
    turns: Vec<(u32, u32)>,
}

impl Backward {
    pub(crate) fn of(network: &Network) -> Self {
        let mut turns: Vec<(u32, u32, u32)> = Vec::with_capacity(network.head.len());
        for state in 0..network.states() {
            let out = network.turns_from(state);
            turns.extend(out.map(|turn| (network.head[turn], number(turn), state)));
        }
        turns.sort_unstable();
        let mut first = vec![0; network.states() as usize + 1];
        for (to, ..) in &turns {
            first[*to as usize + 1] += 1;
        }
        for at in 1..first.len() {
            first[at] += first[at - 1];
        }
        Self { first, turns: turns.into_iter().map(|(_, turn, from)| (turn, from)).collect() }
    }
}

/// What [`crate::hierarchy::Hierarchy::times`] says. It stops when all targets are settled.
pub(crate) fn times(
    network: &Network,
    backward: &Backward,
    weights: &[u32],
    direction: Direction,
    sources: &[(u32, u32)],
    targets: &[u32],
) -> Vec<u32> {
    let mut ms = vec![INF_WEIGHT; network.states() as usize];
    let mut wanted = vec![false; ms.len()];
    let mut left = 0;
    for target in targets {
        left += usize::from(!std::mem::replace(&mut wanted[*target as usize], true));
    }
    let mut waiting = BinaryHeap::new();
    for (source, head_start_ms) in sources {
        if *head_start_ms < ms[*source as usize] {
            ms[*source as usize] = *head_start_ms;
            waiting.push(Reverse((*head_start_ms, *source)));
        }
    }
    while let Some(Reverse((here_ms, state))) = waiting.pop() {
        if here_ms > ms[state as usize] {
            continue;
        }
        if std::mem::replace(&mut wanted[state as usize], false) {
            left -= 1;
            if left == 0 {
                break;
            }
        }
        let mut reach = |to: u32, weight: u32| {
            let there_ms = here_ms.saturating_add(weight);
            if there_ms < ms[to as usize] {
                ms[to as usize] = there_ms;
                waiting.push(Reverse((there_ms, to)));
            }
        };
        match direction {
            Direction::Out => {
                let turns = network.turns_from(state);
                for (to, weight) in network.head[turns.clone()].iter().zip(&weights[turns]) {
                    reach(*to, *weight);
                }
            }
            Direction::Into => {
                let at = state as usize;
                let turns = backward.first[at] as usize..backward.first[at + 1] as usize;
                for (turn, from) in &backward.turns[turns] {
                    reach(*from, weights[*turn as usize]);
                }
            }
        }
    }
    targets.iter().map(|target| ms[*target as usize]).collect()
}
