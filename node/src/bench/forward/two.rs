//! Two nodes in one process, as far as a request between them goes.

use super::{ANSWER_BYTES, ForwardError, REQUEST_BYTES};
use crate::clock::SystemClock;
use crate::metrics::Metrics;
use crate::mint::SeededMint;
use crate::net::{Net, Tcp};
use crate::peer::hello::Identity;
use crate::peer::pool::Pool;
use crate::peer::service;
use crate::router::{Local, NodeRouter};
use actors::runtime::world::{Context, Router as _};
use actors::runtime::{Nearby, Wanted};
use futures_util::future::BoxFuture;
use ledger::{Committed, Cursor, Leadership, Ledger, LoggedEvent, Pair, Partitions, Refused};
use membership::{ClusterKey, Expect, Member, Membership, Parts, Purpose, View};
use proto::code::Refusal;
use proto::envelope::Subject;
use proto::record::Ban;
use proto::record::ask::{Ask as _, BanRider, Request};
use proto::slot::SlotMap;
use proto::units::Clock;
use proto::{GroupId, NodeId, RiderId, WallMs};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How long one request may take, in milliseconds.
const WITHIN_MS: u32 = 5_000;
/// How long the nodes may take to reach each other.
const TOGETHER_WITHIN: Duration = Duration::from_secs(5);

/// Two nodes, the first of which is asked.
pub(super) struct Two {
    pub(super) router: Arc<NodeRouter>,
    /// A rider of the first node's partition.
    pub(super) at_home: RiderId,
    /// One of the second's.
    pub(super) elsewhere: RiderId,
    second: AbortHandle,
}

impl Drop for Two {
    fn drop(&mut self) {
        self.second.abort();
    }
}

/// Two nodes that have shaken hands.
pub(super) async fn start(clock: Arc<SystemClock>) -> Result<Two, ForwardError> {
    let net: Arc<dyn Net> = Arc::new(Tcp);
    // The first is not dialled by anybody; its address is never used.
    let first_at = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let listener = net.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let members = [(NodeId(1), first_at), (NodeId(2), listener.local_addr()?)];
    let node = |me| -> Result<_, ForwardError> {
        let key = ClusterKey::derive("bench", "sixteen bytes or more", Purpose::Hello);
        let key = key.map_err(|error| ForwardError::Apart(error.to_string()))?;
        let identity = Arc::new(Identity { cluster: "bench".into(), node: me, key });
        let mint = Arc::new(SeededMint::from_seed(me.0));
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let pool = Pool::new(
            Arc::clone(&net),
            Arc::clone(&identity),
            Arc::clone(&mint),
            Arc::clone(&clock),
        );
        let membership = Membership::fixed(view(me, &members));
        let router = NodeRouter::new(membership, pool, clock, Arc::new(Metrics::default()));
        router.place(Partitions::new(SlotMap::even(2), Arc::new(Leaders)));
        router.attach(Arc::new(Constant));
        Ok((router, identity, mint))
    };
    let (second, identity, mint) = node(NodeId(2))?;
    let (router, ..) = node(NodeId(1))?;
    let second = tokio::spawn(service::listen(listener, identity, mint, second)).abort_handle();
    let rider_of = |group| {
        let slots = SlotMap::even(2);
        (0..).map(RiderId::from_raw).find(|rider| slots.group(rider.slot()) == GroupId(group))
    };
    let nobody = || ForwardError::Apart("a partition has no rider".into());
    let (at_home, elsewhere) = (rider_of(1).ok_or_else(nobody)?, rider_of(2).ok_or_else(nobody)?);
    let two = Two { router, at_home, elsewhere, second };
    let together = async {
        while !ask(Arc::clone(&two.router), elsewhere).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(TOGETHER_WITHIN, together).await;
    waited.map_err(|_| ForwardError::Apart("no answer".into()))?;
    Ok(two)
}

/// Asks the first node something about a rider; true if there was an answer.
pub(super) async fn ask(router: Arc<NodeRouter>, rider: RiderId) -> bool {
    router.send(request(rider), context()).await.is_ok_and(|answer| answer.len() == ANSWER_BYTES)
}

/// As long as a booking's.
fn request(rider: RiderId) -> Request {
    let reason = "a reason that fills the request ".repeat(REQUEST_BYTES / 32);
    BanRider { rider, ban: Some(Ban { until: WallMs(0), reason }), idempotency: None }.wrap()
}

fn context() -> Context {
    Context { trace: 1, subject: Subject::Anonymous, deadline_ms: WITHIN_MS }
}

fn view(me: NodeId, members: &[(NodeId, SocketAddr)]) -> View {
    let member = |&(id, peer)| Member {
        id,
        generation: 1,
        peer,
        http: peer,
        zone: String::new(),
        weight: 1,
        version: String::new(),
        split_version: 0,
    };
    View::new(Parts {
        me,
        members: members.iter().map(member).collect(),
        expect: Expect::Itself,
        foundation: None,
        splits: Arc::default(),
        fault: None,
    })
}

/// Serves everything with the same bytes.
struct Constant;

impl Local for Constant {
    fn serve(&self, _: Request, _: Context) -> BoxFuture<'_, Result<Vec<u8>, Refusal>> {
        Box::pin(async { Ok(vec![7; ANSWER_BYTES]) })
    }
    fn nearby(&self, _: Wanted) -> BoxFuture<'_, Nearby> {
        Box::pin(async {
            let (candidates, ending, expected) = (Vec::new(), Vec::new(), Vec::new());
            let (waiting, partial, dropped) = (0, false, Vec::new());
            Nearby { candidates, ending, expected, waiting, partial, dropped }
        })
    }
}

/// Knows who leads: node 1 the first partition, node 2 the second. Nobody asks it for more.
struct Leaders;

type Refusing<'a, T> = ledger::BoxFuture<'a, Result<T, Refused>>;

fn refuse<'a, T: Send + 'a>() -> Refusing<'a, T> {
    Box::pin(async { Err(Refused::NotLeader { hint: None }) })
}

impl Ledger for Leaders {
    fn propose(&self, _: GroupId, _: Vec<u8>) -> Refusing<'_, Committed> {
        refuse()
    }
    fn read(&self, _: GroupId, _: Vec<u8>) -> Refusing<'_, Option<Vec<u8>>> {
        refuse()
    }
    fn read_stale(&self, _: GroupId, _: &[u8]) -> Result<Option<Vec<u8>>, Refused> {
        Ok(None)
    }
    fn replicas(&self, _: GroupId) -> Vec<NodeId> {
        Vec::new()
    }

    fn page(
        &self,
        _: GroupId,
        _: Vec<u8>,
        _: Option<Vec<u8>>,
        _: usize,
    ) -> Refusing<'_, Vec<Pair>> {
        refuse()
    }
    fn open_work(&self, _: GroupId) -> Refusing<'_, Vec<Vec<u8>>> {
        refuse()
    }
    fn events(&self, _: GroupId, _: Cursor, _: usize) -> Refusing<'_, Vec<LoggedEvent>> {
        refuse()
    }
    fn newest(&self, _: GroupId) -> Result<Cursor, Refused> {
        Err(Refused::NotLeader { hint: None })
    }
    fn leadership(&self) -> watch::Receiver<Leadership> {
        watch::channel(Leadership::new()).1
    }
    fn leader(&self, group: GroupId) -> Option<NodeId> {
        Some(NodeId(group.0.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::codec;

    #[test]
    fn a_request_has_the_size_it_should() {
        let bytes = codec::encode(&request(RiderId::from_raw(7))).len();
        assert!(bytes.abs_diff(REQUEST_BYTES) <= 20, "{bytes}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_is_served_at_home_and_the_other_is_forwarded() {
        let two = start(Arc::new(SystemClock::new())).await.unwrap();
        for (rider, hops) in [(two.at_home, 0), (two.elsewhere, 1)] {
            let Request::BanRider(asked) = request(rider) else { panic!("another request") };
            assert_eq!(two.router.served(asked, context()).await.hops, hops);
            assert!(ask(Arc::clone(&two.router), rider).await);
        }
    }
}
