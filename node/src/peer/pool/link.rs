//! One link: a keeper task dials, hands the connection out, waits for its end, and starts again.

use super::{Address, Lane, Pool};
use crate::mint::SeededMint;
use crate::net::Net;
use crate::peer::codec::{call_context, transport};
use crate::peer::hello::{self, HelloError, Identity};
use crate::peer::service::PeerClient;
use actors::runtime::world::Mint;
use proto::NodeId;
use proto::code::{Code, Refusal};
use proto::envelope::{Envelope, PAYLOAD_MAX, Reply};
use proto::units::{Clock, MonoMs};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tarpc::client::RpcError;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

/// What dialling takes.
#[derive(Debug)]
pub(super) struct Dialler {
    pub(super) net: Arc<dyn Net>,
    pub(super) me: Arc<Identity>,
    pub(super) mint: Arc<SeededMint>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The side of a link that the pool holds. Dropping it cuts the connection.
#[derive(Debug)]
pub(super) struct Link {
    lane: Lane,
    state: watch::Receiver<State>,
    woken: Arc<Notify>,
    asked_at: AtomicU64,
    keeper: AbortHandle,
}

/// The side that the keeper holds.
pub(super) struct KeptEnd {
    state: watch::Sender<State>,
    woken: Arc<Notify>,
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

impl Link {
    /// A link with its keeper.
    pub(super) fn kept<F>(lane: Lane, now: MonoMs, keep: impl FnOnce(KeptEnd) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, state) = watch::channel(State::Dialling);
        let woken = Arc::new(Notify::new());
        let kept = KeptEnd { state: sender, woken: Arc::clone(&woken) };
        let keeper = tokio::spawn(keep(kept)).abort_handle();
        Self { lane, state, woken, asked_at: AtomicU64::new(now.0), keeper }
    }
    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(_))
    }
    pub(super) fn is_down(&self) -> bool {
        matches!(&*self.state.borrow(), State::Down)
    }
    pub(super) fn asked(&self, now: MonoMs) {
        self.asked_at.store(now.0, Ordering::Relaxed);
    }
    pub(super) fn asked_at(&self) -> MonoMs {
        MonoMs(self.asked_at.load(Ordering::Relaxed))
    }

    /// Ends the pause between dials, or a dial that waits for what was there before.
    pub(super) fn wake(&self) {
        if !self.is_up() {
            self.woken.notify_one();
        }
    }

    /// Sends an envelope and waits for its reply. May be dropped at any await.
    pub(super) async fn call(
        &self,
        dialler: &Dialler,
        to: NodeId,
        envelope: Envelope,
    ) -> Result<Reply, Refusal> {
        if envelope.payload.len() > PAYLOAD_MAX {
            let detail = format!("{} bytes, a peer takes {PAYLOAD_MAX}", envelope.payload.len());
            return Err(Refusal::new(Code::TooLarge, detail));
        }
        let connection = self.connection(to).await?;
        let Ok(_permit) = connection.permits.try_acquire() else {
            let (most, lane) = (self.lane.in_flight_max(), self.lane.name());
            let detail = format!("{to} has {most} {lane} unanswered");
            return Err(Refusal::new(Code::Overloaded, detail));
        };
        connection.sent(dialler.clock.mono());
        let _doubt = Doubt { connection: &connection, clock: &*dialler.clock, lane: self.lane };
        match connection.client.call(call_context(), envelope).await {
            Ok(reply) => {
                connection.heard();
                Ok(reply)
            }
            Err(error) => Err(unreachable(to, rpc_problem(&error))),
        }
    }

    /// The connection, once it is known whether there is one.
    async fn connection(&self, to: NodeId) -> Result<Arc<Connection>, Refusal> {
        let mut states = self.state.clone();
        let settled = states.wait_for(|state| !matches!(state, State::Dialling)).await;
        let connection = match settled.as_deref() {
            Ok(State::Up(connection)) => Some(Arc::clone(connection)),
            Ok(State::Down | State::Dialling) | Err(_) => None,
        };
        connection.ok_or_else(|| unreachable(to, "cannot be reached"))
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
}

/// Looks at the connection when a call ends, also when its caller drops it before its deadline:
/// the call alone may have been slow, or the connection may be dead.
struct Doubt<'a> {
    connection: &'a Connection,
    clock: &'a dyn Clock,
    lane: Lane,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let since = self.connection.unheard_since.load(Ordering::Relaxed);
        let silent = |since| self.clock.mono().since(MonoMs(since)) >= self.lane.silence_max_ms();
        if since != 0 && silent(since - 1) {
            self.connection.dead.notify_one();
        }
    }
}

/// Keeps one link until nobody asks for it.
pub(super) async fn keep(dialler: Arc<Dialler>, address: Address, end: KeptEnd, pool: Weak<Pool>) {
    let Address { node: member, at, lane } = address;
    let KeptEnd { state, woken } = end;
    let mut failures: u32 = 0;
    loop {
        let dial = tokio::time::timeout(lane.dial_within(), dialler.dial(member, at, lane));
        let dialled = tokio::select! {
            biased;
            dialled = dial => dialled,
            () = woken.notified() => {
                state.send_replace(State::Dialling);
                continue;
            }
        };
        match dialled {
            Ok(Ok((connection, ended))) => {
                failures = 0;
                tracing::debug!(%member, %at, lane = lane.name(), "peer reached");
                state.send_replace(State::Up(Arc::clone(&connection)));
                let lane = lane.name();
                tokio::select! {
                    () = ended => tracing::debug!(%member, lane, "peer connection ended"),
                    () = connection.dead.notified() => {
                        tracing::info!(%member, lane, "peer connection silent, dropped");
                    }
                }
                state.send_replace(State::Dialling);
                continue;
            }
            // A peer that is down refuses every dial; a stranger there is worth a warning, once.
            Ok(Err(error @ HelloError::Io(_))) => {
                tracing::debug!(%member, %at, %error, "peer not reached");
            }
            Ok(Err(error)) if failures == 0 => {
                tracing::warn!(%member, %at, %error, "peer not reached");
            }
            Ok(Err(error)) => tracing::debug!(%member, %at, %error, "peer not reached"),
            Err(_) => tracing::debug!(%member, %at, "peer not reached in time"),
        }
        state.send_replace(State::Down);
        let pause = lane.pause(failures, dialler.mint.random());
        failures = failures.saturating_add(1);
        tokio::select! {
            biased;
            () = woken.notified() => {
                failures = 0;
                state.send_replace(State::Dialling);
            }
            () = tokio::time::sleep(pause) => {}
        }
        if pool.upgrade().is_none_or(|pool| pool.forget_unasked(address)) {
            return;
        }
    }
}

impl Dialler {
    async fn dial(
        &self,
        member: NodeId,
        at: SocketAddr,
        lane: Lane,
    ) -> Result<(Arc<Connection>, impl Future<Output = ()> + use<>), HelloError> {
        let mut stream = self.net.connect(at).await?;
        hello::dial(&mut stream, &self.me, member, &self.mint).await?;
        let mut config = tarpc::client::Config::default();
        config.max_in_flight_requests = lane.in_flight_max();
        let opened = PeerClient::new(config, transport(stream));
        let connection = Arc::new(Connection {
            client: opened.client,
            permits: Semaphore::new(lane.in_flight_max()),
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
}

pub(super) fn unreachable(to: NodeId, how: &str) -> Refusal {
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
