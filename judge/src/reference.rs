//! The policies that ours is judged against, each with a view of everything and no message between it
//! and the cars: greedy nearest, and the global optimum of a batch.

use crate::draws::Draws;
use crate::queue::Queue;
use crate::street::Street;
use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;
use proto::units::Clock;
use std::collections::BTreeSet;

/// How cars are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Rule {
    /// The nearest idle car, at once or never.
    AtOnce,
    /// The nearest idle car; who finds none waits, and is looked after in the order of asking whenever
    /// a car comes free.
    Fifo,
    /// Every so many milliseconds the assignment of idle cars to waiting riders that serves the most of
    /// them with the least driving.
    Batch(u64),
}

/// A reference policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Reference {
    /// How cars are chosen.
    pub rule: Rule,
    /// A car farther than this is not sent, in milliseconds.
    pub cap_ms: u64,
}

/// What is due in a run.
enum Due {
    Ask(usize),
    Answer(usize, usize),
    Arrive(usize, u32),
    RideOver(usize),
    Round,
}

/// A pair that can't be, in milliseconds: more than all others together.
const NEVER_MS: i64 = 1 << 40;

struct Run<'s, 'a> {
    street: &'s mut Street<'a>,
    policy: Reference,
    patience_ms: u64,
    draws: Draws,
    queue: Queue<Due>,
    waiting: BTreeSet<usize>,
    /// Cars that think about an offer.
    asked: BTreeSet<usize>,
    declined: BTreeSet<(usize, usize)>,
}

/// Runs a reference policy to its end; gives what each decision took, in microseconds.
pub fn run(
    street: &mut Street<'_>,
    policy: Reference,
    patience_ms: u64,
    draws: Draws,
    clock: &dyn Clock,
) -> Vec<u64> {
    let mut queue = Queue::default();
    for (rider, request) in street.requests.iter().enumerate() {
        queue.push(request.at_ms, Due::Ask(rider));
    }
    if let Rule::Batch(_) = policy.rule {
        queue.push(0, Due::Round);
    }
    let (waiting, asked, declined) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut run = Run { street, policy, patience_ms, draws, queue, waiting, asked, declined };
    let mut took_us = Vec::new();
    let mut to_come = run.street.requests.len();
    while let Some((now_ms, due)) = run.queue.pop() {
        let begun_us = clock.precise_us();
        let decides = match due {
            Due::Ask(rider) => {
                to_come -= 1;
                run.waiting.insert(rider);
                run.look(now_ms, Some(rider), None)
            }
            Due::Answer(rider, car) => run.answered(now_ms, rider, car),
            Due::Arrive(rider, leg) => {
                if let Some((car, over_ms)) = run.street.pick_up(rider, leg) {
                    run.queue.push(over_ms, Due::RideOver(car));
                }
                false
            }
            Due::RideOver(car) => {
                run.street.set_free(car);
                run.look(now_ms, None, Some(car))
            }
            Due::Round => {
                if let Rule::Batch(every_ms) = policy.rule
                    && (to_come > 0 || !run.waiting.is_empty() || !run.asked.is_empty())
                {
                    run.queue.push(now_ms + every_ms, Due::Round);
                }
                run.round(now_ms)
            }
        };
        if decides {
            took_us.push(clock.precise_us().saturating_sub(begun_us));
        }
    }
    took_us
}

impl Run<'_, '_> {
    /// The estimate of a pair that may be, in milliseconds.
    fn estimate(&self, now_ms: u64, rider: usize, car: usize) -> Option<u64> {
        let ms = self.draws.estimate(rider, car, self.street.eta_ms(car, rider));
        let waited_ms = now_ms - self.street.requests[rider].at_ms;
        let may = ms <= self.policy.cap_ms && waited_ms + ms <= self.patience_ms;
        (may && !self.declined.contains(&(rider, car))).then_some(ms)
    }

    fn is_free(&self, car: usize) -> bool {
        self.street.is_free(car) && !self.asked.contains(&car)
    }

    /// Greedy: somebody asked, or a car came free.
    fn look(&mut self, now_ms: u64, rider: Option<usize>, car: Option<usize>) -> bool {
        if matches!(self.policy.rule, Rule::Batch(_)) {
            return false;
        }
        if let Some(rider) = rider {
            let cars = (0..self.street.cars.len()).filter(|car| self.is_free(*car));
            let nearest =
                cars.filter_map(|car| Some((self.estimate(now_ms, rider, car)?, car))).min();
            if let Some((_, car)) = nearest {
                self.ask(now_ms, rider, car);
            } else if self.policy.rule == Rule::AtOnce {
                self.waiting.remove(&rider);
            }
        }
        if let Some(car) = car.filter(|car| self.is_free(*car)) {
            let patience_ms = self.patience_ms;
            let requests = self.street.requests;
            self.waiting.retain(|rider| now_ms - requests[*rider].at_ms <= patience_ms);
            let oldest = self.waiting.iter().copied();
            let oldest = { oldest }.find(|rider| self.estimate(now_ms, *rider, car).is_some());
            if let Some(rider) = oldest {
                self.ask(now_ms, rider, car);
            }
        }
        true
    }

    /// The optimum of the moment.
    fn round(&mut self, now_ms: u64) -> bool {
        let (patience_ms, requests) = (self.patience_ms, self.street.requests);
        self.waiting.retain(|rider| now_ms - requests[*rider].at_ms <= patience_ms);
        let riders: Vec<usize> = self.waiting.iter().copied().collect();
        let cars: Vec<usize> =
            (0..self.street.cars.len()).filter(|car| self.is_free(*car)).collect();
        for (rider, car) in optimum(riders.len(), cars.len(), |rider, car| {
            self.estimate(now_ms, riders[rider], cars[car])
        }) {
            self.ask(now_ms, riders[rider], cars[car]);
        }
        !riders.is_empty()
    }

    fn ask(&mut self, now_ms: u64, rider: usize, car: usize) {
        self.waiting.remove(&rider);
        self.asked.insert(car);
        let (_, after_ms) = self.draws.answer(rider, car);
        if after_ms == 0 {
            self.answered(now_ms, rider, car);
        } else {
            self.queue.push(now_ms + after_ms, Due::Answer(rider, car));
        }
    }

    fn answered(&mut self, now_ms: u64, rider: usize, car: usize) -> bool {
        self.asked.remove(&car);
        if self.draws.answer(rider, car).0 {
            let (pickup_ms, leg) = self.street.send(car, rider, now_ms);
            self.queue.push(pickup_ms, Due::Arrive(rider, leg));
            return false;
        }
        self.declined.insert((rider, car));
        self.waiting.insert(rider);
        self.look(now_ms, Some(rider), Some(car))
    }
}

/// The pairs of `rows` and `columns` that are most, and of all such sets the one of least cost. Pairs
/// without a cost can't be.
pub fn optimum(
    rows: usize,
    columns: usize,
    cost: impl Fn(usize, usize) -> Option<u64>,
) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    // The crate wants no more rows than columns.
    let turned = rows > columns;
    let (few, many) = if turned { (columns, rows) } else { (rows, columns) };
    let of = |a, b| if turned { cost(b, a) } else { cost(a, b) };
    let cells = (0..few).flat_map(|a| (0..many).map(move |b| (a, b)));
    let cells =
        cells.map(|(a, b)| of(a, b).and_then(|ms| i64::try_from(ms).ok()).unwrap_or(NEVER_MS));
    let weights = Matrix::from_vec(few, many, cells.collect()).expect("a cell for each pair");
    let (_, chosen) = kuhn_munkres_min(&weights);
    let pairs = chosen.into_iter().enumerate().filter(|(a, b)| weights[(*a, *b)] < NEVER_MS);
    pairs.map(|(a, b)| if turned { (b, a) } else { (a, b) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All ways to pair, tried: the most pairs, then the least cost.
    fn brute(costs: &[Vec<Option<u64>>], row: usize, taken: u32) -> (usize, u64) {
        let Some(options) = costs.get(row) else { return (0, 0) };
        let better = |a: (usize, u64), b: (usize, u64)| if (b.0, a.1) > (a.0, b.1) { b } else { a };
        let mut best = brute(costs, row + 1, taken);
        for (column, cost) in options.iter().enumerate() {
            if let Some(cost) = cost.filter(|_| taken & 1 << column == 0) {
                let (pairs, sum) = brute(costs, row + 1, taken | 1 << column);
                best = better(best, (pairs + 1, sum + cost));
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_optimum_is_what_trying_everything_finds(
            costs in (1_usize..6, 1_usize..6).prop_flat_map(|(rows, columns)| {
                let cost = prop_oneof![1 => Just(None), 3 => (0_u64..1_000).prop_map(Some)];
                prop::collection::vec(prop::collection::vec(cost, columns), rows)
            })
        ) {
            let pairs = optimum(costs.len(), costs[0].len(), |row, column| costs[row][column]);
            let sum: u64 = pairs.iter().map(|(row, column)| costs[*row][*column].unwrap()).sum();
            prop_assert_eq!((pairs.len(), sum), brute(&costs, 0, 0));
        }
    }
}
