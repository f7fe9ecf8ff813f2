//! A ledger that keeps each group on several nodes: a command is on a majority of their disks
//! before it is acknowledged, and when a node dies a follower that has every acknowledged command
//! goes on.
//!
//! | file | holds |
//! |---|---|
//! | `types`, `log`, `network` | all that knows the consensus library: its types and the handle on a replica; its storage; its calls |
//! | `keeper`, `state`, `image` | a replica's state behind its lock; the machine with its values; those as a picture |
//! | `snapshots` | pictures on disk |
//! | `archive`, `segments` | what has left the state for good; that on disk |
//! | `journal` | the one write-ahead log of all groups |
//! | `cluster` | group 0: what the cluster agrees on about itself, and where replicas should be |
//! | `founding`, `wire` | how a cluster comes to be; what ledgers say to each other |
//! | `settings`, `core` | what it is told; what its parts share |
//! | `begin`, `serve` | how a node comes to belong to a cluster; what other ledgers ask of it |
//! | `level` | how two builds share one log during a rolling upgrade |
//! | `splits` | which cells are split, as group 0 has agreed |
//! | `policy` | the numbers in force, as group 0 has agreed |
//! | `reads` | linearizable reads, many to a round of confirmation |
//! | `offline` | what an operator asks of a directory that nobody has open |
//! | `handover` | how long a group has no leader while its leadership goes back |
//! | `hints` | who leads a group, as far as this node can know |
//! | `tend` | what a node does for its groups in turn: heartbeats, snapshots, members, leaders |

pub(crate) mod archive;
mod begin;
pub(crate) mod cluster;
mod core;
mod faults;
mod founding;
#[cfg(test)]
mod fuzz;
mod handover;
mod hints;
mod image;
mod journal;
mod keeper;
mod level;
mod log;
mod network;
pub mod offline;
mod policy;
mod reads;
mod segments;
mod serve;
mod settings;
mod snapshots;
mod splits;
mod state;
mod tend;
mod types;
pub(crate) mod wire;

pub use cluster::{Cluster, DiskId, Listed, META, Objection, Plan, Standing};
pub use core::Known;
pub use faults::{Fault, Faults};
pub use founding::remembered;
pub use level::TooOld;
pub use policy::{AgreedPolicy, POLICY_BYTES_MAX};
pub use settings::{
    Broken, OpenReplicatedError, Parts, ReplicaStatus, ReplicatedCounts, Retention, Settings,
};
pub use splits::{SplitCell, Splits};
pub use types::Timers;

use self::core::{Core, Here};
use crate::contract::{BoxFuture, Committed, Cursor, Leadership, Ledger, LoggedEvent, Refused};
use crate::peers::Lane;
use crate::store::{Pages, Pair, Store};
use begin::ASK_AGAIN;
use cluster::{Change, ClusterMachine};
use founding::Origin;
use handover::HandOvers;
use journal::Journal;
use keeper::{Keeper, Means};
use log::{GroupLog, Tail};
use network::{Arrivals, COMMAND_MAX, Dialler, Lines};
use proto::machine::StateMachine;
use proto::{GroupId, NodeId, codec};
use reads::Reader;
use segments::{SegmentError, Segments};
use snapshots::{Kept, Shelf, Snapshots};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use types::{PROPOSE_WITHIN, Replica, Stamped};
use wire::{Body, Reply};

/// Proposals under way at once. Each is a few kilobytes; at 10,000 a second it is half a second
/// of work, and whoever comes then learns at once that it would be longer.
const PROPOSALS_MAX: usize = 4_096;
/// Events in one answer, whatever was asked for.
const EVENTS_ANSWER_MAX: usize = 1_024;
/// A ledger that keeps each group on several nodes. Cheap to clone.
#[derive(Clone)]
pub struct Replicated(Arc<Core>);

/// What was found on the disk, before anything runs.
struct Found {
    origin: Origin,
    tails: BTreeMap<GroupId, Tail>,
    kept: BTreeMap<GroupId, Kept>,
    shelf: Shelf,
}

fn find<S: Store>(log: &S, shelf: &S, pages: &dyn Pages) -> Result<Found, OpenReplicatedError> {
    let unreadable =
        |error: snapshots::UnreadableError| OpenReplicatedError::Snapshot(error.to_string());
    let (kept, on_shelf) = snapshots::load(shelf).map_err(unreadable)?;
    let lost = |error: SegmentError| OpenReplicatedError::History(error.to_string());
    for (group, Kept { image, .. }) in &kept {
        let added = segments::catch_up(shelf, *group, &image.archive().manifest(), pages);
        let added = added.map_err(lost)?;
        if added > 0 {
            tracing::info!(%group, added, "segments of history are in the index again");
        }
    }
    let (origin, tails) = (founding::load(log)?, log::load(log)?);
    Ok(Found { origin, tails, kept, shelf: on_shelf })
}

impl Replicated {
    /// Reads the stores and starts the replicas they hold. Returns before the cluster is founded
    /// or joined; [`Ledger::leadership`] says what it leads, [`Replicated::broken`] why it can't.
    pub async fn open<S: Store>(
        settings: Settings,
        parts: Parts<S>,
    ) -> Result<Self, OpenReplicatedError> {
        let Parts { log, snapshots: shelf, pages, simulated, clock, disk, .. } = parts;
        let (peers, living, new_machine) = (parts.peers, parts.living, parts.new_machine);
        let (found, journal, snapshot_journal) = match simulated {
            Some(sync_takes) => {
                let found = find(&log, &shelf, &*pages)?;
                let journal = Journal::on_task(log, sync_takes, settings.faults);
                (found, journal, Journal::on_task(shelf, sync_takes, Faults::default()))
            }
            None => {
                // Off the runtime's threads.
                let index = Arc::clone(&pages);
                let reading = tokio::task::spawn_blocking(move || {
                    find(&log, &shelf, &*index).map(|found| (found, log, shelf))
                });
                let read = reading.await;
                let read = read.unwrap_or_else(|died| std::panic::resume_unwind(died.into_panic()));
                let (found, log, shelf) = read?;
                let on_thread = |name, store, delay| {
                    Journal::on_thread(name, store, delay).map_err(OpenReplicatedError::Thread)
                };
                let journal = on_thread("journal", log, settings.sync_delay)?;
                (found, journal, on_thread("snapshots", shelf, Duration::ZERO)?)
            }
        };
        let Found { origin, mut tails, mut kept, shelf } = found;
        level::all_known(&tails, &kept, settings.level)?;
        let disk = match origin.disk {
            Some(known) => known,
            None => {
                let named = founding::name_disk(&journal, disk).await;
                named.map_err(|_| OpenReplicatedError::Journal)?;
                disk
            }
        };
        let node = settings.node;
        let machines = move |group: GroupId| -> Box<dyn StateMachine> {
            match group {
                META => Box::new(ClusterMachine::default()),
                group => new_machine(group),
            }
        };
        let on_disk = |all: &Vec<snapshots::OnShelf>| {
            all.iter().flat_map(|one| one.archive.segments.clone()).collect()
        };
        let on_disk = shelf.iter().map(|(group, all)| (*group, on_disk(all))).collect();
        let means = Means {
            segments: Segments::new(snapshot_journal.clone(), pages, on_disk),
            snapshots: Snapshots::new(snapshot_journal.clone(), shelf),
            new_machine: Arc::new(machines),
            retention: settings.retention,
            knows: settings.level,
            faults: settings.faults,
        };
        let core = Arc::new(Core {
            means,
            lines: Lines::new(node, disk, peers),
            settings,
            disk,
            clock,
            living,
            journal,
            snapshot_journal,
            arrivals: Arrivals::default(),
            here: RwLock::default(),
            changing: Arc::default(),
            leadership: Arc::new(watch::Sender::new(Leadership::new())),
            heard: Mutex::default(),
            cluster: watch::Sender::new(Arc::default()),
            founders: Mutex::new(origin.founders.clone()),
            broken: watch::Sender::new(None),
            proposals: Semaphore::new(PROPOSALS_MAX),
            hand_overs: HandOvers::default(),
            left: Mutex::default(),
            tasks: Mutex::default(),
        });
        let ledger = Self(core);
        let groups: BTreeSet<GroupId> = tails.keys().chain(kept.keys()).copied().collect();
        for group in groups {
            let (tail, mut kept) = (tails.remove(&group).unwrap_or_default(), kept.remove(&group));
            let snapshots = &ledger.0.means.snapshots;
            if snapshots.newest(group).is_some_and(|index| tail.outlived(index)) {
                tracing::info!(%group, "the removal of a replica is finished");
                let forgotten = snapshots.forget(group).await;
                forgotten.map_err(|_| OpenReplicatedError::Journal)?;
                kept = None;
            }
            if kept.is_none() && tail.is_left() {
                ledger.0.left().insert(group, tail);
                continue;
            }
            let started = ledger.start_replica(group, tail, kept).await;
            started.map_err(|why| OpenReplicatedError::Group(group, why))?;
        }
        // Group 0 may have no leader, and what others have must be served: until it has, the cluster is
        // what it was when this node founded it or was let in.
        let knows = ledger.0.settings.partitions > 0;
        if let Some(founders) = origin.founders.as_ref().filter(|_| knows) {
            ledger.0.learn(ledger.0.as_founded(founders), false);
        }
        ledger.0.read_cluster();
        let mut tasks = ledger.0.tasks();
        tasks.spawn(ledger.clone().begin(origin.begun));
        tasks.spawn(ledger.clone().tend());
        tasks.spawn(ledger.clone().keep_level());
        tasks.spawn(ledger.clone().watch_journal());
        drop(tasks);
        Ok(ledger)
    }

    /// Starts a replica on what its log and snapshot hold, and watches what becomes of it.
    async fn start_replica(
        &self,
        group: GroupId,
        tail: Tail,
        kept: Option<Kept>,
    ) -> Result<Here, String> {
        let core = &self.0;
        let Settings { node, timers, seed, faults, .. } = core.settings;
        let log = GroupLog::new(group, core.journal.clone(), tail, faults);
        let began_at = log.last();
        let keeper = Keeper::new(group, kept, core.means.clone())?;
        if log.purged() > keeper.size().0 {
            return Err("the log begins after the newest snapshot ends: one is missing".into());
        }
        let (lines, segments) = (Arc::clone(&core.lines), core.means.segments.clone());
        let dialler = Dialler { group, lines, segments, faults };
        let seed = seed ^ u64::from(group.0) << 48;
        let replica =
            Replica::start(node, group, timers, log.clone(), keeper, dialler, seed).await?;
        let heard_at = Arc::new(AtomicU64::new(core.clock.mono().0));
        let (reader, look) = (Reader::start(replica.clone()), Arc::default());
        let here = Here { replica, log, reader, began_at, look, heard_at };
        core.here.write().unwrap_or_else(PoisonError::into_inner).insert(group, here.clone());
        core.tasks().spawn(self.clone().watch_role(here.clone()));
        Ok(here)
    }

    /// The replica of a group, started blank if there is none: a leader elsewhere knows of us.
    async fn ensure_replica(&self, group: GroupId) -> Result<Here, String> {
        let _turn = self.0.changing.lock().await;
        match self.here(group) {
            Some(here) => Ok(here),
            None => {
                let left = self.0.left().remove(&group);
                self.start_replica(group, left.unwrap_or_default(), None).await
            }
        }
    }

    fn here(&self, group: GroupId) -> Option<Here> {
        self.0.here.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    fn all_here(&self) -> Vec<Here> {
        self.0.here.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Publishes what a replica leads, once a quorum has confirmed it, until it does no more.
    async fn watch_role(self, here: Here) {
        let group = here.replica.group;
        let mut changes = here.replica.changes();
        loop {
            let role = here.replica.role();
            {
                let mut heard = self.0.heard();
                match role.leader {
                    Some(leader) => heard.insert(group, leader),
                    None => heard.remove(&group),
                };
            }
            if let Some(leader) = role.leader {
                self.led_by(group, leader);
            }
            let published = self.0.leadership.borrow().get(&group).copied();
            match (role.leads, published) {
                (true, Some(term)) if term == role.term => {}
                (true, _) => {
                    let within = Duration::from_millis(self.0.settings.timers.doubt_ms());
                    let confirmed = tokio::time::timeout(within, here.replica.barrier()).await;
                    if !matches!(confirmed, Ok(Ok(()))) {
                        // Not confirmed yet: look again soon, whether or not anything changed;
                        // unless it never will be, because the replica has ended while it led.
                        match tokio::time::timeout(ASK_AGAIN, changes.next()).await {
                            Ok(false) => break,
                            Ok(true) | Err(_) => continue,
                        }
                    }
                    if here.replica.role() == role {
                        self.0.lead(group, Some(role.term));
                    }
                    continue;
                }
                (false, Some(_)) => self.0.lead(group, None),
                (false, None) => {}
            }
            let goes_on = tokio::select! {
                goes_on = changes.next() => goes_on,
                () = here.look.notified() => true,
            };
            if !goes_on {
                break;
            }
        }
        if let Some(level) = here.replica.keeper().unknown()
            && let Err(too_old) = level::known(level, self.0.settings.level)
        {
            self.break_down(Broken::TooOld(too_old));
        }
        // What it heard last would be believed for ever.
        self.0.heard().remove(&group);
        self.0.lead(group, None);
    }

    async fn watch_journal(self) {
        tokio::select! {
            () = self.0.journal.failed() => {}
            () = self.0.snapshot_journal.failed() => {}
        }
        self.break_down(Broken::Journal);
    }

    fn break_down(&self, broken: Broken) {
        tracing::error!(member = %self.0.me(), %broken, "the ledger stops serving");
        self.0.broken.send_replace(Some(broken));
        self.0.leadership.send_replace(Leadership::new());
    }

    /// Waits until the ledger can serve no more, and says why.
    pub async fn broken(&self) -> Broken {
        let mut broken = self.0.broken.subscribe();
        loop {
            if let Some(why) = broken.borrow_and_update().clone() {
                return why;
            }
            if broken.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What the cluster agrees on, as far as this node knows, and as that changes. Before it is
    /// founded, nothing.
    pub fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.0.cluster.subscribe()
    }

    /// Changes what a node is to the cluster, whoever leads group 0.
    pub async fn stand(
        &self,
        node: NodeId,
        standing: Standing,
    ) -> Result<Result<Cluster, Objection>, Refused> {
        self.have_changed(Change::Stand(node, standing), Body::Stand(node, standing)).await
    }

    /// Has group 0 changed by its leader: this node, or the one that is told `body`.
    async fn have_changed(
        &self,
        change: Change,
        body: Body,
    ) -> Result<Result<Cluster, Objection>, Refused> {
        let hint = match self.change(change).await {
            Err(Refused::NotLeader { hint: Some(hint) }) => hint,
            other => return other,
        };
        match self.0.lines.call(hint, Lane::Consensus, PROPOSE_WITHIN, body).await {
            Ok(Reply::Stood(stood)) => Ok(stood),
            Ok(_) => Err(Refused::NotLeader { hint: None }),
            Err(_) => Err(Refused::Unknown),
        }
    }

    async fn change(&self, change: Change) -> Result<Result<Cluster, Objection>, Refused> {
        let committed = self.propose_to(META, codec::encode(&change)).await?;
        codec::decode(&committed.outcome).map_err(|_| Refused::Unknown)
    }

    async fn propose_to(&self, group: GroupId, command: Vec<u8>) -> Result<Committed, Refused> {
        if command.len() > COMMAND_MAX {
            return Err(Refused::TooLarge);
        }
        let here = self.led(group)?;
        let Ok(_room) = self.0.proposals.try_acquire() else { return Err(Refused::Overloaded) };
        let (at, level) = (self.0.clock.wall(), self.0.level());
        let stamped = Stamped { at, level, command: command.into() };
        let proposed = tokio::time::timeout(PROPOSE_WITHIN, here.replica.propose(stamped)).await;
        proposed.unwrap_or(Err(Refused::Unknown))
    }

    /// Returns once a quorum has confirmed that this replica leads.
    async fn confirm(&self, here: &Here) -> Result<(), Refused> {
        if self.0.settings.faults.make(Fault::ReadWithoutBarrier) {
            return Ok(());
        }
        here.reader.confirm().await
    }

    /// The replica of a group that this node leads.
    fn led(&self, group: GroupId) -> Result<Here, Refused> {
        let not_leader = || Refused::NotLeader { hint: self.leader(group) };
        if !self.0.leadership.borrow().contains_key(&group) {
            return Err(not_leader());
        }
        self.here(group).ok_or_else(not_leader)
    }

    /// Takes a snapshot of a group at once; returns when it is durable, with the index it covers.
    pub async fn take_snapshot(&self, group: GroupId) -> Result<u64, Refused> {
        let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
        let (applied, _) = here.replica.keeper().size();
        here.replica.take_snapshot().await;
        loop {
            match self.0.means.snapshots.newest(group) {
                Some(covered) if covered >= applied => return Ok(covered),
                Some(_) | None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// How each replica here stands.
    pub fn replicas(&self) -> Vec<ReplicaStatus> {
        let status = |here: Here| {
            // Both of one moment, so that who compares them compares the same.
            let (applied, fingerprint) = here.replica.keeper().fingerprint();
            let members = here.replica.members();
            let group = here.replica.group;
            ReplicaStatus {
                group,
                leads: self.0.leadership.borrow().contains_key(&group),
                term: here.replica.role().term,
                may_stand: members.may_stand(self.0.me()),
                last: here.log.last_of_term(),
                quorums: members.quorums,
                voters: members.voters,
                learners: members.learners,
                applied,
                values: here.replica.keeper().size().1,
                entries: here.log.len(),
                segments: here.replica.keeper().archived(),
                snapshot: self.0.means.snapshots.newest(group),
                fingerprint,
                level: here.replica.keeper().level(),
            }
        };
        self.all_here().into_iter().map(status).collect()
    }

    /// Writes and syncs of the write-ahead log, and frames sent, so far.
    pub fn counts(&self) -> ReplicatedCounts {
        let counts = self.0.journal.counts();
        ReplicatedCounts {
            writes: counts.writes.load(std::sync::atomic::Ordering::Relaxed),
            syncs: counts.syncs.load(std::sync::atomic::Ordering::Relaxed),
            frames: self.0.lines.frames(),
        }
    }

    /// Stops the replicas and closes the stores.
    pub async fn stop(&self) {
        self.0.tasks().abort_all();
        self.0.leadership.send_replace(Leadership::new());
        for here in self.all_here() {
            here.replica.stop().await;
        }
        self.0.journal.stop().await;
        self.0.snapshot_journal.stop().await;
        self.0.means.segments.close();
    }
}

/// Nobody is told that something is not there because it can't be read.
fn unreadable(group: GroupId, error: &SegmentError) -> Refused {
    tracing::error!(%group, %error, "history cannot be read");
    Refused::Unknown
}

impl Ledger for Replicated {
    fn propose(
        &self,
        group: GroupId,
        command: Vec<u8>,
    ) -> BoxFuture<'_, Result<Committed, Refused>> {
        Box::pin(self.propose_to(group, command))
    }

    fn read(
        &self,
        group: GroupId,
        key: Vec<u8>,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Refused>> {
        Box::pin(async move {
            let here = self.led(group)?;
            self.confirm(&here).await?;
            let value = here.replica.keeper().read(&key);
            value.map_err(|error| unreadable(group, &error))
        })
    }

    fn read_stale(&self, group: GroupId, key: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
        here.replica.keeper().read(key).map_err(|error| unreadable(group, &error))
    }

    fn replicas(&self, group: GroupId) -> Vec<NodeId> {
        self.0.known().plan.get(&group).cloned().unwrap_or_default()
    }

    fn page(
        &self,
        group: GroupId,
        prefix: Vec<u8>,
        before: Option<Vec<u8>>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Pair>, Refused>> {
        Box::pin(async move {
            let here = self.led(group)?;
            self.confirm(&here).await?;
            let page = here.replica.keeper().scan_back(&prefix, before.as_deref(), max);
            page.map_err(|error| unreadable(group, &error))
        })
    }

    fn open_work(&self, group: GroupId) -> BoxFuture<'_, Result<Vec<Vec<u8>>, Refused>> {
        Box::pin(async move {
            let here = self.led(group)?;
            self.confirm(&here).await?;
            Ok(here.replica.keeper().open_work())
        })
    }

    fn events(
        &self,
        group: GroupId,
        after: Cursor,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<LoggedEvent>, Refused>> {
        Box::pin(async move {
            let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
            let events = here.replica.keeper().events(after, max.min(EVENTS_ANSWER_MAX)).await;
            events.map_err(|error| unreadable(group, &error))
        })
    }

    fn newest(&self, group: GroupId) -> Result<Cursor, Refused> {
        let here = self.here(group).ok_or(Refused::NotLeader { hint: self.leader(group) })?;
        // Whatever the last command emitted is in.
        Ok(Cursor { index: here.replica.keeper().size().0, n: u32::MAX })
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.subscribe()
    }

    fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.probable_leader(group)
    }

    fn heard(&self, group: GroupId, leader: Option<NodeId>) {
        self.hear_of(group, leader);
    }
}
