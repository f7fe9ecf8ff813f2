//! A network in memory and the members on it.

use membership::{
    Bootstrap, BoxFuture, ClusterKey, Config, Datagrams, Member, Membership, Purpose, SplitTable,
    View,
};
use proto::units::Clock;
use proto::{MonoMs, NodeId, WallMs};
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// A gossip round of five members is 60 datagrams; a thousand are never waiting.
const QUEUE_MAX: usize = 1_000;
pub(crate) const SECRET: &str = "a secret of sixteen bytes or more";

type Inbox = mpsc::Sender<(SocketAddr, Vec<u8>)>;

/// Delivers datagrams at once and in order, except from and to the silenced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Net(Arc<Mutex<Wires>>);

#[derive(Debug, Default)]
struct Wires {
    inboxes: BTreeMap<SocketAddr, Inbox>,
    silenced: BTreeSet<SocketAddr>,
}

impl Net {
    /// Cuts a member off, as a crash does.
    pub(crate) fn silence(&self, id: u64) {
        self.0.lock().unwrap().silenced.insert(address(id));
    }

    pub(crate) fn throw(&self, from: SocketAddr, to: u64, datagram: &[u8]) {
        self.deliver(from, address(to), datagram);
    }

    pub(crate) fn plug(&self, id: u64) -> Plug {
        let (inbox, waiting) = mpsc::channel(QUEUE_MAX);
        let mut wires = self.0.lock().unwrap();
        wires.inboxes.insert(address(id), inbox);
        wires.silenced.remove(&address(id));
        Plug { net: self.clone(), at: address(id), waiting: AsyncMutex::new(waiting) }
    }

    fn deliver(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let wires = self.0.lock().unwrap();
        if wires.silenced.contains(&from) || wires.silenced.contains(&to) {
            return;
        }
        if let Some(inbox) = wires.inboxes.get(&to) {
            let _lost = inbox.try_send((from, datagram.to_vec()));
        }
    }
}

/// One member's end of the network.
pub(crate) struct Plug {
    net: Net,
    at: SocketAddr,
    waiting: AsyncMutex<mpsc::Receiver<(SocketAddr, Vec<u8>)>>,
}

impl Datagrams for Plug {
    fn send_to<'a>(&'a self, datagram: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.net.deliver(self.at, to, datagram);
            Ok(())
        })
    }

    fn recv_from<'a>(
        &'a self,
        buffer: &'a mut [u8],
    ) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            match self.waiting.lock().await.recv().await {
                Some((from, datagram)) => {
                    buffer[..datagram.len()].copy_from_slice(&datagram);
                    Ok((datagram.len(), from))
                }
                None => std::future::pending().await, // replaced by a later plug
            }
        })
    }
}

/// The runtime's clock, real or virtual.
#[derive(Debug)]
pub(crate) struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "a test's clock, virtual where time is paused")]
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for RuntimeClock {
    #[expect(clippy::disallowed_methods, reason = "a test's clock, virtual where time is paused")]
    fn mono(&self) -> MonoMs {
        MonoMs(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
    fn wall(&self) -> WallMs {
        WallMs(self.mono().0)
    }
}

pub(crate) fn address(id: u64) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 7_100 + u16::try_from(id).unwrap()).into()
}

pub(crate) fn initial(ids: std::ops::RangeInclusive<u64>) -> Bootstrap {
    Bootstrap::Initial { nodes: ids.map(|id| (NodeId(id), address(id))).collect(), partitions: 64 }
}

pub(crate) fn config(id: u64, generation: u64, bootstrap: Bootstrap) -> Config {
    Config {
        cluster: "test".to_owned(),
        key: ClusterKey::derive("test", SECRET, Purpose::Gossip).unwrap(),
        me: Member {
            id: NodeId(id),
            generation,
            peer: address(id),
            http: address(id),
            zone: String::new(),
            weight: 1,
            version: "0.1.0".to_owned(),
            split_version: 0,
        },
        bootstrap,
        remembered: None,
        splits: SplitTable::default(),
    }
}

pub(crate) async fn start(config: Config, datagrams: impl Datagrams) -> Membership {
    let rng = ChaCha20Rng::seed_from_u64(config.me.id.0 << 32 | config.me.generation);
    Membership::start(config, datagrams, RuntimeClock::start(), rng).await.unwrap()
}

/// Initial members 1 to `size` that all see each other.
pub(crate) async fn cluster(net: &Net, size: u64) -> BTreeMap<u64, Membership> {
    let mut members = BTreeMap::new();
    for id in 1..=size {
        members.insert(id, start(config(id, 1, initial(1..=size)), net.plug(id)).await);
    }
    for member in members.values() {
        until(member, |view| view.members().len() as u64 == size).await;
    }
    members
}

/// Waits until a member's view is as wanted.
pub(crate) async fn until(member: &Membership, wanted: impl Fn(&View) -> bool) -> Arc<View> {
    let mut views = member.watch();
    let patience = Duration::from_secs(30);
    match tokio::time::timeout(patience, views.wait_for(|view| wanted(view))).await {
        Ok(view) => Arc::clone(&view.unwrap()),
        Err(_) => panic!("in vain: {:?} {:?}", member.view(), member.gossip_counts()),
    }
}

pub(crate) fn ids(view: &View) -> Vec<u64> {
    view.members().iter().map(|member| member.id.0).collect()
}
