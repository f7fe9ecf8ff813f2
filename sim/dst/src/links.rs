//! Which words get through: what several faults do to each link, put together, and brought to the
//! simulated network where that differs.
//!
//! A link that is cut loses what is on it, and turmoil's TCP does not send again: connections over it
//! are half dead for ever after, as behind a firewall that has forgotten them. Programs must notice
//! by themselves. What is held is not lost, it comes late.

use crate::fault::{Shape, Whom};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everybody's host, people's included.
pub const CITY: &str = "city";
/// What a healthy link takes, at least and at most.
pub const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));

/// A node, or the city.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// This machine.
    Machine(usize),
    /// Where people are.
    City,
}

impl End {
    fn host(self) -> String {
        match self {
            Self::Machine(index) => crate::cluster::name(index),
            Self::City => CITY.into(),
        }
    }
}

/// What can be done to a link between two ends, the lesser first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    held: bool,
    /// Nothing gets from the first to the second.
    there: bool,
    /// Nor back.
    back: bool,
}

/// What several faults do to all links, each under its number.
#[derive(Debug, Default)]
pub struct Links {
    /// Directed pairs: the second does not hear the first.
    deaf: BTreeMap<usize, BTreeSet<(usize, usize)>>,
    held: BTreeMap<usize, usize>,
    state: BTreeMap<(End, End), State>,
}

/// The directed pairs that a shape cuts, among these machines, with this one in the middle of it.
pub fn pairs(shape: Shape, middle: usize, among: &[usize]) -> BTreeSet<(usize, usize)> {
    let others: Vec<usize> = among.iter().copied().filter(|node| *node != middle).collect();
    let mut cut = BTreeSet::new();
    let mut both = |a: usize, b: usize| cut.extend([(a, b), (b, a)]);
    match shape {
        Shape::Isolate(_) | Shape::Flap(_) => others.iter().for_each(|other| both(middle, *other)),
        Shape::Mute(_) => cut.extend(others.iter().map(|other| (middle, *other))),
        Shape::Deaf(_) => cut.extend(others.iter().map(|other| (*other, middle))),
        Shape::Halves(_) => {
            let [few, many] = sides(middle, among);
            few.iter().for_each(|a| many.iter().for_each(|b| both(*a, *b)));
        }
        Shape::Bridge(_) => {
            let (left, right) = others.split_at(others.len() / 2);
            left.iter().for_each(|a| right.iter().for_each(|b| both(*a, *b)));
        }
        Shape::Ring => {
            let n = among.len();
            for i in 0..n {
                for j in i + 1..n {
                    if j - i > 1 && !(i == 0 && j == n - 1) {
                        both(among[i], among[j]);
                    }
                }
            }
        }
    }
    cut
}

/// A minority of these machines with this one in it, as large as it can be, and the rest.
pub fn sides(middle: usize, among: &[usize]) -> [Vec<usize>; 2] {
    let size = among.len().saturating_sub(1) / 2;
    let others = among.iter().copied().filter(|node| *node != middle);
    let few: Vec<usize> = [middle].into_iter().chain(others).take(size.max(1)).collect();
    let many = among.iter().copied().filter(|node| !few.contains(node)).collect();
    [few, many]
}

/// Whether a shape leaves two sides that hear nothing of each other, and all in each hear all of it.
pub const fn is_clean(shape: Shape) -> bool {
    matches!(shape, Shape::Isolate(_) | Shape::Halves(_))
}

/// Whom a shape is about.
pub const fn middle(shape: Shape) -> Option<Whom> {
    match shape {
        Shape::Isolate(whom)
        | Shape::Halves(whom)
        | Shape::Mute(whom)
        | Shape::Deaf(whom)
        | Shape::Bridge(whom)
        | Shape::Flap(whom) => Some(whom),
        Shape::Ring => None,
    }
}

impl Links {
    /// A fault cuts these.
    pub fn cut(&mut self, fault: usize, pairs: BTreeSet<(usize, usize)>) {
        self.deaf.insert(fault, pairs);
    }
    /// A fault holds everything to and from this machine.
    pub fn hold(&mut self, fault: usize, machine: usize) {
        self.held.insert(fault, machine);
    }
    /// A fault is over.
    pub fn mend(&mut self, fault: usize) {
        self.deaf.remove(&fault);
        self.held.remove(&fault);
    }
    /// Whether a machine stands still.
    pub fn stands_still(&self, machine: usize) -> bool {
        self.held.values().any(|held| *held == machine)
    }
    /// Whether the second hears the first.
    pub fn hears(&self, from: usize, to: usize) -> bool {
        !self.deaf.values().any(|pairs| pairs.contains(&(from, to)))
    }

    fn wanted(&self, a: End, b: End) -> State {
        let (End::Machine(x), y) = (a, b) else { return State::default() };
        match y {
            End::City => State { held: self.stands_still(x), ..State::default() },
            End::Machine(y) => State {
                held: self.stands_still(x) || self.stands_still(y),
                there: !self.hears(x, y),
                back: !self.hears(y, x),
            },
        }
    }

    /// Brings the network of these machines to where the faults want it.
    pub fn apply(&mut self, sim: &turmoil::Sim<'_>, machines: usize) {
        for x in 0..machines {
            let ends = (x + 1..machines).map(End::Machine).chain([End::City]);
            for y in ends {
                let pair = (End::Machine(x), y);
                let (wanted, now) = (self.wanted(pair.0, y), self.state.get(&pair));
                let now = now.copied().unwrap_or_default();
                if wanted != now {
                    bring(sim, (&pair.0.host(), &y.host()), now, wanted);
                    self.state.insert(pair, wanted);
                }
            }
        }
    }
}

fn bring(sim: &turmoil::Sim<'_>, (a, b): (&str, &str), now: State, wanted: State) {
    if wanted.held {
        if !now.held {
            sim.repair(a, b);
            sim.hold(a, b);
        }
        return;
    }
    if now.held {
        sim.release(a, b);
    } else if (now.there && !wanted.there) || (now.back && !wanted.back) {
        sim.repair(a, b);
    }
    match (wanted.there, wanted.back) {
        (true, true) => sim.partition(a, b),
        (true, false) => sim.partition_oneway(a, b),
        (false, true) => sim.partition_oneway(b, a),
        (false, false) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Whom = Whom::Someone(0);

    fn mutual(shape: Shape, among: &[usize]) -> Vec<(usize, usize)> {
        let cut = pairs(shape, 1, among);
        let all = among.iter().flat_map(|a| among.iter().map(move |b| (*a, *b)));
        all.filter(|(a, b)| a < b && !cut.contains(&(*a, *b)) && !cut.contains(&(*b, *a))).collect()
    }

    #[test]
    fn each_shape_leaves_the_links_that_its_name_says() {
        let all = [0, 1, 2, 3, 4];
        let without_1 = vec![(0, 2), (0, 3), (0, 4), (2, 3), (2, 4), (3, 4)];
        assert_eq!(mutual(Shape::Isolate(X), &all), without_1);
        assert_eq!(mutual(Shape::Mute(X), &all), without_1);
        assert_eq!(mutual(Shape::Deaf(X), &all), without_1);
        assert_eq!(mutual(Shape::Halves(X), &all), [(0, 1), (2, 3), (2, 4), (3, 4)]);
        let bridge = [(0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (3, 4)];
        assert_eq!(mutual(Shape::Bridge(X), &all), bridge);
        assert_eq!(mutual(Shape::Ring, &all), [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]);
        assert_eq!(pairs(Shape::Mute(X), 1, &all[..3]), [(1, 0), (1, 2)].into());
    }

    #[test]
    fn a_minority_is_one() {
        assert_eq!(sides(2, &[0, 1, 2]), [vec![2], vec![0, 1]]);
        assert_eq!(sides(2, &[0, 1, 2, 3]), [vec![2], vec![0, 1, 3]]);
        assert_eq!(sides(4, &[0, 1, 2, 3, 4, 5, 6]), [vec![4, 0, 1], vec![2, 3, 5, 6]]);
    }

    #[test]
    fn a_link_stays_cut_while_any_fault_wants_it() {
        let mut links = Links::default();
        links.cut(1, [(0, 1)].into());
        links.cut(2, [(0, 1), (1, 0)].into());
        links.mend(2);
        assert!(!links.hears(0, 1) && links.hears(1, 0));
        links.hold(3, 1);
        assert!(links.wanted(End::Machine(0), End::Machine(1)).held);
        assert!(links.wanted(End::Machine(1), End::City).held);
        links.mend(1);
        assert!(links.hears(0, 1));
    }
}
