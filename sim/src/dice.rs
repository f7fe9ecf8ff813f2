//! Chance, always from a seed. Every client has its own dice, made from the run's seed and the
//! client's name, so that adding a rider does not change what a driver does.

use proto::client::Key;
use proto::slot::frozen_hash;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// One client's source of chance.
#[derive(Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice of `who` in the run with this seed.
    pub(crate) fn of(seed: u64, who: &str) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed ^ frozen_hash(who.as_bytes())))
    }

    /// Independent dice, for something this client does on the side.
    pub(crate) fn fork(&mut self) -> Self {
        Self(ChaCha8Rng::seed_from_u64(self.0.random()))
    }

    /// One of `0..n`; 0 if there is nothing to choose from.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n < 2 { 0 } else { self.0.random_range(0..n) }
    }

    /// One of `0..n`, but not `last` if there is another.
    pub(crate) fn other_than(&mut self, n: usize, last: Option<usize>) -> usize {
        match last {
            Some(last) if n > 1 && last < n => (last + 1 + self.below(n - 1)) % n,
            Some(_) | None => self.below(n),
        }
    }

    /// Uniform between two bounds.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    /// A key nobody else uses.
    pub(crate) fn key(&mut self) -> Key {
        Key(self.0.random())
    }

    /// `n` different indexes of `0..len`, ascending; all of them if `n` is not less.
    pub(crate) fn sample(&mut self, len: usize, n: usize) -> Vec<usize> {
        let mut chosen = rand::seq::index::sample(&mut self.0, len, n.min(len)).into_vec();
        chosen.sort_unstable();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_mean_the_same_next_year() {
        let mut dice = Dice::of(1, "driver 7");
        assert_eq!((dice.below(1000), dice.below(1000)), (69, 619));
        assert_ne!(Dice::of(1, "driver 7").key(), Dice::of(1, "driver 8").key());
        assert_ne!(Dice::of(1, "driver 7").key(), Dice::of(2, "driver 7").key());
    }

    #[test]
    fn another_node_is_another_node_where_there_is_one() {
        let mut dice = Dice::of(1, "x");
        for _ in 0..100 {
            assert_ne!(dice.other_than(3, Some(1)), 1);
        }
        assert_eq!(dice.other_than(1, Some(0)), 0);
    }

    #[test]
    fn a_sample_has_no_element_twice() {
        let chosen = Dice::of(1, "x").sample(100, 40);
        assert_eq!(chosen.len(), 40);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Dice::of(1, "x").sample(3, 10), vec![0, 1, 2]);
    }
}
