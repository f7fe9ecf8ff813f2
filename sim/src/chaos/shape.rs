//! Which links a partition cuts: a calculation with seats.

use super::fault::Kind;
use super::network::Link;
use crate::dice::Dice;

/// What is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// By seats.
    pub(super) links: Vec<Link>,
    /// Whom it is about: those whose partitions must be led by others meanwhile.
    pub(super) met: Vec<usize>,
    /// In words; seats count from 1 there.
    pub(super) what: String,
}

/// The cut of this kind in a cluster of so many seats, with this one in the worse place.
pub(super) fn shape(kind: Kind, seats: usize, victim: usize, dice: &mut Dice) -> Shape {
    let mut others: Vec<usize> = (0..seats).filter(|seat| *seat != victim).collect();
    shuffle(&mut others, dice);
    match kind {
        Kind::Split => {
            let few = 1 + dice.below((seats - 1) / 2);
            let (with, against) = others.split_at(few - 1);
            let small: Vec<usize> = with.iter().copied().chain([victim]).collect();
            let what = format!("{} | {}", list(&small), list(against));
            Shape { links: between(&small, against), met: small, what }
        }
        Kind::Bridge => {
            let (bridge, rest) = (others[0], &others[1..]);
            let (with, against) = rest.split_at((rest.len() - 1) / 2);
            let small: Vec<usize> = with.iter().copied().chain([victim]).collect();
            let what = format!("{} - {} - {}", list(&small), list(&[bridge]), list(against));
            Shape { links: between(&small, against), met: small, what }
        }
        Kind::Ring => {
            let circle: Vec<usize> = others.iter().copied().chain([victim]).collect();
            let mut links = Vec::new();
            for (at, one) in circle.iter().enumerate() {
                for (other_at, other) in circle.iter().enumerate() {
                    let apart = at.abs_diff(other_at);
                    if apart > 1 && apart < seats - 1 {
                        links.push((*one, *other));
                    }
                }
            }
            Shape { links, what: list(&circle), met: circle }
        }
        Kind::OneWay => {
            let (links, what): (Vec<Link>, String) = match dice.below(3) {
                0 => (vec![(victim, others[0])], format!("to {}", list(&others[..1]))),
                1 => (others.iter().map(|to| (victim, *to)).collect(), "to all".into()),
                _from => (others.iter().map(|from| (*from, victim)).collect(), "from all".into()),
            };
            let what = format!("{} not heard: {what}", list(&[victim]));
            let what = if links[0].1 == victim { what.replace("not heard", "deaf") } else { what };
            Shape { links, met: vec![victim], what }
        }
        // All of one node's links: what isolates it and what flaps.
        Kind::Isolate
        | Kind::Flap
        | Kind::Slow
        | Kind::Kill
        | Kind::Pause
        | Kind::Starve
        | Kind::FullDisk
        | Kind::KillMajority
        | Kind::KillAll
        | Kind::Wipe
        | Kind::JoinDrain => {
            let links = between(&[victim], &others);
            Shape { links, met: vec![victim], what: format!("{} alone", list(&[victim])) }
        }
    }
}

/// All links between two parts, in both directions.
fn between(one: &[usize], other: &[usize]) -> Vec<Link> {
    one.iter().flat_map(|a| other.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect()
}

fn list(seats: &[usize]) -> String {
    let names: Vec<String> = seats.iter().map(|seat| format!("seat {}", seat + 1)).collect();
    names.join(" ")
}

fn shuffle(all: &mut [usize], dice: &mut Dice) {
    for at in (1..all.len()).rev() {
        all.swap(at, dice.below(at + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cut(kind: Kind, seats: usize, seed: u64) -> (BTreeSet<Link>, Shape) {
        let shape = shape(kind, seats, 1, &mut Dice::of(seed, "shape"));
        let links: BTreeSet<Link> = shape.links.iter().copied().collect();
        assert_eq!(links.len(), shape.links.len(), "each once");
        assert!(links.iter().all(|(a, b)| a != b && *a < seats && *b < seats));
        assert!(shape.met.contains(&1));
        (links, shape)
    }

    #[test]
    fn every_partition_has_the_shape_of_its_name() {
        for seed in 0..50 {
            for seats in 3..=7 {
                let (isolated, _) = cut(Kind::Isolate, seats, seed);
                assert_eq!(isolated.len(), 2 * (seats - 1));
                let (split, shape) = cut(Kind::Split, seats, seed);
                let few = shape.met.len();
                assert!(few <= (seats - 1) / 2, "a minority");
                assert_eq!(split.len(), 2 * few * (seats - few));
                let (bridged, shape) = cut(Kind::Bridge, seats, seed);
                let few = shape.met.len();
                assert_eq!(bridged.len(), 2 * few * (seats - 1 - few));
                let (one_way, _) = cut(Kind::OneWay, seats, seed);
                assert!(one_way.iter().all(|(a, b)| !one_way.contains(&(*b, *a))));
                if seats > 3 {
                    let (ring, _) = cut(Kind::Ring, seats, seed);
                    for seat in 0..seats {
                        let heard =
                            (0..seats).filter(|a| *a != seat && !ring.contains(&(*a, seat)));
                        assert_eq!(heard.count(), 2, "two neighbours");
                    }
                }
            }
        }
    }
}
