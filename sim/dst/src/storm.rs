//! Makes the faults of a plan happen, each at its time or when its moment comes, ends them, and mends
//! the world at last. It looks into the nodes to aim at leaders, and to compare replicas.

use crate::city::{City, Order, Split};
use crate::cluster::{Cluster, Replicas, name, names};
use crate::fault::{Fault, Kind, Shape, Whom};
use crate::laws::Broken;
use crate::laws::covered::Happened;
use crate::laws::equal::Equality;
use crate::links::{self, LATENCY, Links};
use crate::schedule::{Due, PARTITIONS, Schedule};
use proto::GroupId;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// A fault whose moment has not come by then does not happen.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it is looked whether the moment has come, replicas are compared, and partitions seen.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A flapping link changes so often.
const FLAP_EVERY: Duration = Duration::from_millis(200);
/// No node joins a cluster that has grown by so many.
const GROWTH_MAX: usize = 2;
/// A node must stop itself when its disk has failed for so long.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// A fault that lasts.
#[derive(Debug)]
struct Active {
    fault: usize,
    began: Duration,
    until: Duration,
    what: Fault,
    victims: Vec<usize>,
    /// Of a flapping link: whether it is cut now, and since when.
    flapped: (bool, Duration),
}

/// The storm of a run.
pub struct Storm {
    plan: Rc<Schedule>,
    links: Links,
    next: usize,
    waiting: BTreeSet<usize>,
    active: Vec<Active>,
    happened: BTreeMap<usize, Happened>,
    looked: Duration,
    healed: bool,
    equality: Equality,
    restarts: usize,
    forgotten: usize,
}

/// What a storm knows at the end.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// What became of each fault.
    pub faults: Vec<Happened>,
    /// Replicas that differ.
    pub broken: Vec<Broken>,
    /// How often two replicas were compared.
    pub compared: u64,
    /// How often a machine was switched on again.
    pub restarts: usize,
    /// Unsynced writes that crashes undid.
    pub forgotten: usize,
}

/// The world as the storm may touch it.
struct World<'a, 'b> {
    sim: &'a mut turmoil::Sim<'b>,
    cluster: &'a Cluster,
    city: &'a City,
    now: Duration,
}

impl Storm {
    /// The storm that the plan says.
    pub fn new(plan: Rc<Schedule>) -> Self {
        Self {
            plan,
            links: Links::default(),
            next: 0,
            waiting: BTreeSet::new(),
            active: Vec::new(),
            happened: BTreeMap::new(),
            looked: Duration::ZERO,
            healed: false,
            equality: Equality::default(),
            restarts: 0,
            forgotten: 0,
        }
    }

    /// Whether nothing is going on, nor will.
    pub fn is_over(&self) -> bool {
        self.active.is_empty() && self.waiting.is_empty() && self.next == self.plan.faults.len()
    }

    /// Lets happen what is due; called after every step of the simulation.
    pub fn blow(&mut self, sim: &mut turmoil::Sim<'_>, cluster: &Cluster, city: &City) {
        let now = sim.elapsed();
        let world = &mut World { sim, cluster, city, now };
        let faults = &self.plan.faults;
        while !self.healed && self.next < faults.len() && faults[self.next].at <= now {
            self.waiting.insert(self.next);
            self.next += 1;
        }
        for at in 0..self.active.len() {
            self.flap(world, at);
        }
        let over: Vec<usize> =
            (0..self.active.len()).rev().filter(|at| self.active[*at].until <= now).collect();
        for at in over {
            let active = self.active.swap_remove(at);
            self.end(world, active);
        }
        let in_time = now >= self.looked + LOOK_EVERY;
        for fault in self.waiting.clone() {
            let Due { at, fault: what, .. } = self.plan.faults[fault];
            let each_moment = what.kind() == Kind::CrashInSync;
            if !in_time && !each_moment {
                continue;
            }
            match self.begin(world, fault) {
                Ok(()) => drop(self.waiting.remove(&fault)),
                Err(why) if now > at + PATIENCE => self.skip(fault, why),
                Err(_) => {}
            }
        }
        if in_time {
            self.looked = now;
            self.look(world);
        }
        if now >= self.plan.heal && !self.healed {
            self.heal(world);
        }
    }

    fn skip(&mut self, fault: usize, note: String) {
        self.waiting.remove(&fault);
        let what = self.plan.faults[fault].fault;
        let aimed = matches!(what.whom(), Some(Whom::Leader(_)));
        let (kind, whom) = (what.kind(), String::new());
        tracing::info!(target: "dst::storm", fault, ?what, note, "did not happen");
        self.happened.insert(fault, Happened { kind, at_ms: None, whom, led: 0, aimed, note });
    }

    /// Whom a fault hits now.
    fn victim(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        whom: Whom,
    ) -> Result<usize, String> {
        match whom {
            Whom::Leader(group) => {
                let led = replicas.leader(GroupId(group)).map(|(index, _)| index);
                let awake = led.filter(|index| !self.links.stands_still(*index));
                awake.ok_or_else(|| format!("nobody leads {group}"))
            }
            Whom::Someone(n) => {
                let running = world.cluster.running();
                let awake: Vec<usize> =
                    running.into_iter().filter(|index| !self.links.stands_still(*index)).collect();
                if awake.is_empty() {
                    Err("nobody runs".into())
                } else {
                    Ok(awake[n % awake.len()])
                }
            }
        }
    }

    fn victims(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        what: Fault,
    ) -> Result<Vec<usize>, String> {
        let on = world.cluster.on();
        match (what, what.whom()) {
            (_, Some(whom)) => Ok(vec![self.victim(world, replicas, whom)?]),
            (Fault::PowerLoss(_), None) => Ok(on),
            (Fault::MajorityLoss(_), None) => {
                let most = world.cluster.kept().len() / 2 + 1;
                Ok(on.into_iter().take(most).collect())
            }
            (Fault::Cut(_), None) => Ok(world.cluster.running()),
            _ => Ok(Vec::new()),
        }
    }

    /// Begins a fault, or says why its moment has not come.
    fn begin(&mut self, world: &mut World<'_, '_>, fault: usize) -> Result<(), String> {
        let Due { lasts, fault: what, .. } = self.plan.faults[fault];
        let (now, cluster) = (world.now, world.cluster);
        if let Fault::Crash(_, loss) = what
            && loss.mid_sync
            && !cluster.running().into_iter().any(|index| cluster.is_syncing(index))
        {
            return Err("no disk was syncing".into());
        }
        let replicas = cluster.replicas();
        let mut victims = self.victims(world, &replicas, what)?;
        if victims.is_empty() && what != Fault::Join {
            return Err("nobody is there to be hit".into());
        }
        let led: BTreeSet<u16> = victims.iter().flat_map(|index| replicas.led_by(*index)).collect();
        self.may(world, &replicas, what, &victims)?;
        let mut note = String::new();
        match what {
            Fault::Crash(_, loss) | Fault::PowerLoss(loss) | Fault::MajorityLoss(loss) => {
                let lost = victims.iter().map(|index| cluster.crash(world.sim, *index, loss.kept));
                let lost: usize = lost.sum();
                self.forgotten += lost;
                note = format!("{lost} unsynced writes gone");
            }
            Fault::Pause(_) => {
                self.links.hold(fault, victims[0]);
                cluster.with_disks(victims[0], |disk| disk.stand_still(true));
            }
            Fault::Cut(shape) => {
                let middle = victims[0];
                self.links.cut(fault, links::pairs(shape, middle, &cluster.kept()));
            }
            Fault::SlowLink(_, ms) => self.latency(world, victims[0], Some((ms, ms))),
            Fault::LossyLink(_, percent, ms) => {
                cluster.air.set(victims[0], percent);
                self.latency(world, victims[0], Some((1, ms.max(1))));
            }
            Fault::SlowDisk(_, ms) => {
                cluster.with_disks(victims[0], |disk| disk.slow_down(Duration::from_millis(ms)));
            }
            Fault::FailingDisk(_) => cluster.with_disks(victims[0], |disk| disk.fail(true)),
            Fault::ClockJump(_, ms) => cluster.set_clock(victims[0], ms),
            Fault::Join => victims = vec![Self::join(world)],
            Fault::Drain(_) => {
                let order = Order { fault, node: victims[0], drain: true };
                world.city.orders.borrow_mut().push_back(order);
            }
            Fault::Wipe(_) => {
                cluster.lose(world.sim, victims[0]);
                world.city.lines.doors.borrow_mut().retain(|door| *door != victims[0]);
            }
            Fault::Blank(_) => {
                cluster.blank(world.sim, victims[0]);
                world.city.lines.doors.borrow_mut().retain(|door| *door != victims[0]);
            }
        }
        let whom = names(victims.iter().copied());
        tracing::info!(target: "dst::storm", fault, ?what, whom, ?led, note, "begins");
        let (kind, led_now) = (what.kind(), led.len());
        let aimed = matches!(what.whom(), Some(Whom::Leader(_)));
        let at_ms = u64::try_from(now.as_millis()).ok();
        self.happened.insert(fault, Happened { kind, at_ms, whom, led: led_now, aimed, note });
        if takes_leaders(what) {
            let led: Vec<u16> = led.into_iter().collect();
            let clean = self.active.is_empty();
            world.city.takeovers.borrow_mut().begin(now, fault, kind, &led, clean);
        }
        let (until, flapped) = (now + lasts, (true, now));
        if what != Fault::Join {
            self.active.push(Active { fault, began: now, until, what, victims, flapped });
        }
        self.changed(world, fault);
        Ok(())
    }

    /// Whether the cluster is in a state in which this may happen.
    fn may(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        what: Fault,
        victims: &[usize],
    ) -> Result<(), String> {
        let cluster = world.cluster;
        if let Fault::Crash(_, loss) = what
            && loss.mid_sync
            && !cluster.is_syncing(victims[0])
        {
            return Err("its disk was not syncing".into());
        }
        if what == Fault::Join && cluster.kept().len() >= self.plan.founders + GROWTH_MAX {
            return Err("it has grown enough".into());
        }
        if matches!(what, Fault::Drain(_)) && cluster.running().len() <= 3 {
            return Err("three nodes can spare none".into());
        }
        if matches!(what, Fault::Wipe(_)) {
            if cluster.size() + 2 >= crate::cluster::MACHINES_MAX {
                return Err("so many machines were lost already".into());
            }
            let replaced =
                |active: &Active| matches!(active.what, Fault::Wipe(_) | Fault::Blank(_));
            if self.active.iter().any(replaced) {
                return Err("another disk is being replaced".into());
            }
            replicas.are_whole(&cluster.wanted(), &cluster.on())?;
        }
        Ok(())
    }

    fn join(world: &mut World<'_, '_>) -> usize {
        let index = world.cluster.add(world.sim);
        world.city.lines.doors.borrow_mut().push(index);
        index
    }

    fn latency(&self, world: &World<'_, '_>, node: usize, ms: Option<(u64, u64)>) {
        let healthy = LATENCY;
        let (least, most) = ms.map_or(healthy, |(least, most)| {
            (Duration::from_millis(least), Duration::from_millis(most))
        });
        for other in (0..world.cluster.size()).filter(|other| *other != node) {
            let (a, b) = (name(node), name(other));
            world.sim.set_link_latency(a.as_str(), b.as_str(), least);
            world.sim.set_link_max_message_latency(a.as_str(), b.as_str(), most);
        }
    }

    fn flap(&mut self, world: &mut World<'_, '_>, at: usize) {
        let now = world.now;
        let Active {
            fault, what: Fault::Cut(shape @ Shape::Flap(_)), ref victims, flapped, ..
        } = self.active[at]
        else {
            return;
        };
        if now < flapped.1 + FLAP_EVERY {
            return;
        }
        if flapped.0 {
            self.links.mend(fault);
        } else {
            self.links.cut(fault, links::pairs(shape, victims[0], &world.cluster.kept()));
        }
        self.active[at].flapped = (!flapped.0, now);
        self.links.apply(world.sim, world.cluster.size());
    }

    fn end(&mut self, world: &mut World<'_, '_>, active: Active) {
        let Active { fault, what, victims, began, .. } = active;
        let cluster = world.cluster;
        tracing::info!(target: "dst::storm", fault, ?what, "ends");
        match what {
            Fault::Crash(..) | Fault::PowerLoss(_) | Fault::MajorityLoss(_) | Fault::Blank(_) => {
                self.restart(world, &victims);
            }
            Fault::Pause(_) => cluster.with_disks(victims[0], |disk| disk.stand_still(false)),
            Fault::SlowLink(..) => self.latency(world, victims[0], None),
            Fault::LossyLink(..) => {
                cluster.air.set(victims[0], 0);
                self.latency(world, victims[0], None);
            }
            Fault::SlowDisk(..) => {
                cluster.with_disks(victims[0], |disk| disk.slow_down(Duration::ZERO));
            }
            Fault::FailingDisk(_) => {
                let stopped = cluster.has_ended(world.sim, victims[0]);
                cluster.with_disks(victims[0], |disk| disk.fail(false));
                self.judge_failing(world, victims[0], stopped, began);
                if stopped {
                    self.restart(world, &victims);
                }
                self.remark(fault, if stopped { "it stopped itself" } else { "it did not stop" });
            }
            Fault::ClockJump(..) => cluster.set_clock(victims[0], 0),
            Fault::Drain(_) => {
                let replicas = cluster.replicas();
                let groups = (1..=PARTITIONS).map(GroupId);
                let votes = groups.filter(|g| replicas.voters(*g).contains(&victims[0])).count();
                let obeyed = world.city.obeyed.borrow().get(&fault).cloned();
                self.remark(fault, &format!("{obeyed:?}, then votes in {votes} partitions"));
                if cluster.kept().contains(&victims[0]) {
                    let order = Order { fault, node: victims[0], drain: false };
                    world.city.orders.borrow_mut().push_back(order);
                }
            }
            Fault::Wipe(_) => {
                let index = Self::join(world);
                self.remark(fault, &format!("replaced by {}", name(index)));
            }
            Fault::Cut(_) | Fault::Join => {}
        }
        self.links.mend(fault);
        self.changed(world, fault);
    }

    /// A node that had votes to write, while nothing else happened, must have noticed its disk.
    fn judge_failing(&self, world: &World<'_, '_>, victim: usize, stopped: bool, began: Duration) {
        let (cluster, lasted) = (world.cluster, world.now.saturating_sub(began));
        let since = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
        let later = self.happened.values().any(|other| other.at_ms.is_some_and(|at| at > since));
        let alone = self.active.is_empty() && !later && cluster.on().contains(&victim);
        if stopped || !alone || lasted < STOPS_WITHIN {
            return;
        }
        let replicas = cluster.replicas();
        if (1..=PARTITIONS).map(GroupId).any(|group| replicas.voters(group).contains(&victim)) {
            let what = format!("{} went on for {lasted:?} with a disk that fails", name(victim));
            world.city.accuse([Broken::new("a node whose disk fails stops", what)]);
        }
    }

    fn restart(&mut self, world: &mut World<'_, '_>, victims: &[usize]) {
        for index in victims {
            if !world.cluster.on().contains(index) || world.cluster.has_ended(world.sim, *index) {
                world.cluster.restart(world.sim, *index);
                self.restarts += 1;
            }
        }
    }

    fn remark(&mut self, fault: usize, remark: &str) {
        self.happened.entry(fault).and_modify(|happened| {
            let comma = if happened.note.is_empty() { "" } else { ", " };
            happened.note = format!("{}{comma}{remark}", happened.note);
        });
    }

    /// The world has changed, by this fault.
    fn changed(&mut self, world: &mut World<'_, '_>, fault: usize) {
        self.links.apply(world.sim, world.cluster.size());
        world.city.service.borrow_mut().changed();
        world.city.takeovers.borrow_mut().disturbed(fault);
        *world.city.split.borrow_mut() = self.split(world);
    }

    /// The two sides of a cut that is clean, if nothing else disturbs the links.
    fn split(&self, world: &World<'_, '_>) -> Option<Split> {
        let disturbs = |active: &&Active| {
            !matches!(active.what, Fault::Crash(..) | Fault::ClockJump(..) | Fault::Drain(_))
        };
        let mut disturbing = self.active.iter().filter(disturbs);
        let (cut, None) = (disturbing.next()?, disturbing.next()) else { return None };
        let Fault::Cut(shape) = cut.what else { return None };
        if !links::is_clean(shape) {
            return None;
        }
        let middle = cut.victims[0];
        let (few, many): (Vec<usize>, Vec<usize>) = world
            .cluster
            .kept()
            .into_iter()
            .partition(|node| *node == middle || self.links.hears(middle, *node));
        Some(Split { since: world.now, sides: [few, many] })
    }

    /// Compares replicas, and looks which partitions could serve.
    fn look(&mut self, world: &World<'_, '_>) {
        let replicas = world.cluster.replicas();
        self.equality.look(&replicas);
        if !world.city.opened.get() || world.city.is_closed() {
            return;
        }
        let quiet = self.active.iter().all(|active| {
            !matches!(
                active.what,
                Fault::Cut(Shape::Flap(_))
                    | Fault::SlowLink(..)
                    | Fault::LossyLink(..)
                    | Fault::SlowDisk(..)
                    | Fault::FailingDisk(_)
            )
        });
        let mut service = world.city.service.borrow_mut();
        for group in 1..=PARTITIONS {
            let able = quiet && self.has_majority(world, &replicas, GroupId(group));
            let why = || {
                let leader = replicas.leader(GroupId(group)).map(|(index, _)| name(index));
                let active: Vec<&Fault> = self.active.iter().map(|active| &active.what).collect();
                format!("led by {leader:?}, during {active:?}")
            };
            service.sample(world.now, group, able, why);
        }
    }

    /// Whether some replica of a group can talk with a majority of them.
    fn has_majority(&self, world: &World<'_, '_>, replicas: &Replicas, group: GroupId) -> bool {
        let voters = replicas.voters(group);
        let running = world.cluster.running();
        let awake = |node: &usize| running.contains(node) && !self.links.stands_still(*node);
        let up: Vec<usize> = voters.iter().copied().filter(awake).collect();
        up.iter().any(|a| {
            let talks =
                |b: &&usize| *b == a || (self.links.hears(*a, **b) && self.links.hears(**b, *a));
            up.iter().filter(talks).count() > voters.len() / 2
        })
    }

    /// Mends everything: nobody is down, cut off, slow or wrong any more.
    fn heal(&mut self, world: &mut World<'_, '_>) {
        self.healed = true;
        tracing::info!(target: "dst::storm", "the world is mended");
        self.next = self.plan.faults.len();
        for fault in self.waiting.clone() {
            self.skip(fault, "the world was mended before".into());
        }
        while let Some(active) = self.active.pop() {
            self.end(world, active);
        }
        let kept = world.cluster.kept();
        let blank = self.plan.faults.iter().any(|due| matches!(due.fault, Fault::Blank(_)));
        if !blank {
            self.restart(world, &kept);
        }
        world.city.close();
    }

    /// What it knows.
    pub fn aftermath(self) -> Aftermath {
        Aftermath {
            faults: self.happened.into_values().collect(),
            broken: self.equality.broken(),
            compared: self.equality.compared(),
            restarts: self.restarts,
            forgotten: self.forgotten,
        }
    }
}

/// Whether those whom a fault hits can't lead any more.
const fn takes_leaders(what: Fault) -> bool {
    matches!(
        what,
        Fault::Crash(..)
            | Fault::PowerLoss(_)
            | Fault::MajorityLoss(_)
            | Fault::Pause(_)
            | Fault::Cut(Shape::Isolate(_) | Shape::Halves(_) | Shape::Mute(_) | Shape::Deaf(_))
            | Fault::FailingDisk(_)
            | Fault::Wipe(_)
    )
}
