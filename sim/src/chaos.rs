//! `hansom chaos`: a city against real nodes to which everything is done that happens to machines and
//! networks, judged by what the clients saw.
//!
//! ```text
//! flags -> namespaces of our own, or proxies -> nodes -> people registered
//!      -> [ riders and drivers | faults from the seed | probes | pulse | view ]
//!      -> all in step -> read back -> judge -> report.html, report.json, history.jsonl
//! ```
//!
//! * `args`; [`fault`]: kinds, and the deck that deals them. `stage`: does them. [`incident`]: what
//!   came of each. `shape`: which links a partition cuts.
//! * `network`: links that can be cut and slowed. `burden`: cores and disks that can be filled.
//! * [`locate`], [`pulse`]: what is looked at all the time. [`laws`]: what must hold beside the
//!   judge's laws. [`report`]: figures, page and table. `view`: the bar.
//!
//! # Not done
//! * **Wall clocks are not moved**: there is one for all processes. The deterministic simulation does.
//! * **Power is not cut**: what a killed process has written is in the page cache. So does the same.
//! * With `--net proxies` a lost packet of a stream is a late one, and no disk is small.

mod args;
mod burden;
pub mod fault;
pub mod incident;
pub mod laws;
pub mod locate;
mod network;
pub mod pulse;
pub mod report;
mod shape;
mod stage;
mod view;

pub use args::{Args, Net};

use crate::bench::machine::Machine;
use crate::client::Client;
use crate::cluster::{Cluster, Plan};
use crate::counters::Counters;
use crate::demo::nemesis::Nemesis;
use crate::demo::output::{Home, write_history};
use crate::demo::{DemoError, Failure, millis, raise_file_limit, secret, stopped};
use crate::dice::Dice;
use crate::history::History;
use crate::pace::CityMs;
use crate::progress::say;
use crate::readback::read_back;
use crate::report::{Harm, Report, Run, Sources as CitySources};
use crate::stall::Stall;
use crate::steady::Steady;
use crate::synthetic;
use crate::takeover::{By, Probes};
use crate::tally::Tally;
use crate::whole::whole;
use crate::workload::{Ended, Habits, People, Workload};
use crate::{checker, policy};
use args::{INSIDE, Settings};
use burden::SmallDisk;
use fault::{Kind, Needs};
use locate::Locator;
use network::Network;
use network::namespaces::{self, Namespaces};
use network::proxies::Proxies;
use proto::units::Clock;
use pulse::Pulse;
use report::{ChaosReport, Setup, Sources, Verdict};
use stage::{Board, Stage};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use view::View;

/// After how long a lost node is replaced: longer than most are away, and not the minute that is
/// right where somebody may be pulling a plug.
const REPLACE_AFTER_MS: u64 = 15_000;
/// Wishes that riders take in turn.
const WISHES: usize = 20_000;
/// The load goes on for so long after the last fault.
const COOL_DOWN: Duration = Duration::from_secs(3);

/// Runs it. True if the run is GREEN.
pub async fn run(args: Args, clock: Arc<dyn Clock>) -> Result<bool, DemoError> {
    let settings = args.check()?;
    tokio::select! {
        verdict = settings.run(clock) => verdict,
        stopped = stopped() => Err(stopped),
    }
}

fn system(what: &str, source: std::io::Error) -> DemoError {
    DemoError::System { what: what.into(), source }
}

impl Settings {
    async fn run(mut self, clock: Arc<dyn Clock>) -> Result<bool, DemoError> {
        let net = self.choose_net()?;
        if net == Net::Namespaces && !self.inside {
            // The same process goes on there; this returns only if it can't.
            return Err(system("enter namespaces of its own", namespaces::enter(INSIDE)));
        }
        raise_file_limit();
        let mut home = Home::make("hansom-chaos-")?;
        let mut disk = None;
        let dice = Dice::of(self.seed, "network");
        let network = if net == Net::Namespaces {
            let seat = Dice::of(self.seed, "small disk").below(self.nodes);
            disk = self.small_disk(&home.path, seat);
            let small = disk.as_ref().map(|disk| (seat, disk.path().to_path_buf()));
            let made = Namespaces::new(small, dice).await;
            Network::Namespaces(made.map_err(|source| system("make a network", source))?)
        } else {
            let made = Proxies::new(Arc::clone(&clock), dice);
            Network::Proxies(made.map_err(|source| system("make proxies", source))?)
        };
        let left_out = self.leave_out(|needs| needs != Needs::SmallDisk || disk.is_some());
        if self.named && !left_out.is_empty() {
            return Err(DemoError::Usage("full-disk is not permitted here".into()));
        }
        let report = self.with_nodes(&network, disk.as_ref(), left_out, &clock, &mut home).await?;
        let green = report.verdict == Verdict::Green;
        if !green {
            home.keep();
        }
        if home.is_kept() {
            say(&format!("logs, data and history are in {}", home.path.display()));
        }
        Ok(green)
    }

    fn choose_net(&self) -> Result<Net, DemoError> {
        match self.net {
            Net::Proxies => Ok(Net::Proxies),
            Net::Namespaces | Net::Auto if self.inside => Ok(Net::Namespaces),
            Net::Namespaces => namespaces::permitted().map(|()| Net::Namespaces).map_err(|why| {
                DemoError::Usage(format!(
                    "namespaces are not permitted here ({why}); try --net proxies"
                ))
            }),
            Net::Auto => Ok(match namespaces::permitted() {
                Ok(()) => Net::Namespaces,
                Err(why) => {
                    say(&format!("no namespaces here ({why}); proxies on loopback instead"));
                    Net::Proxies
                }
            }),
        }
    }

    /// A small disk for the node in this seat, if it is wanted and can be had.
    fn small_disk(&self, home: &Path, seat: usize) -> Option<SmallDisk> {
        if !self.kinds.contains(&Kind::FullDisk) {
            return None;
        }
        match SmallDisk::mount(&home.join("small"), seat) {
            Ok(disk) => Some(disk),
            Err(error) => {
                say(&format!("no disk can be filled here ({error})"));
                None
            }
        }
    }

    /// From the first process to the written report; the nodes die with it.
    async fn with_nodes(
        self,
        network: &Network,
        disk: Option<&SmallDisk>,
        left_out: Vec<Kind>,
        clock: &Arc<dyn Clock>,
        home: &mut Home,
    ) -> Result<ChaosReport, DemoError> {
        if self.keep {
            home.keep();
        }
        say(&format!(
            "{} nodes by {} in {}; faults for {:.1} minutes",
            self.nodes,
            network.as_str(),
            home.path.display(),
            self.lasts.as_secs_f64() / 60.0
        ));
        let cluster = Cluster::start_on(self.plan(&home.path), network.ground());
        let cluster = cluster.map_err(|error| {
            home.keep();
            Failure::from(error).with_logs(&home.path, String::new())
        })?;
        let nemesis = Nemesis::new(cluster, Arc::clone(clock));
        let (keep, directory) = (self.keep, self.report.clone());
        let played = self.play(&nemesis, network, disk, left_out, clock).await;
        let (report, history) = played.map_err(|failure| {
            home.keep();
            failure.with_logs(&home.path, nemesis.tails())
        })?;
        let directory = match directory {
            Some(directory) => {
                std::fs::create_dir_all(&directory)
                    .map_err(|source| system(&format!("make {}", directory.display()), source))?;
                directory
            }
            None => home.path.clone(),
        };
        if keep || report.verdict != Verdict::Green || directory != home.path {
            write_history(&directory.join("history.jsonl"), &history)?;
            write_report(&directory, &report)?;
        }
        std::io::stdout()
            .lock()
            .write_all(report.table().as_bytes())
            .map_err(|source| system("write the report", source))?;
        Ok(report)
    }

    fn habits(&self) -> Habits {
        Habits::usual(self.speed)
    }

    fn city(&self) -> crate::city::City {
        let window = CityMs(whole(self.lasts.as_secs_f64() * 1000.0 * self.speed));
        let (seed, fleet) = (self.seed, self.cars);
        synthetic::town(synthetic::Plan { seed, fleet, bookings: WISHES, window })
    }

    fn plan(&self, directory: &Path) -> Plan {
        let city = self.city();
        let mut flags = policy::flags(&self.habits(), city.roads.assumption(), &city.busy_cells());
        let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
        flag("--partitions", self.partitions.to_string());
        flag("--replace-after-ms", REPLACE_AFTER_MS.to_string());
        if let Some(fault) = &self.plant {
            flag("--plant", fault.clone());
        }
        // Clients are in the same namespace or on the same loopback, and nobody else is.
        flags.push("--insecure-dev-auth".into());
        let (program, nodes, key) = (self.program.clone(), self.nodes, secret(self.seed));
        Plan { program, nodes, directory: directory.into(), flags, key, edge: false }
    }

    fn setup(&self, network: &Network, left_out: Vec<Kind>) -> Setup {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds =
            if self.named { format!(" --faults {}", kinds.join(",")) } else { String::new() };
        let minutes = self.lasts.as_secs_f64() / 60.0;
        let command = format!(
            "hansom chaos --minutes {minutes} --nodes {} --rate {} --seed {} --partitions {} \
             --riders {} --cars {} --speed {} --net {}{kinds} --report DIR",
            self.nodes,
            self.rate,
            self.seed,
            self.partitions,
            self.riders,
            self.cars,
            self.speed,
            network.as_str()
        );
        Setup {
            command,
            machine: Machine::this(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            net: network.as_str(),
            nodes: self.nodes,
            partitions: self.partitions,
            rate: self.rate,
            seed: self.seed,
            minutes,
            kinds: self.kinds.clone(),
            left_out,
            planted: self.plant.clone(),
        }
    }

    async fn play(
        self,
        nemesis: &Nemesis,
        network: &Network,
        disk: Option<&SmallDisk>,
        left_out: Vec<Kind>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(ChaosReport, Arc<History>), Failure> {
        let (seed, habits, city) = (self.seed, self.habits(), self.city());
        let tally = Arc::new(Tally::new(self.nodes));
        let history = Arc::new(History::begin(Arc::clone(clock)));
        let load = Steady { riders: self.riders, operations: self.rate };
        let workload = Workload::new(
            nemesis.doors(),
            Arc::clone(&history),
            Arc::clone(&tally),
            Arc::clone(clock),
            habits,
            seed,
        )?
        .steady(Some(load));
        let client = workload.client().clone();
        nemesis.all_ready(&client).await?;
        say("nodes are ready; registering drivers and riders");
        let (people, probes) = self.settle(nemesis, &workload, &client, &city).await?;
        let run = Run {
            city: city.name.clone(),
            seed,
            speed: self.speed,
            nodes: self.nodes,
            fleet: self.cars,
            requests: 0,
            ping_period_ms: millis(habits.ping_period(self.cars)),
            assumption: city.roads.assumption(),
            split_cells: city.busy_cells().iter().map(ToString::to_string).collect(),
            planted: self.plant.clone(),
        };
        let open = workload.open(city, &people).await?;
        let board = Board::new(Arc::clone(clock), self.lasts);
        let doors = nemesis.doors();
        let locator =
            Locator::place(&client, &doors, Arc::clone(clock), board.began(), seed).await?;
        let pulse = Pulse::new(Arc::clone(&tally), Arc::clone(clock), board.began());
        let (stall, view) = (Stall::watch(Arc::clone(clock)), View::new(board.ends_ms()));
        say("the city opens");
        let voice = view.voice();
        let stage = Stage {
            nemesis,
            client: &client,
            tally: &tally,
            voice: &voice,
            probes: &probes,
            locator: &locator,
            network,
            disk,
            board: &board,
        };
        tally.set_stable(false);
        let before = (tally.asked.get(), tally.settled.get());
        let (close, closing) = watch::channel(false);
        let (ended, played): (Ended, Result<(u64, u64, u64), Failure>) = tokio::select! {
            both = async {
                tokio::join!(open.run(closing), async {
                    let done = stage.play(&self.kinds, seed).await;
                    let at = (board.ms(), tally.asked.get(), tally.settled.get());
                    tokio::time::sleep(COOL_DOWN).await;
                    close.send_replace(true);
                    done.map(|()| at)
                })
            } => both,
            never = view.show(&board, &tally) => match never {},
            never = locator.watch() => match never {},
            never = pulse.watch() => match never {},
        };
        view.clear();
        let (ended_ms, asked, settled) = played?;
        say("all riders are done; reading everything back");
        let seen = history.read();
        let (in_the_end, at_end) = tokio::join!(
            crate::demo::whole_at_end(nemesis, &client),
            read_back(&client, &seen, seed)
        );
        let mut counters = nemesis.before_the_kills();
        for node in 0..self.nodes {
            // A node that shows no metrics leaves its figures out, and the report says less.
            if let Ok(text) = client.text_of(node, "/metrics").await {
                counters.add(&Counters::parse(&text));
            }
        }
        let run = Run { requests: usize::try_from(ended.rides).unwrap_or(usize::MAX), ..run };
        let city = Report::of(CitySources {
            run,
            ended,
            harm: Harm { whole: Some(in_the_end), ..Harm::default() },
            habits,
            tally: &tally,
            seen: &seen,
            at_end: &at_end,
            counters: &counters,
            references: Vec::new(),
            violations: checker::judge(&seen, &at_end),
        });
        let panics = panics(&nemesis.cluster().logs());
        let report = ChaosReport::of(Sources {
            setup: self.setup(network, left_out),
            incidents: board.incidents(),
            seconds: pulse.seconds(),
            looks: locator.looks(),
            stall_ms: stall.so_far(),
            ended_ms,
            asked: asked - before.0,
            settled: settled - before.1,
            tally: &tally,
            fallen: board.fallen(),
            panics,
            hopeless: board.is_hopeless(),
            city,
        });
        Ok((report, history))
    }

    /// Registers everybody, and somebody in each partition.
    async fn settle(
        &self,
        nemesis: &Nemesis,
        workload: &Workload,
        client: &Client,
        city: &crate::city::City,
    ) -> Result<(People, Probes), Failure> {
        let all = async {
            let people = workload.register(city).await?;
            let mut groups = nemesis.partitions(client).await.groups();
            groups.remove(&0);
            let clock = Arc::clone(&nemesis.clock);
            let probes = Probes::place(client, (&groups, By::Writes), clock, self.seed).await?;
            Ok::<_, Failure>((people, probes))
        };
        tokio::select! {
            all = all => all,
            died = nemesis.watch() => Err(died.into()),
        }
    }
}

/// Lines of the nodes' logs that say that something panicked; a few of each are enough.
fn panics(logs: &[std::path::PathBuf]) -> Vec<String> {
    const SHOWN: usize = 5;
    let mut found = Vec::new();
    for log in logs {
        // Not every number became a node.
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains("panicked at"));
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.extend(lines.take(SHOWN).map(|line| format!("{name}: {line}")));
    }
    found
}

fn write_report(directory: &Path, report: &ChaosReport) -> Result<(), DemoError> {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text)
            .map_err(|source| system(&format!("write {}", path.display()), source))
    };
    let json = serde_json::to_string_pretty(report)
        .map_err(|error| system("write the report", std::io::Error::other(error)))?;
    write("report.json", json + "\n")?;
    write("report.html", report::html::page(report))?;
    say(&format!("the report is {}", directory.join("report.html").display()));
    Ok(())
}
