//! Node processes: started, killed with SIGKILL, paused, started again on the same disk or on none,
//! never left behind.

use crate::client::{Answer, Ask};
use crate::replicas::{Partition, compare_at_end};
use crate::turns::Turn;
use proto::RiderId;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// What all nodes of a test's cluster share.
pub(crate) const SECRET: &str = "a secret of the process tests";
/// The phone number of whoever has one; no log may show it.
pub(crate) const PHONE: &str = "+49 30 555 0142";
/// The pause between two looks at whether something has happened.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// How long anything may take to happen: far more than it does, on a machine that does much else.
pub(crate) const WITHIN: Duration = Duration::from_secs(40);

const HANSOM: &str = env!("CARGO_BIN_EXE_hansom");

/// Where the search for free ports goes on: below the range of outgoing connections, so that no
/// client takes the port of a node that is down.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;
/// Ids that are asked for to see whether all is served: enough to meet each node's partitions.
const PROBES: u64 = 12;

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    within(WITHIN, what, attempt).await
}

pub(crate) async fn within<T>(
    time: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let polling = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            sleep(POLL).await;
        }
    };
    let found = timeout(time, polling).await;
    found.unwrap_or_else(|_| panic!("not within {time:?}: {what}"))
}

/// A loopback address that was free a moment ago for TCP and UDP.
pub(crate) fn free_address() -> SocketAddr {
    let start = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap();
    for _ in 0..PORTS {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let offset = (u32::from(start) * 7 + u32::from(step)) % u32::from(PORTS);
        let port = FIRST_PORT + u16::try_from(offset).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on loopback");
}

/// The binary, deaf to whatever the developer's shell has set.
pub(crate) fn hansom() -> Command {
    deaf(Path::new(HANSOM))
}

pub(crate) fn deaf(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HANSOM_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

struct Node {
    http: SocketAddr,
    edge: SocketAddr,
    peer: SocketAddr,
    /// How it finds the others.
    bootstrap: Vec<String>,
    /// Which build it is.
    binary: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// Of this build, not started yet.
    fn new(peer: SocketAddr, bootstrap: Vec<String>) -> Self {
        let (http, edge) = (free_address(), free_address());
        Self { http, edge, peer, bootstrap, binary: HANSOM.into(), child: None }
    }
}

/// Node processes, by number.
pub(crate) struct Cluster {
    nodes: BTreeMap<u64, Node>,
    flags: Vec<String>,
    client: reqwest::Client,
    turn: Cell<usize>,
    /// Nodes that ended by themselves, as they should have.
    ended: BTreeSet<u64>,
    directory: TempDir,
    _turn: Turn,
}

impl Cluster {
    /// Starts nodes 1 to `count` from one `--initial-nodes` list, and waits until they agree.
    pub(crate) async fn start(count: u64, flags: &[&str]) -> Self {
        Self::start_for(count, flags, HeaderMap::new()).await
    }

    /// The same, with headers that go with every request which does not say otherwise.
    pub(crate) async fn start_for(count: u64, flags: &[&str], headers: HeaderMap) -> Self {
        Self::start_in(Turn::beside(), count, flags, headers).await
    }

    /// The same with the machine to itself, for tests that measure time.
    pub(crate) async fn start_alone(count: u64, flags: &[&str]) -> Self {
        Self::start_in(Turn::alone(), count, flags, HeaderMap::new()).await
    }

    async fn start_in(turn: Turn, count: u64, flags: &[&str], headers: HeaderMap) -> Self {
        let addresses: Vec<(u64, SocketAddr)> =
            (1..=count).map(|id| (id, free_address())).collect();
        let list: Vec<String> =
            addresses.iter().map(|(id, address)| format!("{id}={address}")).collect();
        let bootstrap = vec!["--initial-nodes".to_owned(), list.join(",")];
        let node = |peer| Node::new(peer, bootstrap.clone());
        let mut cluster = Self {
            nodes: addresses.into_iter().map(|(id, peer)| (id, node(peer))).collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            client: reqwest::Client::builder()
                .no_proxy()
                .default_headers(headers)
                .timeout(Duration::from_secs(15))
                .build()
                .unwrap(),
            turn: Cell::new(0),
            ended: BTreeSet::new(),
            directory: tempfile::tempdir().unwrap(),
            _turn: turn,
        };
        for id in 1..=count {
            cluster.spawn(id);
        }
        cluster.settled().await;
        cluster
    }

    /// Starts one more node that is only told of one that runs; waits until all agree.
    pub(crate) async fn join(&mut self) -> u64 {
        let seed = self.peer(self.running()[0]);
        let id = self.nodes.keys().max().unwrap() + 1;
        assert!(!self.ended.contains(&id), "an id is never used again");
        let bootstrap = vec!["--seeds".to_owned(), seed.to_string()];
        self.nodes.insert(id, Node::new(free_address(), bootstrap));
        self.spawn(id);
        self.settled().await;
        id
    }

    /// Tells a node that joined whom to ask first, from its next start on.
    pub(crate) fn reseed(&mut self, id: u64, seed: u64) {
        let seed = self.peer(seed).to_string();
        self.nodes.get_mut(&id).unwrap().bootstrap = vec!["--seeds".to_owned(), seed];
    }

    /// Starts a process that is down; does not wait.
    pub(crate) fn spawn(&mut self, id: u64) {
        let log = OpenOptions::new().create(true).append(true).open(self.log(id)).unwrap();
        let data = self.data(id);
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.child.is_none(), "node {id} runs already");
        let child = deaf(&node.binary)
            .args(["node", "--node-id", &id.to_string()])
            .args(["--http", &node.http.to_string(), "--edge", &node.edge.to_string()])
            .args(["--peer", &node.peer.to_string()])
            .args(&node.bootstrap)
            .arg("--data-dir")
            .arg(data)
            .args(&self.flags)
            .env("HANSOM_CLUSTER_KEY", SECRET)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        node.child = Some(child.unwrap());
    }

    /// Gives a node another build, from its next start on.
    pub(crate) fn install(&mut self, id: u64, binary: &Path) {
        self.nodes.get_mut(&id).unwrap().binary = binary.to_path_buf();
    }

    /// SIGKILL: the node does not get to say anything, to anybody.
    pub(crate) fn kill(&mut self, id: u64) {
        let mut child = self.nodes.get_mut(&id).unwrap().child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP: the node stands still, its connections stay open.
    pub(crate) fn pause(&mut self, id: u64) {
        self.signal(id, "-STOP");
    }
    /// SIGCONT: the node goes on, and believes what it believed.
    pub(crate) fn resume(&mut self, id: u64) {
        self.signal(id, "-CONT");
    }

    /// SIGHUP: the node reads its keys again.
    pub(crate) fn hang_up(&self, id: u64) {
        self.signal(id, "-HUP");
    }

    fn signal(&self, id: u64, signal: &str) {
        let pid = self.nodes[&id].child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Deletes the disk of a node that is down.
    pub(crate) fn wipe(&self, id: u64) {
        assert!(self.nodes[&id].child.is_none(), "node {id} runs");
        std::fs::remove_dir_all(self.data(id)).unwrap();
    }

    /// Waits until a node that cannot go on has ended by itself; gives its status and what it said.
    pub(crate) async fn ends(&mut self, id: u64) -> (i32, String) {
        let child = self.nodes.get_mut(&id).unwrap().child.as_mut().unwrap();
        let what = format!("node {id} ends");
        let status = eventually(&what, async || child.try_wait().unwrap()).await.code().unwrap();
        self.nodes.get_mut(&id).unwrap().child = None;
        self.ended.insert(id);
        (status, std::fs::read_to_string(self.log(id)).unwrap())
    }

    /// SIGTERM: the node says goodbye and ends by itself, without complaint.
    pub(crate) async fn stop(&mut self, id: u64) {
        self.signal(id, "-TERM");
        let child = self.nodes.get_mut(&id).unwrap().child.as_mut().unwrap();
        let what = format!("node {id} stops");
        let status = eventually(&what, async || child.try_wait().unwrap()).await;
        assert!(status.success(), "node {id} ended with {status}");
        self.nodes.get_mut(&id).unwrap().child = None;
    }

    /// Starts a killed node on its old disk, and waits until all agree and all are served.
    pub(crate) async fn restart(&mut self, id: u64) {
        self.spawn(id);
        self.settled().await;
        self.serving().await;
    }

    /// Waits until every node answers for partitions all over the slots.
    pub(crate) async fn serving(&self) {
        for node in self.running() {
            for nobody in 0..PROBES {
                let rider = RiderId::from_raw(nobody);
                self.get(node, &format!("/v1/riders/{rider}"))
                    .await
                    .problem(404, "RIDER_NOT_FOUND");
            }
        }
    }

    /// The nodes whose process runs.
    pub(crate) fn running(&self) -> Vec<u64> {
        let up = |(id, node): (&u64, &Node)| node.child.as_ref().map(|_| *id);
        self.nodes.iter().filter_map(up).collect()
    }

    /// One that runs, another each time.
    pub(crate) fn any(&self) -> u64 {
        let running = self.running();
        self.turn.set(self.turn.get() + 1);
        running[self.turn.get() % running.len()]
    }

    pub(crate) fn http(&self, id: u64) -> SocketAddr {
        self.nodes[&id].http
    }
    pub(crate) fn edge(&self, id: u64) -> SocketAddr {
        self.nodes[&id].edge
    }
    pub(crate) fn peer(&self, id: u64) -> SocketAddr {
        self.nodes[&id].peer
    }
    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.directory.path().join(format!("n{id}"))
    }
    fn log(&self, id: u64) -> PathBuf {
        self.directory.path().join(format!("n{id}.log"))
    }

    /// A request to a node: method and path in one text, `GET /healthz`.
    pub(crate) fn ask(&self, node: u64, what: &str) -> Ask {
        Ask::new(&self.client, self.http(node), what)
    }
    pub(crate) async fn get(&self, node: u64, path: &str) -> Answer {
        self.ask(node, &format!("GET {path}")).send().await
    }

    /// The members that a node sees; nothing if it does not answer.
    pub(crate) async fn members(&self, node: u64) -> Option<Vec<u64>> {
        let view = self.ask(node, "GET /v1/cluster").try_send().await?;
        let members = view.json["members"].as_array()?.iter();
        members.map(|member| number(&member["node"])).collect()
    }

    /// Waits until every node that runs is ready and sees all that run and nobody else.
    pub(crate) async fn settled(&self) {
        let running = self.running();
        for node in &running {
            eventually(&format!("node {node} is ready"), async || {
                let ready = self.ask(*node, "GET /readyz").try_send().await?;
                (ready.status == 200).then_some(())
            })
            .await;
            eventually(&format!("node {node} sees {running:?}"), async || {
                (self.members(*node).await? == running).then_some(())
            })
            .await;
            eventually(&format!("node {node} hears leaders that run"), async || {
                let led = |p: Partition| p.leader.is_some_and(|leader| running.contains(&leader));
                self.partitions(*node).await?.into_iter().all(led).then_some(())
            })
            .await;
        }
    }

    /// The node that owns an id or a coordinate, as one of them says.
    pub(crate) async fn owner(&self, key: &str) -> u64 {
        let path = format!("/v1/cluster/lookup?key={key}");
        eventually(&format!("{key} has an owner"), async || {
            number(&self.get(self.running()[0], &path).await.expect(200).json["owner"])
        })
        .await
    }

    /// Fails if a process has ended by itself, panicked, or logged an error, or if replicas differ.
    pub(crate) fn check(&mut self) {
        compare_at_end(self.running().into_iter().map(|node| (node, self.http(node))).collect());
        for (id, node) in &mut self.nodes {
            let ended = node.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert_eq!(ended, None, "node {id} ended by itself");
        }
        for id in self.nodes.keys().filter(|id| !self.ended.contains(id)) {
            let log = std::fs::read_to_string(self.log(*id)).unwrap_or_default();
            let bad = log.lines().find(|line| line.contains("panicked") || line.contains("ERROR"));
            assert_eq!(bad, None, "in the log of node {id}");
            let told = log.lines().find(|line| line.contains(PHONE));
            assert_eq!(told, None, "a phone number is in the log of node {id}");
        }
    }

    #[expect(clippy::print_stderr, reason = "what a person wants to read when a test has failed")]
    fn show_logs(&self) {
        const LINES: usize = 30;
        for id in self.nodes.keys() {
            let log = std::fs::read_to_string(self.log(*id)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
            eprintln!("--- log of node {id}\n{tail}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Whatever is found, no process is left behind.
        let verdict = if std::thread::panicking() {
            self.show_logs();
            Ok(())
        } else {
            catch_unwind(AssertUnwindSafe(|| self.check()))
        };
        for id in self.running() {
            self.kill(id);
        }
        if let Err(failed) = verdict {
            self.show_logs();
            resume_unwind(failed);
        }
    }
}

/// The number in a node's name: 3 of `"n3"`.
pub(crate) fn number(name: &Value) -> Option<u64> {
    name.as_str()?.strip_prefix('n')?.parse().ok()
}
