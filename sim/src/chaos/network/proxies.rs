//! Every node on a loopback address of its own, and before each a proxy that others are told of.
//! A node's words come from its own address, so the proxy knows which link they are on: it passes
//! bytes and datagrams on, late, not at all, or to nobody. No privilege is needed.
//!
//! What it can't do: TCP between a node and a proxy is whole, so a cut stalls a connection's bytes
//! and loses none, and a lost packet of a slow link is one that comes later.

use super::relay::fate;
use super::{Cut, Link, States};
use crate::cluster::{Ground, Place};
use crate::dice::Dice;
use crate::ports;
use proto::units::{Clock, MonoMs};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Where nodes are, and where their proxies are.
const NODES: u8 = 77;
const PROXIES: u8 = 78;
const PER_BYTE: usize = 200;
/// The longest piece of a stream that is passed on at once; pieces that wait in one direction of one
/// connection: a megabyte.
const PIECE_BYTES: usize = 16 << 10;
const PIECES_MAX: usize = 64;
/// How often a stalled direction looks whether it may go on.
const STALL_LOOK: Duration = Duration::from_millis(20);
/// What a lost packet costs a stream: it is sent again after so long.
const SENT_AGAIN_MS: u64 = 200;
const DATAGRAM_MAX: usize = 65_535;
/// Ports tried, and the nodes at whose addresses each has to be free: all that begin.
const PORT_TRIES: usize = 20;
const FIRST_NODES: usize = 7;
/// Datagrams that wait at one proxy at once.
const WAITING_MAX: usize = 4_096;

/// The nodes' proxies. Cheap to clone.
#[derive(Debug, Clone)]
pub(in super::super) struct Proxies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    states: States,
    clock: Arc<dyn Clock>,
    /// The ports of all nodes, which differ by their addresses.
    http: u16,
    peer: u16,
    edge: u16,
    dice: Mutex<Dice>,
    standing: Mutex<BTreeMap<usize, Proxy>>,
}

/// The proxy of one node.
#[derive(Debug)]
struct Proxy {
    datagrams: Arc<UdpSocket>,
    _tasks: JoinSet<()>,
}

impl Proxies {
    /// No proxy yet.
    pub(in super::super) fn new(clock: Arc<dyn Clock>, dice: Dice) -> io::Result<Self> {
        let mut taken = Vec::new();
        let mut port = || {
            // Free on 127.0.0.1 is not yet free where the proxies stand.
            for _ in 0..PORT_TRIES {
                let free = ports::free(&taken)?;
                taken.push(free);
                if (1..=FIRST_NODES).all(|id| is_free((address(PROXIES, id), free.port()))) {
                    return Ok(free.port());
                }
            }
            Err(io::Error::from(io::ErrorKind::AddrInUse))
        };
        let (http, peer, edge) = (port()?, port()?, port()?);
        let (states, standing) = (States::default(), Mutex::default());
        let dice = Mutex::new(dice);
        Ok(Self(Arc::new(Inner { states, clock, http, peer, edge, dice, standing })))
    }

    pub(super) fn states(&self) -> &States {
        &self.0.states
    }

    fn standing(&self) -> MutexGuard<'_, BTreeMap<usize, Proxy>> {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self) -> Dice {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    fn real(&self, id: usize) -> SocketAddr {
        (address(NODES, id), self.0.peer).into()
    }

    /// Puts a proxy before a node.
    fn stand(&self, id: usize) -> io::Result<()> {
        let at = SocketAddr::from((address(PROXIES, id), self.0.peer));
        let (listener, datagrams) =
            (std::net::TcpListener::bind(at)?, std::net::UdpSocket::bind(at)?);
        listener.set_nonblocking(true)?;
        datagrams.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let datagrams = Arc::new(UdpSocket::from_std(datagrams)?);
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().streams(id, listener, self.dice()));
        tasks.spawn(self.clone().datagrams(id, Arc::clone(&datagrams), self.dice()));
        self.standing().insert(id, Proxy { datagrams, _tasks: tasks });
        Ok(())
    }

    async fn streams(self, id: usize, listener: TcpListener, mut dice: Dice) {
        // All connections end with the proxy.
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            // Out of files, say; the next one may be luckier.
            let Ok((caller, from)) = listener.accept().await else {
                tokio::time::sleep(STALL_LOOK).await;
                continue;
            };
            let Some(caller_id) = node_at(from.ip()) else { continue };
            let (there, back) = ((caller_id, id), (id, caller_id));
            if self.0.states.of(there).cut == Some(Cut::Refused) {
                continue;
            }
            connections.spawn(self.clone().connection(caller, there, back, dice.fork()));
        }
    }

    async fn connection(self, caller: TcpStream, there: Link, back: Link, mut dice: Dice) {
        let Ok(node) = TcpStream::connect(self.real(there.1)).await else { return };
        if caller.set_nodelay(true).is_err() || node.set_nodelay(true).is_err() {
            return;
        }
        let (from_caller, to_caller) = caller.into_split();
        let (from_node, to_node) = node.into_split();
        let other = dice.fork();
        tokio::select! {
            // Whichever direction ends takes the other with it.
            () = self.pump(there, from_caller, to_node, dice) => {}
            () = self.pump(back, from_node, to_caller, other) => {}
        }
    }

    /// One direction of a connection, until it ends or its link refuses.
    async fn pump(
        &self,
        link: Link,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut dice: Dice,
    ) {
        let (pieces, mut waiting) = mpsc::channel::<(MonoMs, Vec<u8>)>(PIECES_MAX);
        let read = async {
            let mut buffer = vec![0; PIECE_BYTES];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                let state = self.0.states.of(link);
                let wait_ms = match fate(super::State { cut: None, ..state }, &mut dice).first() {
                    Some(wait) => u64::try_from(wait.as_millis()).unwrap_or(0),
                    None => SENT_AGAIN_MS,
                };
                let due = self.0.clock.mono().plus_ms(wait_ms);
                if pieces.send((due, buffer[..length].to_vec())).await.is_err() {
                    return;
                }
            }
        };
        let write = async {
            while let Some((due, piece)) = waiting.recv().await {
                let left_ms = due.since(self.0.clock.mono());
                tokio::time::sleep(Duration::from_millis(left_ms)).await;
                while self.0.states.of(link).cut == Some(Cut::Silent) {
                    tokio::time::sleep(STALL_LOOK).await;
                }
                if self.0.states.of(link).cut.is_some() || to.write_all(&piece).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    }

    async fn datagrams(self, id: usize, socket: Arc<UdpSocket>, mut dice: Dice) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let room = Arc::new(Semaphore::new(WAITING_MAX));
        loop {
            // An error belongs to some earlier datagram, whose receiver has gone.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            let Some(sender) = node_at(from.ip()) else { continue };
            // From the sender's own proxy, so that an answer comes by way of it.
            let by = self.standing().get(&sender).map(|proxy| Arc::clone(&proxy.datagrams));
            let Some(by) = by else { continue };
            for wait in fate(self.0.states.of((sender, id)), &mut dice) {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                let (by, datagram, to) =
                    (Arc::clone(&by), buffer[..length].to_vec(), self.real(id));
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _lost = by.send_to(&datagram, to).await;
                    drop(place);
                });
            }
        }
    }
}

impl Ground for Proxies {
    fn settle(&mut self, id: usize, _seat: usize) -> io::Result<Place> {
        self.stand(id)?;
        let door = |port| SocketAddr::from((address(NODES, id), port));
        Ok(Place {
            http: door(self.0.http),
            peer: door(self.0.peer),
            advertised: Some((address(PROXIES, id), self.0.peer).into()),
            edge: door(self.0.edge),
            data: None,
        })
    }

    fn leave(&mut self, id: usize) {
        self.standing().remove(&id);
    }

    fn command(&self, _id: usize, program: &Path) -> Command {
        Command::new(program)
    }
}

fn address(sort: u8, id: usize) -> Ipv4Addr {
    let [.., high] = (id / PER_BYTE).to_be_bytes();
    let [.., low] = (id % PER_BYTE + 1).to_be_bytes();
    Ipv4Addr::new(127, sort, high, low)
}

fn is_free(at: (Ipv4Addr, u16)) -> bool {
    std::net::TcpListener::bind(at).is_ok() && std::net::UdpSocket::bind(at).is_ok()
}

/// The node that speaks from an address.
fn node_at(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(address) = address else { return None };
    let [127, NODES, high, low] = address.octets() else { return None };
    Some(usize::from(high) * PER_BYTE + usize::from(low).checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::super::{Network, Slowness};
    use super::*;
    use node::clock::SystemClock;

    /// A link from node 1 to node 2, which echoes.
    async fn link() -> (Network, TcpStream) {
        let clock = Arc::new(SystemClock::new());
        let proxies = Proxies::new(clock, Dice::of(1, "proxies")).unwrap();
        let mut ground = proxies.clone();
        ground.settle(1, 0).unwrap();
        let place = ground.settle(2, 1).unwrap();
        let echo = TcpListener::bind(place.peer).await.unwrap();
        tokio::spawn(async move {
            let (stream, _) = echo.accept().await.unwrap();
            let (mut from, mut to) = stream.into_split();
            let _ended = tokio::io::copy(&mut from, &mut to).await;
        });
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address(NODES, 1), 0).into()).unwrap();
        let stream = socket.connect(place.reached()).await.unwrap();
        (Network::Proxies(proxies), stream)
    }

    async fn echoed(stream: &mut TcpStream) -> bool {
        stream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut byte));
        read.await.is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn a_silent_cut_stalls_one_direction_and_loses_nothing() {
        let (network, mut stream) = link().await;
        assert!(echoed(&mut stream).await);
        network.cut(&[(2, 1)], Cut::Silent).await;
        assert!(!echoed(&mut stream).await, "the answer did not come");
        network.mend(&[(2, 1)]).await;
        let mut late = [0];
        stream.read_exact(&mut late).await.unwrap();
        assert!(echoed(&mut stream).await);
    }

    #[tokio::test]
    async fn a_refused_link_ends_connections_and_takes_no_new_ones() {
        let (network, mut stream) = link().await;
        assert!(echoed(&mut stream).await);
        network.cut(&[(1, 2)], Cut::Refused).await;
        assert!(!echoed(&mut stream).await);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "it has ended");
    }

    #[tokio::test]
    async fn a_slow_link_is_slow() {
        let (network, mut stream) = link().await;
        assert!(echoed(&mut stream).await);
        let slow = Slowness { delay_ms: 500.0, jitter_ms: 0.0, loss: 0.0, repeat: 0.0 };
        network.slow(&[(1, 2)], Some(slow)).await;
        assert!(!echoed(&mut stream).await, "within 300 ms");
        network.slow(&[(1, 2)], None).await;
    }

    #[tokio::test]
    async fn datagrams_arrive_from_the_senders_proxy() {
        let clock = Arc::new(SystemClock::new());
        let proxies = Proxies::new(clock, Dice::of(1, "proxies")).unwrap();
        let mut ground = proxies.clone();
        let (one, two) = (ground.settle(1, 0).unwrap(), ground.settle(2, 1).unwrap());
        let (first, second) =
            (UdpSocket::bind(one.peer).await.unwrap(), UdpSocket::bind(two.peer).await.unwrap());
        first.send_to(b"hello", two.reached()).await.unwrap();
        let mut buffer = [0; 16];
        let (length, from) = second.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"hello"[..], one.reached()));
        second.send_to(b"answer", from).await.unwrap();
        let (length, from) = first.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&b"answer"[..], two.reached()));
    }
}
