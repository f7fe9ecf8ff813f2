//! The Rust client of a cluster, for the programs of riders, drivers, operators and gateways
//! (feature `client`).
//!
//! It is told where some nodes answer, learns the others from them, and remembers who served each
//! rider and driver last, so that a request mostly goes straight to the node that decides it. While
//! the answer is "ask again", or there is none, it asks another node, **under the same idempotency
//! key**: at most eight times in five seconds, with pauses that double and are never shorter than
//! what the answer asked for. A call therefore ends in one of four ways: with its value,
//! [`Refused`] for good, [`Unreadable`], or [`Unsettled`], which says that nobody knows, and under
//! which key to ask again.
//!
//! # Example
//!
//! ```no_run
//! use proto::Point;
//! use proto::client::{
//!     BookingStatus, Client, Config, Failure, Fix, NewBooking, NewDriver, Vehicle, VehicleType,
//! };
//! use proto::units::Clock;
//! use std::sync::Arc;
//!
//! /// One ride. `chance` comes from the system's generator: no other client may have the same.
//! async fn ride(clock: Arc<dyn Clock>, chance: u128) -> Result<(), Box<dyn std::error::Error>> {
//!     let seeds = vec!["10.0.0.1:8001".to_owned(), "10.0.0.2:8001".to_owned()];
//!     let client = Client::new(Config::new(seeds, chance), Arc::clone(&clock))?;
//!
//!     let vehicle = Vehicle {
//!         kind: VehicleType::Sedan,
//!         seats: 4,
//!         capabilities: vec![],
//!         plate: "H 1".into(),
//!     };
//!     let grace = NewDriver { name: "grace".into(), city_id: 1, vehicle, kyc_verified: true };
//!     let grace = client.register_driver(&grace).await?.driver_id;
//!     let ada = client.register_rider("ada").await?.rider_id;
//!
//!     let (here, there) = (Point::from_degrees(40.75, -73.98)?, Point::from_degrees(40.76, -73.97)?);
//!     client.go_online(grace).await?;
//!     client.ping(grace, Fix::at(here, clock.wall())).await?;
//!
//!     // The key is chosen with the call. Whatever happens, asking the same call again is safe.
//!     let wish = NewBooking::sedan(here, there);
//!     let call = client.book(ada, &wish);
//!     let booking = match call.ask().await {
//!         Err(Failure::Unsettled(unknown)) => {
//!             eprintln!("{unknown}");
//!             call.ask().await?
//!         }
//!         definite => definite?,
//!     };
//!
//!     // A phone hears of offers on its socket; a program may also look.
//!     while client.booking(booking.booking_id).await?.status == BookingStatus::Pending {
//!         for offer in client.offers(grace).await?.offers {
//!             let trip = client.accept(grace, offer.offer_id).await?.trip_id;
//!             client.arrive(grace, trip).await?;
//!             client.start(grace, trip, None).await?;
//!             client.end(grace, trip, None).await?;
//!         }
//!         tokio::time::sleep(std::time::Duration::from_millis(500)).await;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Not done
//! * No TLS: nodes speak plain HTTP, behind whatever guards them. A token goes in the clear as well.
//! * No sockets: a driver's stream is a WebSocket of the program's own; [`Down`] reads its frames. A
//!   rider's is [`Client::follow`].
//! * The cluster says which partitions each member leads, and this client does not use it: the first
//!   request of each slot may take a forward.

mod asks;
mod call;
mod carrier;
pub mod edge;
mod failure;
mod fleet;
mod follow;
mod patience;
pub mod text;
mod views;
mod watch;

pub use call::{Call, Key, Party};
pub use carrier::{BuildError, NoToken, Token};
pub use failure::{Failure, Reason, Refused, Unreadable, Unsettled};
pub use fleet::{Seeds, Way};
pub use follow::{Follow, RideNews, Said};
pub use patience::Patience;
pub use views::{
    Actor, Around, Booking, BookingStatus, BookingsPage, Cluster, Counts, Down, Driven, DrivenPage,
    Driver, DriverStatus, Expected, Fare, Fix, Lookup, Made, Member, Nearby, NewBooking, NewDriver,
    Offer, OfferEnd, OfferStatus, Offers, Place, Position, Processed, Receipt, Recorded, Rider,
    Seen, Story, Transition, Trip, TripStatus, Vehicle, VehicleType,
};
pub use watch::{Came, NoAnswer, Tried, Watch};

use crate::slot::frozen_hash;
use crate::units::Clock;
use call::Request;
use carrier::{Answered, Carrier};
use failure::Problem;
use fleet::{Fleet, Node};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// First pause before asking again when the answer names none.
const PAUSE_MS: u64 = 100;
/// First pause after no connection was made, or it broke: another node is probably alive.
const PAUSE_NO_ANSWER_MS: u64 = 20;
/// How long a node may take to name the members.
const LEARN_WITHIN_MS: u64 = 1_000;

/// How a client is set up.
#[derive(Debug)]
pub struct Config {
    /// Where some nodes answer.
    pub seeds: Box<dyn Seeds>,
    /// How a node is chosen.
    pub way: Way,
    /// When a call is given up.
    pub patience: Patience,
    /// Where keys come from: from the system's generator, never the same for two clients, or the
    /// cluster takes the calls of one for those of the other.
    pub chance: u128,
    /// As whom it asks, where the cluster wants tokens.
    pub token: Option<Token>,
}

impl Config {
    /// What a program of the ordinary sort wants.
    pub fn new(seeds: impl Seeds + 'static, chance: u128) -> Self {
        let patience = Patience::default();
        Self { seeds: Box::new(seeds), way: Way::Straight, patience, chance, token: None }
    }
}

/// A client. Cheap to clone; all clones share what they know and their connections. It needs a
/// tokio runtime.
#[derive(Clone)]
pub struct Client(Arc<Parts>);

struct Parts {
    carrier: Carrier,
    fleet: Fleet,
    patience: Patience,
    clock: Arc<dyn Clock>,
    chance: u128,
    calls: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("fleet", &self.0.fleet).finish_non_exhaustive()
    }
}

/// What an answer means for the call.
enum Verdict<T> {
    Settled(Result<T, Failure>),
    Again { first_ms: u64, asked_ms: Option<u64>, why: String },
}

impl Client {
    /// A client of the cluster behind these seeds. It connects to nobody yet.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let Config { seeds, way, patience, chance, token } = config;
        let (carrier, fleet) = (Carrier::new(token)?, Fleet::new(seeds, way));
        let calls = AtomicU64::new(0);
        Ok(Self(Arc::new(Parts { carrier, fleet, patience, clock, chance, calls })))
    }

    /// Reads a path of this very node, once, as status and text: `/metrics`, `/readyz`.
    pub async fn text_of(&self, node: &str, path: &str) -> Result<(u16, String), NoAnswer> {
        let request = Request::read(path);
        let within = Duration::from_millis(self.0.patience.try_ms);
        let sent = tokio::time::timeout(within, self.0.carrier.send(node, &request)).await;
        let Answered { status, body, .. } = sent.unwrap_or(Err(NoAnswer::Timeout))?;
        let body = body.ok_or(NoAnswer::TooLong)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn call<T: DeserializeOwned + Send>(&self, request: Request) -> Call<'_, T> {
        Call::new(self, Request { key: self.new_key(), ..request })
    }

    fn new_key(&self) -> Key {
        let n = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let half = |which: u8| {
            let parts = [&self.0.chance.to_be_bytes()[..], &n.to_be_bytes(), &[which]];
            u128::from(frozen_hash(&parts.concat()))
        };
        Key(half(0) << 64 | half(1))
    }

    /// Asks until the answer is definite or patience is over.
    async fn settle<T: DeserializeOwned>(
        &self,
        request: &Request,
        watch: &mut dyn Watch,
    ) -> Result<T, Failure> {
        self.persist(request, watch, |answered| read(answered)).await
    }

    /// The same, whatever it is that an answer gives.
    async fn persist<T>(
        &self,
        request: &Request,
        watch: &mut dyn Watch,
        read: impl Fn(&mut Answered) -> (Problem, Verdict<T>),
    ) -> Result<T, Failure> {
        let Parts { fleet, clock, patience, .. } = &*self.0;
        let began = clock.mono();
        let (mut last, mut tries): (Option<Arc<Node>>, u32) = (None, 0);
        loop {
            let now = clock.mono();
            if fleet.learn(tries > 0, now) {
                let client = self.clone();
                tokio::spawn(async move { client.learn().await });
            }
            let left_ms = patience.within_ms.saturating_sub(now.since(began)).min(patience.try_ms);
            let not = last.as_ref().map(|node| node.address.as_str());
            let node = fleet.choose(request.slot, not, request.key.chance(2 * tries), now);
            let mut came = match &node {
                Some(node) => self.once(node, request, left_ms, watch).await,
                None => Err(NoAnswer::Nowhere),
            };
            tries += 1;
            let after_ms = clock.mono().since(began);
            let address = node.as_ref().map_or("", |node| node.address.as_str());
            let verdict = self.judge(request, node.as_deref(), &mut came, &read, |came| {
                watch.tried(&Tried { node: address, after_ms, came });
            });
            let (first_ms, asked_ms, why) = match verdict {
                Verdict::Settled(result) => return result,
                Verdict::Again { first_ms, asked_ms, why } => (first_ms, asked_ms, why),
            };
            let chance = request.key.chance(2 * tries - 1);
            let pause_ms = patience::pause_ms(tries, first_ms, asked_ms, chance);
            // A pause beyond the end would only keep the caller waiting.
            if tries >= patience.tries || after_ms.saturating_add(pause_ms) >= patience.within_ms {
                return Err(Unsettled { key: request.key, tries, last: why }.into());
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            last = node;
        }
    }

    /// One try.
    async fn once(
        &self,
        node: &Node,
        request: &Request,
        within_ms: u64,
        watch: &mut dyn Watch,
    ) -> Result<Answered, NoAnswer> {
        let sent = tokio::time::timeout(Duration::from_millis(within_ms), async {
            // The semaphore is never closed, so there is always a permit in the end.
            let _room = node.room.acquire().await;
            watch.leaves(&node.address);
            self.0.carrier.send(&node.address, request).await
        });
        sent.await.unwrap_or(Err(NoAnswer::Timeout))
    }

    /// What came of a try means for the call, and for whom to ask the next time.
    fn judge<T>(
        &self,
        request: &Request,
        node: Option<&Node>,
        came: &mut Result<Answered, NoAnswer>,
        read: impl Fn(&mut Answered) -> (Problem, Verdict<T>),
        tell: impl FnOnce(Came<'_>),
    ) -> Verdict<T> {
        let failed = |why| {
            if let Some(node) = node {
                self.0.fleet.failed(request.slot, node, why, self.0.clock.mono());
            }
        };
        let answered = match came {
            Ok(answered) => answered,
            Err(why) => {
                tell(Came::Nothing(*why));
                failed(Some(*why));
                let first_ms = match why {
                    NoAnswer::NoConnection | NoAnswer::Lost => PAUSE_NO_ANSWER_MS,
                    NoAnswer::Timeout | NoAnswer::Nowhere | NoAnswer::TooLong => PAUSE_MS,
                };
                return Verdict::Again { first_ms, asked_ms: None, why: why.to_string() };
            }
        };
        let (problem, verdict) = read(answered);
        tell(Came::Answer {
            status: answered.status,
            code: &problem.code,
            detail: &problem.detail,
            served_by: answered.served_by,
            hops: answered.hops,
            settles: matches!(verdict, Verdict::Settled(_)),
        });
        match &verdict {
            Verdict::Settled(_) => self.0.fleet.settled(request.slot, answered.served_by),
            Verdict::Again { .. } => failed(None),
        }
        verdict
    }

    /// Asks some node who else is there.
    async fn learn(&self) {
        let (key, now) = (self.new_key(), self.0.clock.mono());
        let mut cluster = None;
        if let Some(node) = self.0.fleet.choose(None, None, key.chance(0), now) {
            let request = Request { key, ..Request::read("/v1/cluster") };
            let mut came = self.once(&node, &request, LEARN_WITHIN_MS, &mut ()).await;
            let read = |answered: &mut Answered| read(answered);
            let verdict = self.judge(&request, Some(&node), &mut came, read, |_| {});
            if let Verdict::Settled(Ok(said)) = verdict {
                cluster = Some(said);
            }
        }
        self.0.fleet.learnt(cluster);
    }
}

/// Reads an answer: what is wrong, if anything, and what that means. Whatever is the cluster's
/// trouble and not the request's may pass: too many requests, and everything from 500 on.
fn read<T: DeserializeOwned>(answered: &Answered) -> (Problem, Verdict<T>) {
    let status = answered.status;
    let body = answered.body.as_deref();
    if (200..300).contains(&status) {
        let read = body.ok_or_else(|| "the body is too long".to_owned());
        let read =
            read.and_then(|body| serde_json::from_slice(body).map_err(|error| error.to_string()));
        let result = read.map_err(|detail| Unreadable { status, detail }.into());
        return (Problem::default(), Verdict::Settled(result));
    }
    // Whoever answers without a problem's body, a proxy perhaps, is judged by the status alone.
    let problem: Problem =
        body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let Problem { code, detail, retry_after_ms } = &problem;
    let verdict = if status == 429 || status >= 500 {
        let asked_ms = retry_after_ms.or(answered.retry_after_ms);
        let why = format!("{status} {code}: {detail}");
        Verdict::Again { first_ms: PAUSE_MS, asked_ms, why }
    } else {
        let (code, detail) = (Reason::of(code.clone()), detail.clone());
        Verdict::Settled(Err(Refused { status, code, detail }.into()))
    };
    (problem, verdict)
}

#[cfg(test)]
mod tests;
