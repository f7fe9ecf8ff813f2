//! The client's side: HTTP and WebSocket, all under `/v1`. A handler reads the request, asks the
//! owner through the router and shows the answer; it decides nothing.
//!
//! * `api`: all of it as a document. [`problem`]: every error as problem+json, and the status of each code.
//! * `call`: what is read from a request. `requests`, `views`, `pushes`: the JSON that comes in and
//!   goes out. `cursors`: where streams go on.
//! * `identity`: who may ask. `guard`: what is done around every request. `server`: connections. `stale`: reads that may be old.
//! * `parties`, `bookings`, `explain`, `trips`, `history`, `positions`, `stream`, `events`, `operations`, `zones`: the endpoints.

mod answer;
mod api;
mod bookings;
mod call;
mod cursors;
mod events;
mod explain;
mod formats;
mod guard;
mod history;
mod identity;
mod operations;
mod parties;
mod positions;
pub mod problem;
mod pushes;
mod requests;
pub mod server;
mod stale;
mod standing;
mod stream;
mod supply;
mod trips;
mod views;
mod way;
pub(crate) mod zones;

use crate::auth::Verifier;
use crate::cluster::Facts;
use crate::config::Limits;
use crate::follow::Streams;
use crate::metrics::Metrics;
use crate::pings::Ingest;
use crate::policy::InForce;
use crate::router::NodeRouter;
use crate::sockets::SocketRegistry;
use actors::runtime::world::Mint;
use api::Api;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
pub use identity::Rates;
pub(crate) use identity::{Asker, PINGS_MAX, asker};
use membership::Membership;
pub(crate) use positions::within_sight;
use problem::Problem;
use proto::code::Refusal;
use proto::units::Clock;
use proto::{Code, NodeId};
pub(crate) use requests::latest;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

/// Everything a handler needs.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// Who is here and who owns what.
    pub facts: Facts,
    /// The policy in force.
    pub policy: InForce,
    /// The way to every owner.
    pub router: Arc<NodeRouter>,
    /// The live view.
    pub membership: Membership,
    /// Where pings of sockets gather.
    pub pings: Arc<Ingest>,
    /// The sockets of this node.
    pub sockets: Arc<SocketRegistry>,
    /// The streams of this node.
    pub streams: Arc<Streams>,
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
    /// Who tokens say asks; nothing where the headers are believed.
    pub verifier: Option<Arc<Verifier>>,
    /// How often each subject may come.
    pub rates: Rates,
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
    let identified = || from_fn_with_state(app.clone(), identity::identified);
    let (served, api) = served()
        .layer(from_fn_with_state(app.clone(), guard::serves))
        .layer(identified())
        .split_for_parts();
    let (operated, operations) = operated().layer(identified()).split_for_parts();
    let (open, probes) = open().split_for_parts();
    let mut api = Api::openapi().merge_from(api).merge_from(operations).merge_from(probes);
    formats::say_formats(&mut api);
    Router::new()
        .merge(served)
        .merge(operated)
        .merge(open)
        .merge(SwaggerUi::new("/docs").url("/v1/openapi.json", api))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(guard::named))
        .with_state(app.clone())
        .layer(from_fn_with_state(app, guard::around))
}

/// What phones and gateways use. A node that has not seen enough of its cluster refuses all of it.
fn served() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(parties::register_rider))
        .routes(routes!(parties::rider))
        .routes(routes!(history::bookings))
        .routes(routes!(parties::register_driver))
        .routes(routes!(parties::driver))
        .routes(routes!(standing::can_book))
        .routes(routes!(standing::can_accept))
        .routes(routes!(standing::meta))
        .routes(routes!(standing::ban_rider, standing::unban_rider))
        .routes(routes!(standing::ban_driver, standing::unban_driver))
        .routes(routes!(parties::go_online))
        .routes(routes!(parties::go_offline))
        .routes(routes!(parties::offers))
        .routes(routes!(history::driven))
        .routes(routes!(zones::place))
        .routes(routes!(zones::queue))
        .routes(routes!(stream::open))
        .routes(routes!(positions::locate_one))
        .routes(routes!(positions::locate))
        .routes(routes!(positions::nearby))
        .routes(routes!(supply::supply))
        .routes(routes!(bookings::create))
        .routes(routes!(bookings::booking))
        .routes(routes!(bookings::cancel))
        .routes(routes!(explain::explain))
        .routes(routes!(events::follow))
        .routes(routes!(trips::decline))
        .routes(routes!(trips::accept))
        .routes(routes!(way::active))
        .routes(routes!(way::locate, way::relocate))
        .routes(routes!(way::trail))
        .routes(routes!(way::receipt))
        .routes(routes!(way::trip))
        .routes(routes!(trips::arrive))
        .routes(routes!(trips::start))
        .routes(routes!(trips::pause))
        .routes(routes!(trips::resume))
        .routes(routes!(trips::end))
        .routes(routes!(trips::cancel))
}

/// What operators use, also of a node that is not ready.
fn operated() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(operations::cluster))
        .routes(routes!(operations::lookup))
        .routes(routes!(operations::partitions))
        .routes(routes!(operations::drain))
        .routes(routes!(operations::activate))
        .routes(routes!(operations::policy, operations::set_policy))
        .routes(routes!(zones::zones, zones::set_zones))
}

/// What tells nothing about anybody, for load balancers and scrapers.
fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::metrics))
}

async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Refusal::new(Code::NoSuchPath, format!("there is no {}", uri.path())).into()
}

async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Refusal::new(Code::NoSuchMethod, format!("{} takes no {method}", uri.path())).into()
}
