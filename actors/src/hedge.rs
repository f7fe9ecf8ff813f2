//! When a question that an owner has not answered is put to its replica as well (Dean and Barroso,
//! "The tail at scale", 2013): once it has taken longer than 19 in 20 do, and never for more than
//! one question in twenty.

/// The estimate before anything was measured, in microseconds.
const FIRST_US: u64 = 5_000;
/// The estimate's bounds, in microseconds. Less than the least is not worth a second question.
const LEAST_US: u64 = 500;
const MOST_US: u64 = 30_000;
/// Questions that earn one second question.
const EARN: u32 = 20;
/// Second questions that may be saved up.
const SAVED_MAX: u32 = 10;

/// How long answers take, and what may be spent on second questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hedge {
    /// Nineteen in twenty answers take less than about this, in microseconds.
    p95_us: u64,
    /// Questions asked that have not been spent.
    earned: u32,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { p95_us: FIRST_US, earned: 0 }
    }
}

impl Hedge {
    /// Notes a question, and says how long to wait before it is put to a second owner, in
    /// microseconds.
    pub fn asked(&mut self) -> u64 {
        self.earned = (self.earned + 1).min(EARN * SAVED_MAX);
        self.p95_us
    }

    /// Notes how long an answer took, in microseconds; one that was not waited for took that long
    /// at least. The estimate goes up by 19 parts for each answer above it and down by one for each
    /// below, so that it rests where one in twenty is above.
    pub fn answered(&mut self, took_us: u64) {
        let part = (self.p95_us / 400).max(1);
        let next = match took_us > self.p95_us {
            true => self.p95_us + 19 * part,
            false => self.p95_us - part,
        };
        self.p95_us = next.clamp(LEAST_US, MOST_US);
    }

    /// Whether a second question may be asked; if so it is spent.
    pub fn spend(&mut self) -> bool {
        let may = self.earned >= EARN;
        if may {
            self.earned -= EARN;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

    #[test]
    fn the_estimate_finds_where_one_in_twenty_is_above() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut hedge = Hedge::default();
        let mut above = 0;
        for round in 0..40_000 {
            let took_us = rng.random_range(1_000..11_000);
            let wait_us = hedge.asked();
            above += u32::from(round >= 20_000 && took_us > wait_us);
            hedge.answered(took_us);
        }
        assert!((600..1_500).contains(&above), "{above} of 20,000 were above, 1,000 should be");
    }

    #[test]
    fn with_one_slow_answer_in_thirty_the_tail_is_cut_for_a_twentieth_more_questions() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut hedge = Hedge::default();
        let mut answer = || match rng.random_range(0..30) {
            0 => 50_000,
            _ => rng.random_range(800..1_500_u64),
        };
        let (mut plain, mut hedged, mut second) = (Vec::new(), Vec::new(), 0);
        for _ in 0..20_000 {
            let (took_us, wait_us) = (answer(), hedge.asked());
            plain.push(took_us);
            let took_us = if took_us > wait_us && hedge.spend() {
                second += 1;
                took_us.min(wait_us + answer())
            } else {
                took_us
            };
            hedged.push(took_us);
            hedge.answered(took_us);
        }
        let p99 = |mut all: Vec<u64>| {
            all.sort_unstable();
            all[all.len() * 99 / 100]
        };
        let (plain, hedged) = (p99(plain), p99(hedged));
        assert!(hedged * 2 <= plain, "p99 {plain} -> {hedged} us");
        assert!(second <= 1_000, "{second} second questions for 20,000");
    }

    #[test]
    fn the_estimate_stays_within_bounds() {
        let mut hedge = Hedge::default();
        (0..10_000).for_each(|_| hedge.answered(0));
        assert_eq!(hedge.asked(), LEAST_US);
        (0..10_000).for_each(|_| hedge.answered(u64::MAX));
        assert_eq!(hedge.asked(), MOST_US);
        assert_eq!((0..1_000).filter(|_| hedge.spend()).count(), 0, "two questions earn nothing");
    }
}
