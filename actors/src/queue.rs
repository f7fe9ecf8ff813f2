//! Queue zones: at an airport drivers are asked in the order in which they came, not by who is
//! nearest.
//!
//! * This file: the register. The order is one record in the partition of the zone's id, so the order
//!   of arrival is the order of one log, and survives whatever that log survives.
//! * [`zone`]: which places are zones. A value of the policy.
//! * [`watch`]: what the keeper of a queue (the node that leads its partition) sees of the drivers, and
//!   what follows: who came, who left, who has refused, whose turn it is. Soft state.
//!
//! Nothing binds a driver here: his own record stays the only lock, and being first only means to be
//! asked first. The rules, and how the field has them: docs/queues.md.

use proto::WallMs;
use proto::record::queue::{QUEUE_MAX, Queue, QueuePlace, QueueStep};

pub mod watch;
pub mod zone;

/// Moves a driver in a queue. The same again, or late, changes nothing that it should not: a count of
/// refusals only counts what is above the one it is compared with.
pub fn step(queue: &mut Queue, step: QueueStep, now: WallMs) {
    match step {
        QueueStep::Arrive(driver) => {
            if queue.places.len() < QUEUE_MAX && queue.position(driver).is_none() {
                queue.places.push(QueuePlace { driver, since: now, refused: None });
            }
        }
        QueueStep::Leave(driver) => queue.places.retain(|place| place.driver != driver),
        QueueStep::Refused { driver, refused, limit } => {
            let Some(at) = queue.position(driver) else { return };
            match next_place(&queue.places[at], refused, limit, now) {
                Next::Same => {}
                Next::Here(place) => queue.places[at] = place,
                Next::Tail(place) => {
                    queue.places.remove(at);
                    queue.places.push(place);
                }
            }
        }
    }
}

/// Whether a step would change the queue.
pub fn changes(queue: &Queue, step: QueueStep) -> bool {
    match step {
        QueueStep::Arrive(driver) => {
            queue.places.len() < QUEUE_MAX && queue.position(driver).is_none()
        }
        QueueStep::Leave(driver) => queue.position(driver).is_some(),
        QueueStep::Refused { driver, refused, limit } => {
            let place = queue.places.iter().find(|place| place.driver == driver);
            place.is_some_and(|place| next_place(place, refused, limit, place.since) != Next::Same)
        }
    }
}

/// What a count of refusals makes of a place.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Same,
    Here(QueuePlace),
    Tail(QueuePlace),
}

fn next_place(place: &QueuePlace, refused: u32, limit: u16, now: WallMs) -> Next {
    let counted = QueuePlace { refused: Some(refused), ..*place };
    match place.refused {
        None => Next::Here(counted),
        Some(before) if refused.saturating_sub(before) >= u32::from(limit.max(1)) => {
            Next::Tail(QueuePlace { since: now, ..counted })
        }
        Some(_) => Next::Same,
    }
}

/// Panics if a queue is none: for tests and simulation.
pub fn check_invariants(queue: &Queue) {
    let Queue { zone, places } = queue;
    assert!(!places.is_empty(), "{zone} is kept although nobody waits there");
    assert!(places.len() <= QUEUE_MAX, "{zone} has more places than there may be");
    assert!(places.is_sorted_by_key(|place| place.since), "{zone} is not in order: {places:?}");
    for (at, place) in places.iter().enumerate() {
        assert_eq!(queue.position(place.driver), Some(at), "{} has two places", place.driver);
    }
}

#[cfg(test)]
mod tests;
