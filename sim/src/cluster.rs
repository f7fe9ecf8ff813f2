//! Real node processes: started, stopped, killed with SIGKILL, started again on the same disk, or
//! replaced by a node that never was there when the disk is lost. Where they live is a `Ground`'s:
//! loopback, if nothing else is said. None is left behind: whatever ends the run drops this, and
//! dropping it kills them.

pub(crate) mod ground;
mod node;

pub(crate) use ground::{Ground, Place};

use crate::doors::Doors;
use ground::Loopback;
use node::{Node, tail};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

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

/// Node processes.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    ground: Box<dyn Ground>,
    /// The founders as each of them is told, dead or alive.
    founders: String,
    nodes: Vec<Node>,
    /// Who has joined and has no seat yet.
    guest: Option<Node>,
    doors: Doors,
    last_id: usize,
}

impl Cluster {
    /// Starts all nodes on loopback. They are not ready yet.
    pub fn start(plan: Plan) -> Result<Self, ClusterError> {
        Self::start_on(plan, Box::new(Loopback::default()))
    }

    /// The same on other ground.
    pub(crate) fn start_on(plan: Plan, mut ground: Box<dyn Ground>) -> Result<Self, ClusterError> {
        let mut nodes = Vec::new();
        for seat in 0..plan.nodes {
            nodes.push(Node::new((seat + 1, seat), true, &plan.directory, &mut *ground)?);
        }
        let founders: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.id, node.place.reached())).collect();
        let (founders, last_id) = (founders.join(","), nodes.len());
        let doors = Doors::new(nodes.iter().map(|node| node.place.http).collect());
        let mut cluster = Self { plan, ground, founders, nodes, guest: None, doors, last_id };
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
        self.nodes.iter().map(|node| node.place.edge).collect()
    }

    /// The numbers of the processes that run, as the system knows them, seat by seat.
    pub fn processes(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.child.as_ref().map(Child::id)).collect()
    }

    /// The name of the node that holds a seat, as the cluster says it.
    pub fn name(&self, seat: usize) -> String {
        self.nodes[seat].name()
    }

    /// The number of the node that holds a seat.
    pub(crate) fn id(&self, seat: usize) -> usize {
        self.nodes[seat].id
    }

    fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().chain(&self.guest)
    }

    /// The names of the nodes that run, as far as is known.
    pub fn living(&self) -> Vec<String> {
        self.all().filter(|node| node.child.is_some()).map(Node::name).collect()
    }

    /// The same nodes with their doors, also of one that has no seat yet.
    pub(crate) fn reachable(&self) -> Vec<(SocketAddr, String)> {
        let living = self.all().filter(|node| node.child.is_some());
        living.map(|node| (node.place.http, node.name())).collect()
    }

    /// Kills a node if it still runs, deletes its disk, and starts a new one in its seat: a number
    /// that was never used, addresses of its own, and no place among the founders.
    pub fn replace(&mut self, seat: usize) -> Result<(), ClusterError> {
        self.kill(seat);
        self.discard(seat)?;
        let new = self.newcomer(seat)?;
        self.doors.moved(seat, new.place.http);
        self.nodes[seat] = new;
        self.spawn(seat)
    }

    /// Starts a node that never was there, beside all others; it will have this seat. Its name.
    pub(crate) fn welcome(&mut self, seat: usize) -> Result<String, ClusterError> {
        let mut guest = self.newcomer(seat)?;
        let peers = self.nodes.iter().map(|node| node.place.reached().to_string());
        let seeds = ["--seeds".to_owned(), peers.collect::<Vec<_>>().join(",")];
        guest.launch(&self.plan, &*self.ground, seeds)?;
        let name = guest.name();
        self.guest = Some(guest);
        Ok(name)
    }

    /// Where clients would reach the node that has no seat yet.
    pub(crate) fn guest(&self) -> Option<SocketAddr> {
        self.guest.as_ref().map(|guest| guest.place.http)
    }

    /// The guest takes its seat; whoever had it is killed and its disk deleted.
    pub(crate) fn seat_guest(&mut self, seat: usize) -> Result<(), ClusterError> {
        self.kill(seat);
        self.discard(seat)?;
        if let Some(guest) = self.guest.take() {
            self.doors.moved(seat, guest.place.http);
            self.nodes[seat] = guest;
        }
        Ok(())
    }

    /// Kills the guest and deletes its disk: it was not to be.
    pub(crate) fn dismiss_guest(&mut self) {
        if let Some(mut guest) = self.guest.take() {
            guest.end();
            let _gone = std::fs::remove_dir_all(&guest.data);
            self.ground.leave(guest.id);
        }
    }

    fn newcomer(&mut self, seat: usize) -> Result<Node, ClusterError> {
        self.last_id += 1;
        Node::new((self.last_id, seat), false, &self.plan.directory, &mut *self.ground)
    }

    /// Deletes the disk in a seat, for good.
    fn discard(&mut self, seat: usize) -> Result<(), ClusterError> {
        let Node { id, data, .. } = &self.nodes[seat];
        std::fs::remove_dir_all(data).map_err(|source| {
            let what = format!("delete {}", data.display());
            ClusterError::Prepare { what, source }
        })?;
        self.ground.leave(*id);
        Ok(())
    }

    /// How a node finds the others.
    fn bootstrap(&self, seat: usize) -> [String; 2] {
        if self.nodes[seat].founder {
            return ["--initial-nodes".into(), self.founders.clone()];
        }
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != seat);
        let others: Vec<String> =
            others.map(|(_, node)| node.place.reached().to_string()).collect();
        ["--seeds".into(), others.join(",")]
    }

    /// Starts a node, on its old disk if it has one. One that runs is left alone.
    pub fn spawn(&mut self, seat: usize) -> Result<(), ClusterError> {
        let bootstrap = self.bootstrap(seat);
        let node = &mut self.nodes[seat];
        if node.child.is_some() {
            return Ok(());
        }
        node.launch(&self.plan, &*self.ground, bootstrap)
    }

    /// Sends a signal to a node; whether it runs and took it.
    pub(crate) fn signal(&self, seat: usize, signal: Signal) -> bool {
        let pid = self.process(seat).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// The number of a node's process, if it runs.
    pub(crate) fn process(&self, seat: usize) -> Option<u32> {
        self.nodes[seat].child.as_ref().map(Child::id)
    }

    /// Kills a node with SIGKILL: it does not get to say anything, to anybody.
    pub fn kill(&mut self, seat: usize) {
        self.nodes[seat].end();
    }

    /// Kills some at once: none of them lives to see another die.
    pub(crate) fn kill_these(&mut self, seats: &[usize]) {
        for seat in seats {
            if let Some(child) = &mut self.nodes[*seat].child {
                // As below: it has ended already, or it does now.
                let _gone = child.kill();
            }
        }
        for seat in seats {
            self.kill(*seat);
        }
    }

    /// Kills all of them at once.
    pub fn kill_all(&mut self) {
        self.kill_these(&(0..self.nodes.len()).collect::<Vec<_>>());
        if let Some(guest) = &mut self.guest {
            guest.end();
        }
    }

    /// A node that ended without having been killed.
    pub fn ended(&mut self) -> Result<(), ClusterError> {
        match self.reap().into_iter().next() {
            Some((node, status)) => Err(ClusterError::Ended { node, status }),
            None => Ok(()),
        }
    }

    /// All that ended without having been killed since the last look, and how.
    pub(crate) fn reap(&mut self) -> Vec<(String, ExitStatus)> {
        let mut ended = Vec::new();
        for node in self.nodes.iter_mut().chain(&mut self.guest) {
            if let Some(child) = &mut node.child
                && let Ok(Some(status)) = child.try_wait()
            {
                node.child = None;
                ended.push((node.name(), status));
            }
        }
        ended
    }

    /// The log of every node that ever was.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        (1..=self.last_id).map(|id| self.plan.directory.join(format!("n{id}.log"))).collect()
    }

    /// The last lines of every log, for a person who wonders what happened.
    pub fn tails(&self) -> String {
        let mut text = String::new();
        for node in self.all() {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "--- {}", node.log.display());
            text.push_str(&tail(&node.log).unwrap_or_else(|error| format!("{error}\n")));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_all();
    }
}

#[cfg(test)]
mod tests;
