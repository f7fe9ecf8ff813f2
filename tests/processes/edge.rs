//! Edge gateways, by the Rust client and byte by byte, and phones that send the same frames.

mod door;

use crate::nodes::{Cluster, eventually};
use crate::people::{At, SQUARE, north_of, now_ms};
use crate::phone::Phone;
use proto::client::edge::{Answer, EdgeClient, EdgeError};
use proto::edge::{
    self, CONNECTION, Frame, HEADER_BYTES, Hello, Kind, Near, PINGS_MAX, Pinged, Refused, Spotted,
    Welcome,
};
use proto::pings::PING_BYTES;
use proto::record::cell::{Ping, PingCounts};
use proto::record::driver::{Capabilities, VehicleType};
use proto::{Code, DriverId, Point, WallMs};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// How long a node may take to hang up where it does so at once.
const HANGS_UP_WITHIN: Duration = Duration::from_secs(10);

fn place((lat, lng): At) -> Point {
    Point::from_degrees(lat, lng).unwrap()
}

fn ping(driver: DriverId, at: At) -> Ping {
    // A millisecond on: newer also than what was told by HTTP just now.
    let (speed_cms, accuracy_m, at_ms) = (800, 5, WallMs(now_ms() + 1));
    Ping { driver, point: place(at), heading_deg: 10, speed_cms, accuracy_m, at: at_ms }
}

/// Who is within 100 m.
fn near(at: At) -> Near {
    Near {
        center: place(at),
        radius_m: 100,
        max: 200,
        free_only: false,
        kind: None,
        seats: 0,
        capabilities: Capabilities::default(),
        fresh_ms: 0,
    }
}

/// Waits until exactly one driver is seen at a place: where he is new, his standing comes a moment
/// after his position.
async fn only_one_at(edge: &mut EdgeClient, at: At) -> Spotted {
    eventually("one driver is seen", async || {
        let found = edge.near(&near(at)).await.unwrap();
        assert!(!found.partial && found.drivers.len() <= 1, "{found:?}");
        found.drivers.first().copied()
    })
    .await
}

fn frame_of(number: u32, pings: &[Ping]) -> Vec<u8> {
    let mut frame = Vec::new();
    edge::put_pings(number, pings, &mut frame);
    frame
}

fn code_of(error: &EdgeError) -> Code {
    let EdgeError::Refused(refused) = error else { panic!("{error}") };
    assert!(!refused.detail.is_empty());
    refused.code().unwrap()
}

/// A connection without manners.
struct Raw(TcpStream);

impl Raw {
    async fn open(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }
    /// One that has been welcomed.
    async fn welcomed(to: SocketAddr, token: &str) -> Self {
        let mut raw = Self::open(to).await;
        let mut hello = Vec::new();
        Hello { version: 1, token }.put(77, &mut hello);
        raw.0.write_all(&hello).await.unwrap();
        let mut welcome = [0; HEADER_BYTES + 16];
        raw.0.read_exact(&mut welcome).await.unwrap();
        let frame = Frame::first(&welcome).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.number), (Ok(Kind::Welcome), 77));
        assert_eq!(Welcome::get(frame.body).unwrap().pings_max, 4_096);
        raw
    }
    /// Sends bytes, and gives everything that comes until the node hangs up.
    async fn end(mut self, bytes: &[u8], within: Duration) -> Vec<u8> {
        // It may hang up before all is written.
        let _ = self.0.write_all(bytes).await;
        let mut all = Vec::new();
        let end = timeout(within, self.0.read_to_end(&mut all)).await;
        end.expect("the node hangs up").unwrap();
        all
    }
}

/// Answers as number and either counts or the code of the refusal.
fn answers(mut bytes: &[u8]) -> Vec<(u32, Result<PingCounts, Code>)> {
    let mut all = Vec::new();
    while let Some(frame) = Frame::first(bytes).unwrap() {
        bytes = &bytes[frame.size()..];
        all.push((frame.number, answer(&frame)));
    }
    assert!(bytes.is_empty());
    all
}

fn answer(frame: &Frame<'_>) -> Result<PingCounts, Code> {
    match frame.kind().unwrap() {
        Kind::Pinged => Ok(Pinged::get(frame.body).unwrap().0),
        Kind::Refused => Err(Refused::get(frame.body).unwrap().code().unwrap()),
        other @ (Kind::Hello | Kind::Welcome | Kind::Pings | Kind::Near | Kind::Found) => {
            panic!("{other:?} comes down")
        }
    }
}

const fn applied(applied: u32) -> PingCounts {
    PingCounts { applied, stale: 0, refused: 0, lost: 0 }
}

#[tokio::test]
async fn what_a_gateway_reports_is_found_at_every_node_once_it_is_acknowledged() {
    let cluster = Cluster::start(3, &[]).await;
    let dee = cluster.free_driver_at(1, "dee", SQUARE).await;
    let dee: DriverId = dee.parse().unwrap();
    let elsewhere = north_of(SQUARE, 20_000.0);
    for node in 1..=3_u32 {
        let mut edge = EdgeClient::connect(cluster.edge(node.into()), None).await.unwrap();
        assert_eq!(edge.welcome().node.0, u64::from(node));
        let at = north_of(elsewhere, 3_000.0 * f64::from(node));
        // His cell's owner may not have heard yet that he works, so what he is shows a little later.
        let moved = eventually("the ping is applied", async || {
            let counts = edge.pings(&[ping(dee, at)]).await.unwrap();
            (counts == applied(1)).then(now_ms)
        });
        let moved = moved.await;
        for other in 1..=3 {
            let mut other = EdgeClient::connect(cluster.edge(other), None).await.unwrap();
            let seen = only_one_at(&mut other, at).await;
            assert_eq!((seen.driver, seen.point), (dee, place(at)));
            assert!(seen.at.0 <= moved + 1 && seen.distance_m == 0, "{seen:?}");
        }
        eventually("he can be matched there", async || {
            let wanted = Near { free_only: true, kind: Some(VehicleType::Sedan), ..near(at) };
            let found = edge.near(&wanted).await.unwrap();
            (found.drivers.len() == 1).then_some(())
        })
        .await;
        let wrong = Near { kind: Some(VehicleType::Bike), ..near(at) };
        assert_eq!(edge.near(&wrong).await.unwrap().drivers, []);
        let wrong = Near { radius_m: 0, ..near(at) };
        assert_eq!(code_of(&edge.near(&wrong).await.unwrap_err()), Code::BadRequest);
    }
    let metrics = cluster.get(1, "/metrics").await.text;
    for line in ["hansom_edge_frames_total{kind=\"pings\"}", "hansom_edge_connections_count"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn many_frames_are_under_way_and_every_ping_is_accounted_for() {
    const FRAMES: u64 = 1_500;
    const EACH: u64 = 64;
    let cluster = Cluster::start(3, &[]).await;
    let edge = EdgeClient::connect(cluster.edge(2), None).await.unwrap();
    let (mut sender, mut receiver) = edge.split();
    let sending = tokio::spawn(async move {
        let mut numbers = Vec::new();
        for frame in 0..FRAMES {
            let metres = |driver: u64| f64::from(u32::try_from(driver % 40_000).unwrap());
            let drivers = (frame * EACH..(frame + 1) * EACH)
                .map(|driver| ping(DriverId::from_raw(driver), north_of(SQUARE, metres(driver))));
            let mut pings: Vec<Ping> = drivers.collect();
            pings.push(pings[0]); // a repetition
            numbers.push(sender.queue(&pings).await.unwrap());
        }
        sender.flush().await.unwrap();
        (sender, numbers)
    });
    let (mut heard, mut sum) = (Vec::new(), PingCounts::default());
    for _ in 0..FRAMES {
        let next = timeout(Duration::from_secs(20), receiver.next()).await;
        let (number, answer) = next.expect("an answer in time").unwrap();
        let Answer::Pinged(counts) = answer else { panic!("{answer:?}") };
        let PingCounts { applied, stale, refused, lost } = counts;
        assert_eq!(u64::from(applied + stale + refused + lost), EACH + 1);
        sum.applied += applied;
        sum.stale += stale;
        heard.push(number);
    }
    let (mut sender, sent) = sending.await.unwrap();
    assert_eq!(heard, sent, "answers come in the order of the frames");
    assert_eq!((u64::from(sum.applied), u64::from(sum.stale)), (FRAMES * EACH, FRAMES));

    // More than WELCOME allows is for the client to notice.
    let many = [ping(DriverId::from_raw(1), SQUARE)].repeat(PINGS_MAX + 1);
    assert!(matches!(sender.send(&many).await, Err(EdgeError::TooMany(4_097))));
    drop(receiver);
    assert!(matches!(sender.send(&[]).await, Err(EdgeError::Closed)));
}

#[tokio::test]
async fn bytes_that_no_good_gateway_sends_end_the_connection_or_just_the_frame() {
    let cluster = Cluster::start(1, &[]).await;
    let to = cluster.edge(1);
    let here = cluster.free_driver_at(1, "dee", north_of(SQUARE, 50.0)).await;
    let (a, b): (DriverId, DriverId) = (here.parse().unwrap(), DriverId::from_raw(2));
    let good = |number, driver| frame_of(number, &[ping(driver, SQUARE)]);
    let hung_up = |code| (CONNECTION, Err(code));

    // A flipped bit: what came before is applied, the frame itself and what follows are not.
    let mut flipped = good(2, b);
    flipped[HEADER_BYTES] ^= 1;
    let from_before = ping(b, SQUARE);
    let bytes = [good(1, a), flipped, frame_of(3, &[from_before])].concat();
    let heard = Raw::welcomed(to, "").await.end(&bytes, HANGS_UP_WITHIN).await;
    assert_eq!(answers(&heard), [(1, Ok(applied(1))), hung_up(Code::BadPeer)]);
    let mut edge = EdgeClient::connect(to, None).await.unwrap();
    let seen = only_one_at(&mut edge, SQUARE).await;
    assert_eq!((seen.driver, seen.distance_m), (a, 0));
    // Had it been applied, this would be a repetition.
    assert_eq!(edge.pings(&[from_before]).await.unwrap(), applied(1));

    let mut other_version = good(1, b);
    other_version[4] = 2;
    let mut too_long = good(1, b);
    too_long[..4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    for (bytes, code) in [(&other_version, Code::BadPeer), (&too_long, Code::TooLarge)] {
        let heard = Raw::welcomed(to, "").await.end(bytes, HANGS_UP_WITHIN).await;
        assert_eq!(answers(&heard), [hung_up(code)]);
    }
    // A stranger is refused by the header of what is longer than any HELLO.
    let longer = frame_of(1, &[ping(b, SQUARE)].repeat(147));
    let heard = Raw::open(to).await.end(&longer[..HEADER_BYTES], HANGS_UP_WITHIN).await;
    assert_eq!(answers(&heard), [hung_up(Code::TooLarge)]);

    // Who does not say HELLO, or only half of it, is not waited for.
    let heard = Raw::open(to).await.end(&good(1, b), HANGS_UP_WITHIN).await;
    assert_eq!(answers(&heard), [hung_up(Code::BadRequest)]);
    let heard = Raw::open(to).await.end(&good(1, b)[..20], HANGS_UP_WITHIN).await;
    assert_eq!(answers(&heard), [hung_up(Code::BadRequest)]);

    // Whole frames that make no sense are refused, and the connection goes on.
    let mut strange = Vec::new();
    edge::put(Kind::Found, 5, &mut strange, |_| {});
    edge::put(Kind::Pings, 6, &mut strange, |to| to.resize(to.len() + PING_BYTES - 1, 0));
    let many = PING_BYTES * (PINGS_MAX + 1);
    edge::put(Kind::Pings, 7, &mut strange, |to| to.resize(to.len() + many, 0));
    edge::put(Kind::Pings, 8, &mut strange, |to| {
        let now_here = frame_of(0, &[ping(b, SQUARE), ping(b, north_of(SQUARE, 1.0))]);
        to.extend_from_slice(&now_here[HEADER_BYTES..]);
        let second = to.len() - PING_BYTES;
        to[second + 8..second + 12].copy_from_slice(&i32::MAX.to_le_bytes()); // nowhere
    });
    let mut raw = Raw::welcomed(to, "").await;
    raw.0.write_all(&[strange, good(9, a)].concat()).await.unwrap();
    raw.0.shutdown().await.unwrap();
    let heard = answers(&raw.end(&[], HANGS_UP_WITHIN).await);
    let bad = |number, code| (number, Err(code));
    assert_eq!(heard[..2], [bad(5, Code::BadRequest), bad(6, Code::BadRequest)]);
    assert_eq!(heard[2], bad(7, Code::TooLarge));
    assert_eq!(heard[3], (8, Ok(PingCounts { refused: 1, ..applied(1) })));
    assert_eq!(heard[4], (9, Ok(applied(1))));
    assert_eq!(heard.len(), 5, "{heard:?}");
}

#[tokio::test]
async fn a_phone_sends_the_same_frames_on_its_socket() {
    let (cluster, _) = Cluster::with_riders().await;
    let driver = cluster.driver_at(1, "dee").await;
    let dee: DriverId = driver.parse().unwrap();
    let mut phone = Phone::open(&cluster, 2, &driver).await;
    let at = north_of(SQUARE, 50_000.0);
    let pinged = async |phone: &mut Phone, number: u32, pings: &[Ping]| {
        phone.send(Message::binary(frame_of(number, pings))).await;
        let message = phone.frame().await;
        let frame = Frame::first(&message).unwrap().unwrap();
        assert_eq!((frame.number, frame.size()), (number, message.len()));
        answer(&frame)
    };
    let own = ping(dee, at);
    assert_eq!(pinged(&mut phone, 7, &[own, own]).await, Ok(PingCounts { stale: 1, ..applied(1) }));
    let mut edge = EdgeClient::connect(cluster.edge(3), None).await.unwrap();
    assert_eq!(only_one_at(&mut edge, at).await.driver, dee);

    let foreign = ping(DriverId::from_raw(1), at);
    assert_eq!(pinged(&mut phone, 8, &[own, foreign]).await, Err(Code::Forbidden));
    assert_eq!(pinged(&mut phone, 9, &[own; 101]).await, Err(Code::TooLarge));
    // Four at once of a hundred are what a phone may say, then it has to wait.
    let mut refused = None;
    for number in 10..20 {
        if let Err(code) = pinged(&mut phone, number, &[own; 100]).await {
            refused = Some(code);
            break;
        }
    }
    assert_eq!(refused, Some(Code::RateLimited));
    // What is no frame is answered as a text is.
    for message in [frame_of(1, &[own])[..40].to_vec(), frame_of(1, &[own]).repeat(2)] {
        phone.send(Message::binary(message)).await;
        assert_eq!(phone.wait_for("error").await["code"], "BAD_REQUEST");
    }
}
