//! The client's side: HTTP and WebSocket, all under `/v1`. A handler reads the request, asks the
//! owner through the router and shows the answer; it decides nothing.
//!
//! * [`problem`]: every error as problem+json, and the status of each code.
//! * `call`: what is read from a request. `requests`, `views`, `pushes`: the JSON that comes in and
//!   goes out.
//! * `guard`: what is done around every request. `server`: connections. `stale`: reads that may be old.
//! * `parties`, `bookings`, `trips`, `history`, `positions`, `stream`, `operations`: the endpoints.

mod answer;
mod bookings;
mod call;
mod guard;
mod history;
mod operations;
mod parties;
mod positions;
pub mod problem;
mod pushes;
mod requests;
pub mod server;
mod stale;
mod stream;
mod trips;
mod views;

use crate::cluster::Facts;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::pings::Gatherer;
use crate::router::NodeRouter;
use crate::sockets::SocketRegistry;
use actors::runtime::world::Mint;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post, put};
use membership::Membership;
use problem::Problem;
use proto::code::Refusal;
use proto::units::Clock;
use proto::{Code, NodeId};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Everything a handler needs.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// Who is here and who owns what.
    pub facts: Facts,
    /// The way to every owner.
    pub router: Arc<NodeRouter>,
    /// The live view.
    pub membership: Membership,
    /// Where pings of sockets gather.
    pub pings: Arc<Gatherer>,
    /// The sockets of this node.
    pub sockets: Arc<SocketRegistry>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub mint: Arc<dyn Mint>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Brings the gauges up to date before they are read.
    pub refresh: Box<dyn Fn() + Send + Sync>,
    /// Bounds.
    pub limits: Limits,
    /// One for each request under way.
    pub in_flight: Semaphore,
}

impl App {
    /// The state of the handlers.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("node", &self.node).finish_non_exhaustive()
    }
}

/// All endpoints.
pub fn endpoints(app: App) -> Router {
    let served = Router::new()
        .route("/v1/riders", post(parties::register_rider))
        .route("/v1/riders/{id}", get(parties::rider))
        .route("/v1/riders/{id}/bookings", get(history::bookings))
        .route("/v1/drivers", post(parties::register_driver))
        .route("/v1/drivers/{id}", get(parties::driver))
        .route("/v1/drivers/{id}/online", post(parties::go_online))
        .route("/v1/drivers/{id}/offline", post(parties::go_offline))
        .route("/v1/drivers/{id}/bookings", get(history::driven))
        .route("/v1/drivers/{id}/offers", get(parties::offers))
        .route("/v1/drivers/{id}/stream", get(stream::open))
        .route("/v1/drivers/{id}/location", post(positions::locate_one))
        .route("/v1/drivers/location", put(positions::locate))
        .route("/v1/nearby", get(positions::nearby))
        .route("/v1/bookings", post(bookings::create))
        .route("/v1/bookings/{id}", get(bookings::booking))
        .route("/v1/bookings/{id}/cancel", post(bookings::cancel))
        .route("/v1/offers/{id}/decline", post(trips::decline))
        .route("/v1/trips/accept", post(trips::accept))
        .route("/v1/trips/active", get(trips::active))
        .route("/v1/trips/{id}", get(trips::trip))
        .route("/v1/trips/{id}/arrive", post(trips::arrive))
        .route("/v1/trips/{id}/start", post(trips::start))
        .route("/v1/trips/{id}/pause", post(trips::pause))
        .route("/v1/trips/{id}/resume", post(trips::resume))
        .route("/v1/trips/{id}/end", post(trips::end))
        .route("/v1/trips/{id}/cancel", post(trips::cancel))
        .layer(from_fn_with_state(app.clone(), guard::ready));
    Router::new()
        .merge(served)
        .route("/v1/cluster", get(operations::cluster))
        .route("/v1/cluster/lookup", get(operations::lookup))
        .route("/v1/cluster/partitions", get(operations::partitions))
        .route("/v1/cluster/nodes/{id}/drain", post(operations::drain))
        .route("/v1/cluster/nodes/{id}/activate", post(operations::activate))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(guard::named))
        .with_state(app.clone())
        .layer(from_fn_with_state(app, guard::around))
}

async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Refusal::new(Code::NoSuchPath, format!("there is no {}", uri.path())).into()
}

async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Refusal::new(Code::NoSuchMethod, format!("{} takes no {method}", uri.path())).into()
}
