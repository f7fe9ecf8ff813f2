//! A client of the cluster as a phone would be one: it knows all nodes, asks a random one, and
//! asks another, **with the same idempotency key**, while the answer is "ask again" or no answer at
//! all. What comes back to the caller is therefore definite, or the word that time ran out.
//!
//! Retries are bounded by time, not by number: a partition whose node was killed is away for as
//! long as the restart takes, and an acked booking must survive that.

use crate::dice::Dice;
use crate::doors::Doors;
use crate::tally::Tally;
use crate::wire::Problem;
use proto::units::{Clock, MonoMs};
use proto::{DriverId, RiderId};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long one try may take before another node is asked. Above a node's own deadlines, so that
/// its RETRY arrives first; protocol time, never scaled.
const TRY_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a request is retried in all: three times what a killed node is away.
const SETTLE_WITHIN_MS: u64 = 60_000;
/// A request that so many tries, or so long a time, did not settle is counted as late: this is when
/// a client of the ordinary sort gives up. Ours goes on, for the judge wants to know what came of it.
const LATE_TRIES: usize = 8;
const LATE_MS: u64 = 5_000;
/// First pause before asking again when the answer names none; each next one is twice as long.
const PAUSE_MS: u64 = 100;
/// The longest pause.
const PAUSE_MAX_MS: u64 = 1_000;
/// Pause after a connection was refused: another node is probably alive.
const PAUSE_NO_ANSWER_MS: u64 = 20;
/// How long a node that refused a connection is left alone, if there are others.
const SHUN_MS: u64 = 1_000;
/// Requests under way to one node: an eighth of what a node takes at once by default. Enough that
/// nothing waits here while the nodes keep up; a bound on files when they do not.
const IN_FLIGHT_PER_NODE: usize = 512;
/// Idle connections kept to one node: about as many as a busy second needs, so that it opens none.
const IDLE_PER_NODE: usize = 128;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Party {
    /// Nobody in particular.
    Nobody,
    /// This driver.
    Driver(DriverId),
    /// This rider.
    Rider(RiderId),
}

/// A request, before it is known which node gets it.
#[derive(Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    party: Party,
    key: Option<String>,
    body: Option<String>,
}

impl Ask {
    /// A read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method: Method::GET, path, party: Party::Nobody, key: None, body: None }
    }

    /// A change. The key is chosen here, once, and goes with every try.
    pub(crate) fn post(path: impl Into<String>, body: String, dice: &mut Dice) -> Self {
        let (path, key) = (path.into(), Some(dice.key()));
        Self { method: Method::POST, path, party: Party::Nobody, key, body: Some(body) }
    }

    /// The same on behalf of somebody.
    pub(crate) fn by(self, party: Party) -> Self {
        Self { party, ..self }
    }

    /// For the history.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A definite answer, or none.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// It is done.
    Done(T),
    /// It is refused, and asking again will not help.
    Refused(Refused),
    /// Nobody knows; the client gave up.
    Unsettled,
}

/// Why a request was refused.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// What one try came to.
enum Try<T> {
    Settled(Answer<T>),
    Again { pause_ms: u64, why: String },
}

/// A client. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    doors: Doors,
    room: Arc<[Semaphore]>,
    /// Until when each node is left alone, by the process's clock.
    shunned: Arc<[AtomicU64]>,
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client of these nodes.
    pub(crate) fn new(
        doors: Doors,
        tally: Arc<Tally>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            // The nodes are on loopback; a proxy of the environment has no business here.
            .no_proxy()
            .tcp_nodelay(true)
            .timeout(TRY_TIMEOUT)
            .connect_timeout(Duration::from_secs(1))
            .pool_max_idle_per_host(IDLE_PER_NODE)
            .build()?;
        let room = (0..doors.seats()).map(|_| Semaphore::new(IN_FLIGHT_PER_NODE)).collect();
        let shunned = (0..doors.seats()).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { http, doors, room, shunned, tally, clock })
    }

    /// Where the nodes are.
    pub(crate) const fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The process's clock.
    pub(crate) fn mono(&self) -> MonoMs {
        self.clock.mono()
    }

    /// Asks until the answer is definite or a minute has passed.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, ask: &Ask, dice: &mut Dice) -> Answer<T> {
        let began = self.clock.mono();
        let took = || self.clock.mono().since(began);
        let (mut last, mut slower) = (None, 1);
        // Why each try failed; emptied when the request is counted as late.
        let mut failed: Option<Vec<String>> = Some(Vec::new());
        self.tally.asked.up();
        while took() < SETTLE_WITHIN_MS {
            let node = self.choose(last, dice);
            last = Some(node);
            let tried = self.once(ask, node).await;
            if let Try::Again { why, .. } = &tried
                && let Some(failed) = &mut failed
            {
                failed.push(format!("{} ms seat {} {why}", took(), node + 1));
            }
            if failed.as_ref().is_some_and(|f| f.len() >= LATE_TRIES || took() > LATE_MS) {
                let tries = failed.take().unwrap_or_default().join(", ");
                self.tally.late(format!("{}: {tries}", ask.name()));
            }
            match tried {
                Try::Settled(answer) => return answer,
                Try::Again { pause_ms, why: _ } => {
                    let pause_ms = (pause_ms * slower).min(PAUSE_MAX_MS);
                    slower = (slower * 2).min(PAUSE_MAX_MS);
                    // Half of it by chance, so that those who failed together come back apart.
                    let pause_ms = pause_ms as f64 * dice.between(0.5, 1.0);
                    tokio::time::sleep(Duration::from_secs_f64(pause_ms / 1000.0)).await;
                }
            }
        }
        self.tally.outcome("gave up");
        Answer::Unsettled
    }

    /// Another node than the last, and one that did not just refuse a connection, if there is one.
    fn choose(&self, last: Option<usize>, dice: &mut Dice) -> usize {
        let (seats, now) = (self.doors.seats(), self.clock.mono().0);
        let shunned = |seat: usize| self.shunned[seat].load(Ordering::Relaxed) > now;
        let first = dice.other_than(seats, last);
        let others = (0..seats).map(|step| (first + step) % seats);
        others
            .filter(|seat| Some(*seat) != last || seats == 1)
            .find(|s| !shunned(*s))
            .unwrap_or(first)
    }

    async fn once<T: DeserializeOwned>(&self, ask: &Ask, node: usize) -> Try<T> {
        // The semaphore is never closed, so there is always a permit in the end.
        let _room = self.room[node].acquire().await;
        let stable = self.tally.is_stable();
        let mut request = self
            .http
            .request(ask.method.clone(), format!("http://{}{}", self.doors.at(node), ask.path));
        match ask.party {
            Party::Nobody => {}
            Party::Driver(driver) => request = request.header("x-driver-id", driver.to_string()),
            Party::Rider(rider) => request = request.header("x-user-id", rider.to_string()),
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        match request.send().await {
            Ok(response) => {
                self.tally.taken[node].up();
                self.read(response, node, stable).await
            }
            Err(error) => {
                if error.is_connect() {
                    let until = self.clock.mono().0 + SHUN_MS;
                    self.shunned[node].store(until, Ordering::Relaxed);
                }
                self.no_answer(&error)
            }
        }
    }

    /// No answer says nothing about what happened: the same key settles it elsewhere.
    fn no_answer<T>(&self, error: &reqwest::Error) -> Try<T> {
        self.tally.no_answer.up();
        let (outcome, pause_ms) = if error.is_timeout() {
            ("timeout", PAUSE_MS)
        } else if error.is_connect() {
            ("no connection", PAUSE_NO_ANSWER_MS)
        } else {
            ("connection lost", PAUSE_NO_ANSWER_MS)
        };
        self.tally.outcome(outcome);
        Try::Again { pause_ms, why: outcome.into() }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        response: Response,
        node: usize,
        stable: bool,
    ) -> Try<T> {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let hops = header("x-hansom-hops").and_then(|hops| hops.parse().ok());
        let served = header("x-hansom-served-by").map(str::to_owned);
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return self.no_answer(&error),
        };
        if status.is_success() {
            self.tally.outcome(status.as_str());
            // A refusal's way says little: a node that cannot reach the owner has not forwarded.
            if let Some(hops) = hops {
                let taker = || format!("n{}", node + 1);
                self.tally.way(hops, &served.unwrap_or_else(taker), stable);
            }
            return Try::Settled(match serde_json::from_slice(&body) {
                Ok(value) => Answer::Done(value),
                Err(error) => Answer::Refused(Refused {
                    status: status.as_u16(),
                    code: "UNREADABLE".into(),
                    detail: error.to_string(),
                }),
            });
        }
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        let outcome = format!("{} {}", status.as_u16(), problem.code);
        self.tally.outcome(&outcome);
        let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        if busy {
            self.tally.retries.up();
            let pause_ms = problem.retry_after_ms.unwrap_or(PAUSE_MS).min(PAUSE_MAX_MS);
            return Try::Again { pause_ms, why: format!("{outcome} ({})", problem.detail) };
        }
        let Problem { code, detail, retry_after_ms: _ } = problem;
        Try::Settled(Answer::Refused(Refused { status: status.as_u16(), code, detail }))
    }

    /// One read of one node as text, without any retry: `/metrics`, `/readyz`.
    pub(crate) async fn text_of(&self, node: usize, path: &str) -> Result<String, reqwest::Error> {
        let url = format!("http://{}{path}", self.doors.at(node));
        self.http.get(url).send().await?.error_for_status()?.text().await
    }
}
