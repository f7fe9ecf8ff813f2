//! Real nodes on simulated machines: real gossip, peer calls, router, HTTP, actors and ledger; only
//! sockets, time, chance and the disk are the simulation's.

use crate::clock::{Off, WrongClock};
use crate::dice::Dice;
use crate::fault::Moment;
use crate::laws::able::Standing;
use crate::net::{Air, Simulated};
use crate::outside::EPOCH;
use crate::schedule::PARTITIONS;
use clap::Parser;
use ledger::replicated::{ReplicaStatus, Retention};
use ledger::{MemoryDisk, Replicated};
use node::mint::SeededMint;
use node::node::Storage;
use node::{Config, Node, Seams};
use proto::{GroupId, NodeId, WallMs};
use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most machines of a run, those that join among them.
pub const MACHINES_MAX: usize = 24;
/// Little is kept at hand, so that a minute sees snapshots, purges and history put away.
const RETENTION: Retention = Retention {
    ms: 24 * 60 * 60 * 1000,
    events_max: 40,
    segment_bytes: 2_000,
    snapshot_entries: 60,
};

/// The addresses turmoil gives hosts, in order.
fn ip(index: usize) -> String {
    format!("192.168.0.{}", index + 1)
}

/// Where clients reach a node.
pub fn http(index: usize) -> SocketAddr {
    format!("{}:8001", ip(index)).parse().expect("an address")
}

/// The name of a node's host, and of the node in answers.
pub fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    args: node::Args,
}

/// How all nodes of a run are started.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Whose chance it is.
    pub seed: u64,
    /// Nodes that found the cluster.
    pub founders: usize,
    /// How long a sync takes.
    pub sync_takes: Duration,
    /// Flags more than what the simulation needs.
    pub flags: Vec<String>,
}

fn config(index: usize, plan: &Plan, seeds: &[usize]) -> Config {
    let (id, http) = ((index + 1).to_string(), http(index).to_string());
    let peer = |node: usize| format!("{}:7101", ip(node));
    let found: Vec<String> = (0..plan.founders).map(|n| format!("{}={}", n + 1, peer(n))).collect();
    let partitions = PARTITIONS.to_string();
    let mut words: Vec<String> = ["node", "--node-id", &id, "--http", &http].map(Into::into).into();
    if index < plan.founders {
        words.extend(["--initial-nodes".into(), found.join(",")]);
        words.extend(["--partitions".into(), partitions]);
    } else {
        let seeds: Vec<String> = seeds.iter().map(|seed| peer(*seed)).collect();
        words.extend(["--seeds".into(), seeds.join(",")]);
        words.extend(["--peer".into(), peer(index)]);
    }
    words.extend(["--cluster-key", "known to all who read this"].map(Into::into));
    words.push("--insecure-dev-auth".into());
    words.extend(plan.flags.iter().cloned());
    CommandLine::parse_from(words).args.into_config().expect("a configuration that makes sense")
}

/// A machine's disks.
#[derive(Debug, Clone, Default)]
pub struct Disks {
    /// The write-ahead log's.
    pub log: MemoryDisk,
    /// The one of snapshots and history.
    pub snapshots: MemoryDisk,
}

impl Disks {
    fn both(&self) -> [&MemoryDisk; 2] {
        [&self.log, &self.snapshots]
    }
}

/// A machine: what survives its crashes.
pub struct Machine {
    index: usize,
    plan: Rc<Plan>,
    air: Air,
    /// Whom it asks for the cluster, if it is no founder.
    seeds: Vec<usize>,
    disks: RefCell<Disks>,
    off: Off,
    starts: Cell<u64>,
    /// When it was last switched on.
    began: Cell<Duration>,
    /// The ledger of the node that runs here.
    ledger: RefCell<Option<Replicated>>,
    /// Whether it has power.
    on: Cell<bool>,
    /// Whether it is lost for ever.
    lost: Cell<bool>,
    /// What its nodes said that could not go on.
    said: RefCell<Vec<String>>,
}

impl Machine {
    async fn run(self: Rc<Self>) -> turmoil::Result {
        let generation = self.starts.get() + 1;
        self.starts.set(generation);
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        self.began.set(elapsed);
        let Plan { seed, sync_takes, .. } = *self.plan;
        let chance = Dice::of(seed, &format!("n{} {generation}", self.index)).bits();
        let wall = EPOCH + elapsed;
        let wall = WallMs(u64::try_from(wall.as_millis())?);
        let (log, snapshots) = {
            let disks = self.disks.borrow();
            (disks.log.open(), disks.snapshots.open())
        };
        let retention = RETENTION;
        let seams = Seams {
            net: Arc::new(Simulated { machine: self.index, air: self.air.clone(), chance }),
            clock: Arc::new(WrongClock::starting_at(wall, Arc::clone(&self.off))),
            mint: Arc::new(SeededMint::from_seed(chance)),
            storage: Storage::Memory { log, snapshots, sync_takes, retention, generation },
        };
        let ended = match Node::start(config(self.index, &self.plan, &self.seeds), seams).await {
            Ok(mut node) => {
                *self.ledger.borrow_mut() = Some(node.ledger().clone());
                let why = node.failed().await;
                self.ledger.borrow_mut().take();
                node.stop().await;
                why
            }
            Err(why) => why,
        };
        let mut said = ended.to_string();
        let mut cause = ended.source();
        while let Some(why) = cause {
            said += &format!(": {why}");
            cause = why.source();
        }
        tracing::info!(index = self.index, said, "ended");
        self.said.borrow_mut().push(said);
        Ok(())
    }
}

/// The machines of a simulation.
pub struct Cluster {
    plan: Rc<Plan>,
    machines: RefCell<Vec<Rc<Machine>>>,
    /// How well machines send datagrams.
    pub air: Air,
}

impl Cluster {
    /// Puts the founders into a simulation and switches them on.
    pub fn start(sim: &mut turmoil::Sim<'_>, plan: Plan) -> Rc<Self> {
        // turmoil hands out addresses in the order of asking.
        for index in 0..MACHINES_MAX {
            assert_eq!(sim.lookup(name(index)).to_string(), ip(index));
        }
        let cluster =
            Self { plan: Rc::new(plan), machines: RefCell::default(), air: Air::default() };
        for _ in 0..cluster.plan.founders {
            cluster.add(sim);
        }
        Rc::new(cluster)
    }

    /// Puts one machine more into the simulation and switches it on; says which.
    pub fn add(&self, sim: &mut turmoil::Sim<'_>) -> usize {
        let index = self.size();
        assert!(index < MACHINES_MAX, "a storm of so many joins");
        let machine = Rc::new(Machine {
            index,
            plan: Rc::clone(&self.plan),
            air: self.air.clone(),
            seeds: self.kept(),
            disks: RefCell::default(),
            off: Off::default(),
            starts: Cell::new(0),
            began: Cell::default(),
            ledger: RefCell::default(),
            on: Cell::new(true),
            lost: Cell::new(false),
            said: RefCell::default(),
        });
        self.machines.borrow_mut().push(Rc::clone(&machine));
        sim.host(name(index), move || Rc::clone(&machine).run());
        index
    }

    fn machine(&self, index: usize) -> Ref<'_, Rc<Machine>> {
        Ref::map(self.machines.borrow(), |machines| &machines[index])
    }

    /// How many machines there are, lost ones among them.
    pub fn size(&self) -> usize {
        self.machines.borrow().len()
    }

    fn those(&self, what: impl Fn(&Machine) -> bool) -> Vec<usize> {
        let machines = self.machines.borrow();
        machines.iter().filter(|machine| what(machine)).map(|machine| machine.index).collect()
    }

    /// The machines that are not lost.
    pub fn kept(&self) -> Vec<usize> {
        self.those(|machine| !machine.lost.get())
    }

    /// The machines that have power.
    pub fn on(&self) -> Vec<usize> {
        self.those(|machine| machine.on.get())
    }

    /// The machines on which a node runs that has opened its ledger and has not failed.
    pub fn running(&self) -> Vec<usize> {
        self.those(|machine| machine.on.get() && machine.ledger.borrow().is_some())
    }

    /// Whether the node of a machine founded the cluster or has been let in.
    pub fn belongs(&self, index: usize) -> bool {
        let ledger = self.machine(index).ledger.borrow().clone();
        ledger.is_some_and(|ledger| ledger.known().borrow().cluster.version > 0)
    }

    /// Whether the node of a machine was switched on before this time, and not again since.
    pub fn is_on_since(&self, index: usize, time: Duration) -> bool {
        let machine = self.machine(index);
        machine.on.get() && machine.began.get() <= time
    }

    /// How often each log was synced.
    pub fn syncs(&self) -> Vec<u64> {
        self.machines.borrow().iter().map(|m| m.disks.borrow().log.syncs()).collect()
    }

    /// Whether this is the moment to take power from a machine: its log has something to lose.
    pub fn is_at(&self, index: usize, moment: Moment) -> bool {
        let log = self.machine(index).disks.borrow().log.clone();
        let loses = log.unsynced() > 0;
        match moment {
            Moment::Any => true,
            Moment::MidSync => loses,
            Moment::Unasked => loses && !log.is_syncing(),
        }
    }

    /// A machine loses power. Of the writes that were not synced the first `kept` survive. Says how
    /// many writes are gone.
    pub fn crash(&self, sim: &mut turmoil::Sim<'_>, index: usize, kept: usize) -> usize {
        let machine = self.machine(index);
        sim.crash(name(index));
        machine.on.set(false);
        machine.ledger.borrow_mut().take();
        let disks = machine.disks.borrow();
        let unsynced: usize = disks.both().iter().map(|disk| disk.unsynced()).sum();
        disks.both().iter().for_each(|disk| disk.crash(kept));
        unsynced.saturating_sub(kept)
    }

    /// A machine loses power and what its disks held.
    pub fn blank(&self, sim: &mut turmoil::Sim<'_>, index: usize) {
        self.crash(sim, index, 0);
        self.machine(index).disks.take();
    }

    /// A machine is gone for ever.
    pub fn lose(&self, sim: &mut turmoil::Sim<'_>, index: usize) {
        self.blank(sim, index);
        self.machine(index).lost.set(true);
    }

    /// A machine is switched on again, if it was off or its node has ended.
    pub fn restart(&self, sim: &mut turmoil::Sim<'_>, index: usize) {
        let machine = self.machine(index);
        if !machine.lost.get() {
            machine.ledger.borrow_mut().take();
            machine.on.set(true);
            sim.bounce(name(index));
        }
    }

    /// Whether the node of a machine that has power has ended by itself.
    pub fn has_ended(&self, sim: &mut turmoil::Sim<'_>, index: usize) -> bool {
        self.machine(index).on.get() && !sim.is_host_running(name(index))
    }

    /// Does something to a machine's disks.
    pub fn with_disks(&self, index: usize, what: impl Fn(&MemoryDisk)) {
        self.machine(index).disks.borrow().both().into_iter().for_each(what);
    }

    /// Sets by how many milliseconds a machine's wall clock is off.
    pub fn set_clock(&self, index: usize, off_ms: i64) {
        self.machine(index).off.store(off_ms, Ordering::Relaxed);
    }

    /// What the nodes said that could not go on, by machine.
    pub fn said(&self) -> Vec<(usize, String)> {
        let machines = self.machines.borrow();
        let of = |machine: &Rc<Machine>| {
            let (index, said) = (machine.index, machine.said.borrow().clone());
            said.into_iter().map(move |said| (index, said))
        };
        machines.iter().flat_map(of).collect()
    }

    /// How the replicas of each running node stand, by its own word.
    pub fn replicas(&self) -> Replicas {
        let machines = self.machines.borrow();
        let of = |machine: &Rc<Machine>| {
            let ledger = machine.ledger.borrow();
            let status = ledger.as_ref().filter(|_| machine.on.get())?.replicas();
            Some((machine.index, status.into_iter().map(|status| (status.group, status)).collect()))
        };
        Replicas(machines.iter().filter_map(of).collect())
    }

    /// Where the replicas of each group should be, as the node says that has heard most.
    pub fn wanted(&self) -> BTreeMap<GroupId, BTreeSet<usize>> {
        let machines = self.machines.borrow();
        let known = machines.iter().filter_map(|machine| {
            let ledger = machine.ledger.borrow();
            Some(ledger.as_ref().filter(|_| machine.on.get())?.known().borrow().clone())
        });
        let newest = known.filter(|known| known.agreed).max_by_key(|known| known.cluster.version);
        let plan = newest.map(|known| known.plan.clone()).unwrap_or_default();
        plan.into_iter()
            .map(|(group, nodes)| (group, nodes.into_iter().map(seat).collect()))
            .collect()
    }
}

/// The machine of a node: one less than its number.
pub fn seat(node: NodeId) -> usize {
    usize::try_from(node.0).unwrap_or(usize::MAX).wrapping_sub(1)
}

/// How replicas stand: by machine and group.
#[derive(Debug, Clone, Default)]
pub struct Replicas(pub BTreeMap<usize, BTreeMap<GroupId, ReplicaStatus>>);

impl Replicas {
    /// Who leads a group, and how he stands: of those who say so the one of the highest term.
    pub fn leader(&self, group: GroupId) -> Option<(usize, &ReplicaStatus)> {
        let of = self.0.iter().filter_map(|(index, all)| Some((*index, all.get(&group)?)));
        of.filter(|(_, status)| status.leads).max_by_key(|(_, status)| status.term)
    }

    /// The groups that a machine leads, group 0 left out: no client asks it for anything.
    pub fn led_by(&self, index: usize) -> BTreeSet<u16> {
        let groups = (1..=PARTITIONS).map(GroupId);
        let led = groups.filter(|g| self.leader(*g).is_some_and(|(leader, _)| leader == index));
        led.map(|group| group.0).collect()
    }

    /// Who votes in a group, as the replica says that has applied most of the latest term.
    pub fn voters(&self, group: GroupId) -> BTreeSet<usize> {
        let all = self.0.values().filter_map(|all| all.get(&group));
        let newest = all.max_by_key(|status| (status.leads, status.term, status.applied));
        newest.map(|s| s.voters.iter().map(|node| seat(*node)).collect()).unwrap_or_default()
    }

    /// How the replicas of a group stand, by machine.
    pub fn standing(&self, group: GroupId) -> BTreeMap<usize, Standing> {
        let of = |(index, all): (&usize, &BTreeMap<GroupId, ReplicaStatus>)| {
            let ReplicaStatus { quorums, may_stand, last, .. } = all.get(&group)?;
            let seats = |voters: &BTreeSet<NodeId>| voters.iter().copied().map(seat).collect();
            let (quorums, last) = (quorums.iter().map(seats).collect(), (last.0.0, last.1));
            Some((*index, Standing { may_stand: *may_stand, quorums, last }))
        };
        self.0.iter().filter_map(of).collect()
    }

    /// Whether all partitions, and group 0, have all replicas that they should have, on these
    /// machines, all but caught up.
    pub fn are_whole(
        &self,
        wanted: &BTreeMap<GroupId, BTreeSet<usize>>,
        on: &[usize],
    ) -> Result<(), String> {
        const LAG_MAX: u64 = 100;
        if wanted.is_empty() {
            return Err("nobody knows where replicas should be".into());
        }
        for (group, wanted) in wanted {
            let Some((_, leader)) = self.leader(*group) else {
                return Err(format!("nobody leads {group}"));
            };
            let voters = self.voters(*group);
            if &voters != wanted {
                return Err(format!("{group} has votes at {voters:?}, wanted at {wanted:?}"));
            }
            for voter in &voters {
                // Whoever has not heard of the last change yet may need a majority of the old voters.
                let quorums = self.standing(*group).get(voter).map(|own| own.quorums.clone());
                if quorums.is_some_and(|quorums| quorums != [voters.clone()]) {
                    return Err(format!("{group} has not heard who votes at {}", name(*voter)));
                }
                let status = self.0.get(voter).and_then(|all| all.get(group));
                match status.filter(|_| on.contains(voter)) {
                    Some(status) if status.applied + LAG_MAX >= leader.applied => {}
                    Some(_) => return Err(format!("{group} lags at {}", name(*voter))),
                    None => return Err(format!("{group} is not held by {}", name(*voter))),
                }
            }
        }
        Ok(())
    }
}

/// The names of machines, for people.
pub fn names(machines: impl IntoIterator<Item = usize>) -> String {
    let names: Vec<String> = machines.into_iter().map(name).collect();
    names.join(" ")
}
