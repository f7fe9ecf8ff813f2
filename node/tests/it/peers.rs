//! The peer port: strangers are cut off, connections come back, an oversized call costs nobody
//! anything.

use crate::support::{PATIENCE, own_address, until};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use membership::{ClusterKey, Purpose};
use node::clock::SystemClock;
use node::mint::SeededMint;
use node::net::{Net, Tcp};
use node::peer::hello::Identity;
use node::peer::pool::Pool;
use node::peer::service::{self, Serve};
use proto::envelope::{Envelope, PAYLOAD_MAX, Reply, Route, Subject};
use proto::{Code, NodeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

fn identity(node: u64, secret: &str) -> Arc<Identity> {
    let key = ClusterKey::derive("c", secret, Purpose::Hello).unwrap();
    Arc::new(Identity { cluster: "c".into(), node: NodeId(node), key })
}

const SECRET: &str = "sixteen bytes or more";

/// Answers with the payload; one that says `sleep` is not answered.
struct Echo;

impl Serve for Echo {
    fn serve(&self, envelope: Envelope) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            if envelope.payload == "sleep" {
                std::future::pending::<()>().await;
            }
            Reply::seal(NodeId(2), envelope.hops, envelope.open().cloned())
        })
    }
}

async fn listen(at: SocketAddr) -> JoinHandle<()> {
    let listener = Tcp.bind(at).await.unwrap();
    let mint = Arc::new(SeededMint::from_seed(2));
    tokio::spawn(service::listen(listener, identity(2, SECRET), mint, Arc::new(Echo)))
}

fn pool(secret: &str) -> Arc<Pool> {
    let mint = Arc::new(SeededMint::from_seed(1));
    Pool::new(Arc::new(Tcp), identity(1, secret), mint, Arc::new(SystemClock::new()))
}

fn envelope(payload: impl Into<Bytes>, deadline_ms: u32) -> Envelope {
    let route = Route::Node(NodeId(2));
    Envelope::seal(route, Subject::Anonymous, 1, deadline_ms, payload.into()).unwrap()
}

async fn call(pool: &Arc<Pool>, at: SocketAddr, payload: &'static str) -> Result<Bytes, Code> {
    let reply = pool.call(NodeId(2), at, envelope(payload, 2_000)).await;
    reply.and_then(Reply::open).map_err(|refusal| refusal.code)
}

#[tokio::test]
async fn a_call_is_answered_and_the_largest_too() {
    let at = own_address();
    let _server = listen(at).await;
    let pool = pool(SECRET);
    assert_eq!(call(&pool, at, "hello").await, Ok(Bytes::from("hello")));
    let largest = Bytes::from(vec![7; PAYLOAD_MAX]);
    let reply = pool.call(NodeId(2), at, envelope(largest.clone(), 5_000)).await.unwrap();
    assert_eq!(reply.open(), Ok(largest));
}

#[tokio::test]
async fn a_payload_too_large_is_refused_here_and_the_connection_lives() {
    let at = own_address();
    let _server = listen(at).await;
    let pool = pool(SECRET);
    assert!(call(&pool, at, "before").await.is_ok());
    let mut oversized = envelope("x", 2_000);
    oversized.payload = Bytes::from(vec![7; PAYLOAD_MAX + 1]);
    let refused = pool.call(NodeId(2), at, oversized).await.map_err(|refusal| refusal.code);
    assert_eq!(refused, Err(Code::TooLarge));
    assert_eq!(call(&pool, at, "after").await, Ok(Bytes::from("after")));
    assert_eq!(pool.counts(), (1, 1));
}

#[tokio::test]
async fn a_call_that_is_not_answered_is_given_up_at_its_deadline() {
    let at = own_address();
    let _server = listen(at).await;
    let pool = pool(SECRET);
    let slow = pool.call(NodeId(2), at, envelope("sleep", 50)).await;
    let refusal = slow.expect_err("nobody answers");
    assert_eq!((refusal.code, refusal.owner), (Code::Retry, Some(NodeId(2))));
    assert_eq!(call(&pool, at, "others go on").await, Ok(Bytes::from("others go on")));
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let at = own_address();
    let pool = pool(SECRET);
    assert_eq!(call(&pool, at, "nobody there").await, Err(Code::Retry));
    // Known to be down, it is refused at once, not after a dial.
    let asked = tokio::time::timeout(Duration::from_millis(500), call(&pool, at, "x")).await;
    assert_eq!(asked, Ok(Err(Code::Retry)));

    let server = listen(at).await;
    until("the peer is reached", || async { call(&pool, at, "x").await.is_ok() }).await;
    server.abort();
    until("the peer is missed", || async { call(&pool, at, "x").await.is_err() }).await;
    let _server = listen(at).await;
    until("the peer is reached again", || async { call(&pool, at, "x").await.is_ok() }).await;
}

#[tokio::test]
async fn a_peer_that_swallows_everything_is_dialled_again() {
    // Shakes hands, then reads and says nothing: as a network that lost the connection's state.
    let at = own_address();
    let mut listener = Tcp.bind(at).await.unwrap();
    let swallowing = tokio::spawn(async move {
        let mint = SeededMint::from_seed(2);
        let (mut stream, _) = listener.accept().await.unwrap();
        node::peer::hello::answer(&mut stream, &identity(2, SECRET), &mint).await.unwrap();
        let mut sink = vec![0; 1024];
        while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
        drop(listener); // the pool has given the connection up
    });
    let pool = pool(SECRET);
    let asking = async {
        while !swallowing.is_finished() {
            let _ = pool.call(NodeId(2), at, envelope("x", 100)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok());
    let _server = listen(at).await;
    until("the peer is reached", || async { call(&pool, at, "x").await.is_ok() }).await;
}

#[tokio::test]
async fn a_node_with_another_secret_or_another_id_is_not_served() {
    let at = own_address();
    let _server = listen(at).await;
    assert_eq!(call(&pool("another secret, long enough"), at, "x").await, Err(Code::Retry));
    let pool = pool(SECRET);
    let wrong = pool.call(NodeId(3), at, envelope("x", 1_000)).await;
    assert_eq!(wrong.map_err(|refusal| refusal.code), Err(Code::Retry));
    assert!(call(&pool, at, "x").await.is_ok());
}

#[tokio::test]
async fn a_stranger_gets_no_byte_and_costs_the_others_nothing() {
    let at = own_address();
    let _server = listen(at).await;
    let pool = pool(SECRET);
    assert!(call(&pool, at, "before").await.is_ok());
    let giant = [&[0xff; 8][..], &[0; 4096]].concat();
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 2, 1, 9], &giant] {
        let mut stranger = tokio::net::TcpStream::connect(at).await.unwrap();
        stranger.write_all(greeting).await.unwrap();
        let mut heard = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stranger.read_to_end(&mut heard)).await;
        assert!(closed.is_ok(), "still open after {greeting:?}");
        assert!(heard.is_empty(), "{heard:?}");
    }
    assert!(call(&pool, at, "after").await.is_ok());
}
