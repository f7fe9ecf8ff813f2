//! Real node processes on loopback: started, killed with SIGKILL, started again on the same disk,
//! or replaced by a node that never was there when the disk is lost. None is left behind: whatever
//! ends the demo drops this, and dropping it kills them.

use crate::doors::Doors;
use crate::ports;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// What to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `hansom` binary.
    pub program: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// Where data and logs go.
    pub directory: PathBuf,
    /// Flags that every node gets.
    pub flags: Vec<String>,
    /// The secret that they share.
    pub key: String,
    /// Whether they listen for edge gateways.
    pub edge: bool,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No port, no directory, no log file.
    #[error("cannot {what}: {source}")]
    Prepare {
        /// What was tried.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The binary did not run.
    #[error("cannot start {program}: {source}", program = program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ran, and ended by itself.
    #[error("node {node} ended by itself ({status})")]
    Ended {
        /// Its name.
        node: String,
        /// How.
        status: ExitStatus,
    },
    /// It ran, and did not get ready.
    #[error("node {node} was not ready within {within_s} s; it says: {says}")]
    NotReady {
        /// Its name.
        node: String,
        /// How long was waited.
        within_s: u64,
        /// The last answer of its `/readyz`, or why there was none.
        says: String,
    },
}

/// The node that holds a seat.
#[derive(Debug)]
struct Node {
    id: usize,
    /// Whether it is one of the first, which found the cluster together.
    founder: bool,
    http: SocketAddr,
    peer: SocketAddr,
    edge: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// Node processes.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    /// The founders as each of them is told, dead or alive.
    founders: String,
    nodes: Vec<Node>,
    doors: Doors,
    /// Every address that was ever given away, so that none has two owners.
    taken: Vec<SocketAddr>,
    last_id: usize,
}

impl Node {
    /// A node that does not run yet, with a disk that is empty.
    fn new(
        id: usize,
        founder: bool,
        directory: &Path,
        taken: &mut Vec<SocketAddr>,
    ) -> Result<Self, ClusterError> {
        let mut port = || {
            let found = ports::free(taken);
            let what = "find a free port on 127.0.0.1".to_owned();
            let address = found.map_err(|source| ClusterError::Prepare { what, source })?;
            taken.push(address);
            Ok(address)
        };
        let data = directory.join(format!("n{id}"));
        std::fs::create_dir_all(&data).map_err(|source| {
            let what = format!("make {}", data.display());
            ClusterError::Prepare { what, source }
        })?;
        let log = directory.join(format!("n{id}.log"));
        let (http, peer, edge) = (port()?, port()?, port()?);
        Ok(Self { id, founder, http, peer, edge, data, log, child: None })
    }

    fn name(&self) -> String {
        format!("n{}", self.id)
    }
}

/// How much of each log is shown when something went wrong.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8_192;

impl Cluster {
    /// Starts all nodes. They are not ready yet.
    pub fn start(plan: Plan) -> Result<Self, ClusterError> {
        let mut taken = Vec::new();
        let mut nodes = Vec::new();
        for id in 1..=plan.nodes {
            nodes.push(Node::new(id, true, &plan.directory, &mut taken)?);
        }
        let founders: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.id, node.peer)).collect();
        let (founders, last_id) = (founders.join(","), nodes.len());
        let doors = Doors::new(nodes.iter().map(|node| node.http).collect());
        let mut cluster = Self { plan, founders, nodes, doors, taken, last_id };
        for seat in 0..cluster.nodes.len() {
            cluster.spawn(seat)?;
        }
        Ok(cluster)
    }

    /// Where clients reach the nodes.
    pub const fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Where edge gateways reach the nodes, seat by seat.
    pub fn edges(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.edge).collect()
    }

    /// The numbers of the processes that run, as the system knows them, seat by seat.
    pub fn processes(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.child.as_ref().map(Child::id)).collect()
    }

    /// The name of the node that holds a seat, as the cluster says it.
    pub fn name(&self, seat: usize) -> String {
        self.nodes[seat].name()
    }

    /// The nodes that run, as far as is known: seat and name.
    pub fn living(&self) -> Vec<(usize, String)> {
        let living = self.nodes.iter().enumerate().filter(|(_, node)| node.child.is_some());
        living.map(|(seat, _)| (seat, self.name(seat))).collect()
    }

    /// Kills a node if it still runs, deletes its disk, and starts a new one in its seat: a number
    /// that was never used, ports of its own, and no place among the founders.
    pub fn replace(&mut self, seat: usize) -> Result<(), ClusterError> {
        self.kill(seat);
        let lost = &self.nodes[seat].data;
        std::fs::remove_dir_all(lost).map_err(|source| {
            let what = format!("delete {}", lost.display());
            ClusterError::Prepare { what, source }
        })?;
        self.last_id += 1;
        let new = Node::new(self.last_id, false, &self.plan.directory, &mut self.taken)?;
        self.doors.moved(seat, new.http);
        self.nodes[seat] = new;
        self.spawn(seat)
    }

    /// How a node finds the others.
    fn bootstrap(&self, seat: usize) -> [String; 2] {
        if self.nodes[seat].founder {
            return ["--initial-nodes".into(), self.founders.clone()];
        }
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != seat);
        let others: Vec<String> = others.map(|(_, node)| node.peer.to_string()).collect();
        ["--seeds".into(), others.join(",")]
    }

    /// Starts a node, on its old disk if it has one.
    pub fn spawn(&mut self, seat: usize) -> Result<(), ClusterError> {
        let bootstrap = self.bootstrap(seat);
        let node = &mut self.nodes[seat];
        let open = || -> std::io::Result<(File, File)> {
            let log = OpenOptions::new().create(true).append(true).open(&node.log)?;
            Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(|source| {
            let what = format!("write {}", node.log.display());
            ClusterError::Prepare { what, source }
        })?;
        let mut command = Command::new(&self.plan.program);
        command
            .arg("node")
            .args(["--node-id", &node.id.to_string()])
            .args(bootstrap)
            .args(["--http", &node.http.to_string()])
            .args(["--peer", &node.peer.to_string()])
            .arg("--data-dir")
            .arg(&node.data)
            .args(self.plan.edge.then(|| format!("--edge={}", node.edge)))
            .args(&self.plan.flags)
            // Not a flag, so that `ps` does not show it.
            .env("HANSOM_CLUSTER_KEY", &self.plan.key)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let child = command.spawn().map_err(|source| {
            let program = self.plan.program.clone();
            ClusterError::Start { program, source }
        })?;
        node.child = Some(child);
        Ok(())
    }

    /// Kills a node with SIGKILL: it does not get to say anything, to anybody.
    pub fn kill(&mut self, seat: usize) {
        if let Some(mut child) = self.nodes[seat].child.take() {
            // Both fail only if it has ended already, which is what is wanted.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }

    /// Kills all of them at once: no node lives to see another die.
    pub fn kill_all(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                // As below: it has ended already, or it does now.
                let _gone = child.kill();
            }
        }
        for seat in 0..self.nodes.len() {
            self.kill(seat);
        }
    }

    /// A node that ended without having been killed.
    pub fn ended(&mut self) -> Result<(), ClusterError> {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(ClusterError::Ended { node: node.name(), status });
            }
        }
        Ok(())
    }

    /// The last lines of every log, for a person who wonders what happened.
    pub fn tails(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "--- {}", node.log.display());
            text.push_str(&tail(&node.log).unwrap_or_else(|error| format!("{error}\n")));
        }
        text
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    last.push('\n');
    Ok(last)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(program: &Path, directory: &Path) -> Plan {
        Plan {
            program: program.into(),
            nodes: 2,
            directory: directory.into(),
            flags: vec!["--offer-ttl-ms".into(), "500".into()],
            key: "secret".into(),
            edge: false,
        }
    }

    /// A stand-in for a node. It is a committed file: one written here could still be open for
    /// writing in a child that another test is just forking, and the kernel refuses to run that.
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    fn read_until(path: &Path, times: usize) -> String {
        for _ in 0..500 {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= times {
                return text;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{} has fewer than {times} lines", path.display());
    }

    #[test]
    fn a_node_is_told_who_it_is_and_comes_back_as_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::start(plan(&fixture("parrot.sh"), dir.path())).unwrap();
        let log = dir.path().join("n2.log");
        let first = read_until(&log, 1);
        assert!(first.starts_with("node --node-id 2 --initial-nodes 1=127.0.0.1:"), "{first}");
        assert!(first.contains("--offer-ttl-ms 500"), "{first}");
        assert!(!first.contains("secret"), "{first}");
        cluster.kill(1);
        assert!(cluster.ended().is_ok(), "a killed node did not end by itself");
        cluster.spawn(1).unwrap();
        let both = read_until(&log, 2);
        let lines: Vec<&str> = both.lines().collect();
        assert_eq!(lines[0], lines[1]);
        assert!(cluster.tails().contains("--node-id 1"));
    }

    #[test]
    fn a_lost_disk_brings_a_node_that_never_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::start(plan(&fixture("parrot.sh"), dir.path())).unwrap();
        let doors = cluster.doors().clone();
        let before = [doors.at(0), doors.at(1)];
        std::fs::write(dir.path().join("n2/precious"), "entries").unwrap();
        cluster.replace(1).unwrap();
        let first = read_until(&dir.path().join("n3.log"), 1);
        let founder = cluster.nodes[0].peer;
        assert!(first.starts_with(&format!("node --node-id 3 --seeds {founder} ")), "{first}");
        assert!(!dir.path().join("n2").exists() && dir.path().join("n3").is_dir());
        assert_eq!(cluster.living(), [(0, "n1".to_owned()), (1, "n3".to_owned())]);
        assert!(doors.at(0) == before[0] && doors.at(1) != before[1], "{doors:?}");
        // It comes back as what it is, and the founders as what they are.
        cluster.kill(1);
        assert_eq!(cluster.living(), [(0, "n1".to_owned())]);
        cluster.spawn(1).unwrap();
        let both = read_until(&dir.path().join("n3.log"), 2);
        assert_eq!(both.lines().next(), both.lines().nth(1));
        assert!(cluster.bootstrap(0)[1].starts_with("1=127.0.0.1:"), "{cluster:?}");
        assert!(cluster.bootstrap(0)[1].contains(",2=127.0.0.1:"), "{cluster:?}");
    }

    #[test]
    fn nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::start(plan(&fixture("parrot.sh"), dir.path())).unwrap();
        let processes: Vec<u32> =
            cluster.nodes.iter().map(|node| node.child.as_ref().unwrap().id()).collect();
        drop(cluster);
        for process in processes {
            assert!(!Path::new(&format!("/proc/{process}")).exists(), "{process} lives");
        }
    }

    #[test]
    fn a_node_that_ends_by_itself_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::start(plan(&fixture("second-ends.sh"), dir.path())).unwrap();
        for _ in 0..500 {
            if let Err(error) = cluster.ended() {
                assert!(error.to_string().starts_with("node n2 ended by itself"), "{error}");
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("nobody noticed");
    }
}
