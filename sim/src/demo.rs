//! `hansom demo`: the main job in one command. Starts real nodes on loopback in a temporary
//! directory, runs a city against them, kills a node half-way and starts it again, reads everything
//! back, judges, and prints one table. Exit 0 only if the judge acquits.
//!
//! ```text
//! args -> city, habits -> node processes -> people registered, sockets open
//!      -> [ riders and drivers  |  the killing of a node  |  progress ] -> read back -> judge -> report
//! ```

mod args;
mod nemesis;

pub use args::Args;

use crate::city::City;
use crate::cluster::{Cluster, ClusterError, Plan};
use crate::counters::Counters;
use crate::csv::FileError;
use crate::dice::Dice;
use crate::history::History;
use crate::progress::{Progress, say};
use crate::readback::read_back;
use crate::report::{Report, Run, Sources};
use crate::tally::Tally;
use crate::workload::{Habits, Workload, WorkloadError};
use crate::{checker, policy};
use nemesis::Nemesis;
use proto::units::Clock;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The flags do not fit together. Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// A file of the city cannot be used. Exit status 2.
    #[error("{0}")]
    File(Box<FileError>),
    /// The nodes or the city did not run.
    #[error("{source}\nlogs are in {directory}\n{tails}", directory = directory.display())]
    Failed {
        /// Why.
        source: Box<Failure>,
        /// Where to look.
        directory: PathBuf,
        /// The end of each log.
        tails: String,
    },
    /// The machine would not.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody pressed ctrl-c.
    #[error("interrupted; all nodes were stopped")]
    Interrupted,
}

impl DemoError {
    /// Whether the caller's words are at fault, not the run.
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) | Self::File(_) => true,
            Self::Failed { .. } | Self::System { .. } | Self::Interrupted => false,
        }
    }
}

impl From<FileError> for DemoError {
    fn from(error: FileError) -> Self {
        Self::File(Box::new(error))
    }
}

/// What went wrong while the nodes ran.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The nodes did.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The city did.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
}

impl Failure {
    fn with_logs(self, directory: &Path, tails: String) -> DemoError {
        let (source, directory) = (Box::new(self), directory.to_path_buf());
        DemoError::Failed { source, directory, tails }
    }
}

/// Runs the demo. True if the judge found nothing.
pub async fn run(args: Args, clock: Arc<dyn Clock>) -> Result<bool, DemoError> {
    let settings = args.check()?;
    tokio::select! {
        verdict = settings.run(clock) => verdict,
        stopped = stopped() => Err(stopped),
    }
}

/// Waits for ctrl-c or a polite kill. Dropping the run then kills the nodes.
async fn stopped() -> DemoError {
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

/// What the flags come to.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) city: City,
    pub(crate) habits: Habits,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) kill: bool,
    pub(crate) keep: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) program: PathBuf,
    pub(crate) plant: Option<String>,
}

/// Where the run's files are, and whether they outlive it.
struct Home {
    path: PathBuf,
    directory: Option<TempDir>,
}

impl Home {
    fn make() -> Result<Self, DemoError> {
        let made = tempfile::Builder::new().prefix("hansom-demo-").tempdir();
        let directory =
            made.map_err(|source| DemoError::System { what: "make a directory".into(), source })?;
        Ok(Self { path: directory.path().into(), directory: Some(directory) })
    }

    /// Leaves the files where they are.
    fn keep(&mut self) {
        if let Some(directory) = self.directory.take() {
            let _path = directory.keep();
        }
    }
}

/// How long nodes may take to find each other; protocol time.
pub(crate) const READY_WITHIN_S: u64 = 30;

impl Settings {
    async fn run(self, clock: Arc<dyn Clock>) -> Result<bool, DemoError> {
        raise_file_limit();
        let mut home = Home::make()?;
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
        let mut flags = policy::flags(&self.habits, assumption, &split);
        if let Some(fault) = &self.plant {
            flags.extend(["--plant".to_owned(), fault.clone()]);
        }
        let (nodes, directory) = (self.nodes, home.path.clone());
        let plan =
            Plan { program: self.program.clone(), nodes, directory, flags, key: secret(self.seed) };
        say(&format!(
            "{}: {requests} requests, {fleet} cars; starting {nodes} nodes in {}",
            run.city,
            home.path.display()
        ));
        let report = self.with_cluster(plan, run, &clock, &mut home).await?;
        if !report.green {
            home.keep();
        }
        if home.directory.is_none() {
            say(&format!("logs, data and history are in {}", home.path.display()));
        }
        Ok(report.green)
    }

    /// From the first process to the printed report; the nodes die with it.
    async fn with_cluster(
        self,
        plan: Plan,
        run: Run,
        clock: &Arc<dyn Clock>,
        home: &mut Home,
    ) -> Result<Report, DemoError> {
        let (keep, json) = (self.keep, self.json.clone());
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
        print(&report, json.as_deref())?;
        Ok(report)
    }

    async fn play(
        self,
        nemesis: &Nemesis,
        run: Run,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Report, Arc<History>), Failure> {
        let Self { city, habits, nodes, seed, kill: kill_wanted, .. } = self;
        let tally = Arc::new(Tally::new(nodes));
        let history = Arc::new(History::begin(Arc::clone(clock)));
        let workload = Workload::new(
            nemesis.http(),
            Arc::clone(&history),
            Arc::clone(&tally),
            Arc::clone(clock),
            habits,
            seed,
        )?;
        let client = workload.client().clone();
        nemesis.all_ready(&client).await?;
        say("nodes are ready; registering drivers and riders");
        let people = tokio::select! {
            people = workload.register(&city) => people?,
            died = nemesis.watch() => return Err(died.into()),
        };
        let half_way =
            Duration::from_secs_f64(city.last_request().0 as f64 / 2000.0 / habits.speed);
        let references = city.references.clone();
        let open = workload.open(city, &people).await?;
        let mut progress =
            Progress::new(run.requests as u64, Arc::clone(&tally), client.clone(), nodes);
        say("the city opens");
        let victim = kill_wanted.then(|| Dice::of(seed, "nemesis").below(nodes));
        let voice = progress.voice();
        let (ended, kill) = tokio::select! {
            both = async {
                tokio::join!(open.run(), nemesis.strike(victim, half_way, &client, &tally, &voice))
            } => (both.0, both.1?),
            died = nemesis.watch() => return Err(died.into()),
            never = progress.show() => match never {},
        };
        progress.clear();
        say("all riders are done; reading everything back");
        let seen = history.read();
        let at_end = tokio::select! {
            at_end = read_back(&client, &seen, seed) => at_end,
            died = nemesis.watch() => return Err(died.into()),
        };
        let mut counters = nemesis.before_the_kill();
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
            kill,
            kill_wanted,
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The nodes' secret. From the seed: it guards loopback for a minute.
fn secret(seed: u64) -> String {
    Dice::of(seed, "cluster key").key()
}

/// Thousands of sockets need thousands of files; many systems allow 1,024 unless asked. The nodes
/// inherit it. If it can't be raised, a large fleet fails with the system's own words.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current: _, maximum } = getrlimit(Resource::Nofile);
    let _as_before = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn write_history(path: &Path, history: &History) -> Result<(), DemoError> {
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for seen in history.read() {
            serde_json::to_writer(&mut file, &seen)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write()
        .map_err(|source| DemoError::System { what: format!("write {}", path.display()), source })
}

/// The table on stdout; the JSON into its file, or on stdout instead of the table.
fn print(report: &Report, json: Option<&Path>) -> Result<(), DemoError> {
    let json_text = || -> std::io::Result<String> {
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        Ok(text)
    };
    let write = || -> std::io::Result<()> {
        match json {
            Some(path) if path == Path::new("-") => {
                say(&report.table());
                std::io::stdout().lock().write_all(json_text()?.as_bytes())
            }
            Some(path) => {
                std::fs::write(path, json_text()?)?;
                std::io::stdout().lock().write_all(report.table().as_bytes())
            }
            None => std::io::stdout().lock().write_all(report.table().as_bytes()),
        }
    };
    write().map_err(|source| DemoError::System { what: "write the report".into(), source })
}
