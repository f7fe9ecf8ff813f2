//! The comparison: knobs tuned on some seeds, everybody run on others, and paired differences.

use crate::args::Args;
use crate::city::{City, Request};
use crate::contest::{Contender, Terms};
use crate::draws::{Draws, Realism};
use crate::network::threads;
use crate::score::{Difference, Score};
use indicatif::ProgressBar;
use proto::units::Clock;
use serde::Serialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds for tuning begin here, far from those that are judged.
const TUNE_FROM: u64 = 1_000_001;

/// One policy's result.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which.
    pub policy: String,
    /// The mean over the seeds.
    pub mean: Score,
    /// Penalised wait less that of tuned nearest, in seconds.
    pub against_nearest: Difference,
    /// Penalised wait less that of `batch`, in seconds.
    pub against_batch: Difference,
    /// Share served less that of `batch`.
    pub share: Difference,
    /// Each seed's.
    pub runs: Vec<Score>,
}

/// One fleet under one kind of world.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// Cars.
    pub cars: usize,
    /// The world, by name.
    pub world: String,
    /// How the tuning went: name, share served, penalised wait in seconds.
    pub tuned: Vec<(String, f64, f64)>,
    /// Tuned nearest, batch, plain nearest, ours, and its ablations.
    pub rows: Vec<Row>,
}

/// A draw of a fleet.
struct Draw {
    requests: Vec<Request>,
    stands: Vec<u32>,
    draws: Draws,
}

/// Compares on one fleet.
pub fn table(
    city: &City,
    args: &Args,
    cars: usize,
    (world, realism): (&str, Realism),
    clock: &dyn Clock,
    bar: &ProgressBar,
) -> Table {
    let soft_ms = args.soft_s.map(|s| s * 1_000);
    let terms = Terms { patience_ms: args.patience_s * 1_000, soft_ms };
    let draw = |seed: u64| {
        let every = usize::try_from(args.every).unwrap_or(1);
        let offset = usize::try_from(seed).unwrap_or(0) % every;
        let (requests, all) = city.every(every, offset);
        let stands = if every > 1 { all } else { city.fleet(cars, seed) };
        Draw { requests, stands, draws: Draws { seed, realism } }
    };
    let all = |contenders: &[Contender], seeds: std::ops::Range<u64>| {
        let draws: Vec<Draw> = seeds.map(draw).collect();
        runs(city, contenders, &draws, terms, clock, bar)
    };
    let cars = draw(TUNE_FROM).stands.len();
    let tune = TUNE_FROM..TUNE_FROM + args.tune_seeds;
    bar.set_message(format!("{cars} cars, {world}: tuning"));
    let (greedy, ours) = (Contender::greedy(terms), Contender::ours(terms));
    let batch = Contender::batch(terms, args.batch_s * 1_000);
    let mut candidates = greedy.clone();
    candidates.push(batch.clone());
    candidates.extend(ours.clone());
    let tuned: Vec<Score> = all(&candidates, tune).iter().map(|runs| Score::mean(runs)).collect();
    let nearest = least(&tuned[..greedy.len()], 0.0);
    let share = tuned[greedy.len()].share;
    let chosen = least(&tuned[greedy.len() + 1..], share);
    let mut contenders =
        vec![greedy[nearest].clone(), batch, Contender::plain(terms), ours[chosen].clone()];
    if args.ablations {
        contenders.extend(ours[chosen].ablations());
    }
    bar.set_message(format!("{cars} cars, {world}"));
    let results = all(&contenders, 1..args.seeds + 1);
    let means: Vec<Score> = results.iter().map(|runs| Score::mean(runs)).collect();
    let told = candidates.into_iter().zip(&tuned);
    let told = told.map(|(it, score)| (it.name, score.share, score.penalised_s));
    let against = |runs: &[Score], than: usize, of: fn(&Score) -> f64| {
        Difference::of(runs.iter().zip(&results[than]).map(|(this, that)| (of(this), of(that))))
    };
    let rows = contenders.iter().zip(&results).zip(&means).map(|((contender, runs), mean)| Row {
        policy: contender.name.clone(),
        mean: *mean,
        against_nearest: against(runs, 0, |score| score.penalised_s),
        against_batch: against(runs, 1, |score| score.penalised_s),
        share: against(runs, 1, |score| score.share),
        runs: runs.clone(),
    });
    let rows = rows.collect();
    Table { cars, world: world.to_owned(), tuned: told.collect(), rows }
}

/// How many runs a table takes, for the bar.
pub fn steps(args: &Args) -> u64 {
    let caps = Contender::greedy(Terms { patience_ms: args.patience_s * 1_000, soft_ms: None });
    let tuned = caps.len() as u64 + 9;
    let judged = if args.ablations { 11 } else { 4 };
    tuned * args.tune_seeds + judged * args.seeds
}

/// The one with the least penalised wait of those that serve so large a share; of none do, the one that
/// serves most.
fn least(scores: &[Score], share: f64) -> usize {
    // A rider in ten thousand is no difference.
    let fits = |score: &&(usize, &Score)| score.1.share >= share - 1e-4;
    let all: Vec<(usize, &Score)> = scores.iter().enumerate().collect();
    let best = all.iter().filter(fits).min_by(|a, b| a.1.penalised_s.total_cmp(&b.1.penalised_s));
    let most = || all.iter().max_by(|a, b| a.1.share.total_cmp(&b.1.share));
    best.or_else(most).map_or(0, |(at, _)| *at)
}

/// Every contender on every draw, on all cores.
fn runs(
    city: &City,
    contenders: &[Contender],
    draws: &[Draw],
    terms: Terms,
    clock: &dyn Clock,
    bar: &ProgressBar,
) -> Vec<Vec<Score>> {
    let empty = vec![vec![Score::default(); draws.len()]; contenders.len()];
    let (next, scores) = (AtomicUsize::new(0), Mutex::new(empty));
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let (who, which) = (job / draws.len(), job % draws.len());
                    let Some(contender) = contenders.get(who) else { return };
                    let Draw { requests, stands, draws } = &draws[which];
                    let city = (&city.network as _, requests.as_slice(), stands.as_slice());
                    let score = contender.run(city, terms, *draws, clock);
                    scores.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[who][which] =
                        score;
                    bar.inc(1);
                }
            });
        }
    });
    scores.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
