//! Finds the owner of a request: served here, forwarded to the owner, or refused with a hint.
//!
//! Any node takes any request. Durable state belongs to the leader of its slot's group, cells to the
//! ring's owner of their key, sockets to the node that holds them. A request is forwarded at most
//! twice; a relay reads the envelope's header only.

mod decide;
mod detour;
mod frames;

pub use decide::{Decision, Owner, decide};

use crate::metrics::{AskLabels, HopsLabels, Metrics, OutcomeLabels, outcome};
use crate::peer::pool::Pool;
use crate::peer::service::Serve;
use actors::runtime::world::{Context, Router};
use actors::runtime::{Nearby, Runtime, Wanted};
use arc_swap::ArcSwapOption;
use frames::Frames;
use futures_util::future::BoxFuture;
use ledger::{Partitions, Receive};
use membership::Membership;
use proto::NodeId;
use proto::code::{Code, Refusal};
use proto::codec;
use proto::envelope::{Envelope, HOPS_MAX, Reply, Route, VERSION};
use proto::record::ask::{Ask, Request};
use proto::units::Clock;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The longest a request may wait for its answer, in milliseconds, whatever its sender says.
pub const DEADLINE_MAX_MS: u32 = 10_000;
/// What a forward costs on the way back, in milliseconds: so much less does the next node wait,
/// that its refusal arrives before the sender has given up.
const HOP_MS: u32 = 1;

/// This node's own actors. A returned future may be dropped at any await, when whoever asked has
/// gone; what must not be cut in half goes on without it.
pub trait Local: Send + Sync + 'static {
    /// Serves a request that this node owns. Refuses when too many are under way.
    fn serve(&self, request: Request, context: Context) -> BoxFuture<'_, Result<Vec<u8>, Refusal>>;
    /// Searches over all owners of the cells within a circle.
    fn nearby(&self, wanted: Wanted) -> BoxFuture<'_, Nearby>;
}

impl Local for Runtime {
    fn serve(&self, request: Request, context: Context) -> BoxFuture<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(Self::serve(self, request, context))
    }
    fn nearby(&self, wanted: Wanted) -> BoxFuture<'_, Nearby> {
        Box::pin(Self::nearby(self, wanted))
    }
}

/// The router of a node. It refuses everything as NOT_READY until it is told where partitions
/// live, and what it owns until it has actors.
#[derive(Debug)]
pub struct NodeRouter {
    me: NodeId,
    membership: Membership,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    partitions: OnceLock<Partitions>,
    local: ArcSwapOption<LocalActors>,
    frames: Frames,
}

struct LocalActors(Arc<dyn Local>);

impl std::fmt::Debug for LocalActors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalActors")
    }
}

/// An answer, who gave it, and how often it was forwarded.
#[derive(Debug)]
pub struct Served<T> {
    /// The answer or the refusal.
    pub result: Result<T, Refusal>,
    /// Who served or refused it.
    pub by: NodeId,
    /// Forwards.
    pub hops: u8,
}

impl NodeRouter {
    /// A router without placement and actors.
    pub fn new(
        membership: Membership,
        pool: Arc<Pool>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let me = membership.view().me();
        Arc::new(Self {
            me,
            membership,
            pool,
            clock,
            metrics,
            partitions: OnceLock::new(),
            local: ArcSwapOption::empty(),
            frames: Frames::new(me),
        })
    }
    /// Says where partitions live; the first word counts.
    pub fn place(&self, partitions: Partitions) {
        let _ = self.partitions.set(partitions);
    }
    /// The partitions, once known.
    pub fn partitions(&self) -> Option<&Partitions> {
        self.partitions.get()
    }
    /// Says who serves here.
    pub fn attach(&self, local: Arc<dyn Local>) {
        self.local.store(Some(Arc::new(LocalActors(local))));
    }
    /// Says who takes the frames of other nodes' ledgers. They need neither placement nor actors.
    pub fn attach_ledger(&self, ledger: Arc<dyn Receive>) {
        self.frames.attach(ledger);
    }
    /// Serves nothing from now on.
    pub fn detach(&self) {
        self.local.store(None);
        self.frames.detach();
    }

    /// Whether it can serve anything: it knows where partitions live and has actors.
    pub fn serves(&self) -> bool {
        self.partitions.get().is_some() && self.local.load().is_some()
    }
    /// Who is near, as all owners together see it.
    pub async fn nearby(&self, wanted: Wanted) -> Result<Nearby, Refusal> {
        Ok(self.local()?.0.nearby(wanted).await)
    }

    /// The typed answer to a request, who gave it and over how many hops.
    pub async fn served<A: Ask>(&self, ask: A, context: Context) -> Served<A::Answer> {
        let Served { result, by, hops } = self.answer(ask.wrap(), context).await;
        let result = result.and_then(|bytes| {
            codec::decode(&bytes).map_err(|error| Refusal::new(Code::BadPeer, error.to_string()))
        });
        Served { result, by, hops }
    }

    /// Who owns a route, as this node sees it.
    pub fn owner(&self, route: Route) -> Owner {
        let view = self.membership.view();
        let id = match route {
            Route::Slot(slot) => match self.partitions.get().map(|all| all.leader(slot)) {
                Some(None) => return Owner::Nobody,
                known => known.flatten(),
            },
            Route::Cell(key) => view.cell_owner(key),
            Route::Node(node) => Some(node),
        };
        match id {
            None => Owner::Unknown,
            Some(id) if id == self.me => Owner::Me,
            Some(id) => Owner::Other { id, at: view.member(id).map(|member| member.peer) },
        }
    }

    async fn answer(&self, request: Request, context: Context) -> Served<Vec<u8>> {
        let context = context.within_ms(context.deadline_ms.min(DEADLINE_MAX_MS));
        let route = request.route();
        match decide(0, self.owner(route)) {
            Decision::Local => {
                Served { result: self.serve_here(request, context, 0).await, by: self.me, hops: 0 }
            }
            Decision::Forward { to, at } => {
                let payload = codec::encode(&request).into();
                let Context { trace, subject, deadline_ms } = context;
                match Envelope::seal(route, subject, trace, deadline_ms, payload) {
                    Ok(envelope) => {
                        let reply = self.forward(to, at, envelope).await;
                        let (by, hops) = (reply.served_by, reply.hops);
                        Served { result: reply.open().map(|bytes| bytes.to_vec()), by, hops }
                    }
                    Err(refusal) => Served { result: Err(refusal), by: self.me, hops: 0 },
                }
            }
            Decision::Refuse(refusal) => {
                self.count_refusal(&refusal);
                Served { result: Err(refusal), by: self.me, hops: 0 }
            }
        }
    }

    /// Serves, forwards or refuses what a peer sent.
    async fn relay(&self, envelope: Envelope) -> Reply {
        let arrived = self.clock.mono();
        let hops = envelope.hops;
        if let Err(refusal) = check_header(self.me, &envelope) {
            self.count_refusal(&refusal);
            return Reply::seal(self.me, hops, Err(refusal));
        }
        match decide(hops, self.owner(envelope.route)) {
            Decision::Local => {
                let result = self.open_and_serve(&envelope).await;
                Reply::seal(self.me, hops, result.map(Into::into))
            }
            Decision::Forward { to, at } => {
                let spent = self.clock.mono().since(arrived);
                let spent = u32::try_from(spent).unwrap_or(u32::MAX).saturating_add(HOP_MS);
                let deadline_ms = envelope.deadline_ms.min(DEADLINE_MAX_MS).saturating_sub(spent);
                self.forward(to, at, Envelope { deadline_ms, ..envelope }).await
            }
            Decision::Refuse(refusal) => {
                self.count_refusal(&refusal);
                Reply::seal(self.me, hops, Err(refusal))
            }
        }
    }

    async fn open_and_serve(&self, envelope: &Envelope) -> Result<Vec<u8>, Refusal> {
        let request: Request = codec::decode(envelope.open()?)
            .map_err(|error| Refusal::new(Code::BadPeer, format!("request {error}")))?;
        let context = Context {
            trace: envelope.trace,
            subject: envelope.subject,
            deadline_ms: envelope.deadline_ms.min(DEADLINE_MAX_MS),
        };
        if let Request::Consensus(frame) = request {
            let result = in_time(context, self.frames.take(frame)).await;
            let labels = AskLabels { ask: "Consensus", outcome: outcome(&result) };
            self.metrics.asks.get_or_create(&labels).inc();
            return result;
        }
        self.serve_here(request, context, envelope.hops).await
    }

    async fn forward(&self, to: NodeId, at: std::net::SocketAddr, envelope: Envelope) -> Reply {
        let hops = envelope.hops + 1;
        let route = envelope.route;
        let reply = self.call(to, at, Envelope { hops, ..envelope }).await;
        let reply = reply.unwrap_or_else(|refusal| Reply::seal(self.me, hops - 1, Err(refusal)));
        // Whoever answered after a second forward is asked at once the next time.
        if let (Route::Slot(slot), Some(partitions)) = (route, self.partitions.get()) {
            match &reply.result {
                Err(refusal) if refusal.code.retryable() => partitions.heard(slot, None),
                Ok(_) | Err(_) if reply.served_by != to => {
                    partitions.heard(slot, Some(reply.served_by));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let labels = OutcomeLabels { outcome: outcome(&reply.result) };
        self.metrics.forwards.get_or_create(&labels).inc();
        reply
    }

    /// Serves, and stops waiting at the deadline.
    async fn serve_here(
        &self,
        request: Request,
        context: Context,
        hops: u8,
    ) -> Result<Vec<u8>, Refusal> {
        let ask = request.name();
        let result = self.try_serve(request, context).await;
        let labels = AskLabels { ask, outcome: outcome(&result) };
        self.metrics.asks.get_or_create(&labels).inc();
        self.metrics.hops.get_or_create(&HopsLabels { hops }).inc();
        result
    }

    async fn try_serve(&self, request: Request, context: Context) -> Result<Vec<u8>, Refusal> {
        in_time(context, self.local()?.0.serve(request, context)).await
    }

    fn local(&self) -> Result<Arc<LocalActors>, Refusal> {
        let refusal = || Refusal::new(Code::NotReady, "this node has no actors yet, or no more");
        self.local.load_full().ok_or_else(refusal)
    }

    fn count_refusal(&self, refusal: &Refusal) {
        let labels = OutcomeLabels { outcome: refusal.code.as_str() };
        self.metrics.refusals.get_or_create(&labels).inc();
    }
}

/// Stops waiting at the deadline.
async fn in_time(
    context: Context,
    serving: impl Future<Output = Result<Vec<u8>, Refusal>>,
) -> Result<Vec<u8>, Refusal> {
    let within = Duration::from_millis(context.deadline_ms.into());
    let served = tokio::time::timeout(within, serving).await;
    served.unwrap_or_else(|_| {
        Err(Refusal::new(Code::Retry, "not served in time; it may still happen"))
    })
}

/// What a relay must know of an envelope; the payload is the owner's to check. What is for one
/// node is never relayed: whoever sends it knows the node and its address.
fn check_header(me: NodeId, envelope: &Envelope) -> Result<(), Refusal> {
    if envelope.version != VERSION || envelope.hops > HOPS_MAX {
        let (version, hops) = (envelope.version, envelope.hops);
        let detail = format!(
            "envelope version {version} after {hops} hops, this node takes version {VERSION} after at most {HOPS_MAX}"
        );
        return Err(Refusal::new(Code::BadPeer, detail));
    }
    if let Route::Node(node) = envelope.route
        && node != me
    {
        return Err(Refusal::new(Code::BadPeer, format!("for {node} alone, this is {me}")));
    }
    Ok(())
}

impl Router for NodeRouter {
    fn send(
        &self,
        request: Request,
        context: Context,
    ) -> ledger::BoxFuture<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(async move { self.answer(request, context).await.result })
    }
}

impl Serve for NodeRouter {
    fn serve(&self, envelope: Envelope) -> BoxFuture<'_, Reply> {
        Box::pin(self.relay(envelope))
    }
}
