//! The steps of the start, in order.

use super::gauges;
use super::stores::{count_start, open_ledger, open_stores, open_stories};
use super::{Build, Node, Seams};
use crate::auth::{BadKeys, Verifier};
use crate::cluster::Facts;
use crate::config::{Adaptive, Config};
use crate::edge;
use crate::follow::{self, Streams};
use crate::http::server::Door;
use crate::http::{self, App, Rates};
use crate::metrics::Metrics;
use crate::mint::SeededMint;
use crate::net::{AnyDatagrams, Listener};
use crate::peer::addresses::Addresses;
use crate::peer::hello::Identity;
use crate::peer::pool::Pool;
use crate::peer::replicas::LedgerPeers;
use crate::peer::service;
use crate::pings::Ingest;
use crate::policy::InForce;
use crate::router::NodeRouter;
use crate::sessions::Keeper;
use crate::sockets::SocketRegistry;
use crate::splits::{self, Balancer};
use crate::stories::StoryBook;
use actors::runtime::world::Mint;
use actors::runtime::{Runtime, World};
use ledger::replicated::{Broken, OpenReplicatedError};
use ledger::{DirectoryError, Partitions, Replicated};
use membership::generation::GenerationError;
use membership::{Bootstrap, Member, Membership, MembershipError, View};
use proto::NodeId;
use proto::units::Clock;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
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
    /// The keys of clients' tokens are of no use.
    #[error("--auth-keys: {0}")]
    Keys(#[from] BadKeys),
    /// The data directory is not this node's, or is in use.
    #[error("cannot open the data directory {dir}")]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why.
        #[source]
        source: DirectoryError,
    },
    /// The streets cannot be used.
    #[error(transparent)]
    Roads(#[from] crate::eta::EtaError),
    /// The stored state cannot be loaded.
    #[error("cannot load what is stored")]
    Ledger(#[from] OpenReplicatedError),
    /// The ledger serves no more.
    #[error("the ledger cannot go on")]
    Broken(#[from] Broken),
    /// A port is taken, or not this machine's.
    #[error("cannot listen on {at} for {whom}")]
    Bind {
        /// Where.
        at: SocketAddr,
        /// For `peers`, `gossip`, `clients` or `edge gateways`.
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

/// How often it is looked whether all partitions have leaders, before clients are served.
const LEADERS_LOOK_EVERY: Duration = Duration::from_millis(25);
/// How many times: 2 s in all, twice what elections take. While some partition has no majority whoever
/// starts must serve the others.
const LEADERS_LOOKS: u32 = 80;

/// What the later steps share.
pub(super) struct Frame {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) mint: Arc<SeededMint>,
    pub(super) membership: Membership,
    pub(super) pool: Arc<Pool>,
    pub(super) router: Arc<NodeRouter>,
    pub(super) sockets: Arc<SocketRegistry>,
    pub(super) stories: Arc<StoryBook>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ledger: Replicated,
    pub(super) policy: InForce,
    pub(super) eta: Arc<dyn actors::runtime::eta::Eta>,
    /// Once the node knows what the cluster is.
    pub(super) runtime: Arc<OnceLock<Runtime>>,
}

pub(super) async fn start(config: Config, seams: Seams, build: Build) -> Result<Node, StartError> {
    let Seams { net, clock, mint, storage } = seams;
    let keys = config.auth_keys.as_ref();
    let verifier = keys.map(|path| Verifier::open(path, &config.cluster, Arc::clone(&clock)));
    let verifier = verifier.transpose()?.map(Arc::new);
    let eta = crate::eta::of(&config)?;
    let generation = count_start(&config, &storage)?;
    // Whose directory it is shows before anyone hears of this node.
    let stores = open_stores(&config, storage).await?;
    let stories = open_stories(&config, &stores, &clock)?;
    let foundation = stores.foundation().map_err(|source| StartError::Directory {
        dir: config.data_dir.join("log"),
        source: source.into(),
    })?;

    let peers = bind(&*net, config.peer, "peers").await?;
    let peer = address(&*peers, config.peer);
    let datagrams = net.datagrams(peer).await;
    let datagrams =
        datagrams.map_err(|source| StartError::Bind { at: peer, whom: "gossip", source })?;
    let clients = bind(&*net, config.http, "clients").await?;
    let http = address(&*clients, config.http);
    let gateways = match config.edge {
        Some(at) => Some(bind(&*net, at, "edge gateways").await?),
        None => None,
    };
    let edge = config.edge.zip(gateways.as_deref()).map(|(at, door)| address(door, at));

    let me = Member {
        id: config.node,
        generation,
        peer: config.peer_advertised.unwrap_or(peer),
        http: config.http_advertised.unwrap_or(http),
        zone: config.zone.clone(),
        weight: 0, // until it has actors
        version: env!("CARGO_PKG_VERSION").to_owned(),
        split_version: config.splits.version(),
    };
    let gossip = membership::Config {
        cluster: config.cluster.clone(),
        key: config.gossip_key.clone(),
        me,
        bootstrap: config.bootstrap.clone(),
        remembered: foundation.clone(),
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

    let lines = LedgerPeers::new(
        config.node,
        addresses,
        Arc::clone(&pool),
        Arc::clone(&mint),
        Arc::clone(&metrics),
    );
    let ledger = open_ledger(&config, stores, &membership, lines, &clock, &mint, build).await?;
    router.attach_ledger(Arc::new(ledger.clone()));

    let policy = InForce::new(ledger.clone(), config.policy.clone());
    let frame = Arc::new(Frame {
        config,
        clock,
        mint,
        membership,
        pool,
        router,
        policy,
        eta,
        ledger: ledger.clone(),
        sockets: Arc::default(),
        stories,
        metrics,
        runtime: Arc::default(),
    });
    let (failure, failures) = mpsc::channel(1);
    tasks.spawn(async move {
        let _ = failure.send(ledger.broken().await.into()).await;
    });
    tasks.spawn(Arc::clone(&frame).learn_and_employ());
    tasks.spawn(splits::follow(frame.ledger.clone(), frame.membership.clone()));
    tasks.spawn(frame.policy.clone().follow());
    if foundation.is_none() && matches!(frame.config.bootstrap, Bootstrap::Seeds(_)) {
        tasks.spawn(remember(frame.ledger.clone(), frame.membership.watch()));
    }
    if let Some(adaptive) = frame.config.adaptive {
        tasks.spawn(frame.balancer(adaptive).run());
    }
    tasks.spawn(Arc::clone(&frame.stories).run());
    if let Some(verifier) = &verifier {
        tasks.spawn(read_keys_again(Arc::clone(verifier)));
    }
    frame.open_doors(clients, gateways, verifier, &mut tasks);

    let node = frame.config.node;
    let gateways = edge.map(tracing::field::display);
    tracing::info!(%node, generation, %http, edge = gateways, %peer, cluster = frame.config.cluster, "serving");
    if frame.config.key_is_public {
        tracing::warn!("no cluster key: every process on this machine can join this cluster");
    }
    if frame.config.auth_keys.is_none() {
        tracing::warn!(%http, "no keys for tokens: INSECURE, whoever reaches this port can be anybody");
    }
    let Frame { membership, pool, router, ledger, stories, runtime, .. } = &*frame;
    Ok(Node {
        http,
        edge,
        peer,
        membership: membership.clone(),
        pool: Arc::clone(pool),
        router: Arc::clone(router),
        ledger: ledger.clone(),
        stories: Arc::clone(stories),
        runtime: Arc::clone(runtime),
        tasks,
        failures,
    })
}

/// Keys are rotated while the node runs: SIGHUP has them read again.
async fn read_keys_again(verifier: Arc<Verifier>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        tracing::warn!("SIGHUP cannot be heard: new keys need a restart");
        return;
    };
    while hangups.recv().await.is_some() {
        match verifier.reload() {
            Ok(keys) => tracing::info!(keys, "the keys of tokens are read again"),
            Err(error) => tracing::error!(%error, "the keys of tokens stay as they were"),
        }
    }
}

/// Where the configuration says that nodes are.
fn listed(config: &Config) -> BTreeMap<NodeId, SocketAddr> {
    match &config.bootstrap {
        Bootstrap::Initial { nodes, .. } => nodes.clone(),
        Bootstrap::Single { .. } | Bootstrap::Seeds(_) => BTreeMap::new(),
    }
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

/// Keeps what the cluster was founded with, once a member has said it.
async fn remember(ledger: Replicated, mut view: watch::Receiver<Arc<View>>) {
    let known = view.wait_for(|view| view.foundation().is_some()).await;
    let foundation = known.ok().and_then(|view| view.foundation().cloned());
    if let Some(foundation) = foundation {
        let _said_by_broken = ledger.remember(&foundation).await;
    }
}

impl Frame {
    /// Waits until it is known what the cluster is, and starts the actors.
    async fn learn_and_employ(self: Arc<Self>) {
        let mut known = self.ledger.known();
        let slots = match known.wait_for(|known| known.cluster.version > 0).await {
            Ok(known) => known.cluster.slots(),
            Err(_) => return, // the ledger has ended, and the node with it
        };
        let partitions = Partitions::new(slots, Arc::new(self.ledger.clone()));
        self.router.place(partitions.clone());
        self.wait_for_leaders(&partitions).await;
        let runtime = Runtime::start(World {
            node: self.config.node,
            partitions,
            membership: self.membership.clone(),
            router: Arc::clone(&self.router) as Arc<dyn actors::runtime::world::Router>,
            sockets: Arc::clone(&self.sockets) as Arc<dyn actors::runtime::world::Sockets>,
            stories: Arc::clone(&self.stories) as Arc<dyn actors::runtime::world::Stories>,
            clock: Arc::clone(&self.clock),
            eta: Arc::clone(&self.eta),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
            policy: self.policy.now(),
            cell_replicas: usize::from(self.config.cell_replicas),
            faults: self.config.faults,
        });
        // Positions that came before would be refused, and their cells have owners who take them.
        self.membership.take_weight(WEIGHT).await;
        self.router.attach(Arc::new(runtime.clone()));
        let _ = self.runtime.set(runtime);
    }

    /// Waits until every partition has a leader, but not for ever: those that have can be served.
    async fn wait_for_leaders(&self, partitions: &Partitions) {
        for _ in 0..LEADERS_LOOKS {
            let led = |group| partitions.ledger().leader(group).is_some();
            if partitions.groups().all(led) {
                return;
            }
            tokio::time::sleep(LEADERS_LOOK_EVERY).await;
        }
        tracing::warn!("some partitions have no leader yet, serving the others");
    }

    /// What splits cells by what they carry.
    fn balancer(&self, adaptive: Adaptive) -> Balancer {
        Balancer {
            node: self.config.node,
            ledger: self.ledger.clone(),
            router: Arc::clone(&self.router),
            membership: self.membership.clone(),
            mint: Arc::clone(&self.mint) as Arc<dyn Mint>,
            adaptive,
            pinned: self.config.splits.clone(),
        }
    }

    /// What this node knows of its cluster.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            cluster: self.config.cluster.clone(),
            membership: self.membership.clone(),
            router: Arc::clone(&self.router),
            ledger: self.ledger.clone(),
        }
    }

    /// Lets clients in, and edge gateways.
    fn open_doors(
        self: &Arc<Self>,
        clients: Box<dyn Listener>,
        gateways: Option<Box<dyn Listener>>,
        verifier: Option<Arc<Verifier>>,
        tasks: &mut JoinSet<()>,
    ) {
        let pings = Ingest::new(
            Arc::clone(&self.router),
            self.membership.clone(),
            Arc::clone(&self.runtime),
            Arc::clone(&self.metrics),
        );
        let keeper = Keeper {
            node: self.config.node,
            sockets: Arc::clone(&self.sockets),
            router: Arc::clone(&self.router),
            membership: self.membership.clone(),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
        };
        tasks.spawn(keeper.run());
        let streams = Streams::new(follow::Means {
            node: self.config.node,
            router: Arc::clone(&self.router),
            membership: self.membership.clone(),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
            policy: self.policy.now(),
            eta: Arc::clone(&self.eta),
        });
        tasks.spawn(Arc::clone(&streams).run());
        let (frame, open) = (Arc::clone(self), Arc::clone(&streams));
        let app = App::new(http::Parts {
            node: self.config.node,
            facts: self.facts(),
            policy: self.policy.clone(),
            router: Arc::clone(&self.router),
            membership: self.membership.clone(),
            pings,
            sockets: Arc::clone(&self.sockets),
            streams,
            clock: Arc::clone(&self.clock),
            mint: Arc::clone(&self.mint) as Arc<dyn actors::runtime::world::Mint>,
            metrics: Arc::clone(&self.metrics),
            refresh: Box::new(move || {
                gauges::refresh(&frame);
                gauges::streams(&frame.metrics, open.counts());
            }),
            verifier,
            rates: Rates::new(self.config.limits.rate_per_subject, Arc::clone(&self.clock)),
            limits: self.config.limits,
            in_flight: Semaphore::new(self.config.limits.in_flight_max),
        });
        if let Some(gateways) = gateways {
            tasks.spawn(edge::listen(gateways, app.clone()));
        }
        let door = Door::new(clients, self.config.limits.connections_max);
        tasks.spawn(async move {
            if let Err(error) = axum::serve(door, http::endpoints(app)).await {
                tracing::error!(%error, "clients are no longer served");
            }
        });
    }
}
