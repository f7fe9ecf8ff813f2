//! V2: each record's history is linearizable, by what clients were shown of it.
//!
//! A record moves one way only: a booking from waiting over its driver to its end, a trip along its
//! list of transitions. So every answer that shows it says how many steps it had come, and a history
//! is linearizable exactly if no answer shows fewer steps than one that was there before its question
//! was asked, and two that show as many show the same. (Whoever finds for each answer a moment within
//! its interval such that steps never fall has found the order; and where no pair contradicts,
//! `max(step so far)` is such a moment.) No search is needed, as it is for registers that may take a
//! value twice.

use super::Violation;
use crate::history::{Seen, Shown, What};
use std::collections::{BTreeMap, btree_map};

/// An answer that shows a record.
#[derive(Debug, Clone, Copy)]
struct Look<'a> {
    asked_ms: u64,
    answered_ms: u64,
    step: u64,
    state: &'a str,
}

pub(super) fn what_is_shown_never_goes_back(seen: &[Seen], found: &mut Vec<Violation>) {
    let mut of_record: BTreeMap<&str, Vec<Look<'_>>> = BTreeMap::new();
    for Seen { at_ms, what } in seen {
        if let What::Shown(Shown { record, asked_ms, step, state }) = what {
            let (asked_ms, answered_ms, step) = (*asked_ms, *at_ms, *step);
            of_record.entry(record).or_default().push(Look { asked_ms, answered_ms, step, state });
        }
    }
    for (record, mut looks) in of_record {
        looks.sort_unstable_by_key(|look| look.answered_ms);
        steps_never_fall(record, &looks, found);
        as_many_steps_are_one_state(record, &looks, found);
    }
}

fn steps_never_fall(record: &str, looks: &[Look<'_>], found: &mut Vec<Violation>) {
    // The furthest of the first so many answers.
    let mut furthest: Vec<Look<'_>> = Vec::new();
    for look in looks {
        let before = furthest.last().filter(|before| before.step >= look.step);
        furthest.push(*before.unwrap_or(look));
    }
    for look in looks {
        // What was answered in the millisecond of the question may have been there or not.
        let before = looks.partition_point(|other| other.answered_ms < look.asked_ms);
        let Some(before) = before.checked_sub(1).map(|last| furthest[last]) else { continue };
        if look.step < before.step {
            found.push(Violation::WentBack {
                record: record.to_owned(),
                first: before.state.to_owned(),
                first_ms: before.answered_ms,
                then: look.state.to_owned(),
                asked_ms: look.asked_ms,
            });
        }
    }
}

fn as_many_steps_are_one_state(record: &str, looks: &[Look<'_>], found: &mut Vec<Violation>) {
    let mut known: BTreeMap<u64, Look<'_>> = BTreeMap::new();
    for look in looks {
        match known.entry(look.step) {
            btree_map::Entry::Vacant(new) => {
                new.insert(*look);
            }
            btree_map::Entry::Occupied(first) if first.get().state != look.state => {
                found.push(Violation::WentBack {
                    record: record.to_owned(),
                    first: first.get().state.to_owned(),
                    first_ms: first.get().answered_ms,
                    then: look.state.to_owned(),
                    asked_ms: look.asked_ms,
                });
            }
            btree_map::Entry::Occupied(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(looks: &[(u64, u64, u64, &str)]) -> usize {
        let shown = |(asked_ms, at_ms, step, state): &(u64, u64, u64, &str)| Seen {
            at_ms: *at_ms,
            what: What::Shown(Shown {
                record: "booking 1".into(),
                asked_ms: *asked_ms,
                step: *step,
                state: (*state).to_owned(),
            }),
        };
        let mut found = Vec::new();
        let seen: Vec<Seen> = looks.iter().map(shown).collect();
        what_is_shown_never_goes_back(&seen, &mut found);
        found.len()
    }

    #[test]
    fn answers_that_overlap_may_come_in_any_order() {
        assert_eq!(broken(&[(0, 10, 1, "assigned"), (5, 12, 0, "pending")]), 0);
        assert_eq!(broken(&[(0, 10, 1, "assigned"), (10, 12, 0, "pending")]), 0, "the same moment");
        assert_eq!(broken(&[(0, 9, 0, "pending"), (10, 12, 1, "assigned")]), 0);
    }

    #[test]
    fn who_asks_after_an_answer_sees_nothing_older() {
        assert_eq!(broken(&[(0, 10, 1, "assigned"), (11, 12, 0, "pending")]), 1);
        // Also where a later answer shows less: the furthest one counts.
        let chain = [(0, 10, 2, "ended"), (0, 11, 0, "pending"), (12, 13, 1, "assigned")];
        assert_eq!(broken(&chain), 1);
    }

    #[test]
    fn one_step_is_one_state() {
        assert_eq!(broken(&[(0, 10, 1, "driver a"), (5, 12, 1, "driver b")]), 1);
        assert_eq!(broken(&[(0, 10, 1, "driver a"), (5, 12, 1, "driver a")]), 0);
    }
}
