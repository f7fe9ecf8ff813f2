//! The door of edge gateways: the binary protocol of [`proto::edge`], on a port of its own.
//!
//! A connection is one task. Until it has said who it is, it is a stranger's, and strangers can't
//! take the places of gateways: they have a few seats of their own, which they leave soon. Then it
//! reads what is there, gathers the pings of all whole frames in it, applies them at once and answers
//! them with one write, so that what a ping costs does not depend on how its gateway cut the frames.
//! While a group is applied nothing is read: the gateway feels it by its TCP connection filling up.

mod connection;
mod desk;
mod places;

pub(crate) use desk::{decode, may_say, refusal};

use crate::http::App;
use crate::metrics::OutcomeLabels;
use crate::net::{BoxStream, Listener};
use places::Places;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Strangers at once; those beyond wait to be heard. Each has a buffer of 4 KiB.
const STRANGERS_MAX: usize = 64;
/// A stranger who has had a seat for so long gives it up if others wait. A gateway says HELLO at
/// once, so this is a slow network's way and back.
const SEAT_AT_LEAST: Duration = Duration::from_millis(250);
/// The pause after the operating system refused to accept, for want of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves gateways until it is dropped, and their connections with it.
pub(crate) async fn listen(mut listener: Box<dyn Listener>, app: App) {
    let places = Arc::new(Places::new(app.metrics.edge_connections.clone()));
    let seats = Seats::default();
    let mut connections = JoinSet::new();
    loop {
        // No more than there are seats and places have ended since.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some(seat) = seats.take().await else {
                    return; // nobody closes the semaphore
                };
                connections.spawn(serve(stream, from, app.clone(), Arc::clone(&places), seat));
            }
            Err(error) => {
                tracing::warn!(%error, "edge connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn serve(stream: BoxStream, from: SocketAddr, app: App, places: Arc<Places>, seat: Seat) {
    let entered = tokio::select! {
        entered = connection::enter(stream, from, &app, &places) => entered,
        () = seat.wanted() => Err("GAVE_WAY"),
    };
    drop(seat);
    let outcome = *entered.as_ref().err().unwrap_or(&"OK");
    app.metrics.edge_hellos.get_or_create(&OutcomeLabels { outcome }).inc();
    if let Ok(guest) = entered {
        guest.stay(&app).await;
    }
}

/// Where strangers sit.
struct Seats {
    free: Arc<Semaphore>,
    wanted: Arc<Notify>,
}

/// One of them.
struct Seat {
    wanted: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl Default for Seats {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(STRANGERS_MAX)), wanted: Arc::default() }
    }
}

impl Seats {
    async fn take(&self) -> Option<Seat> {
        if self.free.available_permits() == 0 {
            // Whoever has been asked for his seat the longest.
            self.wanted.notify_one();
        }
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Seat { wanted: Arc::clone(&self.wanted), _permit: permit })
    }
}

impl Seat {
    /// Waits until somebody else should have it.
    async fn wanted(&self) {
        sleep(SEAT_AT_LEAST).await;
        self.wanted.notified().await;
    }
}
