//! Nodes for tests: in this process, on loopback, on simulated disks.

use clap::Parser;
use ledger::MemoryDisk;
use ledger::replicated::Retention;
use node::clock::SystemClock;
use node::config::ConfigError;
use node::mint::SeededMint;
use node::net::Tcp;
use node::node::Storage;
use node::{Args, Config, Node, Seams};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long a test waits for what must happen. Builders share two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The configuration that these flags give.
pub(crate) fn config(flags: &str) -> Result<Config, ConfigError> {
    args(flags).into_config()
}

pub(crate) fn args(flags: &str) -> Args {
    Line::try_parse_from(["node"].into_iter().chain(flags.split_whitespace())).unwrap().args
}

/// A loopback address that no other process and no other test uses: the host part is this
/// process's id, so that ports need no luck.
pub(crate) fn own_address() -> SocketAddr {
    static LAST: AtomicU16 = AtomicU16::new(20_000);
    let pid = std::process::id();
    let [.., c, d] = pid.to_be_bytes();
    SocketAddr::from(([127, 64 + c % 64, d, 1 + c / 64], LAST.fetch_add(1, Ordering::Relaxed)))
}

/// A machine's two disks.
#[derive(Clone, Default)]
pub(crate) struct Disks {
    log: MemoryDisk,
    snapshots: MemoryDisk,
}

impl Disks {
    /// The machine crashes; nothing that was not synced survives.
    pub(crate) fn crash(&self) {
        self.log.crash(0);
        self.snapshots.crash(0);
    }
}

pub(crate) async fn start(config: Config, disks: &Disks, generation: u64) -> Node {
    let (log, snapshots) = (disks.log.open(), disks.snapshots.open());
    let (sync_takes, retention) = (Duration::ZERO, Retention::default());
    let storage = Storage::Memory { log, snapshots, sync_takes, retention, generation };
    let seams = Seams {
        net: Arc::new(Tcp),
        clock: Arc::new(SystemClock::new()),
        mint: Arc::new(SeededMint::from_os().unwrap()),
        storage,
    };
    Node::start(config, seams).await.unwrap()
}

pub(crate) async fn solo() -> Node {
    let flags = format!("--single --http 127.0.0.1:0 --peer {}", own_address());
    let node = start(config(&flags).unwrap(), &Disks::default(), 1).await;
    let http = node.http();
    until("a node is ready", || async move {
        ask(http, "GET", "/readyz", &[], "").await.status() == 200
    })
    .await;
    node
}

/// Asks a node; the body is text so that it can be wrong.
pub(crate) async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let method: Method = method.parse().unwrap();
    let mut request =
        reqwest::Client::new().request(method, format!("http://{at}{path}")).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Asks until the answer is not one to be asked again; gives status and body.
pub(crate) async fn insist(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let asking = async {
        loop {
            let response = ask(at, method, path, headers, &text).await;
            let status = response.status().as_u16();
            if status != 503 {
                return (status, response.json().await.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("an answer that is not RETRY")
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(crate) async fn rider(at: SocketAddr, name: &str) -> String {
    let (status, rider) = insist(at, "POST", "/v1/riders", &[], json!({ "name": name })).await;
    assert_eq!(status, 201, "{rider}");
    text(&rider["rider_id"])
}

/// A driver who is on duty at a place.
pub(crate) async fn driver(at: SocketAddr, name: &str, lat: f64, lng: f64) -> String {
    let body = json!({ "name": name, "vehicle": { "type": "SEDAN" }, "kyc_verified": true });
    let (status, driver) = insist(at, "POST", "/v1/drivers", &[], body).await;
    assert_eq!(status, 201, "{driver}");
    let id = text(&driver["driver_id"]);
    let (status, driver) =
        insist(at, "POST", &format!("/v1/drivers/{id}/online"), &[], Value::Null).await;
    assert_eq!(status, 200, "{driver}");
    ping(at, &id, lat, lng, 1).await;
    id
}

/// Pings until it is applied, from time `ts` on.
pub(crate) async fn ping(at: SocketAddr, driver: &str, lat: f64, lng: f64, ts: u64) {
    let path = format!("/v1/drivers/{driver}/location");
    let mut ts = ts;
    until("a ping is applied", || {
        ts += 1;
        let body = json!({ "lat": lat, "lng": lng, "ts": ts });
        let path = path.clone();
        async move { insist(at, "POST", &path, &[], body).await.1["applied"] == 1 }
    })
    .await;
}

pub(crate) fn wish(lat: f64, lng: f64) -> Value {
    json!({ "pickup": { "lat": lat, "lng": lng }, "destination": { "lat": lat + 0.02, "lng": lng } })
}
