//! The way around a link that is down. Networks break between two nodes that both can reach a
//! third; what one of them then asks the other goes through that one, as its second and last hop.

use super::NodeRouter;
use proto::NodeId;
use proto::code::{Code, Refusal};
use proto::envelope::{Envelope, HOPS_MAX, Reply, Route};
use std::net::SocketAddr;

/// Members that are asked for the way, at most. A dead owner is alive to his peers for another
/// second, and each request to him costs so many more.
const DETOURS_MAX: usize = 3;

impl NodeRouter {
    /// Calls the owner: straight, or where no connection to him comes about, through another
    /// member. What is sent twice so happens once, as with every RETRY.
    pub(super) async fn call(
        &self,
        to: NodeId,
        at: SocketAddr,
        envelope: Envelope,
    ) -> Result<Reply, Refusal> {
        let began = self.clock.mono();
        let straight = self.pool.call(to, at, envelope.clone()).await;
        let relayed = envelope.hops < HOPS_MAX && !matches!(envelope.route, Route::Node(_));
        if straight.is_ok() || !relayed || !self.pool.is_down(to, at) {
            return straight;
        }
        let view = self.membership.view();
        let others = view.members().iter().filter(|member| ![self.me, to].contains(&member.id));
        let open = others.filter(|member| !self.pool.is_down(member.id, member.peer));
        for member in open.take(DETOURS_MAX) {
            let spent = u32::try_from(self.clock.mono().since(began)).unwrap_or(u32::MAX);
            let deadline_ms = envelope.deadline_ms.saturating_sub(spent);
            if deadline_ms == 0 {
                break;
            }
            let around = Envelope { deadline_ms, ..envelope.clone() };
            match self.pool.call(member.id, member.peer, around).await {
                Ok(reply) if !reaches_him_no_more(&reply, to) => {
                    self.metrics.detours.inc();
                    return Ok(reply);
                }
                Ok(_) | Err(_) => {}
            }
        }
        straight
    }
}

/// Whether a relay says that it can't reach the owner either.
fn reaches_him_no_more(reply: &Reply, to: NodeId) -> bool {
    let refusal = reply.result.as_ref().err();
    refusal.is_some_and(|refusal| refusal.code == Code::Retry && refusal.owner == Some(to))
}
