//! How long a call is tried, and how long it rests between two tries: a calculation.

/// How often and how long a call is tried before nobody waits for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Tries at most.
    pub tries: u32,
    /// All of them, with the pauses between them, in milliseconds.
    pub within_ms: u64,
    /// One of them, in milliseconds. Above what a node allows itself (two seconds), so that its
    /// RETRY arrives first.
    pub try_ms: u64,
}

impl Default for Patience {
    /// A leader that dies is replaced in about a second; the pauses of eight tries add up to between
    /// two and five.
    fn default() -> Self {
        Self { tries: 8, within_ms: 5_000, try_ms: 2_500 }
    }
}

/// The longest pause that is not asked for by an answer.
const PAUSE_MAX_MS: u64 = 1_000;

/// The pause after so many failed tries: `first_ms` doubled with each, half of it by chance, so that
/// those who failed together come back apart, and never shorter than what the answer asked for.
pub(super) fn pause_ms(failed: u32, first_ms: u64, asked_ms: Option<u64>, chance: u64) -> u64 {
    let doublings = failed.saturating_sub(1).min(16); // 65,536 times any first pause is too long
    let half = (first_ms << doublings).min(PAUSE_MAX_MS) / 2;
    asked_ms.unwrap_or(0).max(half).saturating_add(chance % (half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_half_of_each_is_chance() {
        let bounds = |failed| {
            let pauses = (0..2_000).map(|chance| pause_ms(failed, 100, None, chance));
            (pauses.clone().min(), pauses.max())
        };
        assert_eq!(bounds(1), (Some(50), Some(100)));
        assert_eq!(bounds(2), (Some(100), Some(200)));
        assert_eq!(bounds(4), (Some(400), Some(800)));
        for failed in [5, 8, 100, u32::MAX] {
            assert_eq!(bounds(failed), (Some(500), Some(1_000)), "{failed}");
        }
    }

    #[test]
    fn nobody_comes_back_before_he_was_told_to() {
        for chance in 0..200 {
            let pause = pause_ms(1, 100, Some(200), chance);
            assert!((200..=250).contains(&pause), "{pause}");
        }
        assert_eq!(pause_ms(1, 100, Some(u64::MAX), 7), u64::MAX);
        assert_eq!(pause_ms(8, 100, Some(200), 0), 500, "longer than asked for by now");
    }

    #[test]
    fn eight_tries_fit_into_five_seconds_when_each_is_answered_with_the_usual_pause() {
        let all: u64 = (1..8).map(|failed| pause_ms(failed, 100, Some(200), 499)).sum();
        assert!(all < Patience::default().within_ms, "{all}");
    }
}
