//! Members over UDP on loopback in real time, each on a thread of its own, so that one can be
//! paused as SIGSTOP pauses a process.

use crate::net::{RuntimeClock, config, ids, until};
use membership::{Bootstrap, Membership, Udp};
use proto::NodeId;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// What a member's thread is told.
enum Order {
    /// Start, now that all addresses are known.
    Start(BTreeMap<NodeId, SocketAddr>),
    /// Do nothing at all for a while.
    Pause(Duration),
}

/// A member on its own thread. Dropping it ends the runtime at once, as a crash does.
struct Process {
    orders: tokio::sync::mpsc::Sender<Order>,
    membership: Option<Membership>,
    address: SocketAddr,
    started: std::sync::mpsc::Receiver<Membership>,
}

fn spawn(id: u64) -> Process {
    let (orders, mut told) = tokio::sync::mpsc::channel(1);
    let (bound, address) = sync_channel(1);
    let (start, started): (SyncSender<Membership>, _) = sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = Udp::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
            let at = socket.local_addr().unwrap();
            bound.send(at).unwrap();
            let Some(Order::Start(nodes)) = told.recv().await else { return };
            let mut config = config(id, 1, Bootstrap::Initial { nodes, partitions: 64 });
            config.me.peer = at;
            let rng = ChaCha20Rng::seed_from_u64(id);
            let member =
                Membership::start(config, socket, RuntimeClock::start(), rng).await.unwrap();
            start.send(member).unwrap();
            while let Some(Order::Pause(pause)) = told.recv().await {
                thread::sleep(pause);
            }
        });
    });
    Process { orders, membership: None, address: address.recv().unwrap(), started }
}

impl Process {
    fn member(&self) -> &Membership {
        self.membership.as_ref().unwrap()
    }
}

/// Members 1 to `size`, all in each other's view.
async fn processes(size: u64) -> BTreeMap<u64, Process> {
    let mut all: BTreeMap<u64, Process> = (1..=size).map(|id| (id, spawn(id))).collect();
    let nodes: BTreeMap<NodeId, SocketAddr> =
        all.iter().map(|(id, process)| (NodeId(*id), process.address)).collect();
    for process in all.values_mut() {
        process.orders.send(Order::Start(nodes.clone())).await.unwrap();
        process.membership = Some(process.started.recv().unwrap());
    }
    for process in all.values() {
        until(process.member(), |view| ids(view).len() as u64 == size).await;
    }
    all
}

#[tokio::test]
async fn five_members_over_udp_see_one_of_them_crash() {
    let mut all = processes(5).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let clock = RuntimeClock::start();
    all.remove(&5);
    for process in all.values() {
        until(process.member(), |view| ids(view) == [1, 2, 3, 4]).await;
    }
    println!("all four see it after {:?}", proto::units::Clock::mono(&*clock));
}

#[tokio::test]
async fn a_member_that_was_paused_does_not_believe_that_it_is_alone() {
    let all = processes(5).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let paused = &all[&5];
    let mut views = paused.member().watch();
    views.mark_unchanged();
    paused.orders.send(Order::Pause(Duration::from_secs(3))).await.unwrap();
    for id in 1..=4 {
        until(all[&id].member(), |view| ids(view) == [1, 2, 3, 4]).await;
    }
    for id in 1..=4 {
        until(all[&id].member(), |view| ids(view) == [1, 2, 3, 4, 5]).await;
    }
    // The others have it back; its own view has not changed, nor does it in the next second.
    let quiet = tokio::time::timeout(Duration::from_secs(1), views.changed()).await;
    assert!(quiet.is_err(), "{:?}", views.borrow());
}
