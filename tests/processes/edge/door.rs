//! Who is let in at the edge door, for how long, and what each may say there.

use super::{HANGS_UP_WITHIN, Raw, answers, applied, code_of, frame_of, near, ping};
use crate::nodes::{Cluster, eventually};
use crate::people::SQUARE;
use crate::tokens::{self, Issuer};
use proto::client::edge::{Answer, EdgeClient, EdgeError};
use proto::edge::{self, CONNECTION, HEADER_BYTES, Hello, Kind, Refused};
use proto::{Code, DriverId, RiderId};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn who_speaks_for_whom_is_the_tokens_to_say() {
    let issuer = Issuer::new();
    let cluster = tokens::cluster(&issuer).await;
    let to = cluster.edge(cluster.any());
    let (dee, eve) = (DriverId::of_name("dee"), DriverId::of_name("eve"));
    let of_dee = issuer.token("driver", Some(&dee.to_string()));
    let of_ada = issuer.token("rider", Some(&RiderId::of_name("ada").to_string()));
    let gateway = issuer.token("gateway", None);

    for bad in [None, Some("nonsense"), Some(&of_dee[..of_dee.len() - 2])] {
        let refused = EdgeClient::connect(to, bad).await.unwrap_err();
        assert_eq!(code_of(&refused), Code::Unauthenticated, "{bad:?}");
    }
    let mut edge = EdgeClient::connect(to, Some(&of_dee)).await.unwrap();
    let both = [ping(dee, SQUARE), ping(eve, SQUARE)];
    assert_eq!(code_of(&edge.pings(&both).await.unwrap_err()), Code::Forbidden);
    // Had anything of it been applied, this would be a repetition.
    assert_eq!(edge.pings(&both[..1]).await.unwrap(), applied(1));
    assert_eq!(code_of(&edge.near(&near(SQUARE)).await.unwrap_err()), Code::Forbidden);
    let refused = EdgeClient::connect(to, Some(&of_ada)).await.unwrap_err();
    assert_eq!(code_of(&refused), Code::Forbidden);
    let mut edge = EdgeClient::connect(to, Some(&gateway)).await.unwrap();
    assert_eq!(edge.pings(&both[1..]).await.unwrap(), applied(1));
    edge.near(&near(SQUARE)).await.unwrap();
}

#[tokio::test]
async fn a_driver_has_two_connections_and_sends_what_a_phone_sends() {
    let issuer = Issuer::new();
    let cluster = tokens::cluster(&issuer).await;
    let to = cluster.edge(cluster.any());
    let dee = DriverId::of_name("dee");
    let of_dee = issuer.token("driver", Some(&dee.to_string()));
    let edge = EdgeClient::connect(to, Some(&of_dee)).await.unwrap();
    assert_eq!(edge.welcome().pings_max, 100);
    let mut second = EdgeClient::connect(to, Some(&of_dee)).await.unwrap();
    let third = EdgeClient::connect(to, Some(&of_dee)).await.unwrap_err();
    assert_eq!(code_of(&third), Code::Overloaded);

    // What she may say is counted by pings, over both of her connections.
    let (mut sender, mut receiver) = edge.split();
    let many = |count| frame_of(9, &[ping(dee, SQUARE)].repeat(count));
    sender.send_encoded(&many(101), 1).await.unwrap();
    let (_, answer) = receiver.next().await.unwrap();
    let Answer::Refused(refused) = answer else { panic!("{answer:?}") };
    assert_eq!(refused.code(), Some(Code::TooLarge));
    let mut taken = 0;
    let refused = loop {
        sender.send_encoded(&many(100), 1).await.unwrap();
        match receiver.next().await.unwrap() {
            (9, Answer::Pinged(_)) if taken < 8 => taken += 1,
            (9, Answer::Refused(refused)) => break refused,
            other => panic!("{other:?} after {taken}"),
        }
    };
    assert!(taken >= 4, "{taken}");
    assert_eq!(refused.code(), Some(Code::RateLimited));
    assert!(refused.retry_after_ms > 0, "{refused:?}");
    let full = [ping(dee, SQUARE)].repeat(100);
    assert_eq!(code_of(&second.pings(&full).await.unwrap_err()), Code::RateLimited);

    // Whoever leaves makes room.
    drop((sender, receiver));
    eventually("she is let in again", async || EdgeClient::connect(to, Some(&of_dee)).await.ok())
        .await;
}

#[tokio::test]
async fn strangers_take_no_places_of_gateways_and_a_full_house_says_so() {
    const PLACES: usize = 256;
    let cluster = Cluster::start(1, &[]).await;
    let to = cluster.edge(1);
    let open = async |count: usize| {
        let line = format!("hansom_edge_connections_count {count}");
        cluster.get(1, "/metrics").await.text.lines().any(|each| each == line).then_some(())
    };
    // Three times as many as are heard at once; one who says nothing may do so for two seconds.
    let mut strangers = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::open(to).await;
        raw.0.write_all(&frame_of(1, &[])[..HEADER_BYTES / 2]).await.unwrap();
        strangers.push(raw);
    }
    let first = EdgeClient::connect(to, None).await.expect("strangers give way");
    eventually("there is one place taken", async || open(1).await).await;
    let mut guests = Vec::new();
    for _ in 1..PLACES {
        guests.push(Raw::welcomed(to, "").await);
    }
    let late = EdgeClient::connect(to, None).await.unwrap_err();
    assert_eq!(code_of(&late), Code::Overloaded);
    let EdgeError::Refused(Refused { retry_after_ms: 1.., .. }) = late else { panic!("{late}") };
    drop(first);
    let again = eventually("a place is free", async || EdgeClient::connect(to, None).await.ok());
    let again = again.await;
    drop((guests, strangers, again));
    eventually("all places are free", async || open(0).await).await;
}

#[tokio::test]
async fn what_comes_with_hello_is_answered_at_once() {
    let cluster = Cluster::start(1, &[]).await;
    let mut in_time = false;
    for attempt in 0..4 {
        let mut bytes = Vec::new();
        Hello { version: 1, token: "" }.put(1, &mut bytes);
        bytes.extend(frame_of(2, &[ping(DriverId::from_raw(attempt), SQUARE)]));
        let mut raw = Raw::open(cluster.edge(1)).await;
        raw.0.write_all(&bytes).await.unwrap();
        let mut heard = [0; 2 * (HEADER_BYTES + 16)];
        let quick = timeout(Duration::from_millis(800), raw.0.read_exact(&mut heard)).await;
        let Ok(read) = quick else { continue };
        read.unwrap();
        in_time = true;
        assert_eq!(answers(&heard[HEADER_BYTES + 16..]), [(2, Ok(applied(1)))]);
    }
    // A node that reads before it answers has nothing to read for a second.
    assert!(in_time);
}

#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let issuer = Issuer::new();
    let cluster = tokens::cluster(&issuer).await;
    let frame = frame_of(1, &[ping(DriverId::from_raw(1), SQUARE)]);
    let raw = Raw::welcomed(cluster.edge(1), &issuer.token_for(5, "gateway", None)).await;
    let heard = raw.end(&frame, Duration::from_secs(20)).await;
    let end = (CONNECTION, Err(Code::Unauthenticated));
    assert_eq!(answers(&heard), [(1, Ok(applied(1))), end]);
}

#[tokio::test]
async fn a_connection_of_which_nothing_is_taken_ends_also_if_it_is_not_silent() {
    let cluster = Cluster::start(1, &["--edge-idle-ms=1500"]).await;
    let to = cluster.edge(1);
    let mut strange = Vec::new();
    edge::put(Kind::Found, 5, &mut strange, |_| {});
    let silent = async {
        let half = &frame_of(1, &[])[..HEADER_BYTES - 1];
        Raw::welcomed(to, "").await.end(half, HANGS_UP_WITHIN).await
    };
    let refused = async {
        let Raw(stream) = Raw::welcomed(to, "").await;
        let (read, mut write) = stream.into_split();
        let speaking = tokio::spawn(async move {
            while write.write_all(&strange).await.is_ok() {
                sleep(Duration::from_millis(200)).await;
            }
        });
        let mut heard = Vec::new();
        let end = timeout(HANGS_UP_WITHIN, { read }.read_to_end(&mut heard)).await;
        end.expect("the node hangs up").unwrap();
        speaking.abort();
        heard
    };
    // Frames without pings say that a gateway is there.
    let alive = async {
        let mut edge = EdgeClient::connect(to, None).await.unwrap();
        for _ in 0..20 {
            assert_eq!(edge.pings(&[]).await.unwrap(), applied(0));
            sleep(Duration::from_millis(200)).await;
        }
    };
    let (silent, refused, ()) = tokio::join!(silent, refused, alive);
    let end = (CONNECTION, Err(Code::BadRequest));
    assert_eq!(answers(&silent), [end]);
    let refused = answers(&refused);
    assert_eq!((refused.first(), refused.last()), (Some(&(5, end.1)), Some(&end)));
}
