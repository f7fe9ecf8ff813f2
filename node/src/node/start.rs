//! The steps of the start, in order.

use super::gauges;
use super::{Engine, Node, Seams, Storage};
use crate::cluster::Facts;
use crate::config::Config;
use crate::http::server::Door;
use crate::http::{self, App};
use crate::metrics::Metrics;
use crate::net::{AnyDatagrams, Listener};
use crate::peer::addresses::Addresses;
use crate::peer::hello::Identity;
use crate::peer::pool::Pool;
use crate::peer::service;
use crate::pings::Gatherer;
use crate::router::NodeRouter;
use crate::sessions::Keeper;
use crate::sockets::SocketRegistry;
use actors::machine::Machine;
use actors::runtime::{Runtime, World};
use ledger::{DirectoryError, Local, OpenError, Partitions, Settings, SledStore};
use membership::generation::{GenerationError, next_generation};
use membership::{Bootstrap, Foundation, Member, Membership, MembershipError, Placement};
use proto::NodeId;
use proto::units::Clock;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Why a node did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system gave no randomness.
    #[error("the operating system gives no random bits")]
    NoChance,
    /// The data directory cannot be made.
    #[error("cannot make the data directory {dir}")]
    DataDir {
        /// Which.
        dir: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The count of starts cannot be kept.
    #[error("cannot count this start")]
    Generation(#[from] GenerationError),
    /// The data directory is not this node's, or is in use.
    #[error("cannot open the data directory {dir}")]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why.
        #[source]
        source: DirectoryError,
    },
    /// The stored state cannot be loaded.
    #[error("cannot load what is stored")]
    Ledger(#[from] OpenError),
    /// A port is taken, or not this machine's.
    #[error("cannot listen on {at} for {whom}")]
    Bind {
        /// Where.
        at: SocketAddr,
        /// For `peers`, `gossip` or `clients`.
        whom: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Gossip did not start.
    #[error("cannot join the cluster")]
    Membership(#[from] MembershipError),
}

/// How much of the ring a node takes: all are equal.
const WEIGHT: u32 = 1;

/// What the later steps share.
pub(super) struct Frame {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) mint: Arc<crate::mint::SeededMint>,
    pub(super) membership: Membership,
    pub(super) pool: Arc<Pool>,
    pub(super) router: Arc<NodeRouter>,
    pub(super) sockets: Arc<SocketRegistry>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) engine: Arc<OnceLock<Engine>>,
}

pub(super) async fn start(config: Config, seams: Seams) -> Result<Node, StartError> {
    let Seams { net, clock, mint, mut storage } = seams;
    let generation = count_start(&config, &storage)?;

    // A node that knows its partitions loads them before anyone hears of it.
    let known = foundation(&config).map(|f| Arc::new(placement(&f)));
    let mut loaded = None;
    if let Some(place) = &known {
        loaded = Some(open_ledger(&config, place, &mut storage, &clock).await?);
    }

    let peers = bind(&*net, config.peer, "peers").await?;
    let peer = address(&*peers, config.peer);
    let datagrams = net.datagrams(peer).await;
    let datagrams =
        datagrams.map_err(|source| StartError::Bind { at: peer, whom: "gossip", source })?;
    let clients = bind(&*net, config.http, "clients").await?;
    let http = address(&*clients, config.http);

    let me = Member {
        id: config.node,
        generation,
        peer: config.peer_advertised.unwrap_or(peer),
        http: config.http_advertised.unwrap_or(http),
        zone: config.zone.clone(),
        weight: WEIGHT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        split_version: config.splits.version(),
    };
    let gossip = membership::Config {
        cluster: config.cluster.clone(),
        key: config.gossip_key.clone(),
        me,
        bootstrap: config.bootstrap.clone(),
        splits: config.splits.clone(),
    };
    let membership =
        Membership::start(gossip, AnyDatagrams(datagrams), Arc::clone(&clock), mint.fork()).await?;

    let identity = Arc::new(Identity {
        cluster: config.cluster.clone(),
        node: config.node,
        key: config.hello_key.clone(),
    });
    let pool = Pool::new(net, Arc::clone(&identity), Arc::clone(&mint), Arc::clone(&clock));
    let metrics = Arc::new(Metrics::default());
    let router = NodeRouter::new(
        membership.clone(),
        Arc::clone(&pool),
        Arc::clone(&clock),
        Arc::clone(&metrics),
    );
    let addresses = Addresses::new(membership.watch(), listed(&config));
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&addresses).follow(Arc::clone(&pool)));
    tasks.spawn(service::listen(
        peers,
        identity,
        Arc::clone(&mint),
        Arc::clone(&router) as Arc<dyn service::Serve>,
    ));

    let frame = Arc::new(Frame {
        config,
        clock,
        mint,
        membership,
        pool,
        router,
        sockets: Arc::default(),
        metrics,
        engine: Arc::default(),
    });
    let (failure, failures) = mpsc::channel(1);
    match (known, loaded) {
        (Some(place), Some(ledger)) => frame.employ(place, ledger),
        _ => {
            let frame = Arc::clone(&frame);
            tasks.spawn(async move {
                if let Err(error) = frame.learn_and_employ(storage).await {
                    let _ = failure.send(error).await;
                }
            });
        }
    }
    frame.open_door(clients, &mut tasks);

    let node = frame.config.node;
    tracing::info!(%node, generation, %http, %peer, cluster = frame.config.cluster, "serving");
    if frame.config.key_is_public {
        tracing::warn!("no cluster key: every process on this machine can join this cluster");
    }
    let Frame { membership, pool, engine, .. } = &*frame;
    let (membership, pool, engine) = (membership.clone(), Arc::clone(pool), Arc::clone(engine));
    let router = Arc::clone(&frame.router);
    Ok(Node { http, peer, membership, pool, router, engine, tasks, failures })
}

/// Raises the count of starts in the data directory.
fn count_start(config: &Config, storage: &Storage) -> Result<u64, StartError> {
    match storage {
        Storage::Directory => {
            let dir = &config.data_dir;
            std::fs::create_dir_all(dir)
                .map_err(|source| StartError::DataDir { dir: dir.clone(), source })?;
            Ok(next_generation(dir)?)
        }
        Storage::Memory { generation, .. } => Ok(*generation),
    }
}

/// The foundation, where the configuration says it.
fn foundation(config: &Config) -> Option<Foundation> {
    match &config.bootstrap {
        Bootstrap::Initial { nodes, partitions } => {
            Some(Foundation { initial: nodes.keys().copied().collect(), partitions: *partitions })
        }
        Bootstrap::Single { partitions } => {
            Some(Foundation { initial: [config.node].into(), partitions: *partitions })
        }
        Bootstrap::Seeds(_) => None,
    }
}

/// Where the configuration says that nodes are.
fn listed(config: &Config) -> BTreeMap<NodeId, SocketAddr> {
    match &config.bootstrap {
        Bootstrap::Initial { nodes, .. } => nodes.clone(),
        Bootstrap::Single { .. } | Bootstrap::Seeds(_) => BTreeMap::new(),
    }
}

fn placement(foundation: &Foundation) -> Placement {
    let initial: Vec<NodeId> = foundation.initial.iter().copied().collect();
    Placement::over(&initial, foundation.partitions)
}

async fn bind(
    net: &dyn crate::net::Net,
    at: SocketAddr,
    whom: &'static str,
) -> Result<Box<dyn Listener>, StartError> {
    net.bind(at).await.map_err(|source| StartError::Bind { at, whom, source })
}

/// Where a listener is, its port included where any was taken. The address itself stays the
/// configured one: a simulated network may only know an unspecified one.
fn address(listener: &dyn Listener, asked: SocketAddr) -> SocketAddr {
    let port = listener.local_addr().map_or(asked.port(), |bound| bound.port());
    SocketAddr::new(asked.ip(), port)
}

/// Loads the groups that live here. The disk is read off the runtime's threads.
async fn open_ledger(
    config: &Config,
    place: &Arc<Placement>,
    storage: &mut Storage,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Local>, StartError> {
    let settings = Settings::new(config.node, place.groups_of(config.node));
    let (clock, place) = (Arc::clone(clock), Arc::clone(place));
    let home = move |group| Some(place.home(group));
    let faults = config.faults;
    let machine =
        move |_| Box::new(Machine::with_faults(faults)) as Box<dyn proto::machine::StateMachine>;
    match std::mem::replace(storage, Storage::Directory) {
        Storage::Memory { store, sync_takes, .. } => {
            let local = Local::open_on_task(settings, store, sync_takes, clock, home, machine)?;
            Ok(Arc::new(local))
        }
        Storage::Directory => {
            let dir = config.data_dir.join("ledger");
            let identity = ledger::Identity { cluster: config.cluster.clone(), node: config.node };
            let opening = tokio::task::spawn_blocking(move || {
                let store = SledStore::open(&dir, &identity)
                    .map_err(|source| StartError::Directory { dir, source })?;
                Ok(Arc::new(Local::open(settings, store, clock, home, machine)?))
            });
            opening.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        }
    }
}

impl Frame {
    /// Waits until the cluster has said where partitions live; they live elsewhere.
    async fn learn_and_employ(&self, mut storage: Storage) -> Result<(), StartError> {
        let mut views = self.membership.watch();
        let learned = loop {
            if let Some(foundation) = self.membership.view().foundation() {
                break foundation.clone();
            }
            if views.changed().await.is_err() {
                return Ok(()); // gossip has ended, and the node with it
            }
        };
        tracing::info!(%learned, "cluster learned");
        let place = Arc::new(placement(&learned));
        let ledger = open_ledger(&self.config, &place, &mut storage, &self.clock).await?;
        self.employ(place, ledger);
        Ok(())
    }

    /// Starts the actors.
    fn employ(&self, placement: Arc<Placement>, ledger: Arc<Local>) {
        self.router.place(Arc::clone(&placement));
        let runtime = Runtime::start(World {
            node: self.config.node,
            partitions: Partitions::new(placement.slots().clone(), Arc::clone(&ledger) as _),
            membership: self.membership.clone(),
            router: Arc::clone(&self.router) as Arc<dyn actors::runtime::world::Router>,
            sockets: Arc::clone(&self.sockets) as Arc<dyn actors::runtime::world::Sockets>,
            clock: Arc::clone(&self.clock),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
            policy: Arc::new(self.config.policy.clone()),
            faults: self.config.faults,
        });
        self.router.attach(Arc::new(runtime.clone()));
        let _ = self.engine.set(Engine { runtime, ledger });
    }

    /// Lets clients in.
    fn open_door(self: &Arc<Self>, clients: Box<dyn Listener>, tasks: &mut JoinSet<()>) {
        let pings = Gatherer::new(
            Arc::clone(&self.router),
            self.membership.clone(),
            Arc::clone(&self.metrics),
        );
        tasks.spawn(Arc::clone(&pings).run());
        let keeper = Keeper {
            node: self.config.node,
            sockets: Arc::clone(&self.sockets),
            router: Arc::clone(&self.router),
            membership: self.membership.clone(),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
        };
        tasks.spawn(keeper.run());
        let frame = Arc::clone(self);
        let app = App::new(http::Parts {
            node: self.config.node,
            facts: Facts {
                cluster: self.config.cluster.clone(),
                membership: self.membership.clone(),
                router: Arc::clone(&self.router),
            },
            router: Arc::clone(&self.router),
            membership: self.membership.clone(),
            pings,
            sockets: Arc::clone(&self.sockets),
            clock: Arc::clone(&self.clock),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
            metrics: Arc::clone(&self.metrics),
            refresh: Box::new(move || gauges::refresh(&frame)),
            limits: self.config.limits,
            in_flight: Semaphore::new(self.config.limits.in_flight_max),
        });
        let door = Door::new(clients, self.config.limits.connections_max);
        tasks.spawn(async move {
            if let Err(error) = axum::serve(door, http::endpoints(app)).await {
                tracing::error!(%error, "clients are no longer served");
            }
        });
    }
}
