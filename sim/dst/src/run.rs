//! One simulation, from a seed to its verdict.

use crate::city::{City, Evidence, Manners};
use crate::cluster::{Cluster, Plan};
use crate::fault::Kind;
use crate::laws::Broken;
use crate::laws::covered::{self, Done, Happened};
use crate::laws::takeover::Takeover;
use crate::links::{CITY, LATENCY};
use crate::outside;
use crate::schedule::Schedule;
use crate::storm::{Aftermath, Storm};
use crate::trace::{Detail, Trace};
use node::clock::SystemClock;
use proto::units::Clock;
use serde::{Deserialize, Serialize};
use sim::checker::{self, Violation, judge};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tracing_subscriber::layer::SubscriberExt;

/// How far a step of the simulation takes it.
const TICK: Duration = Duration::from_millis(1);
/// So long after a run must be over it is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// Lines of a story that are shown.
const STORY: usize = 120;
/// What phones and timers wait for is short, so that a minute is a long time.
const STORMY: &[&str] = &[
    "--offer-ttl-ms",
    "2500",
    "--offer-shown-ms",
    "2000",
    "--booking-ttl-ms",
    "5000",
    "--attempt-ms",
    "2000",
    "--replace-after-ms",
    "4000",
];

/// Bookings look often for a better driver, who need not be much better, and yield the one they have.
const CHANGING: &[&str] = &[
    "--reassign-max",
    "2",
    "--reassign-gain-ms",
    "1000",
    "--reassign-left-ms",
    "1000",
    "--reassign-rest-ms",
    "300",
    "--reassign-every-ms",
    "200",
    "--yield-ms",
    "60000",
];

/// Drivers may take their next ride while on one, and cross the city in seconds, so that rides end soon.
const NEXT: &[&str] =
    &["--next-within-ms", "2000", "--next-patience-ms", "3000", "--speed-cms", "200000"];

/// What is run.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose chance it is.
    pub seed: u64,
    /// What happens.
    pub plan: Schedule,
    /// How people behave.
    pub manners: Manners,
    /// What is written down.
    pub detail: Detail,
    /// The mistake that all nodes make.
    pub plant: Option<String>,
}

impl Job {
    /// A storm with its people.
    pub fn storm(seed: u64, plan: Schedule, detail: Detail) -> Self {
        Self { seed, plan, manners: Manners::Stormy, detail, plant: None }
    }
    /// A quiet city, where at most one thing happens.
    pub fn quiet(seed: u64, plan: Schedule) -> Self {
        Self { seed, plan, manners: Manners::Quiet, detail: Detail::Story, plant: None }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub trace: Trace,
    /// The plan.
    pub plan: Schedule,
    /// What clients were told to ask again, and when.
    pub told_to: Vec<(Duration, String)>,
    /// What nodes said that could not go on.
    pub said: Vec<String>,
    /// The judgement and the figures.
    pub outcome: Outcome,
}

/// The judgement of a run and its figures, as one process tells them to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which run.
    pub seed: u64,
    /// Nodes that founded the cluster.
    pub founders: usize,
    /// Laws that were broken.
    pub broken: Vec<Broken>,
    /// Why the run proves nothing, if it doesn't.
    pub invalid: Vec<String>,
    /// What became of each fault.
    pub faults: Vec<Happened>,
    /// Takeovers.
    pub takeovers: Vec<Takeover>,
    /// What people got done.
    pub done: Done,
    /// How often two replicas were compared.
    pub compared: u64,
    /// Machines switched on again.
    pub restarts: usize,
    /// Unsynced writes undone by crashes.
    pub forgotten: usize,
    /// How long after the heal all was at rest, in milliseconds.
    pub rested_ms: Option<u64>,
    /// How long it was, in simulated milliseconds.
    pub took_ms: u64,
    /// How long it took.
    pub wall_ms: u64,
    /// The hash of the trace and its lines.
    pub trace: (u64, usize),
}

impl Outcome {
    /// Whether a law was broken.
    pub fn is_bad(&self) -> bool {
        !self.broken.is_empty()
    }
}

/// tokio numbers tasks by process, and the numbers decide in which order a runtime drops them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs one job. Whatever panics is a broken law.
pub fn run(job: &Job) -> Run {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // What is made once a process and then kept (ractor's tables with their hash keys among it)
    // must not be made by the run that counts, or the first one would differ from all others.
    static WARM: OnceLock<()> = OnceLock::new();
    WARM.get_or_init(|| drop(on_a_fresh_thread(&Job::quiet(0, Schedule::quiet(0, None)))));
    let began = SystemClock::new();
    let mut run = on_a_fresh_thread(job);
    run.outcome.wall_ms = began.mono().0;
    run
}

/// A panic is told in the trace of the simulation whose thread it is; where that is lost with the
/// process, `DST_LIVE=1` has all of it told at once.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if outside::is_simulated() {
                tracing::error!(target: "dst", "{info}");
            }
            if !outside::is_simulated() || std::env::var_os("DST_LIVE").is_some() {
                before(info);
            }
        }));
    });
}

fn on_a_fresh_thread(job: &Job) -> Run {
    hear_panics();
    let trace = Trace::new(job.detail);
    let (kept, mine) = (trace.clone(), job.clone());
    let thread = std::thread::spawn(move || simulate(&mine, trace));
    thread.join().unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        let said = kept.grep(&[" ERROR dst:"]).join("\n");
        let broken = vec![Broken::new("nobody panics", format!("{why}\n{said}"))];
        let (seed, founders, trace) = (job.seed, job.plan.founders, kept.sum());
        let outcome = Outcome { seed, founders, broken, trace, ..Outcome::default() };
        let (told_to, said) = (Vec::new(), Vec::new());
        Run { trace: kept, plan: job.plan.clone(), told_to, said, outcome }
    })
}

/// How to see a seed again.
pub fn replay(seed: u64) -> String {
    format!("cargo sim --seed {seed}")
}

impl Run {
    /// The last of what concerns people: what clients saw, who is a member, what went wrong.
    pub fn story(&self) -> String {
        let lines = self.trace.grep(&[" ERROR ", " WARN ", " INFO membership", " INFO dst"]);
        lines[lines.len().saturating_sub(STORY)..].join("\n")
    }

    /// A line of figures.
    pub fn summary(&self) -> String {
        let Outcome { took_ms, wall_ms, trace: (hash, lines), done, faults, .. } = &self.outcome;
        let happened = faults.iter().filter(|fault| fault.at_ms.is_some()).count();
        let Done { ok, rejected, retry, bookings, carried, .. } = done;
        format!(
            "{took_ms} ms in {wall_ms}, {lines} lines, hash {hash:016x}, {happened} of {} faults, {ok} ok, \
             {rejected} rejected, {retry} asked again, {carried} of {bookings} bookings carried",
            faults.len()
        )
    }
}

fn simulate(job: &Job, trace: Trace) -> Run {
    begin(job.seed);
    let _logs =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.clone()));
    let plan = Rc::new(job.plan.clone());
    let mut sim = network(job.seed, plan.end + GIVE_UP_AFTER);
    let flags = match job.manners {
        Manners::Quiet => &[],
        Manners::Stormy => STORMY,
    };
    let planted = job.plant.iter().flat_map(|name| ["--plant".to_owned(), name.clone()]);
    let changing = if plan.changes { CHANGING } else { &[] };
    let next = if plan.nexts { NEXT } else { &[] };
    let flags = flags.iter().chain(changing).chain(next);
    let flags = flags.map(|flag| (*flag).to_owned()).chain(planted).collect();
    let (founders, sync_takes) = (plan.founders, plan.sync_takes);
    let start = Plan { seed: job.seed, founders, sync_takes, flags };
    let cluster = Cluster::start(&mut sim, start);
    let city = City::new(job.seed, Rc::clone(&plan), job.manners, Rc::clone(&cluster));
    sim.client(CITY, Rc::clone(&city).live());
    let mut storm = Storm::new(Rc::clone(&plan));
    loop {
        outside::set_now(sim.elapsed());
        let over = sim.step().unwrap_or_else(|error| panic!("{error}"));
        storm.blow(&mut sim, &cluster, &city);
        if over && storm.is_over() {
            break;
        }
    }
    let took_ms = u64::try_from(sim.elapsed().as_millis()).unwrap_or(u64::MAX);
    let said = cluster.said().into_iter().map(|(_, said)| said).collect();
    drop(sim);
    let outcome = outcome(job, &city, storm.aftermath(), took_ms, &trace);
    let told_to = city.lines.told_to.borrow().clone();
    Run { trace, plan: job.plan.clone(), told_to, said, outcome }
}

fn outcome(job: &Job, city: &City, storm: Aftermath, took_ms: u64, trace: &Trace) -> Outcome {
    let Evidence { seen, at_end, mut broken, rested } = city.evidence();
    let Aftermath { faults, broken: unequal, compared, restarts, forgotten } = storm;
    let mut judged = judge(&seen, &at_end);
    // Records carry the wall clocks of leaders: where one was wrong by an hour they tell nothing of
    // what was at the same time. What clients saw does.
    if faults.iter().any(|fault| fault.kind == Kind::ClockJump && fault.at_ms.is_some()) {
        judged.retain(|one| {
            !matches!(one, Violation::TwoTrips { evidence: checker::Evidence::Records, .. })
        });
    }
    broken.extend(judged.iter().map(|one| Broken::new(one.law(), one.to_string())));
    broken.extend(unequal);
    broken.sort_unstable();
    broken.dedup();
    let carried = at_end.bookings.values().filter(|b| b.is().is_some_and(|b| b.status.is_served()));
    let lines = &city.lines;
    let done = Done {
        ok: lines.ok.get(),
        rejected: lines.rejected.get(),
        retry: lines.asked_again.get(),
        unsettled: lines.unsettled.borrow().len() as u64,
        bookings: at_end.bookings.len(),
        carried: carried.count(),
        changed: at_end.trips.values().filter(|t| t.is().is_some_and(|t| t.reassigned)).count(),
        nexts: city.nexts.get(),
    };
    let invalid = match job.manners {
        Manners::Quiet => Vec::new(),
        Manners::Stormy => covered::judge(&faults, done),
    };
    Outcome {
        seed: job.seed,
        founders: job.plan.founders,
        broken,
        invalid,
        faults,
        takeovers: city.takeovers.borrow().done(),
        done,
        compared,
        restarts,
        forgotten,
        rested_ms: rested.and_then(|rested| u64::try_from(rested.as_millis()).ok()),
        took_ms,
        wall_ms: 0,
        trace: trace.sum(),
    }
}

/// First of all: whatever asks for chance before (tokio, making a runtime) would keep the real.
fn begin(seed: u64) {
    outside::begin(seed);
    align_task_ids();
}

/// An empty network, for at most so long.
fn network(seed: u64, longest: Duration) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + outside::EPOCH)
        .simulation_duration(longest)
        .tick_duration(TICK)
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        .udp_capacity(1024)
        .tcp_capacity(1024)
        .enable_random_order()
        .build()
}

/// A calm day of three nodes with these flags, for as long as a client is busy with it; how long
/// that was. For what needs no trace.
pub fn visit(
    seed: u64,
    flags: &'static [&'static str],
    longest: Duration,
    visitor: impl FnOnce() -> Pin<Box<dyn Future<Output = turmoil::Result>>> + Send + 'static,
) -> Duration {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = std::thread::spawn(move || {
        begin(seed);
        let mut sim = network(seed, longest);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let sync_takes = Schedule::quiet(seed, None).sync_takes;
        let _cluster = Cluster::start(&mut sim, Plan { seed, founders: 3, sync_takes, flags });
        sim.client("visitor", visitor());
        let over = |sim: &mut turmoil::Sim<'_>| {
            outside::set_now(sim.elapsed());
            sim.step().unwrap_or_else(|error| panic!("{error}"))
        };
        while !over(&mut sim) {}
        sim.elapsed()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Brings tokio's task numbers to the same place, modulo more than the number of lists into which
/// a runtime sorts its tasks.
fn align_task_ids() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        loop {
            let id = tokio::spawn(async {}).id().to_string();
            if id.parse::<u64>().expect("tokio's task ids are numbers") % 64 == 63 {
                break;
            }
        }
    });
}
