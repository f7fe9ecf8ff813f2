//! The dialling side: one connection per peer, dialled when first needed and dialled again for as
//! long as somebody asks for it.
//!
//! Each link has a keeper task that dials, hands the connection out, waits for its end, and starts
//! again. While a first dial runs, callers wait for it; once it has failed they are refused at
//! once, until the keeper, who goes on trying with growing pauses, has a connection again.

use super::codec::{call_context, transport};
use super::hello::{self, Identity};
use super::service::PeerClient;
use crate::mint::SeededMint;
use crate::net::Net;
use actors::runtime::world::Mint;
use proto::NodeId;
use proto::code::{Code, Refusal};
use proto::envelope::{Envelope, PAYLOAD_MAX, Reply};
use proto::units::{Clock, MonoMs};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tarpc::client::RpcError;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

/// How many calls to one peer may wait for their answers. At a peer's usual 1 ms this is a million
/// calls a second; a peer with so many unanswered is stuck.
pub const IN_FLIGHT_MAX: usize = 1024;
/// How long one dial, with its handshake, may take.
const DIAL_WITHIN: Duration = Duration::from_secs(1);
/// The pause after the first failed dial, in milliseconds; it doubles with each.
const PAUSE_MIN_MS: u64 = 50;
/// The longest pause between dials: a node that is back is found again within it.
const PAUSE_MAX_MS: u64 = 1_000;
/// A connection on which a call was answered by nothing at all for so long is dropped: its network
/// may have swallowed it without a word.
const SILENCE_MAX_MS: u64 = 1_000;
/// A link that is down and that nobody asked for during so long is forgotten.
const FORGET_AFTER_MS: u64 = 60_000;

/// Connections to all peers.
#[derive(Debug)]
pub struct Pool {
    dialler: Arc<Dialler>,
    links: Mutex<BTreeMap<Address, Arc<Link>>>,
}

/// Who, and where. A node that comes back elsewhere is a new link.
type Address = (NodeId, SocketAddr);

#[derive(Debug)]
struct Dialler {
    net: Arc<dyn Net>,
    me: Arc<Identity>,
    mint: Arc<SeededMint>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Link {
    state: watch::Receiver<State>,
    asked_at: AtomicU64,
    keeper: AbortHandle,
}

#[derive(Debug, Clone)]
enum State {
    /// Not known yet whether the peer can be reached.
    Dialling,
    Up(Arc<Connection>),
    Down,
}

#[derive(Debug)]
struct Connection {
    client: PeerClient,
    permits: Semaphore,
    /// When the oldest call was sent since something was last heard, plus 1; 0 if none was.
    unheard_since: AtomicU64,
    /// Tells the keeper that this connection is dead although nobody said so.
    dead: Notify,
}

impl Pool {
    /// A pool without connections.
    pub fn new(
        net: Arc<dyn Net>,
        me: Arc<Identity>,
        mint: Arc<SeededMint>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let dialler = Arc::new(Dialler { net, me, mint, clock });
        Arc::new(Self { dialler, links: Mutex::default() })
    }

    /// Sends an envelope to a peer and waits for its reply, at most the envelope's deadline. Only
    /// a RETRY may still take effect.
    pub async fn call(
        self: &Arc<Self>,
        to: NodeId,
        at: SocketAddr,
        envelope: Envelope,
    ) -> Result<Reply, Refusal> {
        let within = Duration::from_millis(envelope.deadline_ms.into());
        let link = self.link((to, at));
        match tokio::time::timeout(within, self.call_over(&link, to, envelope)).await {
            Ok(result) => result,
            Err(_) => {
                if let State::Up(connection) = &*link.state.borrow() {
                    connection.doubt(self.dialler.clock.mono());
                }
                Err(unreachable(to, "did not answer in time"))
            }
        }
    }

    async fn call_over(
        &self,
        link: &Link,
        to: NodeId,
        envelope: Envelope,
    ) -> Result<Reply, Refusal> {
        if envelope.payload.len() > PAYLOAD_MAX {
            let detail = format!("{} bytes, a peer takes {PAYLOAD_MAX}", envelope.payload.len());
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        let connection = connection(link, to).await?;
        let Ok(_permit) = connection.permits.try_acquire() else {
            let detail = format!("{to} has {IN_FLIGHT_MAX} calls unanswered");
            return Err(Refusal::new(Code::Overloaded, detail));
        };
        connection.sent(self.dialler.clock.mono());
        match connection.client.call(call_context(), envelope).await {
            Ok(reply) => {
                connection.heard();
                Ok(reply)
            }
            Err(error) => Err(unreachable(to, rpc_problem(&error))),
        }
    }

    /// Forgets all peers and cuts all connections.
    pub fn close(&self) {
        self.links().clear();
    }

    /// How many links are up, and how many there are.
    pub fn counts(&self) -> (usize, usize) {
        let links = self.links();
        let up = links.values().filter(|l| matches!(&*l.state.borrow(), State::Up(_))).count();
        (up, links.len())
    }

    fn link(self: &Arc<Self>, address: Address) -> Arc<Link> {
        let now = self.dialler.clock.mono();
        let mut links = self.links();
        let link = links.entry(address).or_insert_with(|| {
            let (sender, state) = watch::channel(State::Dialling);
            let (dialler, pool) = (Arc::clone(&self.dialler), Arc::downgrade(self));
            let keeper = tokio::spawn(keep(dialler, address, sender, pool)).abort_handle();
            Arc::new(Link { state, asked_at: AtomicU64::new(now.0), keeper })
        });
        link.asked_at.store(now.0, Ordering::Relaxed);
        Arc::clone(link)
    }

    /// Drops a link that nobody asked for in a while; true if it is gone.
    fn forget_unasked(&self, address: Address) -> bool {
        let now = self.dialler.clock.mono();
        let mut links = self.links();
        let unasked = links.get(&address).is_none_or(|link| {
            now.since(MonoMs(link.asked_at.load(Ordering::Relaxed))) > FORGET_AFTER_MS
        });
        if unasked {
            links.remove(&address);
        }
        unasked
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<Address, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Connection {
    fn sent(&self, now: MonoMs) {
        // Only the first since something was heard counts.
        let _ =
            self.unheard_since.compare_exchange(0, now.0 + 1, Ordering::Relaxed, Ordering::Relaxed);
    }
    fn heard(&self) {
        self.unheard_since.store(0, Ordering::Relaxed);
    }
    /// A call ran out of time: the call alone may be slow, or the connection may be dead.
    fn doubt(&self, now: MonoMs) {
        let since = self.unheard_since.load(Ordering::Relaxed);
        if since != 0 && now.since(MonoMs(since - 1)) >= SILENCE_MAX_MS {
            self.dead.notify_one();
        }
    }
}

/// The connection of a link, once it is known whether there is one.
async fn connection(link: &Link, to: NodeId) -> Result<Arc<Connection>, Refusal> {
    let mut states = link.state.clone();
    let settled = states.wait_for(|state| !matches!(state, State::Dialling)).await;
    let connection = match settled.as_deref() {
        Ok(State::Up(connection)) => Some(Arc::clone(connection)),
        Ok(State::Down | State::Dialling) | Err(_) => None,
    };
    connection.ok_or_else(|| unreachable(to, "cannot be reached"))
}

/// Keeps one link until nobody asks for it.
async fn keep(
    dialler: Arc<Dialler>,
    (member, address): Address,
    state: watch::Sender<State>,
    pool: Weak<Pool>,
) {
    let mut failures: u32 = 0;
    loop {
        match tokio::time::timeout(DIAL_WITHIN, dialler.dial(member, address)).await {
            Ok(Ok((connection, ended))) => {
                failures = 0;
                tracing::debug!(%member, %address, "peer reached");
                state.send_replace(State::Up(Arc::clone(&connection)));
                tokio::select! {
                    () = ended => tracing::debug!(%member, "peer connection ended"),
                    () = connection.dead.notified() => {
                        tracing::info!(%member, "peer connection silent, dropped");
                    }
                }
                state.send_replace(State::Dialling);
                continue;
            }
            Ok(Err(error)) => {
                // A peer that is down refuses every dial; a stranger there is worth a warning.
                if matches!(error, hello::HelloError::Io(_)) {
                    tracing::debug!(%member, %address, %error, "peer not reached");
                } else {
                    tracing::warn!(%member, %address, %error, "peer not reached");
                }
            }
            Err(_) => tracing::debug!(%member, %address, "peer not reached in time"),
        }
        state.send_replace(State::Down);
        tokio::time::sleep(dialler.pause(failures)).await;
        failures = failures.saturating_add(1);
        if pool.upgrade().is_none_or(|pool| pool.forget_unasked((member, address))) {
            return;
        }
    }
}

impl Dialler {
    async fn dial(
        &self,
        member: NodeId,
        address: SocketAddr,
    ) -> Result<(Arc<Connection>, impl Future<Output = ()> + use<>), hello::HelloError> {
        let mut stream = self.net.connect(address).await?;
        hello::dial(&mut stream, &self.me, member, &self.mint).await?;
        let mut config = tarpc::client::Config::default();
        config.max_in_flight_requests = IN_FLIGHT_MAX;
        let opened = PeerClient::new(config, transport(stream));
        let connection = Arc::new(Connection {
            client: opened.client,
            permits: Semaphore::new(IN_FLIGHT_MAX),
            unheard_since: AtomicU64::new(0),
            dead: Notify::new(),
        });
        let dispatch = opened.dispatch;
        Ok((connection, async move {
            if let Err(error) = dispatch.await {
                tracing::debug!(%error, "peer connection broken");
            }
        }))
    }

    /// The pause before the next dial: doubling, with a random half so that peers of a node that
    /// comes back do not all knock at once.
    fn pause(&self, failures: u32) -> Duration {
        let full = (PAUSE_MIN_MS << failures.min(10)).min(PAUSE_MAX_MS);
        Duration::from_millis(full / 2 + self.mint.random() % (full / 2 + 1))
    }
}

fn unreachable(to: NodeId, how: &str) -> Refusal {
    Refusal { owner: Some(to), ..Refusal::new(Code::Retry, format!("{to} {how}")) }
}

fn rpc_problem(error: &RpcError) -> &'static str {
    match error {
        RpcError::Shutdown | RpcError::Channel(_) => "closed the connection",
        RpcError::Send(_) => "could not be written to",
        RpcError::DeadlineExceeded => "did not answer in time",
        RpcError::Server(_) => "gave up on the request",
    }
}
