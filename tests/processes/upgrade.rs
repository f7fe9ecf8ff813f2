//! Nodes are replaced one after another by a newer build while clients go on: nothing acknowledged
//! is lost, replicas never differ, and what is new begins when the last node knows it.

use crate::client::Ask;
use crate::nodes::{Cluster, eventually, hansom};
use crate::people::{SQUARE, booking_body};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::sleep;

/// Clients that register riders and book for them, each after the other.
const CLIENTS: usize = 4;
/// Between two of one client's registrations.
const PACE: Duration = Duration::from_millis(80);
/// Every so many of his riders books. Nobody drives: a booking searches for a minute.
const BOOKS: usize = 5;
/// Before a request is sent again, elsewhere.
const AGAIN: Duration = Duration::from_millis(20);
/// A node that does not answer is one that was killed.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The build beside this one; see `tests/next`.
fn next_build() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_hansom")).with_file_name("examples").join("next");
    assert!(built.exists(), "not built: cargo build --workspace --example next");
    built
}

/// What a client was told is done: a rider under a name, and his booking.
struct Acked {
    name: String,
    rider: String,
    booking: Option<String>,
}

/// The clients and what they know.
struct Load {
    client: reqwest::Client,
    doors: Vec<SocketAddr>,
    acked: RefCell<Vec<Acked>>,
    over: Cell<bool>,
}

impl Load {
    fn of(cluster: &Cluster) -> Rc<Self> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        Rc::new(Self {
            client: client.unwrap(),
            doors: cluster.running().iter().map(|node| cluster.http(*node)).collect(),
            acked: RefCell::default(),
            over: Cell::new(false),
        })
    }

    /// Asks one node after another, under one key, until one says yes.
    async fn insist(
        &self,
        from: usize,
        ask: impl Fn(&reqwest::Client, SocketAddr) -> Ask,
    ) -> String {
        for turn in from.. {
            let door = self.doors[turn % self.doors.len()];
            let answer = ask(&self.client, door).try_send().await;
            if let Some(answer) = answer.filter(|answer| answer.status != 503) {
                let answer = answer.expect(201);
                let ids = ["rider_id", "booking_id"];
                let id = ids.iter().rev().find_map(|id| answer.json[*id].as_str());
                return id.unwrap().to_owned();
            }
            sleep(AGAIN).await;
        }
        unreachable!("there is always another turn");
    }

    async fn run(self: Rc<Self>, client: usize) {
        for n in 0.. {
            if self.over.get() {
                return;
            }
            let name = format!("eve {client} {n}");
            let rider = self.insist(client + n, |client, door| {
                let body = json!({ "name": name });
                Ask::new(client, door, "POST /v1/riders").key("register").json(&body)
            });
            let rider = rider.await;
            let booking = async {
                let book = |client: &reqwest::Client, door| {
                    let ask = Ask::new(client, door, "POST /v1/bookings").rider(&rider).key("book");
                    ask.json(&booking_body(SQUARE))
                };
                if n % BOOKS == 0 { Some(self.insist(client + n, book).await) } else { None }
            };
            let booking = booking.await;
            self.acked.borrow_mut().push(Acked { name, rider, booking });
            sleep(PACE).await;
        }
    }

    fn done(&self) -> usize {
        self.acked.borrow().len()
    }

    /// Waits until the clients got `more` done.
    async fn goes_on(&self, more: usize) {
        let until = self.done() + more;
        eventually("the clients get on", async || (self.done() >= until).then_some(())).await;
    }

    /// All that was acknowledged is there. Says how many riders' names are in capitals.
    async fn is_kept(&self, cluster: &Cluster) -> usize {
        let mut shouted = 0;
        for at in 0..self.done() {
            let (name, rider, booking) = {
                let acked = &self.acked.borrow()[at];
                (acked.name.clone(), acked.rider.clone(), acked.booking.clone())
            };
            let found = cluster.get(cluster.any(), &format!("/v1/riders/{rider}")).await;
            let stored = found.expect(200).text("name");
            assert!(stored == name || stored == name.to_uppercase(), "{stored} of {name}");
            shouted += usize::from(stored != name);
            if let Some(booking) = booking {
                let found = cluster.get(cluster.any(), &format!("/v1/bookings/{booking}")).await;
                assert_eq!(found.expect(200).text("rider_id"), rider);
            }
        }
        shouted
    }
}

/// The level that each node calls agreed, and what it lists each node as knowing.
async fn levels(cluster: &Cluster) -> Option<Vec<(u64, Vec<u64>)>> {
    let mut levels = Vec::new();
    for node in cluster.running() {
        let view = cluster.ask(node, "GET /v1/cluster").try_send().await?.json;
        let known = view["members"].as_array()?.iter().map(|member| member["level"].as_u64());
        levels.push((view["level"].as_u64()?, known.collect::<Option<_>>()?));
    }
    Some(levels)
}

async fn until_levels(cluster: &Cluster, agreed: u64, known: &[u64]) {
    eventually(&format!("all agree on {agreed} and list {known:?}"), async || {
        let all = levels(cluster).await?;
        all.iter().all(|(level, list)| (*level, &list[..]) == (agreed, known)).then_some(())
    })
    .await;
}

async fn upgrade(cluster: &mut Cluster, load: &Load, next: &Path) {
    for (node, known) in [(1, [2, 1, 1]), (2, [2, 2, 1]), (3, [2, 2, 2])] {
        load.goes_on(20).await;
        cluster.kill(node);
        load.goes_on(5).await;
        cluster.install(node, next);
        cluster.restart(node).await;
        if node == 3 {
            break;
        }
        until_levels(cluster, 1, &known).await;
        // Some partitions are led by the new build now, and say nothing that the old ones don't.
        cluster.spread().await;
        load.goes_on(20).await;
        cluster.equal().await;
        assert_eq!(load.is_kept(cluster).await, 0, "capitals with node {node} alone");
    }
    until_levels(cluster, 2, &[2, 2, 2]).await;
    load.goes_on(40).await;
    load.over.set(true);
}

#[tokio::test]
async fn a_cluster_is_upgraded_node_by_node_under_load() {
    let next = next_build();
    let mut cluster = Cluster::start(3, &[]).await;
    until_levels(&cluster, 1, &[1, 1, 1]).await;
    let load = Load::of(&cluster);
    let local = LocalSet::new();
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| local.spawn_local(Rc::clone(&load).run(n))).collect();
    local.run_until(upgrade(&mut cluster, &load, &next)).await;
    local
        .run_until(async {
            for client in clients {
                client.await.unwrap();
            }
        })
        .await;

    // What is new shows everywhere, and nowhere on some replicas only.
    let mut rider = 0..;
    for home in 1..=3 {
        eventually(&format!("node {home} stores capitals"), async || {
            let stem = format!("mia {}", rider.next()?);
            let id = cluster.rider_at(home, &stem).await;
            let found = cluster.get(home, &format!("/v1/riders/{id}")).await.expect(200);
            (found.text("name").starts_with("MIA")).then_some(())
        })
        .await;
    }
    cluster.equal().await;
    let shouted = load.is_kept(&cluster).await;
    assert!(shouted >= CLIENTS && shouted < load.done(), "{shouted} of {}", load.done());
    let node = format!("http://{}", cluster.http(2));
    let shown = hansom().args(["ring", "--node", &node]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("feature level 2"), "{shown}");

    // There is no way back.
    cluster.kill(1);
    cluster.install(1, Path::new(env!("CARGO_BIN_EXE_hansom")));
    cluster.spawn(1);
    let (status, said) = cluster.ends(1).await;
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(status, 1, "{last}");
    let advice = "feature level 2, this build knows 1: start a newer build";
    assert!(last.starts_with("hansom node: ") && last.contains(advice), "{last}");
    cluster.serving().await;
}
