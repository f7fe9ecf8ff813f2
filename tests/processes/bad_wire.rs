//! Bytes that no good phone and no good node sends: on WebSockets, on the port between nodes and
//! on its gossip. Whoever sends them is disconnected or not heard; everybody else is served.

use crate::nodes::{Cluster, SECRET, eventually, free_address, hansom};
use crate::people::{SQUARE, now_ms};
use crate::phone::Phone;
use clap::Parser;
use futures_util::future::join_all;
use node::clock::SystemClock;
use node::mint::SeededMint;
use node::net::{BoxStream, Net, Tcp};
use node::peer::hello::{self, HelloError, Identity, Stranger};
use node::peer::pool::Pool;
use proto::envelope::{Envelope, FRAME_MAX, Route, Subject};
use proto::{Code, DriverId, NodeId, Slot};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};

/// How long a node may take to hang up on a stranger.
const HANGS_UP_WITHIN: Duration = Duration::from_secs(15);

/// The code of an error that came down a socket.
fn code_of(message: Option<Value>) -> String {
    let message = message.expect("an answer, not the end");
    assert_eq!(message["type"], "error", "{message}");
    assert!(message["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{message}");
    message["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_phone_that_talks_nonsense_is_told_so_and_in_the_end_cut_off() {
    let (cluster, riders) = Cluster::with_riders().await;
    let driver = cluster.driver_at(1, "dee").await;

    for (id, status) in [
        (DriverId::from_raw(1).to_string(), 404),
        ("drv_x".to_owned(), 400),
        (riders[0].clone(), 400),
    ] {
        let refused = Phone::try_open(&cluster, cluster.any(), &id).await.err().map(|error| *error);
        let Some(Error::Http(response)) = refused else { panic!("{id}: {refused:?}") };
        assert_eq!(response.status().as_u16(), status, "{id}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let plain = cluster.get(cluster.any(), &format!("/v1/drivers/{driver}/stream")).await;
    plain.problem(400, "BAD_REQUEST");

    let ping = |lat: f64| json!({ "type": "ping", "lat": lat, "lng": SQUARE.1, "ts": now_ms() });
    let pings =
        |count: usize| json!({ "type": "pings", "pings": vec![ping(1.0); count] }).to_string();
    let mut phone = Phone::open(&cluster, 2, &driver).await;
    let table = [
        ("", "BAD_REQUEST"),
        ("hello", "BAD_REQUEST"),
        ("{", "BAD_REQUEST"),
        ("null", "BAD_REQUEST"),
        ("[]", "BAD_REQUEST"),
        ("{\"type\":\"dance\"}", "BAD_REQUEST"),
        ("{\"type\":\"ping\"}", "BAD_REQUEST"),
        (&ping(91.0).to_string(), "BAD_COORDINATE"),
        (&ping(1.0).to_string().replace("1.0", "NaN"), "BAD_REQUEST"),
        (&pings(101), "TOO_LARGE"),
        (&"[".repeat(10_000), "BAD_REQUEST"),
    ];
    // A good message in between makes up for the bad ones before it.
    for round in 0..3 {
        for (message, code) in table {
            phone.say(message).await;
            assert_eq!(code_of(phone.hear().await), code, "round {round}: {message}");
        }
        phone.send(Message::binary(vec![0xff; 100])).await;
        assert_eq!(code_of(phone.hear().await), "BAD_REQUEST");
        phone.say(ping(SQUARE.0).to_string()).await;
    }
    for _ in 0..16 {
        phone.say("nonsense").await;
    }
    phone.closed().await;

    let largest = 16 << 10;
    let mut phone = Phone::open(&cluster, 3, &driver).await;
    phone.say(" ".repeat(largest)).await;
    assert_eq!(code_of(phone.hear().await), "BAD_REQUEST");
    phone.say(" ".repeat(largest + 1)).await;
    phone.closed().await;
    // Garbage, an unmasked frame, a frame of 2^62 bytes, a continuation of nothing.
    let frames: [&[u8]; 4] = [
        &[0xff; 100],
        &[0x81, 2, b'h', b'i'],
        &[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        &[0x80, 0x80, 0, 0, 0, 0],
    ];
    for frame in frames {
        let mut phone = Phone::open(&cluster, cluster.any(), &driver).await;
        phone.stream().write_all(frame).await.unwrap();
        phone.closed().await;
    }
    // Two phones of one driver, and one that vanishes without a word.
    let mut first = Phone::open(&cluster, 1, &driver).await;
    let mut second = Phone::open(&cluster, 2, &driver).await;
    for phone in [&mut first, &mut second] {
        phone.say("nonsense").await;
        assert_eq!(code_of(phone.hear().await), "BAD_REQUEST");
    }
    drop(first);
    drop(second);
    cluster.all_serve_all(&riders).await;
}

/// Sends bytes to a port and waits until the other side has hung up.
async fn until_cut_off(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _closed_already = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    let ended = timeout(HANGS_UP_WITHIN, reading).await;
    assert!(
        ended.is_ok(),
        "a stranger who sent {:?} is still connected",
        &bytes[..bytes.len().min(20)]
    );
    assert!(rest.len() < 1_000, "a stranger was told {} bytes", rest.len());
}

/// What a node of this cluster would say of itself, or one that holds another secret.
fn identity(node: u64, cluster: &str, secret: &str) -> Identity {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: node::Args,
    }
    let line = ["x", "--single", "--cluster", cluster, "--cluster-key", secret];
    let config = Line::parse_from(line).args.into_config().unwrap();
    Identity { cluster: cluster.to_owned(), node: NodeId(node), key: config.hello_key }
}

async fn greet(
    address: SocketAddr,
    expected: u64,
    me: &Identity,
) -> (BoxStream, Result<(), HelloError>) {
    let mut stream = Tcp.connect(address).await.unwrap();
    let mint = SeededMint::from_os().unwrap();
    let met = hello::dial(&mut stream, me, NodeId(expected), &mint).await;
    (stream, met)
}

#[tokio::test]
async fn a_phone_that_says_too_much_is_told_so_and_then_closed() {
    let cluster = Cluster::start(3, &[]).await;
    let driver = cluster.driver_at(1, "dee").await;
    let mut phone = Phone::open(&cluster, 2, &driver).await;
    let ping = json!({ "type": "ping", "lat": SQUARE.0, "lng": SQUARE.1, "ts": now_ms() });
    for _ in 0..1_000 {
        phone.say(ping.to_string()).await;
    }
    assert_eq!(code_of(phone.hear().await), "RATE_LIMITED");
    let closed = phone.closed_with().await;
    assert_eq!(closed, Some((1008, "too many bad messages".to_owned())));
}

#[tokio::test]
async fn strangers_at_the_peer_port_are_cut_off_while_the_members_go_on_talking() {
    let (cluster, riders) = Cluster::with_riders().await;
    let garbage: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 10_000],
        &[0; 10_000],
        b"\x02\x01",
        b"\x02\x00\x00",
        b"\x00\x03\x09\x09\x09",
    ];
    let peers: Vec<SocketAddr> = cluster.running().iter().map(|node| cluster.peer(*node)).collect();
    let strangers = peers.iter().flat_map(|peer| garbage.map(|bytes| until_cut_off(*peer, bytes)));
    tokio::join!(join_all(strangers), async {
        for _ in 0..20 {
            cluster.all_serve_all(&riders).await;
        }
    });

    // More silent strangers than a node holds connections for.
    let crowd = (0..300).map(|_| TcpStream::connect(cluster.peer(2)));
    let crowd = join_all(crowd).await;
    cluster.all_serve_all(&riders).await;
    drop(crowd);

    let wrong_key = identity(9, "hansom", "another secret, as long as it");
    let (_, met) = greet(cluster.peer(1), 1, &wrong_key).await;
    assert!(matches!(met, Err(HelloError::WereTurnedAway(Stranger::Key))), "{met:?}");
    let elsewhere = identity(9, "elsewhere", SECRET);
    let (_, met) = greet(cluster.peer(1), 1, &elsewhere).await;
    assert!(matches!(met, Err(HelloError::WereTurnedAway(Stranger::Cluster))), "{met:?}");
    cluster.all_serve_all(&riders).await;
}

#[tokio::test]
async fn a_member_gone_mad_costs_its_own_connection_and_no_other() {
    let (cluster, riders) = Cluster::with_riders().await;
    let me = identity(9, "hansom", SECRET);
    let oversized = u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes();
    let empty = [0; 4];
    let garbage = [&100_u32.to_be_bytes()[..], &[0xee; 100]].concat();
    let http = b"GET / HTTP/1.1\r\n\r\n";
    for node in cluster.running() {
        for bytes in [&oversized[..], &empty, &garbage, http, &[0xff; 64]] {
            let (mut stream, met) = greet(cluster.peer(node), node, &me).await;
            met.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut rest = Vec::new();
            let ended = timeout(HANGS_UP_WITHIN, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "still connected after {:?}", &bytes[..4]);
        }
    }

    // Envelopes that open, with contents that do not.
    let clock = Arc::new(SystemClock::default());
    let mint = Arc::new(SeededMint::from_os().unwrap());
    let pool = Pool::new(Arc::new(Tcp), Arc::new(me), mint, clock);
    let sane = |route, payload: Vec<u8>| {
        Envelope::seal(route, Subject::Anonymous, 7, 2_000, payload.into()).unwrap()
    };
    for node in cluster.running() {
        for route in [
            Route::Slot(Slot(0)),
            Route::Slot(Slot(u16::MAX)),
            Route::Cell(0),
            Route::Cell(u64::MAX),
            Route::Node(NodeId(node)),
            Route::Node(NodeId(77)),
        ] {
            let good = sane(route, vec![0xee; 100]);
            let bent = [
                good.clone(),
                sane(route, Vec::new()),
                Envelope { crc32c: good.crc32c ^ 1, ..good.clone() },
                Envelope { version: 99, ..good.clone() },
                Envelope { hops: u8::MAX, ..good.clone() },
                Envelope { deadline_ms: u32::MAX, ..good.clone() },
                Envelope { deadline_ms: 1, ..good },
            ];
            for envelope in bent {
                let shown = format!("{envelope:?}");
                match pool.call(NodeId(node), cluster.peer(node), envelope).await {
                    Ok(reply) => {
                        let refusal = reply.open().err().map(|refusal| refusal.code);
                        let fair = [Code::BadPeer, Code::Retry, Code::NotOwner].map(Some);
                        assert!(fair.contains(&refusal), "{refusal:?} for {shown}");
                    }
                    Err(refusal) => assert_eq!(refusal.code, Code::Retry, "{refusal} for {shown}"),
                }
            }
        }
    }
    assert_eq!(pool.counts(), (3, 3), "the connections that carried them live");
    cluster.all_serve_all(&riders).await;
}

#[tokio::test]
async fn strangers_to_the_gossip_are_not_heard() {
    let (cluster, riders) = Cluster::with_riders().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for node in cluster.running() {
        for datagram in
            [&[][..], &[0], &[1; 24], &[1; 25], &[0xff; 1_400], &[1; 65_507], b"GET / HTTP/1.1"]
        {
            for _ in 0..20 {
                socket.send_to(datagram, cluster.peer(node)).await.unwrap();
            }
        }
    }
    cluster.all_serve_all(&riders).await;

    // A whole node without the key, and one with the key that was told another cluster's list: that
    // one learns from a member that it is none, and ends.
    let directory = tempfile::tempdir().unwrap();
    let (seed, lone) = (cluster.peer(1), free_address());
    let seeds = vec![
        "--seeds".to_owned(),
        seed.to_string(),
        "--peer".to_owned(),
        free_address().to_string(),
    ];
    let list = vec!["--initial-nodes".to_owned(), format!("8={lone},1={seed}")];
    let wrong = "another secret, as long as it";
    let start = |id: u64, secret: &str, bootstrap: &[String]| {
        let http = free_address();
        let mut command = hansom();
        command
            .args(["node", "--node-id", &id.to_string(), "--http", &http.to_string()])
            .args(bootstrap);
        command.arg("--data-dir").arg(directory.path().join(id.to_string()));
        command.env("HANSOM_CLUSTER_KEY", secret).stderr(std::process::Stdio::null());
        (http, command.spawn().unwrap())
    };
    let (http, mut keyless) = start(9, wrong, &seeds);
    let (_, mut unlisted) = start(8, SECRET, &list);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{http}/v1/riders");
    let refused = eventually("a stranger answers", async || {
        let answer = client.post(&url).body("{\"name\":\"eve\"}").send().await.ok()?;
        Some(answer.status().as_u16())
    })
    .await;
    let ended = eventually("a stranger ends", async || unlisted.try_wait().unwrap()).await;
    // Longer than a member takes to be seen by all.
    for _ in 0..20 {
        for node in cluster.running() {
            let members = cluster.members(node).await;
            assert_eq!(members, Some(vec![1, 2, 3]), "node {node} counts a stranger");
        }
        sleep(Duration::from_millis(50)).await;
    }
    let ready = client.get(format!("http://{http}/readyz")).send().await.unwrap();
    keyless.kill().unwrap();
    keyless.wait().unwrap();
    assert_eq!((refused, ready.status().as_u16()), (503, 503));
    assert_eq!(ended.code(), Some(1));
    cluster.all_serve_all(&riders).await;
}
