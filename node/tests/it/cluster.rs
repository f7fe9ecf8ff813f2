//! Three nodes in one process: any of them answers for everything, and one that dies and comes
//! back has forgotten nothing that was acknowledged.

use crate::support::{
    Disks, ask, config, driver, insist, own_address, rider, start, text, until, wish,
};
use node::clock::SystemClock;
use node::mint::SeededMint;
use node::net::Tcp;
use node::peer::hello::Identity;
use node::peer::pool::Pool;
use node::{Config, Node};
use proto::code::Refusal;
use proto::envelope::{Envelope, Reply, Route, Subject};
use proto::record::ask::{Ask, GetRider};
use proto::{Code, NodeId, RiderId, codec};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

struct Cluster {
    configs: Vec<Config>,
    disks: Vec<Disks>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    async fn of_three(flags: &str) -> Self {
        let peers: Vec<SocketAddr> = (0..3).map(|_| own_address()).collect();
        let list: Vec<String> = (1..).zip(&peers).map(|(id, at)| format!("{id}={at}")).collect();
        let mut cluster = Self { configs: vec![], disks: vec![], nodes: vec![] };
        for id in 1..=3 {
            let line = format!(
                "--node-id {id} --initial-nodes {} --http {} {flags}",
                list.join(","),
                own_address()
            );
            cluster.configs.push(config(&line).unwrap());
            cluster.disks.push(Disks::default());
            cluster.nodes.push(None);
            cluster.start(id - 1, 1).await;
        }
        for at in cluster.http() {
            until("all see all", || async move { members(at).await == 3 }).await;
        }
        cluster
    }
    async fn start(&mut self, index: usize, generation: u64) {
        let node = start(self.configs[index].clone(), &self.disks[index], generation).await;
        self.nodes[index] = Some(node);
    }
    async fn stop(&mut self, index: usize) {
        if let Some(node) = self.nodes[index].take() {
            node.stop().await;
        }
        self.disks[index].crash();
    }
    fn http(&self) -> Vec<SocketAddr> {
        self.configs.iter().map(|config| config.http).collect()
    }
}

async fn cluster_view(at: SocketAddr) -> Value {
    ask(at, "GET", "/v1/cluster", &[], "").await.json().await.unwrap()
}

async fn members(at: SocketAddr) -> usize {
    cluster_view(at).await["members"].as_array().unwrap().len()
}

/// Whether every partition is led by whom it should be, as a node sees it.
async fn spread(at: SocketAddr) -> bool {
    let view = ask(at, "GET", "/v1/cluster/partitions", &[], "").await;
    let view: Value = view.json().await.unwrap();
    let partitions = view["partitions"].as_array();
    partitions.is_some_and(|all| {
        !all.is_empty() && all.iter().all(|group| group["leader"] == group["wanted"][0])
    })
}

/// The number of the node that leads a key's partition; nothing while nobody does.
async fn home(at: SocketAddr, key: &str) -> Option<usize> {
    let path = format!("/v1/cluster/lookup?key={key}");
    let found: Value = ask(at, "GET", &path, &[], "").await.json().await.unwrap();
    found["owner"].as_str().map(|owner| owner[1..].parse().unwrap())
}

/// Every rider can be read here, and is who he was.
async fn everybody_is_there(at: SocketAddr, riders: &[String]) {
    for (n, id) in riders.iter().enumerate() {
        let (status, body) = insist(at, "GET", &format!("/v1/riders/{id}"), &[], Value::Null).await;
        assert_eq!((status, text(&body["name"])), (200, format!("rider {n}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_carries_a_booking_to_its_end_with_at_most_one_forward_each() {
    let mut cluster = Cluster::of_three("").await;
    let http = cluster.http();
    let (rider, driver) =
        (rider(http[0], "ada").await, driver(http[1], "bob", 40.75, -73.98).await);
    let (status, booking) =
        insist(http[2], "POST", "/v1/bookings", &[("x-user-id", &rider)], wish(40.7501, -73.98))
            .await;
    assert_eq!(status, 201, "{booking}");

    let offers = format!("/v1/drivers/{driver}/offers");
    let offered = || async {
        let (_, found) = insist(http[0], "GET", &offers, &[], Value::Null).await;
        found["offers"][0]["offer_id"].as_str().map(ToOwned::to_owned)
    };
    until("an offer", || async { offered().await.is_some() }).await;
    let offer = offered().await.unwrap();
    let me = [("x-driver-id", driver.as_str())];
    let body = serde_json::json!({ "offer_id": offer });
    let (status, trip) = insist(http[1], "POST", "/v1/trips/accept", &me, body).await;
    assert_eq!(status, 201, "{trip}");
    let trip = text(&trip["trip_id"]);
    for (step, at) in ["arrive", "start", "pause", "resume", "end"].iter().zip(http.iter().cycle())
    {
        let path = format!("/v1/trips/{trip}/{step}");
        let (status, body) = insist(*at, "POST", &path, &me, Value::Null).await;
        assert_eq!(status, 200, "{step}: {body}");
    }

    let booking = text(&booking["booking_id"]);
    let mut local = 0;
    for at in &http {
        until("leadership is spread", || spread(*at)).await;
    }
    for at in &http {
        until("the booking is completed", || async {
            let path = format!("/v1/bookings/{booking}");
            insist(*at, "GET", &path, &[], Value::Null).await.1["status"] == "COMPLETED"
        })
        .await;
        let response = ask(*at, "GET", &format!("/v1/trips/{trip}"), &[], "").await;
        let hops = response.headers()["x-hansom-hops"].to_str().unwrap().to_owned();
        let by = response.headers()["x-hansom-served-by"].to_str().unwrap()[1..].parse().unwrap();
        assert_eq!(home(*at, &trip).await, Some(by));
        assert!(hops == "0" || hops == "1", "{hops}");
        local += usize::from(hops == "0");
    }
    assert_eq!(local, 1, "exactly one node leads the trip's partition");
    for index in 0..3 {
        cluster.stop(index).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_led_is_served_by_the_others_and_goes_back_to_it() {
    let mut cluster = Cluster::of_three("").await;
    let http = cluster.http();
    let mut riders = Vec::new();
    for n in 0..30 {
        riders.push(rider(http[n % 3], &format!("rider {n}")).await);
    }
    until("leadership is spread", || spread(http[0])).await;
    let mut homes = Vec::new();
    for id in &riders {
        homes.push(home(http[0], id).await);
    }
    assert!((1..=3).all(|node| homes.contains(&Some(node))), "{homes:?}");

    cluster.stop(2).await;
    for at in &http[..2] {
        everybody_is_there(*at, &riders).await;
        until("the others notice", || async { members(*at).await == 2 }).await;
    }
    // What is acknowledged while it is away is there as well.
    riders.push(rider(http[0], "rider 30").await);

    cluster.start(2, 2).await;
    for at in &http {
        everybody_is_there(*at, &riders).await;
    }
    until("it leads again what it should", || spread(http[2])).await;
    for (id, home_before) in riders.iter().zip(&homes) {
        assert_eq!(home(http[2], id).await, *home_before);
    }
    everybody_is_there(http[2], &riders).await;
    for index in 0..3 {
        cluster.stop(index).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_learns_where_everything_lives() {
    let mut cluster = Cluster::of_three("").await;
    let http = cluster.http();
    let rider = rider(http[0], "ada").await;
    let seeds: Vec<String> = cluster.configs.iter().map(|c| c.peer.to_string()).collect();
    let flags = format!(
        "--node-id 4 --seeds {} --peer {} --http 127.0.0.1:0",
        seeds.join(","),
        own_address()
    );
    let joined = start(config(&flags).unwrap(), &Disks::default(), 1).await;
    let at = joined.http();
    let (status, body) = insist(at, "GET", &format!("/v1/riders/{rider}"), &[], Value::Null).await;
    assert_eq!((status, text(&body["name"])), (200, "ada".to_owned()));
    until("all four see each other", || async {
        let views = [cluster_view(at).await, cluster_view(http[0]).await];
        views[0]["ring_version"] == views[1]["ring_version"]
            && views[0]["members"].as_array().unwrap().len() == 4
    })
    .await;
    let view = cluster_view(at).await;
    let newcomer = &view["members"][3];
    assert_eq!(text(&newcomer["node"]), "n4");
    assert!(newcomer["share_of_ring"].as_f64().unwrap() > 0.1, "{newcomer}");
    until("it leads something", || async move {
        !cluster_view(at).await["members"][3]["groups"].as_array().unwrap().is_empty()
    })
    .await;
    joined.stop().await;
    for index in 0..3 {
        cluster.stop(index).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_forwards_unread_and_nobody_forwards_a_third_time() {
    let mut cluster = Cluster::of_three("").await;
    let http = cluster.http();
    let name = "ada";
    rider(http[0], name).await;
    let rider = RiderId::of_name(name);
    for at in &http {
        until("leadership is spread", || spread(*at)).await;
    }
    let owner = home(http[0], &rider.to_string()).await.unwrap();
    let relay = owner % 3; // the index of the node after the owner's
    let (to, at) = (NodeId(relay as u64 + 1), cluster.configs[relay].peer);

    let key = cluster.configs[0].hello_key.clone();
    let me = Arc::new(Identity { cluster: "hansom".into(), node: NodeId(9), key });
    let clock = Arc::new(SystemClock::new());
    let pool = Pool::new(Arc::new(Tcp), me, Arc::new(SeededMint::from_seed(1)), clock);
    let ask = GetRider { rider };
    let (route, payload) = (ask.route(), codec::encode(&ask.wrap()));
    let envelope = |payload: Vec<u8>, hops: u8| {
        let sealed = Envelope::seal(route, Subject::Anonymous, 1, 2_000, payload.into());
        Envelope { hops, ..sealed.unwrap() }
    };
    let send = async |envelope: Envelope| pool.call(to, at, envelope).await.unwrap();

    let reply = send(envelope(payload.clone(), 1)).await;
    assert_eq!((reply.served_by, reply.hops), (NodeId(owner as u64), 2));
    assert!(reply.open().is_ok());

    let refused = |reply: Reply| {
        let by = reply.served_by;
        let Refusal { code, owner, .. } = reply.open().expect_err("refused");
        (by, code, owner)
    };
    let owner = NodeId(owner as u64);
    let third = send(envelope(payload.clone(), 2)).await;
    assert_eq!(refused(third), (to, Code::NotOwner, Some(owner)));
    let fourth = send(envelope(payload.clone(), 3)).await;
    assert_eq!(refused(fourth), (to, Code::BadPeer, None));
    // What makes no sense is found by the owner, not by the relay, and harms no connection.
    let garbage = send(envelope(b"garbage".to_vec(), 0)).await;
    assert_eq!(refused(garbage), (owner, Code::BadPeer, None));
    let flipped = send(Envelope { crc32c: 1, ..envelope(payload.clone(), 0) }).await;
    assert_eq!(refused(flipped), (owner, Code::BadPeer, None));
    let nobody = Envelope { route: Route::Node(NodeId(7)), ..envelope(payload.clone(), 0) };
    assert_eq!(refused(send(nobody).await), (to, Code::BadPeer, None), "no node has a relay");
    assert!(send(envelope(payload, 0)).await.open().is_ok());
    for index in 0..3 {
        cluster.stop(index).await;
    }
}
