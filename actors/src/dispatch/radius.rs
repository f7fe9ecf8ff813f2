//! The radius that a booking is searched in: one step after the other, each for a while, and what
//! is told of each in the booking's record.

use crate::policy::{ATTEMPTS, Policy};
use proto::MonoMs;

/// One radius step, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which, from 1.
    pub number: u16,
    /// How far is searched, in metres.
    pub radius_m: u32,
    /// The most candidates that one search of it brought.
    pub candidates_found: u16,
    /// When it began.
    pub began_at: MonoMs,
    /// When it ended; nothing for the last one.
    pub ended_at: Option<MonoMs>,
}

/// The steps so far; the last one is under way.
#[derive(Debug)]
pub(super) struct Steps {
    radii_m: [u32; ATTEMPTS],
    lasts_ms: u64,
    steps: Vec<Step>,
}

impl Steps {
    /// Begins with the step `number`, or the first if that is zero.
    pub(super) fn begin(now: MonoMs, policy: &Policy, number: u16) -> Self {
        let lasts_ms = u64::from(policy.attempt_ms);
        let mut steps = Self { radii_m: policy.search_radii_m, lasts_ms, steps: Vec::new() };
        steps.push(now, number.max(1));
        steps
    }

    fn push(&mut self, now: MonoMs, number: u16) {
        let radius_m = self.radii_m[usize::from(number).clamp(1, ATTEMPTS) - 1];
        let step = Step { number, radius_m, candidates_found: 0, began_at: now, ended_at: None };
        self.steps.push(step);
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> &[Step] {
        &self.steps
    }

    /// The one under way.
    pub(super) fn now(&self) -> &Step {
        self.steps.last().expect("one is under way from the beginning")
    }

    /// Whether no radius is wider than that of the one under way.
    pub(super) fn is_widest(&self) -> bool {
        usize::from(self.now().number) >= ATTEMPTS
    }

    /// A search of the one under way brought so many.
    pub(super) fn found(&mut self, candidates: usize) {
        let found = u16::try_from(candidates).unwrap_or(u16::MAX);
        if let Some(step) = self.steps.last_mut() {
            step.candidates_found = step.candidates_found.max(found);
        }
    }

    /// Takes the next radius, if there is a wider one.
    pub(super) fn widen(&mut self, now: MonoMs) -> bool {
        if self.is_widest() {
            return false;
        }
        let number = self.now().number;
        if let Some(step) = self.steps.last_mut() {
            step.ended_at = Some(now);
        }
        self.push(now, number + 1);
        true
    }

    /// Takes the next radius if the one under way has lasted its time.
    pub(super) fn widen_if_due(&mut self, now: MonoMs) {
        if now >= self.now().began_at.plus_ms(self.lasts_ms) {
            self.widen(now);
        }
    }
}
