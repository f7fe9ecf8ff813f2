//! `hansom demo`: the main job in one command. Starts real nodes on loopback in a temporary
//! directory, runs a city against them, kills a node and starts it again, takes another one's disk
//! away, waits until every partition has all its replicas, reads everything back, judges, and prints
//! one table. Exit 0 only if the judge acquits and no partition lacks a replica.
//!
//! ```text
//! args -> city, habits, orders -> node processes -> people registered, sockets open
//!      -> [ riders and drivers  |  what is done to nodes  |  progress ] -> read back -> judge -> report
//! ```

mod args;
mod compare;
mod error;
pub(crate) mod nemesis;
pub(crate) mod output;
mod script;

pub use args::Args;
pub use error::{DemoError, Failure};

use crate::checker;
use crate::city::City;
use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::counters::Counters;
use crate::dice::Dice;
use crate::history::History;
use crate::policy::{self, Policy};
use crate::progress::{Progress, say};
use crate::readback::read_back;
use crate::report::{Harm, Report, Run, Sources};
use crate::steady::Steady;
use crate::takeover::{By, Probes};
use crate::tally::Tally;
use crate::workload::{Habits, Workload};
use nemesis::Nemesis;
use output::{Home, print, write_history};
use proto::units::Clock;
pub(crate) use script::whole_at_end;
use script::{Orders, Stage};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Runs the demo. True if the judge found nothing.
pub async fn run(args: Args, clock: Arc<dyn Clock>) -> Result<bool, DemoError> {
    let settings = args.check()?;
    tokio::select! {
        verdict = settings.run(&clock) => verdict,
        stopped = stopped() => Err(stopped),
    }
}

/// Waits for ctrl-c or a polite kill. Dropping the run then kills the nodes.
pub(crate) async fn stopped() -> DemoError {
    let system = |source| DemoError::System { what: "listen for signals".into(), source };
    match signal(SignalKind::terminate()) {
        Err(error) => system(error),
        Ok(mut terminate) => tokio::select! {
            pressed = tokio::signal::ctrl_c() => {
                pressed.map_or_else(system, |()| DemoError::Interrupted)
            }
            _ = terminate.recv() => DemoError::Interrupted,
        },
    }
}

/// A city that stays open under a steady load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) load: Steady,
    /// For how long, unless what is done to the nodes takes longer.
    pub(crate) lasts: Duration,
}

/// What the flags come to.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) city: City,
    pub(crate) habits: Habits,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) orders: Orders,
    pub(crate) steady: Option<Open>,
    /// Those to compare; none for the usual one.
    pub(crate) policies: Vec<Policy>,
    pub(crate) keep: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) program: PathBuf,
    pub(crate) plant: Option<String>,
}

/// After how long a lost node is replaced where one is lost on purpose: longer than the killed one is
/// away, and not the minute that is right where somebody may be pulling a plug.
const REPLACE_AFTER_MS: u64 = 7_000;
/// How long nodes may take to find each other; protocol time.
pub(crate) const READY_WITHIN_S: u64 = 30;

impl Settings {
    async fn run(self, clock: &Arc<dyn Clock>) -> Result<bool, DemoError> {
        raise_file_limit();
        if !self.policies.is_empty() {
            return compare::run(self, clock).await;
        }
        let json = self.json.clone();
        let report = self.run_once(None, clock).await?;
        print(&report, json.as_deref())?;
        Ok(report.green)
    }

    /// One run, under a policy or the usual one.
    async fn run_once(
        self,
        policy: Option<Policy>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Report, DemoError> {
        let mut home = Home::make("hansom-demo-")?;
        let (requests, fleet) = (self.city.requests.len(), self.city.fleet.len());
        let (assumption, split) = (self.city.roads.assumption(), self.city.busy_cells());
        let run = Run {
            city: self.city.name.clone(),
            seed: self.seed,
            speed: self.habits.speed,
            nodes: self.nodes,
            fleet,
            requests,
            ping_period_ms: millis(self.habits.ping_period(fleet)),
            assumption,
            split_cells: split.iter().map(ToString::to_string).collect(),
            planted: self.plant.clone(),
        };
        let mut flags = match policy {
            None => policy::flags(&self.habits, assumption, &split),
            Some(policy) => policy.flags(&self.habits, assumption, &split),
        };
        if let Some(roads) = self.city.roads.roads()
            && policy.is_none_or(Policy::knows_roads)
        {
            // The nodes' clock is the wall's, by which cars are so many times as fast.
            let file = home.path.join("city.roads");
            let saved = roads.save_faster(&file, self.habits.speed);
            saved.map_err(|error| DemoError::System {
                what: "write the streets for the nodes".into(),
                source: std::io::Error::other(error),
            })?;
            flags.extend(["--roads".to_owned(), file.display().to_string()]);
        }
        if self.orders.wipe {
            flags.extend(["--replace-after-ms".to_owned(), REPLACE_AFTER_MS.to_string()]);
        }
        if let Some(fault) = &self.plant {
            flags.extend(["--plant".to_owned(), fault.clone()]);
        }
        let (nodes, directory) = (self.nodes, home.path.clone());
        let (program, key) = (self.program.clone(), secret(self.seed));
        let plan = Plan { program, nodes, directory, flags, key, edge: false };
        let demand = match self.steady {
            None => format!("{requests} requests"),
            Some(Open { load: Steady { riders, operations }, .. }) => {
                format!("{riders} riders at {operations:.0} requests/s")
            }
        };
        say(&format!(
            "{}: {demand}, {fleet} cars; starting {nodes} nodes in {}",
            run.city,
            home.path.display()
        ));
        let report = self.with_cluster(plan, run, clock, &mut home).await?;
        if !report.green {
            home.keep();
        }
        if home.is_kept() {
            say(&format!("logs, data and history are in {}", home.path.display()));
        }
        Ok(report)
    }

    /// From the first process to the report; the nodes die with it.
    async fn with_cluster(
        self,
        plan: Plan,
        run: Run,
        clock: &Arc<dyn Clock>,
        home: &mut Home,
    ) -> Result<Report, DemoError> {
        let keep = self.keep;
        if keep {
            home.keep();
        }
        let cluster = Cluster::start(plan);
        let cluster = cluster.map_err(|error| {
            home.keep();
            Failure::from(error).with_logs(&home.path, String::new())
        })?;
        let nemesis = Nemesis::new(cluster, Arc::clone(clock));
        let played = self.play(&nemesis, run, clock).await;
        let (report, history) = played.map_err(|failure| {
            home.keep();
            failure.with_logs(&home.path, nemesis.tails())
        })?;
        if keep || !report.green {
            write_history(&home.path.join("history.jsonl"), &history)?;
        }
        Ok(report)
    }

    async fn play(
        self,
        nemesis: &Nemesis,
        mut run: Run,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Report, Arc<History>), Failure> {
        let Self { city, habits, nodes, seed, orders, steady, .. } = self;
        let tally = Arc::new(Tally::new(nodes));
        let history = Arc::new(History::begin(Arc::clone(clock)));
        let workload = Workload::new(
            nemesis.doors(),
            Arc::clone(&history),
            Arc::clone(&tally),
            Arc::clone(clock),
            habits,
            seed,
        )?
        .steady(steady.map(|open| open.load));
        let client = workload.client().clone();
        nemesis.all_ready(&client).await?;
        say("nodes are ready; registering drivers and riders");
        let (people, probes) = tokio::select! {
            both = async {
                let people = workload.register(&city).await?;
                Ok::<_, Failure>((people, place_probes(nemesis, &client, orders, seed).await?))
            } => both?,
            died = nemesis.watch() => return Err(died.into()),
        };
        let closes = Duration::from_secs_f64(city.last_request().0 as f64 / 1000.0 / habits.speed);
        let demand = steady.map_or(closes, |open| open.lasts);
        let references = city.references.clone();
        let open = workload.open(city, &people).await?;
        let riders = steady.is_none().then_some(run.requests as u64);
        let mut progress = Progress::new(riders, Arc::clone(&tally), client.clone(), nodes);
        say("the city opens");
        let voice = progress.voice();
        let began = clock.mono();
        let (close, closing) = watch::channel(false);
        let stage = Stage {
            nemesis,
            client: &client,
            tally: &tally,
            voice: &voice,
            probes: probes.as_ref(),
            demand,
            began,
            dice: Dice::of(seed, "nemesis"),
        };
        let (ended, harm) = tokio::select! {
            both = async {
                tokio::join!(open.run(closing), async {
                    let harm = stage.play(orders).await;
                    let gone = Duration::from_millis(clock.mono().since(began));
                    if harm.is_ok() && orders.kills == 0 {
                        tokio::time::sleep(demand.saturating_sub(gone)).await;
                    }
                    close.send_replace(true);
                    harm
                })
            } => (both.0, both.1?),
            died = nemesis.watch() => return Err(died.into()),
            never = progress.show() => match never {},
        };
        progress.clear();
        say("all riders are done; reading everything back");
        run.requests = usize::try_from(ended.rides).unwrap_or(usize::MAX);
        let seen = history.read();
        let (whole, at_end) = tokio::select! {
            both = async {
                (whole_at_end(nemesis, &client).await, read_back(&client, &seen, seed).await)
            } => both,
            died = nemesis.watch() => return Err(died.into()),
        };
        let mut counters = nemesis.before_the_kills();
        for node in 0..nodes {
            // A node that shows no metrics leaves its figures out, and the report says less.
            if let Ok(text) = client.text_of(node, "/metrics").await {
                counters.add(&Counters::parse(&text));
            }
        }
        let violations = checker::judge(&seen, &at_end);
        let report = Report::of(Sources {
            run,
            ended,
            harm: Harm { whole: Some(whole), ..harm },
            habits,
            tally: &tally,
            seen: &seen,
            at_end: &at_end,
            counters: &counters,
            references,
            violations,
        });
        Ok((report, history))
    }
}

/// Registers a rider in each partition, if there is a use for them.
async fn place_probes(
    nemesis: &Nemesis,
    client: &Client,
    orders: Orders,
    seed: u64,
) -> Result<Option<Probes>, Failure> {
    if !orders.probes() {
        return Ok(None);
    }
    let mut groups = nemesis.partitions(client).await.groups();
    groups.remove(&0);
    let placed =
        Probes::place(client, (&groups, By::Reads), Arc::clone(&nemesis.clock), seed).await?;
    Ok(Some(placed))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The nodes' secret. From the seed: it guards loopback for a minute.
pub(crate) fn secret(seed: u64) -> String {
    Dice::of(seed, "cluster key").key().to_string()
}

/// Thousands of sockets need thousands of files; many systems allow 1,024 unless asked. The nodes
/// inherit it. If it can't be raised, a large fleet fails with the system's own words.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current: _, maximum } = getrlimit(Resource::Nofile);
    let _as_before = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
