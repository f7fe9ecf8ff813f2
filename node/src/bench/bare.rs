//! A front door with nothing behind it: a handler as anybody would write it, which parses one
//! position as JSON and says that it was applied. `hansom bench ingest --compare axum` runs it as a
//! process of its own and drives it and a node with the same requests.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::process::ExitCode;

/// Where it listens.
#[derive(Debug, Clone, clap::Args)]
pub struct BareArgs {
    /// The address.
    #[arg(long, value_name = "ADDR")]
    pub http: SocketAddr,
}

/// What a phone reports, as a node takes it.
#[derive(Debug, Deserialize)]
struct Position {
    lat: f64,
    lng: f64,
    speed_kmh: Option<f64>,
    heading_deg: Option<f64>,
    accuracy_m: Option<f64>,
    ts: u64,
}

#[derive(Debug, Serialize)]
struct Counts {
    applied: u32,
    stale: u32,
    refused: u32,
}

/// Looks at every field, so that none is parsed for nothing.
async fn locate(
    Path(driver): Path<String>,
    Json(sent): Json<Position>,
) -> (StatusCode, Json<Counts>) {
    let Position { lat, lng, speed_kmh, heading_deg, accuracy_m, ts } = sent;
    let measured = [speed_kmh, heading_deg, accuracy_m].into_iter().flatten();
    let good = lat.abs() <= 90.0
        && lng.abs() <= 180.0
        && ts > 0
        && !driver.is_empty()
        && measured.into_iter().all(|value| value >= 0.0);
    let (applied, refused) = if good { (1, 0) } else { (0, 1) };
    (StatusCode::ACCEPTED, Json(Counts { applied, stale: 0, refused }))
}

/// Serves until it is killed.
pub async fn run(args: BareArgs) -> ExitCode {
    let app = Router::new().route("/v1/drivers/{id}/location", post(locate));
    let served = async {
        let listener = tokio::net::TcpListener::bind(args.http).await?.tap_io(|stream| {
            // Without it only latency is worse, and that shows.
            let _slower = stream.set_nodelay(true);
        });
        axum::serve(listener, app).await
    };
    let ended = served.await.map(|()| "the bare handler has ended");
    crate::tools::print::finish("hansom bench bare", ended)
}
