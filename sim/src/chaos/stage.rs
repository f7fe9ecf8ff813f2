//! Does to the cluster what the decks say: one fault after the other that takes nodes away, the next
//! only when every partition has all its replicas in step again, and beside them those that only
//! make nodes slow. So a partition is without a majority only where that is meant.

mod links;
mod nodes;

use super::burden::SmallDisk;
use super::fault::{Deck, Fault, Kind};
use super::incident::Incident;
use super::locate::Locator;
use super::network::Network;
use crate::client::Client;
use crate::cluster::ClusterError;
use crate::demo::Failure;
use crate::demo::nemesis::Nemesis;
use crate::dice::Dice;
use crate::partitions::Partitions;
use crate::progress::Voice;
use crate::takeover::Probes;
use crate::tally::Tally;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The load runs alone for so long before the first fault.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long partitions may lack a replica after a fault; longer where disks are copied.
const WHOLE_WITHIN_MS: u64 = 60_000;
const COPIED_WITHIN_MS: u64 = 180_000;
/// How long a node may take until it is ready.
const READY_WITHIN_MS: u64 = 30_000;
/// A run is stopped when so many faults in a row left partitions lacking: more of them prove nothing.
const HOPELESS: usize = 3;
/// How often it is looked whether a node has ended that nobody killed, and when it is started again.
const MOURN_EVERY: Duration = Duration::from_millis(200);
const MOURN: Duration = Duration::from_secs(1);
/// No seat.
const NONE: usize = usize::MAX;

/// Everything that faults are done with.
pub(super) struct Stage<'a> {
    pub(super) nemesis: &'a Nemesis,
    pub(super) client: &'a Client,
    pub(super) tally: &'a Tally,
    pub(super) voice: &'a Voice,
    pub(super) probes: &'a Probes,
    pub(super) locator: &'a Locator,
    pub(super) network: &'a Network,
    pub(super) disk: Option<&'a SmallDisk>,
    pub(super) board: &'a Board,
}

/// What is known of the run while it runs.
#[derive(Debug)]
pub(super) struct Board {
    clock: Arc<dyn proto::units::Clock>,
    began: proto::units::MonoMs,
    ends_ms: u64,
    incidents: Mutex<Vec<Incident>>,
    /// What is done right now.
    now: Mutex<Vec<Kind>>,
    /// Nodes that ended though nobody killed them.
    fallen: Mutex<Vec<String>>,
    /// The seat whose node may end by itself.
    may_end: AtomicUsize,
    hopeless: AtomicUsize,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// A run that begins now and takes faults for so long.
    pub(super) fn new(clock: Arc<dyn proto::units::Clock>, lasts: Duration) -> Self {
        let began = clock.mono();
        Self {
            clock,
            began,
            ends_ms: crate::demo::millis(lasts),
            incidents: Mutex::default(),
            now: Mutex::default(),
            fallen: Mutex::default(),
            may_end: AtomicUsize::new(NONE),
            hopeless: AtomicUsize::new(0),
        }
    }

    /// Milliseconds of the run.
    pub(super) fn ms(&self) -> u64 {
        self.clock.mono().since(self.began)
    }

    /// When it began.
    pub(super) const fn began(&self) -> proto::units::MonoMs {
        self.began
    }

    /// How long faults are done.
    pub(super) const fn ends_ms(&self) -> u64 {
        self.ends_ms
    }

    /// How many faults there were.
    pub(super) fn faults(&self) -> usize {
        lock(&self.incidents).iter().filter(|incident| incident.skipped.is_none()).count()
    }

    /// What is done right now, in words.
    pub(super) fn now(&self) -> String {
        let now: Vec<&str> = lock(&self.now).iter().map(|kind| kind.as_str()).collect();
        if now.is_empty() { "nothing".into() } else { now.join(" + ") }
    }

    /// Everything that happened.
    pub(super) fn incidents(&self) -> Vec<Incident> {
        lock(&self.incidents).clone()
    }

    /// Who ended by himself.
    pub(super) fn fallen(&self) -> Vec<String> {
        lock(&self.fallen).clone()
    }

    fn is_over(&self) -> bool {
        self.ms() >= self.ends_ms
    }

    /// Whether the run was stopped because the cluster did not recover.
    pub(super) fn is_hopeless(&self) -> bool {
        self.hopeless.load(Ordering::Relaxed) >= HOPELESS
    }
}

impl Stage<'_> {
    /// Does faults of these kinds until the time is over and each was done once. All are undone then.
    pub(super) async fn play(&self, kinds: &[Kind], seed: u64) -> Result<(), Failure> {
        let deck = |beside, name| Deck::new(kinds, beside, Dice::of(seed, name));
        let both = async {
            tokio::time::sleep(WARM_UP).await;
            tokio::try_join!(self.work(deck(false, "chaos")), self.work(deck(true, "chaos beside")))
        };
        tokio::select! {
            done = both => done.map(|_| ()),
            failed = self.mourn() => failed.map(|never| match never {}),
        }
    }

    async fn work(&self, mut deck: Deck) -> Result<(), Failure> {
        let mut seen = deck.is_seen();
        while let Some(fault) = deck.draw() {
            tokio::time::sleep(fault.after).await;
            if self.board.is_over() && seen || self.board.is_hopeless() {
                break;
            }
            seen = deck.is_seen();
            let kind = fault.kind;
            lock(&self.board.now).push(kind);
            let incident = self.inflict(fault).await;
            let mut now = lock(&self.board.now);
            if let Some(at) = now.iter().position(|other| *other == kind) {
                now.remove(at);
            }
            drop(now);
            let incident = incident?;
            self.tell(&incident);
            lock(&self.board.incidents).push(incident);
        }
        Ok(())
    }

    async fn inflict(&self, fault: Fault) -> Result<Incident, Failure> {
        let (kind, beside) = (fault.kind, fault.beside);
        let partitions = self.nemesis.partitions(self.client).await;
        let [asked, repeated, late] = self.sums(kind.is_grave());
        let mut incident = Incident {
            kind,
            nodes: Vec::new(),
            seats: Vec::new(),
            what: String::new(),
            at_ms: self.board.ms(),
            healed_ms: 0,
            whole_after_ms: None,
            led: 0,
            takeover: Vec::new(),
            asked: 0,
            repeated: 0,
            late: 0,
            beside,
            wrong: Vec::new(),
            skipped: None,
        };
        if kind.is_grave() {
            self.tally.set_apart(true);
        }
        let done = self.do_it(fault, &partitions, &mut incident).await;
        if incident.healed_ms == 0 {
            incident.healed_ms = self.board.ms();
        }
        if done.is_ok() && incident.skipped.is_none() && !beside {
            self.converge(&mut incident).await;
        }
        if kind.is_grave() {
            self.tally.set_apart(false);
        }
        done?;
        let [asked_now, repeated_now, late_now] = self.sums(kind.is_grave());
        incident.asked = asked_now - asked;
        incident.repeated = repeated_now - repeated;
        incident.late = late_now - late;
        Ok(incident)
    }

    async fn do_it(
        &self,
        fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) -> Result<(), Failure> {
        match fault.kind {
            Kind::Kill => self.kill(fault, partitions, incident).await,
            Kind::Pause => {
                self.pause(fault, partitions, incident).await;
                Ok(())
            }
            Kind::KillMajority | Kind::KillAll => self.kill_many(fault, partitions, incident).await,
            Kind::Wipe => self.wipe(fault, partitions, incident).await,
            Kind::JoinDrain => self.join_drain(fault, partitions, incident).await,
            Kind::FullDisk => self.full_disk(fault, partitions, incident).await,
            Kind::Starve => {
                self.starve(fault, partitions, incident).await;
                Ok(())
            }
            Kind::Slow => {
                self.slow(fault, partitions, incident).await;
                Ok(())
            }
            Kind::Isolate | Kind::Split | Kind::OneWay | Kind::Bridge | Kind::Ring | Kind::Flap => {
                self.cut(fault, partitions, incident).await;
                Ok(())
            }
        }
    }

    fn sums(&self, grave: bool) -> [u64; 3] {
        let Tally { asked, retries, no_answer, late, late_apart, .. } = self.tally;
        let late = if grave { late_apart } else { late };
        [asked.get(), retries.get() + no_answer.get(), late.get()]
    }

    /// Waits until all replicas are in step.
    async fn converge(&self, incident: &mut Incident) {
        let copied = matches!(incident.kind, Kind::Wipe | Kind::JoinDrain);
        let within_ms = if copied { COPIED_WITHIN_MS } else { WHOLE_WITHIN_MS };
        let (lacking, _) = self.nemesis.whole(self.client, within_ms).await;
        match lacking.first() {
            None => {
                incident.whole_after_ms = Some(self.board.ms().saturating_sub(incident.healed_ms));
                self.board.hopeless.store(0, Ordering::Relaxed);
            }
            Some(first) => {
                let s = within_ms / 1000;
                let more = lacking.len();
                incident
                    .wrong
                    .push(format!("{more} partitions lacked replicas {s} s after it: {first}"));
                self.board.hopeless.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whom it meets: the leader of most partitions, or anybody.
    fn victim(&self, partitions: &Partitions, fault: &mut Fault) -> usize {
        let seats = 0..self.nemesis.seats();
        let cluster = self.nemesis.cluster();
        let any = fault.dice.below(seats.end);
        if !fault.at_leader {
            return any;
        }
        seats.max_by_key(|seat| partitions.led_by(&cluster.name(*seat)).len()).unwrap_or(any)
    }

    /// Notes whom it met, and gives the partitions that they led.
    fn met(&self, seats: &[usize], partitions: &Partitions, incident: &mut Incident) -> Vec<u16> {
        let cluster = self.nemesis.cluster();
        incident.seats = seats.to_vec();
        incident.nodes = seats.iter().map(|seat| cluster.name(*seat)).collect();
        let mut led: Vec<u16> =
            incident.nodes.iter().flat_map(|node| partitions.led_by(node)).collect();
        led.sort_unstable();
        incident.led = led.len();
        led
    }

    fn others(&self, than: &[usize]) -> Vec<usize> {
        (0..self.nemesis.seats()).filter(|seat| !than.contains(seat)).collect()
    }

    fn tell(&self, incident: &Incident) {
        let Incident { kind, nodes, what, at_ms, led, .. } = incident;
        let s = |ms: u64| ms as f64 / 1000.0;
        if let Some(why) = &incident.skipped {
            return self.voice.say(&format!("{:7.1} s {kind}: not done, {why}", s(*at_ms)));
        }
        let slowest = incident.slowest_ms();
        let takeover = slowest.map(|ms| format!(", led {led}, slowest back after {ms} ms"));
        let whole = incident.whole_after_ms.map(|ms| format!(", in step {ms} ms after"));
        let late =
            if incident.late > 0 { format!(", LATE {}", incident.late) } else { String::new() };
        let wrong: String =
            incident.wrong.iter().map(|wrong| format!(", WRONG: {wrong}")).collect();
        self.voice.say(&format!(
            "{:7.1} s {kind} {} {what}: {:.1} s{}{}{late}{wrong}",
            s(*at_ms),
            nodes.join(" "),
            s(incident.healed_ms.saturating_sub(*at_ms)),
            takeover.unwrap_or_default(),
            whole.unwrap_or_default(),
        ));
    }

    /// Starts those again that ended though nobody killed them, and writes that down.
    async fn mourn(&self) -> Result<Infallible, Failure> {
        loop {
            tokio::time::sleep(MOURN_EVERY).await;
            let ended = self.nemesis.cluster().reap();
            let mut again = Vec::new();
            for (name, status) in ended {
                let seats = 0..self.nemesis.seats();
                let seat =
                    seats.into_iter().find(|seat| self.nemesis.cluster().name(*seat) == name);
                if seat.is_some_and(|seat| seat == self.board.may_end.load(Ordering::Relaxed)) {
                    continue;
                }
                let at_s = self.board.ms() as f64 / 1000.0;
                let fallen = format!("{name} ended by itself ({status}) at {at_s:.1} s");
                self.voice.say(&fallen);
                lock(&self.board.fallen).push(fallen);
                again.extend(seat);
            }
            if !again.is_empty() {
                tokio::time::sleep(MOURN).await;
            }
            for seat in again {
                let spawned: Result<(), ClusterError> = self.nemesis.cluster().spawn(seat);
                spawned?;
            }
        }
    }
}
