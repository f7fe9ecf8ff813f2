//! A run from the first registration to the report: the city, the faults and everything that watches
//! them side by side, then the end, read back and judged.

use super::args::Settings;
use super::burden::SmallDisk;
use super::fault::Kind;
use super::locate::Locator;
use super::network::Network;
use super::pulse::Pulse;
use super::report::{ChaosReport, Setup, Sources};
use super::stage::{Board, Stage};
use super::view::View;
use crate::bench::machine::Machine;
use crate::city::City;
use crate::client::Client;
use crate::cluster::Plan;
use crate::counters::Counters;
use crate::demo::nemesis::Nemesis;
use crate::demo::{Failure, millis, secret};
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
use proto::units::Clock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// After how long a lost node is replaced: longer than most are away, and not the minute that is
/// right where somebody may be pulling a plug.
const REPLACE_AFTER_MS: u64 = 15_000;
/// Wishes that riders take in turn.
const WISHES: usize = 20_000;
/// The load goes on for so long after the last fault.
const COOL_DOWN: Duration = Duration::from_secs(3);

impl Settings {
    fn habits(&self) -> Habits {
        Habits::usual(self.speed)
    }

    fn city(&self) -> City {
        let window = CityMs(whole(self.lasts.as_secs_f64() * 1000.0 * self.speed));
        let (seed, fleet) = (self.seed, self.cars);
        synthetic::town(synthetic::Plan { seed, fleet, bookings: WISHES, window })
    }

    pub(super) fn plan(&self, directory: &Path) -> Plan {
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

    pub(super) async fn play(
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
        city: &City,
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
fn panics(logs: &[PathBuf]) -> Vec<String> {
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
