//! The listening side: handshake, then one task per request. What a request does is up to the
//! [`Serve`] it is handed to.

use super::codec;
use super::hello::{self, Identity};
use super::pool::IN_FLIGHT_MAX;
use crate::mint::SeededMint;
use crate::net::{BoxStream, Listener};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use proto::envelope::{Envelope, Reply};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many connections peers may hold here at once. Each peer dials one a lane, three at most, so
/// this is 64 peers and room for connections that are being replaced and for strangers who are
/// about to be turned away.
const CONNECTIONS_MAX: usize = 256;
/// Requests under way on one connection. A peer has at most [`IN_FLIGHT_MAX`] unanswered, and may
/// have given up on as many; one that sends more has its requests thrown back. The bound is each
/// connection's own: a peer's calls take nothing from its ledger's frames, nor from other peers.
const SERVING_MAX: usize = 2 * IN_FLIGHT_MAX;
/// How long a handshake may take. A stranger can hold a connection no longer.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// The pause after the operating system refused to accept, for want of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What nodes say to each other.
#[tarpc::service]
pub trait Peer {
    /// Serves or forwards a request.
    async fn call(envelope: Envelope) -> Reply;
}

/// Who serves what peers ask. The returned future may be dropped at any await, when the caller
/// has gone; whatever must not be cut in half belongs in a task of its own.
pub trait Serve: Send + Sync + 'static {
    /// Serves, forwards or refuses.
    fn serve(&self, envelope: Envelope) -> BoxFuture<'_, Reply>;
}

#[derive(Clone)]
struct Handler(Arc<dyn Serve>);

impl Peer for Handler {
    async fn call(self, _: Context, envelope: Envelope) -> Reply {
        self.0.serve(envelope).await
    }
}

/// Accepts peers until dropped; dropping it cuts every connection.
pub async fn listen(
    mut listener: Box<dyn Listener>,
    me: Arc<Identity>,
    mint: Arc<SeededMint>,
    serve: Arc<dyn Serve>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (me, mint) = (Arc::clone(&me), Arc::clone(&mint));
                let handler = Handler(Arc::clone(&serve));
                connections.spawn(async move {
                    converse(stream, from, &me, &mint, handler).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "peer connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(
    mut stream: BoxStream,
    from: SocketAddr,
    me: &Identity,
    mint: &SeededMint,
    handler: Handler,
) {
    match tokio::time::timeout(HELLO_WITHIN, hello::answer(&mut stream, me, mint)).await {
        Ok(Ok(member)) => tracing::debug!(%member, %from, "peer connected"),
        Ok(Err(error)) => return tracing::warn!(%from, %error, "peer refused"),
        Err(_) => return tracing::warn!(%from, "peer refused, handshake took too long"),
    }
    let channel = BaseChannel::with_defaults(codec::transport(stream));
    let mut requests = Box::pin(channel.max_concurrent_requests(SERVING_MAX).requests());
    let mut tasks = JoinSet::new();
    while let Some(request) = requests.next().await {
        while tasks.try_join_next().is_some() {}
        match request {
            Ok(request) => {
                tasks.spawn(request.execute(handler.clone().serve()));
            }
            Err(error) => {
                tracing::debug!(%from, %error, "peer connection broken");
                return;
            }
        }
    }
}
