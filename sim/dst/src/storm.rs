//! Makes the faults of a plan happen, each at its time or when its moment comes, ends them, and mends
//! the world at last. It looks into the nodes to aim at leaders (`aim`), and to compare replicas
//! (`watch`).

mod aim;
mod watch;

use crate::city::{City, Order};
use crate::cluster::{Cluster, name, names};
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
    /// Whose disk had failed and was mended while the node still ran, with the fault and when: it may
    /// have seen a sync fail, and stop yet.
    stopping: BTreeMap<usize, (usize, Duration)>,
    looked: Duration,
    /// Since when no fault has begun or ended.
    unchanged: Duration,
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
            stopping: BTreeMap::new(),
            looked: Duration::ZERO,
            unchanged: Duration::ZERO,
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
            let each_moment = matches!(what.kind(), Kind::CrashInSync | Kind::CrashUnsynced);
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
            self.start_who_stopped_late(world);
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

    /// Begins a fault, or says why its moment has not come.
    fn begin(&mut self, world: &mut World<'_, '_>, fault: usize) -> Result<(), String> {
        let Due { lasts, fault: what, .. } = self.plan.faults[fault];
        let (now, cluster) = (world.now, world.cluster);
        if let Fault::Crash(_, loss) = what
            && !cluster.running().into_iter().any(|index| cluster.is_at(index, loss.moment))
        {
            return Err(format!("no disk was ever so: {:?}", loss.moment));
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
                } else {
                    self.stopping.insert(victims[0], (fault, world.now));
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

    fn restart(&mut self, world: &mut World<'_, '_>, victims: &[usize]) {
        for index in victims {
            if !world.cluster.on().contains(index) || world.cluster.has_ended(world.sim, *index) {
                self.stopping.remove(index);
                world.cluster.restart(world.sim, *index);
                self.restarts += 1;
            }
        }
    }

    /// A node needs a moment to stop; by then its disk may be mended, or the world. Who stops later
    /// has another reason, and stays down.
    fn start_who_stopped_late(&mut self, world: &mut World<'_, '_>) {
        self.stopping.retain(|_, (_, mended)| world.now <= *mended + watch::STOPS_WITHIN);
        for (victim, (fault, _)) in self.stopping.clone() {
            if world.cluster.has_ended(world.sim, victim) {
                self.restart(world, &[victim]);
                self.remark(fault, "it stopped itself once the disk was mended");
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
        self.unchanged = world.now;
        self.links.apply(world.sim, world.cluster.size());
        world.city.service.borrow_mut().changed();
        world.city.takeovers.borrow_mut().disturbed(fault);
        *world.city.split.borrow_mut() = self.split(world);
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
