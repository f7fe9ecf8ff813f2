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
//!   judge's laws. [`report`]: figures, page and table. `view`: the bar. `run`: all of it together.
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
mod run;
mod shape;
mod stage;
mod view;

pub use args::{Args, Net};

use crate::cluster::Cluster;
use crate::demo::nemesis::Nemesis;
use crate::demo::output::{Home, write_history};
use crate::demo::{DemoError, Failure, raise_file_limit, stopped};
use crate::dice::Dice;
use crate::progress::say;
use args::{INSIDE, Settings};
use burden::SmallDisk;
use fault::{Kind, Needs};
use network::Network;
use network::namespaces::{self, Namespaces};
use network::proxies::Proxies;
use proto::units::Clock;
use report::{ChaosReport, Verdict};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

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
        let run = self.with_nodes(&network, disk.as_ref(), left_out, &clock, &mut home);
        let report = Box::pin(run).await?;
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
