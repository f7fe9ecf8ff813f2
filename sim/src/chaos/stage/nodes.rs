//! Faults of nodes: their processes, disks and cores, and their coming and going.

use super::super::burden::Burden;
use super::super::fault::{Fault, Kind};
use super::super::incident::Incident;
use super::{COPIED_WITHIN_MS, NONE, READY_WITHIN_MS, Stage};
use crate::demo::Failure;
use crate::partitions::Partitions;
use proto::NodeId;
use proto::client::Failure as Answer;
use rustix::process::Signal;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked whether a node with a full disk has stopped, or a new one is ready.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Stage<'_> {
    /// Starts a node again and waits until it is ready; what is wrong if it is not.
    async fn revive(&self, seat: usize) -> Result<Option<String>, Failure> {
        self.nemesis.cluster().spawn(seat)?;
        Ok(self.ready(seat).await)
    }

    async fn ready(&self, seat: usize) -> Option<String> {
        let ready = self.nemesis.ready_within(seat, self.client, READY_WITHIN_MS).await;
        self.locator.set_away(seat, false);
        let says = ready.err()?;
        let node = self.nemesis.cluster().name(seat);
        Some(format!("{node} was not ready within {} s: {says}", READY_WITHIN_MS / 1000))
    }

    /// Kills a node and starts it again.
    pub(super) async fn kill(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) -> Result<(), Failure> {
        let seat = self.victim(partitions, &mut fault);
        let led = self.met(&[seat], partitions, incident);
        self.nemesis.remember(seat, self.client).await;
        self.locator.set_away(seat, true);
        incident.at_ms = self.board.ms();
        let killed = self.nemesis.kill(seat);
        let (seats, mut dice) = (self.others(&[seat]), fault.dice.fork());
        let (takeover, back) =
            tokio::join!(self.probes.first_successes(&led, &seats, killed, &mut dice), async {
                tokio::time::sleep(fault.lasts).await;
                incident.healed_ms = self.board.ms();
                self.revive(seat).await
            });
        incident.takeover = takeover;
        incident.wrong.extend(back?);
        Ok(())
    }

    /// Stops a node's clock, as it were.
    pub(super) async fn pause(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) {
        let seat = self.victim(partitions, &mut fault);
        let led = self.met(&[seat], partitions, incident);
        self.locator.set_away(seat, true);
        incident.at_ms = self.board.ms();
        let paused = self.nemesis.clock.mono();
        if !self.nemesis.cluster().signal(seat, Signal::STOP) {
            incident.skipped = Some("it does not run".into());
            self.locator.set_away(seat, false);
            return;
        }
        let (seats, mut dice) = (self.others(&[seat]), fault.dice.fork());
        let (takeover, healed_ms) =
            tokio::join!(self.probes.first_successes(&led, &seats, paused, &mut dice), async {
                tokio::time::sleep(fault.lasts).await;
                self.nemesis.cluster().signal(seat, Signal::CONT);
                self.locator.set_away(seat, false);
                self.board.ms()
            });
        (incident.takeover, incident.healed_ms) = (takeover, healed_ms);
    }

    /// Kills a majority of the nodes, or all, and starts them again.
    pub(super) async fn kill_many(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) -> Result<(), Failure> {
        let all = self.nemesis.seats();
        let many = if fault.kind == Kind::KillAll { all } else { all / 2 + 1 };
        let seats = fault.dice.sample(all, many);
        let _led = self.met(&seats, partitions, incident);
        for seat in &seats {
            self.nemesis.remember(*seat, self.client).await;
            self.locator.set_away(*seat, true);
        }
        incident.at_ms = self.board.ms();
        self.nemesis.cluster().kill_these(&seats);
        tokio::time::sleep(fault.lasts).await;
        for seat in &seats {
            self.nemesis.cluster().spawn(*seat)?;
        }
        incident.healed_ms = self.board.ms();
        let (started, mut dice) = (self.nemesis.clock.mono(), fault.dice.fork());
        let (doors, groups) = (self.others(&[]), self.probes.groups());
        let (takeover, wrong) =
            tokio::join!(self.probes.first_successes(&groups, &doors, started, &mut dice), async {
                let mut wrong = Vec::new();
                for seat in &seats {
                    wrong.extend(self.ready(*seat).await);
                }
                wrong
            });
        incident.takeover = takeover;
        incident.wrong.extend(wrong);
        Ok(())
    }

    /// Deletes a node's disk and starts another node in its place.
    pub(super) async fn wipe(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) -> Result<(), Failure> {
        if let Some(lacking) = self.lacks().await {
            // One disk more could be one too many.
            incident.skipped = Some(lacking);
            return Ok(());
        }
        let seat = self.victim(partitions, &mut fault);
        let led = self.met(&[seat], partitions, incident);
        self.nemesis.remember(seat, self.client).await;
        self.locator.set_away(seat, true);
        incident.at_ms = self.board.ms();
        let lost = self.nemesis.clock.mono();
        self.nemesis.cluster().replace(seat)?;
        incident.what = format!("-> {}", self.nemesis.cluster().name(seat));
        incident.healed_ms = self.board.ms();
        let (seats, mut dice) = (self.others(&[seat]), fault.dice.fork());
        let (takeover, wrong) = tokio::join!(
            self.probes.first_successes(&led, &seats, lost, &mut dice),
            self.ready(seat)
        );
        incident.takeover = takeover;
        incident.wrong.extend(wrong);
        Ok(())
    }

    /// What is lacking, if something is.
    async fn lacks(&self) -> Option<String> {
        let (lacking, _) = self.nemesis.whole(self.client, COPIED_WITHIN_MS).await;
        lacking.first().map(|first| format!("partitions lack replicas: {first}"))
    }

    /// A new node joins; an old one hands everything over, stops for good, and leaves its seat.
    pub(super) async fn join_drain(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) -> Result<(), Failure> {
        let seat = self.victim(partitions, &mut fault);
        let _led = self.met(&[seat], partitions, incident);
        let newcomer = self.nemesis.cluster().welcome(seat)?;
        incident.what = format!("-> {newcomer}");
        let joined = async {
            self.guest_ready().await?;
            self.settled(&newcomer, true).await?;
            let old = self.nemesis.cluster().id(seat);
            let drain = self.client.api.drain(NodeId(old as u64));
            let told = self.client.ask(drain, &mut fault.dice).await;
            told.map_err(|answer: Answer| format!("drain: {answer}"))?;
            self.settled(&format!("n{old}"), false).await
        };
        match joined.await {
            Ok(()) => {
                self.locator.set_away(seat, true);
                self.nemesis.cluster().seat_guest(seat)?;
                self.locator.set_away(seat, false);
            }
            Err(wrong) => {
                incident.wrong.push(wrong);
                self.nemesis.cluster().dismiss_guest();
            }
        }
        incident.healed_ms = self.board.ms();
        Ok(())
    }

    /// Waits until a node holds replicas, or none any more, and no partition lacks one.
    async fn settled(&self, node: &str, holds: bool) -> Result<(), String> {
        let began = self.nemesis.clock.mono();
        while self.nemesis.partitions(self.client).await.holds(node) != holds {
            if self.nemesis.clock.mono().since(began) > COPIED_WITHIN_MS {
                let what = if holds { "got no replica" } else { "kept replicas" };
                return Err(format!("{node} {what} for {} s", COPIED_WITHIN_MS / 1000));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.lacks().await.map_or(Ok(()), Err)
    }

    async fn guest_ready(&self) -> Result<(), String> {
        let began = self.nemesis.clock.mono();
        loop {
            let door = self.nemesis.cluster().guest().ok_or("the new node is gone")?;
            let Err(says) = self.client.text_at(door, "/readyz").await else { return Ok(()) };
            if self.nemesis.clock.mono().since(began) > READY_WITHIN_MS {
                let s = READY_WITHIN_MS / 1000;
                return Err(format!("the new node was not ready within {s} s: {says}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Leaves no room on a node's disk; it may stop then, and comes back when there is room again.
    pub(super) async fn full_disk(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) -> Result<(), Failure> {
        let Some(disk) = self.disk else {
            incident.skipped = Some("there is no small disk".into());
            return Ok(());
        };
        let seat = disk.seat;
        let led = self.met(&[seat], partitions, incident);
        self.board.may_end.store(seat, Ordering::Relaxed);
        self.locator.set_away(seat, true);
        incident.at_ms = self.board.ms();
        let began = self.nemesis.clock.mono();
        if let Err(error) = disk.fill() {
            incident.skipped = Some(format!("{error}"));
            self.board.may_end.store(NONE, Ordering::Relaxed);
            self.locator.set_away(seat, false);
            return Ok(());
        }
        let (seats, mut dice) = (self.others(&[seat]), fault.dice.fork());
        let full = async {
            tokio::time::sleep(fault.lasts).await;
            let stopped = self.nemesis.cluster().process(seat).is_none();
            let cleared = disk.clear();
            incident.healed_ms = self.board.ms();
            (cleared, stopped, self.revive(seat).await)
        };
        let takeover = self.probes.first_successes(&led, &seats, began, &mut dice);
        let (takeover, (cleared, stopped, back)) = tokio::join!(takeover, full);
        self.board.may_end.store(NONE, Ordering::Relaxed);
        incident.takeover = takeover;
        incident.what = if stopped { "(it stopped)" } else { "(it went on)" }.into();
        incident.wrong.extend(cleared.err().map(|error| format!("{error}")));
        incident.wrong.extend(back?);
        Ok(())
    }

    /// Gives a node a fraction of a core.
    pub(super) async fn starve(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) {
        let seat = self.victim(partitions, &mut fault);
        let _led = self.met(&[seat], partitions, incident);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let core = fault.dice.below(cores);
        let Some(process) = self.nemesis.cluster().process(seat) else {
            incident.skipped = Some("it does not run".into());
            return;
        };
        incident.what = format!("(core {core})");
        match Burden::on(process, core) {
            Ok(burden) => {
                tokio::time::sleep(fault.lasts).await;
                drop(burden);
            }
            Err(error) => incident.skipped = Some(format!("{error}")),
        }
        incident.healed_ms = self.board.ms();
    }
}
