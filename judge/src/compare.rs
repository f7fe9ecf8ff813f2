//! The comparison: every policy swept over its caps on some seeds, nearest tuned by what that shows, all
//! run on other seeds, and paired differences.

use crate::args::{Args, Who};
use crate::bound;
use crate::city::{City, Request};
use crate::contest::{Contender, Terms};
use crate::draws::{Draws, Realism};
use crate::ours::Ours;
use crate::score::{Difference, Score};
use indicatif::ProgressBar;
use proto::units::Clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds for tuning begin here, far from those that are judged.
const TUNE_FROM: u64 = 1_000_001;
/// How much less than batch nearest may serve where it must serve as many: a point.
const FEWER: f64 = 0.01;

/// What a policy is in a comparison: one of those whom all are compared with, or beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The optimum every so often.
    Batch,
    /// The nearest without a cap.
    Plain,
    /// The nearest with the cap of least penalised wait, however few it serves.
    Tuned,
    /// The nearest with the cap of least penalised wait of those that serve as many as batch, less a
    /// point; if none does, the one that serves most.
    Serving,
    /// What ships.
    Ours,
    /// What ships with one part left out, or added.
    Ablation,
}

/// One policy's result. Differences are to those that run, seed by seed.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What it is here.
    pub role: Role,
    /// Which.
    pub policy: String,
    /// The mean over the seeds.
    pub mean: Score,
    /// Penalised wait less that of each other, in seconds.
    pub penalised: BTreeMap<Role, Difference>,
    /// Share served less that of `batch`.
    pub share: Option<Difference>,
    /// The published runs' cost less that of plain nearest, in minutes.
    pub cost: Option<Difference>,
    /// Each seed's.
    pub runs: Vec<Score>,
}

/// One policy with one cap, on the seeds for tuning.
#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    /// Which policy.
    pub family: &'static str,
    /// With what.
    pub name: String,
    /// Share served.
    pub share: f64,
    /// Penalised wait, in seconds.
    pub penalised_s: f64,
}

/// One fleet under one kind of world.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    /// Cars.
    pub cars: usize,
    /// The world, by name.
    pub world: String,
    /// Every policy with every cap.
    pub swept: Vec<Swept>,
    /// Batch, plain nearest, nearest tuned in two ways, ours, and its ablations; of these, who runs.
    pub rows: Vec<Row>,
    /// What no policy can beat, in the published runs' minutes, as a mean over the seeds; where lateness
    /// counts, and the city is small enough.
    pub bound_min: Option<f64>,
}

impl Table {
    /// Who has a role, if it ran.
    pub fn row(&self, role: Role) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == role)
    }
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
    ours: &Ours,
    cars: usize,
    (world, realism): (&str, Realism),
    clock: &dyn Clock,
    bar: &ProgressBar,
) -> Table {
    let terms = args.terms();
    let draw = |seed: u64| {
        let every = usize::try_from(args.every).unwrap_or(1);
        let offset = usize::try_from(seed).unwrap_or(0) % every;
        let (requests, all) = city.every(every, offset);
        let stands = if every > 1 { all } else { city.fleet(cars, seed) };
        Draw { requests, stands, draws: Draws { seed, realism } }
    };
    let cars = draw(TUNE_FROM).stands.len();
    let swept = if args.runs(Who::Tuned) {
        bar.set_message(format!("{cars} cars, {world}: sweep"));
        let tune: Vec<Draw> = (TUNE_FROM..TUNE_FROM + args.tune_seeds).map(draw).collect();
        let all = sweep(terms, ours);
        let scores = runs(city, &all, &tune, terms, clock, bar);
        let scores = scores.iter().map(|runs| Score::mean(runs));
        all.into_iter().zip(scores).collect()
    } else {
        Vec::new()
    };
    let (roles, contenders): (Vec<Role>, Vec<Contender>) =
        contenders(args, ours, &swept).into_iter().unzip();
    bar.set_message(format!("{cars} cars, {world}"));
    let judged: Vec<Draw> = (1..args.seeds + 1).map(draw).collect();
    let results = runs(city, &contenders, &judged, terms, clock, bar);
    let swept = swept.into_iter().map(|(it, score)| Swept {
        family: it.family,
        name: it.name,
        share: score.share,
        penalised_s: score.penalised_s,
    });
    let swept = swept.collect();
    let bound_min = args.soft_s.and_then(|soft_s| {
        let least =
            |it: &Draw| bound::least_min(&city.network, &it.requests, &it.stands, soft_s * 1_000);
        let each: Option<Vec<f64>> = judged.iter().map(least).collect();
        each.map(|each| each.iter().sum::<f64>() / each.len().max(1) as f64)
    });
    let by_role: BTreeMap<Role, &[Score]> =
        roles.iter().copied().zip(results.iter().map(Vec::as_slice)).collect();
    let rows = roles.iter().zip(&contenders).zip(&results);
    let rows = rows.map(|((role, it), runs)| row(*role, it, runs, &by_role)).collect();
    Table { cars, world: world.to_owned(), swept, rows, bound_min }
}

/// Who runs, in the order of their rows.
fn contenders(args: &Args, ours: &Ours, swept: &[(Contender, Score)]) -> Vec<(Role, Contender)> {
    let (terms, mut all) = (args.terms(), Vec::new());
    if args.runs(Who::Batch) {
        all.push((Role::Batch, Contender::batch(terms)));
    }
    if args.runs(Who::Nearest) {
        all.push((Role::Plain, Contender::plain(terms)));
    }
    if args.runs(Who::Tuned) {
        let (greedy, others) = swept.split_at(Contender::greedy(terms).len());
        let batch = others[Contender::batches(terms).len() - 1].1;
        let named = |name: &str, share| {
            let tuned = &greedy[least(greedy, share)].0;
            Contender { name: format!("{name}: {}", tuned.name), ..tuned.clone() }
        };
        all.push((Role::Tuned, named("tuned", 0.0)));
        all.push((Role::Serving, named("tuned, serving", batch.share - FEWER)));
    }
    if args.runs(Who::Ours) {
        let ships = Contender::ours(ours);
        let ablations = if args.ablations { ships.ablations() } else { Vec::new() };
        all.push((Role::Ours, ships));
        all.extend(ablations.into_iter().map(|it| (Role::Ablation, it)));
    }
    all
}

fn row(
    role: Role,
    contender: &Contender,
    runs: &[Score],
    others: &BTreeMap<Role, &[Score]>,
) -> Row {
    let against = |than: &[Score], of: fn(&Score) -> f64| {
        Difference::of(runs.iter().zip(than).map(|(this, that)| (of(this), of(that))))
    };
    let penalised = others.iter().filter(|(role, _)| **role < Role::Ours);
    let other = |role| others.get(&role).copied();
    Row {
        role,
        policy: contender.name.clone(),
        mean: Score::mean(runs),
        penalised: penalised.map(|(role, it)| (*role, against(it, |it| it.penalised_s))).collect(),
        share: other(Role::Batch).map(|it| against(it, |it| it.share)),
        cost: other(Role::Plain).map(|it| against(it, |it| it.cost_min)),
        runs: runs.to_vec(),
    }
}

/// Nearest in all its variants, then batch and ours with each cap.
fn sweep(terms: Terms, ours: &Ours) -> Vec<Contender> {
    [Contender::greedy(terms), Contender::batches(terms), Contender::capped(terms, ours)].concat()
}

/// How many runs a table takes, for the bar.
pub fn steps(args: &Args, ours: &Ours) -> u64 {
    let terms = args.terms();
    let tuned = args.runs(Who::Tuned);
    let swept = if tuned { sweep(terms, ours).len() as u64 } else { 0 };
    let ablations = match args.ablations && args.runs(Who::Ours) {
        true => Contender::ours(ours).ablations().len(),
        false => 0,
    };
    let judged = Who::ALL.into_iter().filter(|who| args.runs(*who)).count();
    let judged = judged + usize::from(tuned) + ablations;
    swept * args.tune_seeds + judged as u64 * args.seeds
}

/// The one with the least penalised wait of those that serve so large a share; if none does, the one that
/// serves most.
fn least(scores: &[(Contender, Score)], share: f64) -> usize {
    // A rider in ten thousand is no difference.
    let fits = |score: &&(usize, &Score)| score.1.share >= share - 1e-4;
    let all: Vec<(usize, &Score)> = scores.iter().map(|(_, score)| score).enumerate().collect();
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
                    let city = (&city.network, requests.as_slice(), stands.as_slice());
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

/// How many threads long work is spread over.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
