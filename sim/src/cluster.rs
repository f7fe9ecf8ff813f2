//! Real node processes on loopback: started, killed with SIGKILL, started again on the same disk,
//! and never left behind: whatever ends the demo drops this, and dropping it kills them.

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
        /// Its number, from 1.
        node: usize,
        /// How.
        status: ExitStatus,
    },
    /// It ran, and did not get ready.
    #[error("node {node} was not ready within {within_s} s; it says: {says}")]
    NotReady {
        /// Its number, from 1.
        node: usize,
        /// How long was waited.
        within_s: u64,
        /// The last answer of its `/readyz`, or why there was none.
        says: String,
    },
}

#[derive(Debug)]
struct Node {
    http: SocketAddr,
    peer: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// Node processes.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    nodes: Vec<Node>,
}

/// How much of each log is shown when something went wrong.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8_192;

impl Cluster {
    /// Starts all nodes. They are not ready yet.
    pub fn start(plan: Plan) -> Result<Self, ClusterError> {
        let mut taken: Vec<SocketAddr> = Vec::new();
        let mut port = || {
            let found = ports::free(&taken);
            let what = "find a free port on 127.0.0.1".to_owned();
            let address = found.map_err(|source| ClusterError::Prepare { what, source })?;
            taken.push(address);
            Ok(address)
        };
        let mut nodes = Vec::new();
        for number in 1..=plan.nodes {
            let data = plan.directory.join(format!("n{number}"));
            std::fs::create_dir_all(&data).map_err(|source| {
                let what = format!("make {}", data.display());
                ClusterError::Prepare { what, source }
            })?;
            let log = plan.directory.join(format!("n{number}.log"));
            nodes.push(Node { http: port()?, peer: port()?, data, log, child: None });
        }
        let mut cluster = Self { plan, nodes };
        for index in 0..cluster.nodes.len() {
            cluster.spawn(index)?;
        }
        Ok(cluster)
    }

    /// Where clients reach the nodes, in order.
    pub fn http(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.http).collect()
    }

    /// Starts a node, on its old disk if it has one.
    pub fn spawn(&mut self, index: usize) -> Result<(), ClusterError> {
        let initial: Vec<String> =
            (1..).zip(&self.nodes).map(|(id, node)| format!("{id}={}", node.peer)).collect();
        let node = &mut self.nodes[index];
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
            .args(["--node-id", &(index + 1).to_string()])
            .args(["--initial-nodes", &initial.join(",")])
            .args(["--http", &node.http.to_string()])
            .args(["--peer", &node.peer.to_string()])
            .arg("--data-dir")
            .arg(&node.data)
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
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.nodes[index].child.take() {
            // Both fail only if it has ended already, which is what is wanted.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }

    /// A node that ended without having been killed.
    pub fn ended(&mut self) -> Result<(), ClusterError> {
        for (node, number) in self.nodes.iter_mut().zip(1..) {
            if let Some(child) = &mut node.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(ClusterError::Ended { node: number, status });
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
        for index in 0..self.nodes.len() {
            self.kill(index);
        }
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
                assert!(error.to_string().starts_with("node 2 ended by itself"), "{error}");
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("nobody noticed");
    }
}
