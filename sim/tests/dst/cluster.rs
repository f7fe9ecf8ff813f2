//! Three real nodes on three simulated machines: real gossip, peer calls, router, HTTP, actors and
//! ledger; only sockets, time, chance and the disk are the simulation's.

use crate::dice::Dice;
use crate::net::Simulated;
use crate::outside::EPOCH;
use clap::Parser;
use ledger::{MemoryDisk, Store};
use node::clock::SystemClock;
use node::mint::SeededMint;
use node::node::Storage;
use node::{Config, Node, Seams};
use proto::WallMs;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How many nodes there are.
pub(crate) const NODES: usize = 3;
/// Partitions: few enough that a day takes a second, enough for each node to lead some.
const PARTITIONS: &str = "9";

/// The addresses turmoil gives hosts, in order.
fn ip(index: usize) -> String {
    format!("192.168.0.{}", index + 1)
}

/// Where clients reach a node.
pub(crate) fn http(index: usize) -> SocketAddr {
    format!("{}:8001", ip(index)).parse().expect("an address")
}

/// The name of a node's host, and of the node in answers.
pub(crate) fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: node::Args,
}

fn config(index: usize, flags: &[&str]) -> Config {
    let initial: Vec<String> = (0..NODES).map(|n| format!("{}={}:7101", n + 1, ip(n))).collect();
    let (id, http) = ((index + 1).to_string(), http(index).to_string());
    let words = ["--node-id", &id, "--initial-nodes", &initial.join(","), "--http", &http];
    let words = words.into_iter().chain(["--partitions", PARTITIONS]);
    let line = CommandLine::parse_from(
        ["node"]
            .into_iter()
            .chain(words)
            .chain(["--cluster-key", "known to all who read this", "--insecure-dev-auth"])
            .chain(flags.iter().copied()),
    );
    line.args.into_config().expect("a configuration that makes sense")
}

/// A machine's disks.
#[derive(Default)]
struct Disks {
    log: MemoryDisk,
    snapshots: MemoryDisk,
}

/// A machine: what survives its crashes.
pub(crate) struct Machine {
    index: usize,
    seed: u64,
    flags: &'static [&'static str],
    disks: RefCell<Disks>,
    sync_takes: Duration,
    starts: Cell<u64>,
    /// What its node said when it could not go on.
    said: RefCell<Option<String>>,
}

impl Machine {
    fn new(index: usize, seed: u64, flags: &'static [&'static str]) -> Self {
        // From a good disk to a poor one.
        let sync_takes = Dice::of(seed, "disks").ms(2..120);
        Self {
            index,
            seed,
            flags,
            disks: RefCell::default(),
            sync_takes,
            starts: Cell::new(0),
            said: RefCell::default(),
        }
    }

    async fn run(self: Rc<Self>) -> turmoil::Result {
        let generation = self.starts.get() + 1;
        self.starts.set(generation);
        let chance = Dice::of(self.seed, &format!("n{} {generation}", self.index)).bits();
        let wall = EPOCH + turmoil::sim_elapsed().unwrap_or_default();
        let wall = WallMs(u64::try_from(wall.as_millis())?);
        let (log, snapshots) = {
            let disks = self.disks.borrow();
            (disks.log.open(), disks.snapshots.open())
        };
        let sync_takes = self.sync_takes;
        let seams = Seams {
            net: Arc::new(Simulated),
            clock: Arc::new(SystemClock::starting_at(wall)),
            mint: Arc::new(SeededMint::from_seed(chance)),
            storage: Storage::Memory { log, snapshots, sync_takes, generation },
        };
        let mut node = Node::start(config(self.index, self.flags), seams).await?;
        let why = node.failed().await;
        let mut said = why.to_string();
        let mut cause = why.source();
        while let Some(why) = cause {
            said += &format!(": {why}");
            cause = why.source();
        }
        tracing::info!(index = self.index, said, "ended");
        *self.said.borrow_mut() = Some(said);
        node.stop().await;
        Ok(())
    }
}

/// The machines of a simulation.
pub(crate) struct Cluster(Vec<Rc<Machine>>);

impl Cluster {
    /// Puts three machines into a simulation and switches them on, with these flags more than what
    /// the simulation needs.
    pub(crate) fn start(
        sim: &mut turmoil::Sim<'_>,
        seed: u64,
        flags: &'static [&'static str],
    ) -> Self {
        let machines: Vec<_> =
            (0..NODES).map(|index| Rc::new(Machine::new(index, seed, flags))).collect();
        for machine in &machines {
            assert_eq!(sim.lookup(name(machine.index)).to_string(), ip(machine.index));
            let machine = Rc::clone(machine);
            sim.host(name(machine.index), move || Rc::clone(&machine).run());
        }
        Self(machines)
    }

    /// How often each disk was synced.
    pub(crate) fn syncs(&self) -> Vec<u64> {
        self.0.iter().map(|machine| machine.disks.borrow().log.syncs()).collect()
    }

    /// How long a sync takes, on all of them.
    pub(crate) fn sync_takes(&self) -> Duration {
        self.0[0].sync_takes
    }

    /// A machine loses power. Of the writes that were not synced the first `kept` survive. Says how
    /// many keys lost what they had.
    pub(crate) fn crash(&self, sim: &mut turmoil::Sim<'_>, index: usize, kept: usize) -> usize {
        sim.crash(name(index));
        let disks = &*self.0[index].disks.borrow();
        let before = contents(&disks.log);
        disks.log.crash(kept);
        disks.snapshots.crash(kept);
        let after = contents(&disks.log);
        before.iter().filter(|(key, value)| after.get(*key) != Some(value)).count()
    }

    /// A machine loses power and its disk. Says how many keys that had.
    pub(crate) fn wipe(&self, sim: &mut turmoil::Sim<'_>, index: usize) -> usize {
        sim.crash(name(index));
        contents(&self.0[index].disks.take().log).len()
    }

    /// What the nodes said that could not go on.
    pub(crate) fn said(&self) -> Vec<String> {
        self.0.iter().filter_map(|machine| machine.said.borrow().clone()).collect()
    }

    /// A machine is switched on again.
    pub(crate) fn restart(&self, sim: &mut turmoil::Sim<'_>, index: usize) {
        sim.bounce(name(index));
    }
}

fn contents(disk: &MemoryDisk) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let pairs = disk.open().scan(b"", b"", usize::MAX).expect("a memory is readable");
    pairs.into_iter().collect()
}
