//! One simulation, from a seed to its trace and its evidence.

use crate::city::{City, Evidence};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::outside;
use crate::trace::Trace;
use node::clock::SystemClock;
use proto::units::Clock;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tracing_subscriber::layer::SubscriberExt;

/// How long a crashed machine stays down, in milliseconds: sometimes the others have hardly noticed,
/// sometimes they have carried half the day's riders meanwhile.
const DOWN_MS: std::ops::Range<u64> = 1_000..20_000;
/// So long after a crash the others serve all that the machine led.
pub(crate) const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(4);
/// So many of a hundred crashes may come before the cluster is founded and at rest.
const EARLY: u32 = 15;
/// How far a step of the simulation takes it.
const TICK: Duration = Duration::from_millis(1);
/// The longest day, in simulated time.
const DAY_MAX: Duration = Duration::from_secs(300);

/// So many lines of a story are shown.
const STORY: usize = 80;

/// What happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing.
    Calm,
    /// One machine loses power on the way and comes back.
    Crash,
    /// The same, and its disk comes back empty: it is told to come as somebody else.
    Wipe,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    /// What happened.
    pub(crate) trace: Trace,
    /// What the clients saw, and what was there at the end.
    pub(crate) evidence: Evidence,
    /// When disks were writing.
    pub(crate) syncs: Vec<Sync>,
    /// The crash, if there was one.
    pub(crate) crash: Option<Crash>,
    /// What nodes said that could not go on.
    pub(crate) said: Vec<String>,
    /// How long it was, in simulated time.
    pub(crate) took: Duration,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// A crash as it happened.
#[derive(Debug)]
pub(crate) struct Crash {
    due: Duration,
    down: Duration,
    victim: usize,
    /// Unsynced writes that survived.
    pub(crate) kept: usize,
    /// Keys of its disk that lost what they had.
    pub(crate) forgot: usize,
}

/// tokio numbers tasks by process, and the numbers decide in which order a runtime drops them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs one seed. A panic names it.
pub(crate) fn run(seed: u64, weather: Weather) -> Run {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // What is made once a process and then kept (ractor's tables with their hash keys among it)
    // must not be made by the run that counts, or the first one would differ from all others.
    static WARM: OnceLock<()> = OnceLock::new();
    WARM.get_or_init(|| drop(day(0, Weather::Crash)));
    let began = SystemClock::new();
    let run = day(seed, weather);
    Run { wall: Duration::from_millis(began.mono().0), ..run }
}

fn day(seed: u64, weather: Weather) -> Run {
    let calm = on_a_fresh_thread(seed, None);
    if weather == Weather::Calm {
        return calm;
    }
    on_a_fresh_thread(seed, Some(Storm::of(seed, weather, &calm)))
}

fn on_a_fresh_thread(seed: u64, storm: Option<Storm>) -> Run {
    let weather = storm.as_ref().map_or(Weather::Calm, |storm| storm.weather);
    let trace = Trace::default();
    let kept = trace.clone();
    let thread = std::thread::spawn(move || simulate(seed, storm, trace));
    thread.join().unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        panic!("seed {seed}, {weather:?}: {why}\n{}\n{}", story(&kept), replay(seed));
    })
}

/// How to see a seed again.
pub(crate) fn replay(seed: u64) -> String {
    format!("to replay: SIM_SEED={seed} cargo test --workspace --test dst")
}

/// The last of what concerns people: what clients saw, who is a member, what went wrong.
fn story(trace: &Trace) -> String {
    let lines = trace.grep(&[" ERROR ", " WARN ", " INFO membership", " INFO dst"]);
    lines[lines.len().saturating_sub(STORY)..].join("\n")
}

impl Run {
    /// What people were told while the machine was down and the others should have taken over: to
    /// ask again, because somebody did not know whom.
    pub(crate) fn told_too_late(&self) -> Vec<String> {
        let Some(Crash { due, down, .. }) = self.crash else { return Vec::new() };
        let late = due + TAKEN_OVER_WITHIN..due + down;
        let told = self.evidence.told_to.iter().filter(|(at, _)| late.contains(at));
        told.map(|(at, what)| format!("{at:?}: {what}")).collect()
    }
    /// The last of what concerns people.
    pub(crate) fn story(&self) -> String {
        story(&self.trace)
    }
    /// A line of figures.
    pub(crate) fn summary(&self) -> String {
        let Self { trace, evidence, crash, took, wall, syncs, .. } = self;
        let (hash, lines) = trace.sum();
        let crash =
            crash.as_ref().map_or_else(String::new, |Crash { due, down, victim, kept, forgot }| {
                let (n, at, down) = (victim + 1, due.as_millis(), down.as_millis());
                format!(
                    ", n{n} down at {at} ms for {down}, {kept} writes kept, {forgot} keys forgotten"
                )
            });
        let sync = syncs.first().map_or(0, |sync| sync.takes.as_millis());
        let syncs = syncs.len();
        let again = evidence.asked_again;
        format!(
            "{took:?} in {wall:?}, {lines} lines, hash {hash:016x}, {syncs} syncs of {sync} ms, {again} asked again{crash}"
        )
    }
}

fn simulate(seed: u64, mut storm: Option<Storm>, trace: Trace) -> Run {
    begin(seed);
    let _logs =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.clone()));
    let mut sim = network(seed, DAY_MAX);
    let cluster = Cluster::start(&mut sim, seed, &[]);
    let city = City::new(seed);
    sim.client("city", Rc::clone(&city).live());
    let mut syncs = Vec::new();
    let mut known = cluster.syncs();
    loop {
        outside::set_now(sim.elapsed());
        let over = sim.step().unwrap_or_else(|error| panic!("{error}"));
        for (machine, (before, now)) in known.iter().zip(cluster.syncs()).enumerate() {
            // A disk that is opened syncs once without taking time.
            if *before < now && sim.elapsed() > cluster.sync_takes() + TICK {
                syncs.push(Sync { done: sim.elapsed(), takes: cluster.sync_takes(), machine });
            }
        }
        known = cluster.syncs();
        if let Some(storm) = &mut storm {
            storm.blow(&mut sim, &cluster, &city);
        }
        if over && storm.as_ref().is_none_or(|storm| storm.restarted) {
            break;
        }
    }
    let (took, evidence, said) = (sim.elapsed(), city.evidence(), cluster.said());
    drop(sim);
    let crash = storm.map(|storm| {
        let Storm { due, down, victim, kept, forgot, .. } = storm;
        Crash { due, down, victim, kept, forgot }
    });
    Run { trace, evidence, syncs, crash, said, took, wall: Duration::ZERO }
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
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .udp_capacity(1024)
        .tcp_capacity(1024)
        .enable_random_order()
        .build()
}

/// A calm day of a cluster with these settings, for as long as a client is busy with it; how long
/// that was. For what needs no trace.
pub(crate) fn visit(
    seed: u64,
    flags: &'static [&'static str],
    longest: Duration,
    visitor: impl FnOnce() -> Pin<Box<dyn Future<Output = turmoil::Result>>> + Send + 'static,
) -> Duration {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = std::thread::spawn(move || {
        begin(seed);
        let mut sim = network(seed, longest);
        let _cluster = Cluster::start(&mut sim, seed, flags);
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

/// When the power fails, and where. A calm day of the same seed is lived first: up to the crash both
/// days are the same, so it tells when which disk will be writing, and the power fails just then.
#[derive(Debug)]
struct Storm {
    weather: Weather,
    due: Duration,
    down: Duration,
    victim: usize,
    /// So many of the writes that were not synced survive.
    kept: usize,
    forgot: usize,
    crashed: bool,
    restarted: bool,
}

impl Storm {
    fn of(seed: u64, weather: Weather, calm: &Run) -> Self {
        let mut dice = Dice::of(seed, "storm");
        let early = weather == Weather::Crash && dice.percent(EARLY);
        let opened = calm.evidence.seen.first().map_or(0, |seen| seen.at_ms);
        let opened = Duration::from_millis(opened);
        let syncs: Vec<Sync> =
            calm.syncs.iter().filter(|sync| early || sync.done > opened).copied().collect();
        let Sync { done, takes, machine } = syncs[dice.one_of(0..syncs.len())];
        let takes_ms = u64::try_from(takes.as_millis()).expect("a short sync");
        // Written at `done - takes`, safe at `done`: the power fails in between.
        let due = done - TICK - dice.ms(0..takes_ms);
        let kept = usize::from(dice.percent(20));
        let down = dice.ms(DOWN_MS);
        let (victim, forgot, crashed, restarted) = (machine, 0, false, false);
        Self { weather, due, down, victim, kept, forgot, crashed, restarted }
    }

    fn blow(&mut self, sim: &mut turmoil::Sim<'_>, cluster: &Cluster, city: &City) {
        let index = self.victim;
        if !self.crashed && sim.elapsed() >= self.due {
            tracing::info!(index, "crash");
            self.forgot = match self.weather {
                Weather::Wipe => {
                    city.has_lost(index);
                    cluster.wipe(sim, index)
                }
                Weather::Crash | Weather::Calm => cluster.crash(sim, index, self.kept),
            };
            self.crashed = true;
        }
        if !self.restarted && sim.elapsed() >= self.due + self.down {
            tracing::info!(index, "restart");
            cluster.restart(sim, index);
            self.restarted = true;
        }
    }
}

/// A disk that has just made safe what was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sync {
    done: Duration,
    takes: Duration,
    machine: usize,
}
