//! One simulation, from a seed to its trace and its evidence.

use crate::city::{City, Evidence, NEWS_OF_A_RIDE, RIDERS, RIDES};
use crate::cluster::{Cluster, NODES};
use crate::dice::Dice;
use crate::outside;
use crate::trace::Trace;
use node::clock::SystemClock;
use proto::units::Clock;
use std::rc::Rc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use tracing_subscriber::layer::SubscriberExt;

/// How long a crashed machine stays down.
const DOWN: Duration = Duration::from_secs(5);
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
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    /// What happened.
    pub(crate) trace: Trace,
    /// What the clients saw, and what was there at the end.
    pub(crate) evidence: Evidence,
    /// The machine that lost power, and when.
    pub(crate) crashed: Option<(usize, Duration)>,
    /// Keys of its disk that lost what they had.
    pub(crate) forgot: usize,
    /// How long it was, in simulated time.
    pub(crate) took: Duration,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// tokio numbers tasks by process, and the numbers decide in which order a runtime drops them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs one seed. A panic names it.
pub(crate) fn run(seed: u64, weather: Weather) -> Run {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // What is made once a process and then kept (ractor's tables with their hash keys among it)
    // must not be made by the run that counts, or the first one would differ from all others.
    static WARM: OnceLock<()> = OnceLock::new();
    WARM.get_or_init(|| drop(on_a_fresh_thread(0, Weather::Crash)));
    let began = SystemClock::new();
    let run = on_a_fresh_thread(seed, weather);
    Run { wall: Duration::from_millis(began.mono().0), ..run }
}

fn on_a_fresh_thread(seed: u64, weather: Weather) -> Run {
    let trace = Trace::default();
    let kept = trace.clone();
    let thread = std::thread::spawn(move || simulate(seed, weather, trace));
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
    /// The last of what concerns people.
    pub(crate) fn story(&self) -> String {
        story(&self.trace)
    }
    /// A line of figures.
    pub(crate) fn summary(&self) -> String {
        let Self { trace, evidence, crashed, forgot, took, wall } = self;
        let (hash, lines) = trace.sum();
        let storm = crashed.map_or_else(String::new, |(index, at)| {
            format!(", n{} down at {} ms, {forgot} keys forgotten", index + 1, at.as_millis())
        });
        let again = evidence.asked_again;
        format!("{took:?} in {wall:?}, {lines} lines, hash {hash:016x}, {again} asked again{storm}")
    }
}

fn simulate(seed: u64, weather: Weather, trace: Trace) -> Run {
    // First of all: whatever asks for chance before (tokio, making a runtime) would keep the real.
    outside::begin(seed);
    align_task_ids();
    let _logs =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.clone()));
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH + outside::EPOCH)
        .simulation_duration(DAY_MAX)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .udp_capacity(1024)
        .tcp_capacity(1024)
        .enable_random_order()
        .build();
    let cluster = Cluster::start(&mut sim, seed);
    let city = City::new(seed);
    sim.client("city", Rc::clone(&city).live());
    let mut storm = Storm::of(seed, weather);
    loop {
        outside::set_now(sim.elapsed());
        let done = sim.step().unwrap_or_else(|error| panic!("{error}"));
        storm.blow(&mut sim, &cluster, &city);
        if done && !storm.is_blowing() {
            break;
        }
    }
    let (took, evidence) = (sim.elapsed(), city.evidence());
    drop(sim);
    Run {
        trace,
        evidence,
        crashed: storm.crashed,
        forgot: storm.forgot,
        took,
        wall: Duration::ZERO,
    }
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

/// When the power fails, where, and what of the unsynced writes survives: after so much news, and
/// then in the midst of what that news set going.
struct Storm {
    weather: Weather,
    after_news: usize,
    then: Duration,
    /// Nothing: whoever has just served a change, which is likely to be writing what follows.
    victim: Option<usize>,
    kept: usize,
    due: Option<Duration>,
    crashed: Option<(usize, Duration)>,
    forgot: usize,
    restarted: bool,
}

impl Storm {
    fn of(seed: u64, weather: Weather) -> Self {
        let mut dice = Dice::of(seed, "storm");
        Self {
            weather,
            after_news: dice.one_of(0..RIDERS * RIDES * (NEWS_OF_A_RIDE - 1)),
            then: dice.ms(0..50),
            victim: dice.percent(50).then(|| dice.one_of(0..NODES)),
            kept: dice.one_of(0..2),
            due: None,
            crashed: None,
            forgot: 0,
            restarted: false,
        }
    }

    fn blow(&mut self, sim: &mut turmoil::Sim<'_>, cluster: &Cluster, city: &City) {
        if self.weather == Weather::Calm || self.restarted {
            return;
        }
        let now = sim.elapsed();
        match (self.crashed, self.due) {
            (Some((index, at)), _) if now >= at + DOWN => {
                tracing::info!(index, "restart");
                cluster.restart(sim, index);
                self.restarted = true;
            }
            (None, Some(due)) if now >= due => {
                let index = self.victim.unwrap_or_else(|| city.last_server());
                tracing::info!(index, "crash");
                self.forgot = cluster.crash(sim, index, self.kept);
                self.crashed = Some((index, now));
            }
            (None, None) if city.news() > self.after_news => self.due = Some(now + self.then),
            _ => {}
        }
    }

    fn is_blowing(&self) -> bool {
        self.crashed.is_some() && !self.restarted
    }
}
