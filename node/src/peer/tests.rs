//! Pool, lanes and the ledger's frames over a network of pipes, in paused time: what takes no
//! virtual time at all was done at once.

mod detour;
mod wires;

use super::addresses::Addresses;
use super::hello::Identity;
use super::pool::{Lane, Pool};
use super::replicas::LedgerPeers;
use super::service::{self, Serve};
use crate::metrics::Metrics;
use crate::mint::SeededMint;
use crate::net::Net;
use crate::router::NodeRouter;
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use ledger::{FRAME_MAX, Peers, Receive};
use membership::{ClusterKey, Expect, Member, Membership, Parts, Purpose, View};
use proto::envelope::{Envelope, Reply, Route, Subject};
use proto::record::ask::{Ask, Consensus};
use proto::units::Clock;
use proto::{Code, NodeId, codec};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wires::{Hand, Wires};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
/// Shorter than any pause between dials.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Longer than the pauses grow.
const LONG: Duration = Duration::from_secs(10);

fn at(node: NodeId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node.0).unwrap()], 7_100))
}

fn identity(node: NodeId) -> Arc<Identity> {
    let key = ClusterKey::derive("c", "sixteen bytes or more", Purpose::Hello).unwrap();
    Arc::new(Identity { cluster: "c".into(), node, key })
}

fn mint(node: NodeId) -> Arc<SeededMint> {
    Arc::new(SeededMint::from_seed(node.0))
}

fn view(me: NodeId, others: &[(NodeId, u64)]) -> View {
    let member = |&(id, generation)| Member {
        id,
        generation,
        peer: at(id),
        http: at(id),
        zone: String::new(),
        weight: 1,
        version: String::new(),
        split_version: 0,
    };
    let mine = [(me, 1)];
    View::new(Parts {
        me,
        members: mine.iter().chain(others).map(member).collect(),
        expect: Expect::Itself,
        foundation: None,
        splits: Arc::default(),
        fault: None,
    })
}

/// Node 1, which dials.
struct Dialling {
    wires: Arc<Wires>,
    clock: Arc<Hand>,
    pool: Arc<Pool>,
}

impl Dialling {
    fn new() -> Self {
        let (wires, clock) = (Arc::<Wires>::default(), Arc::<Hand>::default());
        let net = Arc::clone(&wires) as Arc<dyn Net>;
        let pool = Pool::new(net, identity(ONE), mint(ONE), Arc::clone(&clock) as Arc<dyn Clock>);
        Self { wires, clock, pool }
    }
    async fn listen(&self, node: NodeId, serve: Arc<dyn Serve>) -> JoinHandle<()> {
        let listener = self.wires.bind(at(node)).await.unwrap();
        tokio::spawn(service::listen(listener, identity(node), mint(node), serve))
    }
    async fn call(&self, lane: Lane, payload: &'static str) -> Result<Bytes, Code> {
        let payload = Bytes::from(payload);
        let envelope =
            Envelope::seal(Route::Node(TWO), Subject::Anonymous, 1, 60_000, payload).unwrap();
        let reply = self.pool.call_on(lane, TWO, at(TWO), envelope).await;
        reply.and_then(Reply::open).map_err(|refusal| refusal.code)
    }
    /// A node that routes, but has neither placement nor actors; it knows a third one.
    async fn router(&self, node: NodeId) -> (Arc<NodeRouter>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let net = Arc::clone(&self.wires) as Arc<dyn Net>;
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let pool = Pool::new(net, identity(node), mint(node), Arc::clone(&clock));
        let membership = Membership::fixed(view(node, &[(THREE, 1)]));
        let router = NodeRouter::new(membership, pool, clock, Arc::clone(&metrics));
        self.listen(node, Arc::clone(&router) as Arc<dyn Serve>).await;
        (router, metrics)
    }
    fn peers(&self) -> (Arc<LedgerPeers>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let addresses = Addresses::new(watch(view(ONE, &[])).1, [(TWO, at(TWO))].into());
        let pool = Arc::clone(&self.pool);
        (LedgerPeers::new(ONE, addresses, pool, mint(ONE), Arc::clone(&metrics)), metrics)
    }
}

fn watch(view: View) -> (watch::Sender<Arc<View>>, watch::Receiver<Arc<View>>) {
    watch::channel(Arc::new(view))
}

/// Answers with the payload; one that says `sleep` is not answered.
struct Echo;

impl Serve for Echo {
    fn serve(&self, envelope: Envelope) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            if envelope.payload == "sleep" {
                std::future::pending::<()>().await;
            }
            Reply::seal(TWO, envelope.hops, envelope.open().cloned())
        })
    }
}

/// A ledger that answers with the frame reversed. It waits for `go` first if the frame is empty.
#[derive(Default)]
struct Mirror {
    received: AtomicUsize,
    answered: AtomicUsize,
    go: Notify,
}

impl Receive for Mirror {
    fn receive(&self, mut frame: Vec<u8>) -> ledger::BoxFuture<'_, Vec<u8>> {
        Box::pin(async move {
            self.received.fetch_add(1, Ordering::Relaxed);
            if frame.is_empty() {
                self.go.notified().await;
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            frame.reverse();
            frame
        })
    }
}

const LANES: [Lane; 3] = [Lane::Calls, Lane::Consensus, Lane::Snapshots];

#[tokio::test(start_paused = true)]
async fn each_lane_is_a_connection_of_its_own() {
    let one = Dialling::new();
    let _server = one.listen(TWO, Arc::new(Echo)).await;
    for lane in [LANES, LANES].concat() {
        assert_eq!(one.call(lane, "hello").await, Ok(Bytes::from("hello")), "{lane:?}");
    }
    assert_eq!(one.wires.dials(at(TWO)), 3);
    assert_eq!((one.pool.counts(), one.pool.peers_connected()), ((3, 3), 1));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_full_holds_up_no_other() {
    let one = Arc::new(Dialling::new());
    let _server = one.listen(TWO, Arc::new(Echo)).await;
    let stuck: Vec<JoinHandle<_>> = (0..128)
        .map(|_| {
            let one = Arc::clone(&one);
            tokio::spawn(async move { one.call(Lane::Snapshots, "sleep").await })
        })
        .collect();
    sleep(AT_ONCE).await;
    assert_eq!(one.call(Lane::Snapshots, "one more").await, Err(Code::Overloaded));
    for lane in [Lane::Calls, Lane::Consensus] {
        let answer = timeout(AT_ONCE, one.call(lane, "urgent")).await;
        assert_eq!(answer, Ok(Ok(Bytes::from("urgent"))), "{lane:?}");
    }
    stuck.iter().for_each(JoinHandle::abort);
    drop(join_all(stuck).await);
    assert!(one.call(Lane::Snapshots, "after").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_consensus_lane_dials_a_dead_peer_five_times_a_second_and_more() {
    let dials = async |lane| {
        let one = Dialling::new();
        assert_eq!(one.call(lane, "nobody there").await, Err(Code::Retry));
        sleep(LONG).await;
        one.wires.dials(at(TWO))
    };
    let (calls, consensus) = (dials(Lane::Calls).await, dials(Lane::Consensus).await);
    assert!((10..30).contains(&calls), "{calls}");
    assert!((50..110).contains(&consensus), "{consensus}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_back_is_dialled_at_once_when_woken() {
    for lane in LANES {
        let one = Dialling::new();
        assert_eq!(one.call(lane, "nobody there").await, Err(Code::Retry));
        sleep(LONG).await;
        let _server = one.listen(TWO, Arc::new(Echo)).await;
        assert_eq!(timeout(AT_ONCE, one.call(lane, "x")).await, Ok(Err(Code::Retry)), "{lane:?}");
        one.pool.wake(THREE);
        tokio::task::yield_now().await;
        assert_eq!(timeout(AT_ONCE, one.call(lane, "x")).await, Ok(Err(Code::Retry)), "{lane:?}");
        one.pool.wake(TWO);
        tokio::task::yield_now().await;
        assert_eq!(timeout(AT_ONCE, one.call(lane, "x")).await, Ok(Ok("x".into())), "{lane:?}");
        // To be woken while the connection stands costs nothing.
        let dials = one.wires.dials(at(TWO));
        one.pool.wake(TWO);
        tokio::task::yield_now().await;
        assert_eq!(timeout(AT_ONCE, one.call(lane, "x")).await, Ok(Ok("x".into())), "{lane:?}");
        assert_eq!(one.wires.dials(at(TWO)), dials);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_nothing_answers_is_begun_anew_when_woken() {
    let one = Arc::new(Dialling::new());
    one.wires.swallow(at(TWO));
    let calling = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.call(Lane::Calls, "x").await }
    });
    sleep(Duration::from_millis(100)).await;
    let _server = one.listen(TWO, Arc::new(Echo)).await;
    one.pool.wake(TWO);
    assert_eq!(timeout(AT_ONCE, calling).await.unwrap().unwrap(), Ok("x".into()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_again_or_is_seen_again_is_dialled_at_once() {
    let one = Dialling::new();
    let (views, watched) = watch(view(ONE, &[(TWO, 1)]));
    let addresses = Addresses::new(watched, BTreeMap::new());
    tokio::spawn(Arc::clone(&addresses).follow(Arc::clone(&one.pool)));
    assert_eq!(one.call(Lane::Calls, "nobody there").await, Err(Code::Retry));

    // Another start; nothing new; gone and there again.
    for (seen, dialled) in [
        (vec![view(ONE, &[(TWO, 2)])], true),
        (vec![view(ONE, &[(TWO, 2), (THREE, 1)])], false),
        (vec![view(ONE, &[(THREE, 1)]), view(ONE, &[(TWO, 2)])], true),
    ] {
        sleep(LONG).await;
        let shown = format!("{seen:?}");
        let dials = one.wires.dials(at(TWO));
        for view in seen {
            views.send_replace(Arc::new(view));
            // The follower, then the keeper.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(one.wires.dials(at(TWO)) - dials, usize::from(dialled), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_where_it_lives_else_where_it_was_seen_else_where_it_was_said_to_be() {
    let one = Dialling::new();
    let (views, watched) = watch(view(ONE, &[]));
    let said: SocketAddr = "10.9.9.9:1".parse().unwrap();
    let addresses = Addresses::new(watched, [(TWO, said)].into());
    tokio::spawn(Arc::clone(&addresses).follow(Arc::clone(&one.pool)));
    assert_eq!((addresses.of(TWO), addresses.of(THREE)), (Some(said), None));
    views.send_replace(Arc::new(view(ONE, &[(TWO, 1), (THREE, 1)])));
    assert_eq!((addresses.of(TWO), addresses.of(THREE)), (Some(at(TWO)), Some(at(THREE))));
    tokio::task::yield_now().await;
    views.send_replace(Arc::new(view(ONE, &[])));
    assert_eq!((addresses.of(TWO), addresses.of(THREE)), (Some(at(TWO)), Some(at(THREE))));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_dropped_although_its_callers_wait_for_less() {
    // Shakes hands, then reads and says nothing: as a network that lost the connection's state.
    let one = Dialling::new();
    let mut listener = one.wires.bind(at(TWO)).await.unwrap();
    let swallowing = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        super::hello::answer(&mut stream, &identity(TWO), &mint(TWO)).await.unwrap();
        let mut sink = vec![0; 1024];
        while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    });
    for _ in 0..11 {
        let dropped = timeout(Duration::from_millis(100), one.call(Lane::Consensus, "x")).await;
        assert!(dropped.is_err() && !swallowing.is_finished());
        one.clock.forward_ms(100);
    }
    assert!(timeout(AT_ONCE, swallowing).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_frame_goes_there_and_back_before_there_are_actors() {
    let one = Dialling::new();
    let (router, at_two) = one.router(TWO).await;
    let (peers, at_one) = one.peers();
    let frame = || b"frame".to_vec();
    let early = peers.call(TWO, ledger::Lane::Consensus, frame()).await.unwrap_err();
    assert!(early.to == TWO && early.why.starts_with("NOT_READY"), "{early}");

    router.attach_ledger(Arc::new(Mirror::default()));
    assert!(!router.serves());
    for lane in [ledger::Lane::Consensus, ledger::Lane::Snapshots] {
        assert_eq!(peers.call(TWO, lane, frame()).await, Ok(b"emarf".to_vec()), "{lane:?}");
        let mut largest = vec![7; FRAME_MAX];
        largest[0] = 8;
        let answer = peers.call(TWO, lane, largest).await.unwrap();
        assert!(answer.len() == FRAME_MAX && answer.last() == Some(&8), "{lane:?}");
        let refused = peers.call(TWO, lane, vec![7; FRAME_MAX + 1]).await.unwrap_err();
        assert!(refused.why.starts_with("TOO_LARGE"), "{refused}");
    }
    let nowhere = peers.call(THREE, ledger::Lane::Consensus, frame()).await.unwrap_err();
    assert!(nowhere.why.starts_with("RETRY"), "{nowhere}");
    assert_eq!(one.pool.counts(), (2, 2));

    router.detach();
    let late = peers.call(TWO, ledger::Lane::Consensus, frame()).await.unwrap_err();
    assert!(late.why.starts_with("NOT_READY"), "{late}");

    let (sent, served) = (at_one.text(), at_two.text());
    for (text, line) in [
        (&sent, "hansom_ledger_frames_total{lane=\"consensus\",outcome=\"OK\"} 2"),
        (&sent, "hansom_ledger_frames_total{lane=\"consensus\",outcome=\"NOT_READY\"} 2"),
        (&sent, "hansom_ledger_frames_total{lane=\"snapshots\",outcome=\"TOO_LARGE\"} 1"),
        (&served, "hansom_asks_total{ask=\"Consensus\",outcome=\"OK\"} 4"),
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_for_another_node_is_refused_and_goes_no_farther() {
    let one = Dialling::new();
    let (router, _) = one.router(TWO).await;
    let ledger = Arc::new(Mirror::default());
    router.attach_ledger(Arc::clone(&ledger) as Arc<dyn Receive>);
    let send = async |route, node| {
        let payload = codec::encode(&Consensus { node, frame: Bytes::new() }.wrap()).into();
        let envelope = Envelope::seal(route, Subject::Node(ONE), 1, 1_000, payload).unwrap();
        let reply = one.pool.call_on(Lane::Consensus, TWO, at(TWO), envelope).await.unwrap();
        reply.open().map_err(|refusal| refusal.code)
    };
    for (route, node) in [(THREE, THREE), (THREE, TWO), (TWO, THREE)] {
        assert_eq!(send(Route::Node(route), node).await, Err(Code::BadPeer), "{route} {node}");
    }
    assert_eq!(one.wires.dials(at(THREE)), 0);
    assert_eq!(ledger.received.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_has_begun_it_ends_though_the_caller_gives_up() {
    let one = Dialling::new();
    let (router, _) = one.router(TWO).await;
    let ledger = Arc::new(Mirror::default());
    router.attach_ledger(Arc::clone(&ledger) as Arc<dyn Receive>);
    let (peers, metrics) = one.peers();
    let given_up =
        timeout(Duration::from_millis(50), peers.call(TWO, ledger::Lane::Consensus, vec![])).await;
    assert!(given_up.is_err());
    let in_time = peers.call(TWO, ledger::Lane::Consensus, vec![]).await.unwrap_err();
    assert!(in_time.why.starts_with("RETRY"), "{in_time}");
    assert_eq!(ledger.received.load(Ordering::Relaxed), 2);
    ledger.go.notify_waiters();
    sleep(AT_ONCE).await;
    assert_eq!(ledger.answered.load(Ordering::Relaxed), 2);
    let line = "hansom_ledger_frames_total{lane=\"consensus\",outcome=\"GIVEN_UP\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}
