//! Clients that go on whatever happens to the cluster, and know what they were told is done.

use crate::client::Ask;
use crate::nodes::{Cluster, eventually};
use crate::people::{SQUARE, booking_body};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

/// Clients that register riders and book for them, each after the other.
pub(crate) const CLIENTS: usize = 4;
/// Between two of one client's registrations.
const PACE: Duration = Duration::from_millis(80);
/// Every so many of his riders books. Nobody drives: a booking searches for a minute.
const BOOKS: usize = 5;
/// Before a request is sent again, elsewhere.
const AGAIN: Duration = Duration::from_millis(20);
/// A node that does not answer is one that was killed.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What a client was told is done: a rider under a name, and his booking.
struct Acked {
    name: String,
    rider: String,
    booking: Option<String>,
}

/// The clients and what they know.
pub(crate) struct Load {
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

    /// Runs the clients while something happens to the cluster; gives what they know.
    pub(crate) async fn during(
        cluster: &mut Cluster,
        happens: impl AsyncFnOnce(&mut Cluster, &Self),
    ) -> Rc<Self> {
        let (load, local) = (Self::of(cluster), LocalSet::new());
        let clients: Vec<JoinHandle<()>> =
            (0..CLIENTS).map(|n| local.spawn_local(Rc::clone(&load).run(n))).collect();
        local
            .run_until(async {
                happens(cluster, &load).await;
                load.over.set(true);
                for client in clients {
                    client.await.unwrap();
                }
            })
            .await;
        load
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

    pub(crate) fn done(&self) -> usize {
        self.acked.borrow().len()
    }

    /// Waits until the clients got `more` done.
    pub(crate) async fn goes_on(&self, more: usize) {
        let until = self.done() + more;
        eventually("the clients get on", async || (self.done() >= until).then_some(())).await;
    }

    /// All that was acknowledged is there. Says how many riders' names are in capitals.
    pub(crate) async fn is_kept(&self, cluster: &Cluster) -> usize {
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
