//! The handle through which the rest of a node sees the cluster, and the task behind it.

use crate::config::{Config, ConfigError};
use crate::datagrams::Datagrams;
use crate::facts;
use crate::gossip::{self, Counters, GOSSIP_INTERVAL, GossipCounts, SealedSocket};
use crate::ready::{Expect, NotReady};
use crate::ring::WEIGHT_MAX;
use crate::roster::Roster;
use crate::seal::Seal;
use crate::split::SplitTable;
use crate::view::{Parts, View};
use arc_swap::ArcSwap;
use chitchat::ChitchatHandle;
use proto::NodeId;
use proto::units::{Clock, MonoMs};
use rand::CryptoRng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// A tick that comes later than this means that the process was paused. Peers fall silent after
/// 335 to 464 ms, so a shorter pause can hardly make them seem so.
const PAUSE_MS: u64 = 500;
/// How long a goodbye is gossiped before gossip ends: three rounds to three members each.
const GOODBYE: Duration = Duration::from_millis(300);
/// A member whose split table has differed from ours for so many ticks, 5 s, does not follow it.
const ASTRAY_TICKS: u32 = 50;

/// Why a member did not start.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The configuration contradicts itself. Nothing was sent.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Gossip did not start. Nothing was sent.
    #[error("gossip did not start: {0}")]
    Gossip(String),
}

/// This member's part in the cluster. Clones share it; when the last one is dropped, gossip ends
/// without a goodbye, as in a crash.
#[derive(Debug, Clone)]
pub struct Membership {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

/// What the task writes and handles read.
#[derive(Debug)]
struct Shared {
    current: ArcSwap<View>,
    /// The newest split table. Held while a view is made, so that none brings an old one back.
    splits: Mutex<Arc<SplitTable>>,
    /// How much of the ring this member wants.
    weight: AtomicU32,
    changes: watch::Sender<Arc<View>>,
    counters: Arc<Counters>,
}

/// The task. It ends when `stop` is sent or dropped.
#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    fn new(view: View) -> Arc<Self> {
        let view = Arc::new(view);
        let (changes, _) = watch::channel(Arc::clone(&view));
        let (current, splits) = (ArcSwap::new(Arc::clone(&view)), Mutex::new(view.split_table()));
        let weight = AtomicU32::new(view.member(view.me()).map_or(0, |me| me.weight));
        Arc::new(Self { current, splits, weight, changes, counters: Arc::default() })
    }

    fn splits(&self) -> MutexGuard<'_, Arc<SplitTable>> {
        self.splits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the view of these parts, with the newest split table, if it differs from the
    /// last. Says what it was and is.
    fn publish(&self, parts: impl FnOnce(&View) -> Parts) -> Option<(Arc<View>, Arc<View>)> {
        let splits = self.splits();
        let last = self.current.load_full();
        let parts = Parts { splits: Arc::clone(&splits), ..parts(&last) };
        let next = Arc::new(View::reusing(parts, Some(&last)));
        if next.same(&last) {
            return None;
        }
        self.current.store(Arc::clone(&next));
        self.changes.send_replace(Arc::clone(&next));
        Some((last, next))
    }
}

impl Membership {
    /// Starts gossip over a socket that is bound at the member's peer address. Returns at once:
    /// the first view holds this member only, and is not ready unless that is all it expects.
    /// `rng` draws the nonces that seal datagrams and must be seeded by the operating system,
    /// except in a simulation.
    pub async fn start(
        mut config: Config,
        datagrams: impl Datagrams,
        clock: Arc<dyn Clock>,
        rng: impl CryptoRng + Send + Sync + 'static,
    ) -> Result<Self, MembershipError> {
        config.check()?;
        config.me.split_version = config.splits.version();
        let known = config.bootstrap.foundation(config.me.id);
        let foundation = known.or_else(|| config.remembered.clone());
        let mut observer = Observer {
            roster: Roster::new(config.me.clone(), foundation.clone()),
            me: config.me.id,
            expect: config.bootstrap.expect(),
            splits: Arc::new(config.splits.clone()),
            astray: BTreeMap::new(),
            last_tick: clock.mono(),
            clock,
            strangers: BTreeSet::new(),
        };
        let shared = Shared::new(View::new(observer.parts()));
        let seal = Seal::new(&config.cluster, &config.key);
        let counters = Arc::clone(&shared.counters);
        let socket = SealedSocket::new(Box::new(datagrams), seal, Box::new(rng), counters);
        let gossip = gossip::start(&config, &config.me, foundation.as_ref(), socket)
            .await
            .map_err(MembershipError::Gossip)?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { observer.run(gossip, &shared, stopped).await }
        });
        let running = Arc::new(Running { stop, task: Mutex::new(Some(task)) });
        Ok(Self { shared, running })
    }

    /// A membership whose view never changes, for unit tests and benches.
    pub fn fixed(view: View) -> Self {
        let (stop, _) = watch::channel(false);
        let running = Arc::new(Running { stop, task: Mutex::new(None) });
        Self { shared: Shared::new(view), running }
    }

    /// The view of this moment. Take it once for a request and keep to it.
    pub fn view(&self) -> Arc<View> {
        self.shared.current.load_full()
    }

    /// Every later view; a slow watcher misses all but the newest.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.shared.changes.subscribe()
    }

    /// Has this member own its cells by another split table from now on. The others hear its
    /// version with the next gossip.
    pub fn set_splits(&self, table: SplitTable) {
        *self.shared.splits() = Arc::new(table);
        self.shared.publish(View::to_parts);
    }

    /// Has this member take another part of the ring, at most [`WEIGHT_MAX`] units. Returns once its own
    /// view shows it, within a gossip interval; the others hear of it with the next gossip. A member
    /// that can't serve cells yet starts with none.
    pub async fn take_weight(&self, weight: u32) {
        let weight = weight.min(WEIGHT_MAX);
        self.shared.weight.store(weight, Ordering::Relaxed);
        let shows = |view: &Arc<View>| {
            let ended = view.ready() == Err(NotReady::GossipEnded);
            ended || view.member(view.me()).is_some_and(|me| me.weight == weight)
        };
        let mut views = self.watch();
        // An error would say that this handle is gone, and it is not.
        drop(views.wait_for(shows).await);
    }

    /// What has happened to gossip datagrams.
    pub fn gossip_counts(&self) -> GossipCounts {
        self.shared.counters.read()
    }

    /// Says goodbye, so that nobody has to detect it, and ends gossip: 0.3 s. The last view stays
    /// and is not ready.
    pub async fn stop(&self) {
        self.running.stop.send_replace(true);
        let task = self.running.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the membership task failed");
        }
    }
}

/// What a turn of the task brought.
enum Turn {
    Changed,
    Ticked,
    Ended,
    Stop { goodbye: bool },
}

/// Watches gossip and publishes views.
struct Observer {
    roster: Roster,
    me: NodeId,
    expect: Expect,
    /// The table whose version was gossiped last.
    splits: Arc<SplitTable>,
    /// For how many ticks a member has had another one.
    astray: BTreeMap<NodeId, u32>,
    clock: Arc<dyn Clock>,
    last_tick: MonoMs,
    strangers: BTreeSet<NodeId>,
}

impl Observer {
    fn parts(&self) -> Parts {
        Parts {
            me: self.me,
            members: self.roster.members(),
            expect: self.expect,
            foundation: self.roster.foundation().cloned(),
            splits: Arc::clone(&self.splits),
            fault: self.roster.fault(),
        }
    }

    async fn run(
        &mut self,
        gossip: ChitchatHandle,
        shared: &Shared,
        mut stop: watch::Receiver<bool>,
    ) {
        let me = gossip.chitchat_id().clone();
        let mut live = gossip.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let ended = gossip.termination_watcher();
        tokio::pin!(ended);
        let mut ticks = tokio::time::interval(GOSSIP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // In order, so that a simulation with one seed takes the same turns.
            let turn = tokio::select! {
                biased;
                told = stop.changed() => Turn::Stop { goodbye: told.is_ok() },
                _ = &mut ended => Turn::Ended,
                news = live.changed() => if news.is_ok() { Turn::Changed } else { Turn::Ended },
                _ = ticks.tick() => Turn::Ticked,
            };
            match turn {
                Turn::Changed => {
                    let sightings = gossip::sightings(&me, &live.borrow_and_update());
                    self.see(sightings, &gossip).await;
                }
                Turn::Ticked => {
                    self.tick();
                    self.say_splits(shared, &gossip).await;
                    self.say_weight(shared, &gossip).await;
                    self.look_for_strays();
                }
                Turn::Ended => {
                    tracing::error!(member = %self.me, "gossip ended by a fault");
                    break;
                }
                Turn::Stop { goodbye } => {
                    if goodbye {
                        say_goodbye(&gossip).await;
                    }
                    break;
                }
            }
            self.publish(shared);
        }
        shared.publish(|_| Parts { fault: Some(NotReady::GossipEnded), ..self.parts() });
        if let Err(error) = gossip.shutdown().await {
            tracing::warn!(member = %self.me, %error, "gossip did not shut down cleanly");
        }
    }

    /// Takes in who is live. A joiner that has learned the foundation stands on it from now on,
    /// and says so: only then do the others count it.
    async fn see(&mut self, sightings: Vec<facts::Sighting>, gossip: &ChitchatHandle) {
        let unfounded = self.roster.foundation().is_none();
        self.roster.see(sightings);
        if unfounded && let Some(foundation) = self.roster.foundation() {
            tracing::info!(member = %self.me, %foundation, "learned the foundation");
            let text = foundation.to_string();
            gossip
                .with_chitchat(|chitchat| chitchat.self_node_state().set(facts::FOUNDATION, &text))
                .await;
        }
        for stranger in self.roster.strangers().difference(&self.strangers) {
            tracing::warn!(member = %stranger, "has other initial nodes or partitions: not a member");
        }
        self.strangers.clone_from(self.roster.strangers());
    }

    fn tick(&mut self) {
        let now = self.clock.mono();
        let since_ms = now.since(self.last_tick);
        self.last_tick = now;
        if since_ms > PAUSE_MS {
            tracing::warn!(member = %self.me, since_ms, "was paused: keeps the members it had");
            self.roster.resume();
        }
        self.roster.tick();
    }

    /// Gossips the version of a split table that is new.
    async fn say_splits(&mut self, shared: &Shared, gossip: &ChitchatHandle) {
        let newest = Arc::clone(&shared.splits());
        if newest.version() != self.splits.version() {
            self.roster.set_split_version(newest.version());
            let version = newest.version().to_string();
            gossip
                .with_chitchat(|chitchat| chitchat.self_node_state().set(facts::SPLIT, &version))
                .await;
        }
        self.splits = newest;
    }

    /// Gossips a weight that is new.
    async fn say_weight(&mut self, shared: &Shared, gossip: &ChitchatHandle) {
        let weight = shared.weight.load(Ordering::Relaxed);
        if self.roster.set_weight(weight) {
            let text = weight.to_string();
            gossip
                .with_chitchat(|chitchat| chitchat.self_node_state().set(facts::WEIGHT, &text))
                .await;
        }
    }

    /// For a moment after a change tables differ; whose differs for longer is told of once.
    fn look_for_strays(&mut self) {
        let mine = self.splits.version();
        let strays = self.roster.members().into_iter().filter(|m| m.split_version != mine);
        self.astray = strays
            .map(|member| {
                let ticks = self.astray.get(&member.id).map_or(1, |ticks| ticks.saturating_add(1));
                if ticks == ASTRAY_TICKS {
                    tracing::warn!(member = %member.id, "has another split table: cells will be refused");
                }
                (member.id, ticks)
            })
            .collect();
    }

    /// Publishes a view if it differs from the last.
    fn publish(&self, shared: &Shared) {
        if let Some((last, next)) = shared.publish(|_| self.parts()) {
            log_changes(&last, &next);
        }
    }
}

async fn say_goodbye(gossip: &ChitchatHandle) {
    gossip.with_chitchat(|chitchat| chitchat.self_node_state().set(facts::LEFT, "1")).await;
    tokio::time::sleep(GOODBYE).await;
}

fn log_changes(last: &View, next: &View) {
    for member in next.members() {
        let before = last.member(member.id).map(|known| known.generation);
        if before != Some(member.generation) {
            tracing::info!(member = %member.id, generation = member.generation, peer = %member.peer, "member is here");
        }
    }
    for member in last.members() {
        if next.member(member.id).is_none() {
            tracing::info!(member = %member.id, generation = member.generation, "member is gone");
        }
    }
    let (was, is) = (last.ready(), next.ready());
    if was != is {
        match is {
            Ok(()) => tracing::info!(member = %next.me(), "ready"),
            Err(reason) => tracing::info!(member = %next.me(), %reason, "not ready"),
        }
    }
}
