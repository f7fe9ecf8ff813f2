//! The door of edge gateways: the binary protocol of [`proto::edge`], on a port of its own.
//!
//! A connection is one task. It reads what is there, gathers the pings of all whole frames in it,
//! applies them at once and answers them with one write, so that what a ping costs does not depend
//! on how its gateway cut the frames. While a group is applied nothing is read: the gateway feels it
//! by its TCP connection filling up.

mod connection;
mod desk;

pub(crate) use desk::{decode, may_say, refusal};

use crate::http::App;
use crate::net::Listener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Connections at once; those beyond wait to be accepted. They are gateways, each for thousands of
/// phones; with 256 KiB to read into and as much of decoded pings, all of them have 160 MiB.
const CONNECTIONS_MAX: usize = 256;
/// The pause after the operating system refused to accept, for want of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves gateways until it is dropped, and their connections with it.
pub(crate) async fn listen(mut listener: Box<dyn Listener>, app: App) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // No more than there are permits have ended since.
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return; // nobody closes the semaphore
        };
        match listener.accept().await {
            Ok((stream, from)) => {
                let app = app.clone();
                connections.spawn(async move {
                    app.metrics.edge_connections.inc();
                    connection::serve(stream, from, &app).await;
                    app.metrics.edge_connections.dec();
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "edge connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
