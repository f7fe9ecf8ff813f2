//! Flags, their environment variables and defaults, and the check that turns them into a
//! [`Config`].

use super::{Config, ConfigError, LimitsArgs, LogFormat, PolicyArgs, Secret, SplitsArgs};
use actors::fault::Faults;
use ledger::replicated::Faults as LedgerFaults;
use membership::{Bootstrap, ClusterKey, seal};
use proto::NodeId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Used where every address is on this machine's loopback and no key is given, so that a first
/// look at the cluster needs none. Everybody can read it here: it keeps nobody out.
const LOOPBACK_SECRET: &str = "hansom on loopback, known to all";
/// What is logged if nothing else is said. tarpc's span around each call costs more than the call;
/// openraft logs the errors that it returns, and the ledger knows which of them are none; and that a
/// heartbeat was under way when a replica was stopped.
const LOG: &str = "info,tarpc=warn,chitchat=warn,fjall=warn,lsm_tree=warn,openraft=error,\
                   openraft::raft=off,openraft::core::heartbeat=off";
/// The peer port of a cluster of one, and the first in the documentation's examples.
const PEER_DEFAULT: &str = "127.0.0.1:7101";

/// How to run a node.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// This node's number, 1 or more, unique in the cluster for as long as its disk lives.
    #[arg(long, env = "HANSOM_NODE_ID", value_name = "N")]
    pub node_id: Option<u64>,

    /// The first nodes of the cluster with their peer addresses: literal, and equal on all of
    /// them. They found it together, once, and hold its partitions.
    #[arg(long, env = "HANSOM_INITIAL_NODES", value_name = "ID=ADDR,...", conflicts_with_all = ["seeds", "single"])]
    pub initial_nodes: Option<String>,

    /// Peer addresses of nodes that run; for every node that is not among the first. Where they are on other
    /// machines, --peer says where this one is.
    #[arg(long, env = "HANSOM_SEEDS", value_name = "ADDR,...", conflicts_with = "single")]
    pub seeds: Option<String>,

    /// Be a cluster of one.
    #[arg(long, env = "HANSOM_SINGLE")]
    pub single: bool,

    /// The cluster's name; nodes of another name are not talked to.
    #[arg(long, env = "HANSOM_CLUSTER", default_value = "hansom", value_name = "NAME")]
    pub cluster: String,

    /// The secret that all nodes share, 16 bytes or more, random (`openssl rand -hex 32`). Better
    /// given by the environment, where `ps` does not show it. Needed unless all addresses are on
    /// loopback.
    #[arg(long, env = "HANSOM_CLUSTER_KEY", hide_env_values = true, value_name = "SECRET", value_parser = parse_secret)]
    pub cluster_key: Option<Secret>,

    /// The keys that clients' tokens are signed with: a JWK set, read again on SIGHUP (`hansom token
    /// --help` makes one, and tokens). Needed unless --http and --edge are on loopback.
    #[arg(
        long,
        env = "HANSOM_AUTH_KEYS",
        value_name = "FILE",
        conflicts_with = "insecure_dev_auth"
    )]
    pub auth_keys: Option<PathBuf>,

    /// Believe the headers X-User-ID and X-Driver-ID instead of tokens, for trying things out: whoever
    /// reaches the port can be anybody.
    #[arg(long, env = "HANSOM_INSECURE_DEV_AUTH")]
    pub insecure_dev_auth: bool,

    /// Where durable state is kept [default: hansom-data/nN, N the node id]
    #[arg(long, env = "HANSOM_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where to listen for clients (HTTP and WebSocket).
    #[arg(long, env = "HANSOM_HTTP", default_value = "127.0.0.1:8001", value_name = "ADDR")]
    pub http: SocketAddr,

    /// The address under which clients reach this node, where it differs from --http.
    #[arg(long, env = "HANSOM_HTTP_ADVERTISED", value_name = "ADDR")]
    pub http_advertised: Option<SocketAddr>,

    /// Where to listen for edge gateways, which speak the binary protocol of `proto::edge`
    /// [default: nowhere]
    #[arg(long, env = "HANSOM_EDGE", value_name = "ADDR")]
    pub edge: Option<SocketAddr>,

    /// Where to listen for other nodes: TCP for calls, UDP on the same port for gossip
    /// [default: this node's address in --initial-nodes, else 127.0.0.1:7101]
    #[arg(long, env = "HANSOM_PEER", value_name = "ADDR")]
    pub peer: Option<SocketAddr>,

    /// The address under which other nodes reach this one, where it differs from --peer.
    #[arg(long, env = "HANSOM_PEER_ADVERTISED", value_name = "ADDR")]
    pub peer_advertised: Option<SocketAddr>,

    /// What fails together with this node: a rack, a building.
    #[arg(long, env = "HANSOM_ZONE", default_value = "", value_name = "NAME")]
    pub zone: String,

    /// Into how many partitions durable state is cut, for ever; equal on all first nodes.
    #[arg(long, env = "HANSOM_PARTITIONS", default_value_t = 64, value_name = "N")]
    pub partitions: u16,

    /// On how many nodes each partition is kept, an odd number; a cluster with fewer first nodes
    /// keeps it on all of them. Equal on all first nodes.
    #[arg(long, env = "HANSOM_REPLICAS", default_value_t = 3, value_name = "N")]
    pub replicas: u8,

    /// Members that keep each cell, its owner among them: with 2 a search whose owner is slow is
    /// answered by another. Soft state, whatever the number; equal on all nodes.
    #[arg(long, env = "HANSOM_CELL_REPLICAS", default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub cell_replicas: u8,

    /// A node that was away for so long is replaced by another, if there is one, in milliseconds.
    #[arg(long, env = "HANSOM_REPLACE_AFTER_MS", default_value_t = 60_000, value_name = "MS")]
    pub replace_after_ms: u64,

    /// The city's streets, a file of `hansom roads build`: drives are then estimated by road instead
    /// of by --speed-cms and --detour-pct, which remain for places that are off the roads. Equal on
    /// all nodes.
    #[arg(long, env = "HANSOM_ROADS", value_name = "CITY.roads")]
    pub roads: Option<PathBuf>,

    /// How long drives by road take, in percent of what the file says. A map knows speed limits and
    /// no traffic; `hansom roads eval` says what fits.
    #[arg(long, env = "HANSOM_ROADS_TIME_PCT", default_value_t = 100, value_name = "PERCENT", requires = "roads", value_parser = clap::value_parser!(u32).range(10..=1_000))]
    pub roads_time_pct: u32,

    /// Let drives take as long as the trips of this node's partitions lately did, street by street:
    /// by the trails that phones upload. What was learned is forgotten when the node stops.
    #[arg(long, env = "HANSOM_ROADS_LEARN", requires = "roads")]
    pub roads_learn: bool,

    #[command(flatten)]
    pub splits: SplitsArgs,

    #[command(flatten)]
    pub policy: PolicyArgs,

    #[command(flatten)]
    pub limits: LimitsArgs,

    /// Which log lines are written, as in RUST_LOG: level, or target=level, ...
    #[arg(long, env = "HANSOM_LOG", default_value = LOG, value_name = "FILTER")]
    pub log: String,

    /// How they look. They go to stderr.
    #[arg(long, env = "HANSOM_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// Make this known mistake, so that the checkers can be seen to catch it.
    #[cfg(feature = "plant")]
    #[arg(long, env = "HANSOM_PLANT", value_name = "FAULT")]
    pub plant: Option<String>,

    /// Print the configuration as it would be used, secrets hidden, and stop.
    #[arg(long)]
    pub print_config: bool,
}

const EXAMPLES: &str = "\
Examples:
  A cluster of one:
    hansom node --single

  Three nodes on this machine, each in its own terminal (then 2 and 3 with --http 127.0.0.1:8002, 8003):
    hansom node --node-id 1 --initial-nodes 1=127.0.0.1:7101,2=127.0.0.1:7102,3=127.0.0.1:7103

  A fourth that joins them:
    hansom node --node-id 4 --peer 127.0.0.1:7104 --http 127.0.0.1:8004 --seeds 127.0.0.1:7101,127.0.0.1:7102

  What would be used:
    hansom node --single --print-config
";

#[expect(clippy::unnecessary_wraps, reason = "the shape clap's value_parser wants")]
fn parse_secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

impl Args {
    /// Checks everything. Nothing is opened or bound.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let node = self.node()?;
        let bootstrap = self.bootstrap()?;
        let peer = self.peer_address(node, &bootstrap)?;
        advertisable("--http", self.http, self.http_advertised)?;
        advertisable("--peer", peer, self.peer_advertised)?;
        let key_is_public = self.cluster_key.is_none();
        let secret = self.secret(&bootstrap, peer)?;
        let derive = |purpose| {
            ClusterKey::derive(&self.cluster, &secret, purpose).map_err(|error| {
                ConfigError::new(format!("--cluster-key: {error}; try `openssl rand -hex 32`"))
            })
        };
        let (hello_key, gossip_key) =
            (derive(seal::Purpose::Hello)?, derive(seal::Purpose::Gossip)?);
        if self.cluster.is_empty() || self.cluster.len() > membership::config::NAME_LEN_MAX {
            return Err(ConfigError::new("--cluster must have 1 to 64 bytes"));
        }
        if self.zone.len() > membership::config::NAME_LEN_MAX {
            return Err(ConfigError::new("--zone must have at most 64 bytes"));
        }
        crate::log::check(&self.log)
            .map_err(|problem| ConfigError::new(format!("--log: {problem}")))?;
        let doors = [Some(self.http), self.edge];
        let open = doors.iter().flatten().any(|door| !door.ip().is_loopback());
        if self.auth_keys.is_none() && !self.insecure_dev_auth && open {
            return Err(ConfigError::new(
                "--auth-keys is missing: clients from other machines need tokens; make keys with \
                 `hansom token new-key`, or believe everybody with --insecure-dev-auth",
            ));
        }
        let (splits, adaptive) = self.splits.clone().into_splits()?;
        let (faults, ledger_faults) = self.faults()?;
        Ok(Config {
            faults,
            ledger_faults,
            replicas: self.replicas()?,
            cell_replicas: self.cell_replicas,
            replace_after_ms: self.replace_after_ms,
            splits,
            adaptive,
            policy: self.policy.into_policy()?,
            limits: self.limits.into_limits()?,
            data_dir: self.data_dir.unwrap_or_else(|| format!("hansom-data/{node}").into()),
            auth_keys: self.auth_keys,
            roads: self.roads.map(|path| {
                let time_pct = self.roads_time_pct;
                (path, roads::Settings { time_pct, ..roads::Settings::default() })
            }),
            roads_learn: self.roads_learn,
            cluster: self.cluster,
            node,
            zone: self.zone,
            http: self.http,
            http_advertised: self.http_advertised,
            edge: self.edge,
            peer,
            peer_advertised: self.peer_advertised,
            bootstrap,
            hello_key,
            gossip_key,
            key_is_public,
            log: self.log,
            log_format: self.log_format,
        })
    }

    fn replicas(&self) -> Result<u8, ConfigError> {
        match self.replicas {
            replicas @ (1 | 3 | 5 | 7) => Ok(replicas),
            other => Err(ConfigError::new(format!(
                "--replicas {other}: a majority decides, so give 1, 3, 5 or 7"
            ))),
        }
    }

    #[cfg(feature = "plant")]
    fn faults(&self) -> Result<(Faults, LedgerFaults), ConfigError> {
        let Some(name) = &self.plant else { return Ok(Default::default()) };
        match (Faults::named(name), LedgerFaults::named(name)) {
            (None, None) => {
                let names = Faults::NAMES.iter().copied();
                let names: Vec<&str> =
                    names.chain(LedgerFaults::NAMES.iter().map(|(name, _)| *name)).collect();
                let what = format!("--plant: `{name}` is none of {}", names.join(", "));
                Err(ConfigError::new(what))
            }
            (faults, ledger) => Ok((faults.unwrap_or_default(), ledger.unwrap_or_default())),
        }
    }

    #[cfg(not(feature = "plant"))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "the shape of its planting twin"
    )]
    fn faults(&self) -> Result<(Faults, LedgerFaults), ConfigError> {
        Ok(Default::default())
    }

    fn node(&self) -> Result<NodeId, ConfigError> {
        match self.node_id {
            Some(0) => Err(ConfigError::new("--node-id must be 1 or more")),
            Some(id) => Ok(NodeId(id)),
            None if self.single => Ok(NodeId(1)),
            None => Err(ConfigError::new(
                "--node-id is missing: give this node a number, unique in the cluster",
            )),
        }
    }

    fn bootstrap(&self) -> Result<Bootstrap, ConfigError> {
        if self.partitions == 0 {
            return Err(ConfigError::new("--partitions must be 1 or more"));
        }
        let partitions = self.partitions;
        match (&self.initial_nodes, &self.seeds, self.single) {
            (Some(list), _, _) => {
                Ok(Bootstrap::Initial { nodes: parse_initial(list)?, partitions })
            }
            (None, Some(list), _) => Ok(Bootstrap::Seeds(parse_seeds(list)?)),
            (None, None, true) => Ok(Bootstrap::Single { partitions }),
            (None, None, false) => Err(ConfigError::new(
                "say how to find the cluster: --initial-nodes for its first nodes, --seeds for later ones, --single for a cluster of one",
            )),
        }
    }

    fn peer_address(&self, node: NodeId, bootstrap: &Bootstrap) -> Result<SocketAddr, ConfigError> {
        let default = || -> Result<SocketAddr, ConfigError> {
            let elsewhere = |seed: &&SocketAddr| !seed.ip().is_loopback();
            if let Bootstrap::Seeds(seeds) = bootstrap
                && let Some(seed) = seeds.iter().find(elsewhere)
            {
                return Err(ConfigError::new(format!(
                    "{seed} is on another machine, so say where this node is: --peer <its address>:7101"
                )));
            }
            PEER_DEFAULT.parse().map_err(|_| ConfigError::new("no default for --peer"))
        };
        let Bootstrap::Initial { nodes, .. } = bootstrap else {
            return self.peer.map_or_else(default, Ok);
        };
        let listed = *nodes.get(&node).ok_or_else(|| {
            let sentence = format!("--initial-nodes does not name this node; add {}=<its peer address>, on all nodes alike, or start it with --seeds", node.0);
            ConfigError::new(sentence)
        })?;
        let bound = self.peer.unwrap_or(listed);
        let reached = self.peer_advertised.unwrap_or(bound);
        if reached != listed {
            let sentence = format!(
                "--initial-nodes names this node at {listed}, but --peer says {reached}; make them equal, or give --peer-advertised {listed}"
            );
            return Err(ConfigError::new(sentence));
        }
        Ok(bound)
    }

    fn secret(&self, bootstrap: &Bootstrap, peer: SocketAddr) -> Result<String, ConfigError> {
        if let Some(Secret(secret)) = &self.cluster_key {
            return Ok(secret.clone());
        }
        let mut addresses: Vec<SocketAddr> = vec![peer];
        addresses.extend(self.peer_advertised);
        match bootstrap {
            Bootstrap::Initial { nodes, .. } => addresses.extend(nodes.values()),
            Bootstrap::Seeds(seeds) => addresses.extend(seeds),
            Bootstrap::Single { .. } => {}
        }
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            None => Ok(LOOPBACK_SECRET.to_owned()),
            Some(open) => Err(ConfigError::new(format!(
                "{open} can be reached from other machines, so a secret is needed: set HANSOM_CLUSTER_KEY, equal on all nodes, to what `openssl rand -hex 32` prints"
            ))),
        }
    }
}

/// Others are told an address they can use: not 0.0.0.0.
fn advertisable(
    flag: &str,
    bound: SocketAddr,
    advertised: Option<SocketAddr>,
) -> Result<(), ConfigError> {
    let told = advertised.unwrap_or(bound);
    if told.ip().is_unspecified() || (advertised.is_some() && told.port() == 0) {
        let sentence = format!(
            "{flag} {told} is no address that others can use; give {flag}-advertised <address>:<port> beside it"
        );
        return Err(ConfigError::new(sentence));
    }
    Ok(())
}

/// The items of a list as flags have them.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_initial(list: &str) -> Result<BTreeMap<NodeId, SocketAddr>, ConfigError> {
    let mut nodes = BTreeMap::new();
    for item in items(list) {
        let wrong = || {
            ConfigError::new(format!(
                "--initial-nodes: `{item}` is not <id>=<ip>:<port>, as in 1=127.0.0.1:7101"
            ))
        };
        let (id, address) = item.split_once('=').ok_or_else(wrong)?;
        let id: u64 = id.trim().parse().map_err(|_| wrong())?;
        let address: SocketAddr = address.trim().parse().map_err(|_| wrong())?;
        if id == 0 || address.port() == 0 {
            return Err(wrong());
        }
        if nodes.values().any(|known| *known == address) {
            return Err(ConfigError::new(format!("--initial-nodes names {address} twice")));
        }
        if nodes.insert(NodeId(id), address).is_some() {
            return Err(ConfigError::new(format!("--initial-nodes names node {id} twice")));
        }
    }
    let max = membership::foundation::INITIAL_NODES_MAX;
    if nodes.is_empty() || nodes.len() > max {
        return Err(ConfigError::new(format!("--initial-nodes must name 1 to {max} nodes")));
    }
    Ok(nodes)
}

fn parse_seeds(list: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let seeds = items(list)
        .map(|item| {
            item.parse().map_err(|_| {
                ConfigError::new(format!(
                    "--seeds: `{item}` is not <ip>:<port>, as in 127.0.0.1:7101"
                ))
            })
        })
        .collect::<Result<Vec<SocketAddr>, _>>()?;
    let max = membership::config::SEEDS_MAX;
    if seeds.is_empty() || seeds.len() > max {
        return Err(ConfigError::new(format!("--seeds must name 1 to {max} addresses")));
    }
    Ok(seeds)
}
