//! Chance that does not depend on who asks first: each draw is the hash of the seed, of what it is for,
//! and of whom it is about. So two policies that ask the same driver about the same rider hear the same.

use proto::slot::frozen_hash;

/// The world's unkindness. [`Realism::NONE`] is a world without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Realism {
    /// How many offers in a hundred are accepted.
    pub acceptance_pct: u8,
    /// How long a driver thinks, at least and at most, in milliseconds.
    pub answer_ms: (u64, u64),
    /// How far off an estimate is, as a standard deviation in percent of it.
    pub noise_pct: u8,
    /// How long a message takes one way, at least and at most, in milliseconds.
    pub delay_ms: (u64, u64),
    /// How many claims in a hundred are lost.
    pub loss_pct: u8,
    /// How often one of three nodes is killed, in milliseconds; 0 is never.
    pub kill_every_ms: u64,
}

impl Realism {
    /// Everybody says yes at once, estimates are exact, messages take 2 ms.
    pub const NONE: Self = Self {
        acceptance_pct: 100,
        answer_ms: (0, 0),
        noise_pct: 0,
        delay_ms: (2, 2),
        loss_pct: 0,
        kill_every_ms: 0,
    };
    /// All of it on.
    pub const ALL: Self = Self {
        acceptance_pct: 85,
        answer_ms: (2_000, 8_000),
        noise_pct: 20,
        delay_ms: (1, 50),
        loss_pct: 1,
        kill_every_ms: 600_000,
    };

    /// All of it, and all but each one in turn, with names.
    pub fn switches() -> Vec<(&'static str, Self)> {
        let (all, none) = (Self::ALL, Self::NONE);
        vec![
            ("all on", all),
            ("no declines", Self { acceptance_pct: none.acceptance_pct, ..all }),
            ("answers at once", Self { answer_ms: none.answer_ms, ..all }),
            ("exact estimates", Self { noise_pct: none.noise_pct, ..all }),
            ("quick messages", Self { delay_ms: none.delay_ms, loss_pct: none.loss_pct, ..all }),
            ("nobody killed", Self { kill_every_ms: none.kill_every_ms, ..all }),
            ("all off", none),
        ]
    }
}

/// One run's draws.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// Everything follows from it.
    pub seed: u64,
    /// What the world is like.
    pub realism: Realism,
}

impl Draws {
    fn draw(&self, what: u8, a: usize, b: u64) -> u64 {
        let mut bytes = [0; 25];
        bytes[0] = what;
        bytes[1..9].copy_from_slice(&self.seed.to_le_bytes());
        bytes[9..17].copy_from_slice(&(a as u64).to_le_bytes());
        bytes[17..].copy_from_slice(&b.to_le_bytes());
        frozen_hash(&bytes)
    }

    fn between(&self, what: u8, a: usize, b: u64, (least, most): (u64, u64)) -> u64 {
        least + self.draw(what, a, b) % (most - least + 1)
    }

    /// Whether a driver would accept a rider, and how long he thinks, in milliseconds.
    pub fn answer(&self, rider: usize, car: usize) -> (bool, u64) {
        let yes = self.draw(1, rider, car as u64) % 100 < self.realism.acceptance_pct.into();
        (yes, self.between(2, rider, car as u64, self.realism.answer_ms))
    }

    /// What somebody thinks that a drive takes, in milliseconds. The error has four uniform parts, so
    /// it lies within 3.5 standard deviations.
    pub fn estimate(&self, rider: usize, car: usize, ms: u64) -> u64 {
        let Realism { noise_pct, .. } = self.realism;
        if noise_pct == 0 {
            return ms;
        }
        let draw = self.draw(3, rider, car as u64);
        let sum: u64 = (0..4).map(|part| draw >> (16 * part) & 0xffff).sum();
        // Four uniforms have a standard deviation of 65,536 / sqrt(3).
        let off = (sum as f64 - 131_070.0) / 37_837.0 * f64::from(noise_pct) / 100.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let factor_pct = ((1.0 + off).clamp(0.2, 2.0) * 100.0) as u64;
        ms * factor_pct / 100
    }

    /// How long the `n`th message about a rider takes, in milliseconds.
    pub fn delay_ms(&self, rider: usize, n: u64) -> u64 {
        self.between(4, rider, n, self.realism.delay_ms)
    }

    /// Some number, for tests that want other places with every seed.
    #[cfg(test)]
    pub(crate) fn some_number(&self, n: usize) -> u64 {
        self.draw(6, n, 0)
    }

    /// Whether the `n`th claim of a rider is lost.
    pub fn lost(&self, rider: usize, n: u64) -> bool {
        self.draw(5, rider, n) % 100 < self.realism.loss_pct.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_the_same_for_the_same_pair_and_spread_as_told() {
        let draws = Draws { seed: 1, realism: Realism::ALL };
        assert_eq!(draws.answer(3, 4), draws.answer(3, 4));
        let n = 20_000;
        let yes = (0..n).filter(|i| draws.answer(*i, 7).0).count();
        assert!((16_700..17_300).contains(&yes), "{yes} of 20,000 said yes");
        assert!((0..n).all(|i| (2_000..=8_000).contains(&draws.answer(i, 1).1)));
        let off: Vec<f64> = (0..n).map(|i| draws.estimate(i, 9, 100_000) as f64 - 1e5).collect();
        let mean = off.iter().sum::<f64>() / n as f64;
        let sd = (off.iter().map(|off| off * off).sum::<f64>() / n as f64).sqrt();
        assert!(mean.abs() < 1_000.0 && (19_000.0..21_000.0).contains(&sd), "{mean} +- {sd}");
        assert_eq!(Draws { realism: Realism::NONE, ..draws }.estimate(1, 1, 77), 77);
    }
}
