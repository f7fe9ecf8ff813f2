//! From what is on the disks to replicas that run.

use super::cluster::{ClusterMachine, META};
use super::core::{Core, Here};
use super::faults::Faults;
use super::founding::{self, Origin};
use super::handover::HandOvers;
use super::journal::Journal;
use super::keeper::{Keeper, Means};
use super::log::{self, GroupLog, Tail};
use super::network::{Arrivals, Dialler, Lines};
use super::reads::Reader;
use super::segments::{self, SegmentError, Segments};
use super::snapshots::{self, Kept, Shelf, Snapshots};
use super::types::Replica;
use super::{OpenReplicatedError, Parts, Replicated, Settings, level};
use crate::contract::Leadership;
use crate::store::{Pages, Store};
use proto::GroupId;
use proto::machine::StateMachine;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// How long somebody who speaks to a group that has no replica here waits while another one is started or
/// removed: a small part of what a frame may take.
const TURN_WITHIN: Duration = Duration::from_millis(100);

/// Proposals under way at once. Each is a few kilobytes; at 10,000 a second it is half a second
/// of work, and whoever comes then learns at once that it would be longer.
const PROPOSALS_MAX: usize = 4_096;

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
    /// or joined; [`crate::contract::Ledger::leadership`] says what it leads, [`Replicated::broken`]
    /// why it can't.
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
        let led_at = Arc::new(AtomicU64::new(core.clock.mono().0));
        let (reader, look, given) =
            (Reader::start(replica.clone()), Arc::default(), Arc::default());
        let here = Here { replica, log, reader, began_at, look, heard_at, led_at, given };
        core.here.write().unwrap_or_else(PoisonError::into_inner).insert(group, here.clone());
        core.tasks().spawn(self.clone().watch_role(here.clone()));
        Ok(here)
    }

    /// The replica of a group for somebody who gives it something to keep. It is counted under the lock
    /// under which replicas are removed, so that none is that was given something meanwhile.
    pub(super) async fn giving(&self, group: GroupId) -> Result<Here, String> {
        loop {
            if let Some(here) =
                self.0.here.read().unwrap_or_else(PoisonError::into_inner).get(&group)
            {
                here.given.fetch_add(1, Ordering::Relaxed);
                return Ok(here.clone());
            }
            self.replica_soon(group).await?;
        }
    }

    /// The replica of a group for somebody who waits, with others in the same frame: not while another one
    /// is started or removed for long.
    pub(super) async fn replica_soon(&self, group: GroupId) -> Result<Here, String> {
        let turn = timeout(TURN_WITHIN, self.0.changing.lock()).await;
        let _turn = turn.map_err(|_| "another replica is being started or removed")?;
        self.replica(group).await
    }

    /// The replica of a group, started blank if there is none: a leader elsewhere knows of us.
    pub(super) async fn ensure_replica(&self, group: GroupId) -> Result<Here, String> {
        let _turn = self.0.changing.lock().await;
        self.replica(group).await
    }

    async fn replica(&self, group: GroupId) -> Result<Here, String> {
        match self.here(group) {
            Some(here) => Ok(here),
            None => {
                let left = self.0.left().remove(&group);
                self.start_replica(group, left.unwrap_or_default(), None).await
            }
        }
    }
}
