//! Every metric of the process, declared once. Names are `hansom_<noun>_<unit or _total>`; labels
//! come from closed sets (codes, request names, route templates), never from ids.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use proto::record::cell::PingCounts;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Buckets of request durations, in seconds: a local read to a request that timed out. The clock
/// counts milliseconds.
const SECONDS: [f64; 11] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What the runtime counts.
const RUNTIME: &[(&str, &str)] = &[
    ("holds", "Offers put before drivers"),
    ("holds_refused", "Offers that drivers' records refused"),
    ("assignments", "Bookings that got a driver"),
    ("reassignments", "Bookings that changed to a better driver before the pickup"),
    ("claims_granted", "Claims on drivers that won"),
    ("claims_lost", "Claims on drivers that lost to a better one"),
    ("claims_busy", "Claims on drivers who were not free"),
    ("pings_applied", "Pings applied by this node's cells"),
    ("pings_stale", "Pings older than what this node's cells knew"),
    ("searches_partial", "Searches that some owner did not answer in time"),
    ("searches_hedged", "Questions about a slow owner's cells that were put to a copy"),
    ("hedges_won", "Those of them that the copy answered first"),
    ("overloaded", "Requests refused because too many were under way"),
    ("queue_offers", "How often a queue zone's queue named a driver to a booking"),
    ("queue_trips", "Drivers who left a queue with a trip"),
    ("queue_waited_seconds", "How long those had waited at their places"),
];

/// What an HTTP request was and became.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    /// The method, or `other`.
    pub method: &'static str,
    /// The route template, or `none`.
    pub path: String,
    /// The status.
    pub status: u16,
}

/// Which route template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PathLabels {
    /// The route template, or `none`.
    pub path: String,
}

/// What a request between nodes was and became.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AskLabels {
    /// The request's name.
    pub ask: &'static str,
    /// `OK` or the code of the refusal.
    pub outcome: &'static str,
}

/// What became of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `OK` or the code of the refusal.
    pub outcome: &'static str,
}

/// Over how many forwards a request came that was served here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HopsLabels {
    /// 0, 1 or 2.
    pub hops: u8,
}

/// How a frame to another node's ledger fared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FrameLabels {
    /// `consensus` or `snapshots`.
    pub lane: &'static str,
    /// `OK`, the code of the refusal, or `GIVEN_UP` if the ledger waited no longer.
    pub outcome: &'static str,
}

/// How a ping or a datagram fared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FateLabels {
    /// Of a ping: `applied`, `stale` or `refused` by the owner; `superseded` or `overflow` before
    /// it was sent; `lost` with a failed request.
    pub fate: &'static str,
}

/// Which kind of thing is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// The kind.
    pub kind: &'static str,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// HTTP requests by method, route and status.
    pub http_requests: Family<HttpLabels, Counter>,
    /// How long they took.
    pub http_seconds: Family<PathLabels, Histogram>,
    /// Requests served by this node's own actors.
    pub asks: Family<AskLabels, Counter>,
    /// The same by how often they were forwarded.
    pub hops: Family<HopsLabels, Counter>,
    /// Requests sent on to another node.
    pub forwards: Family<OutcomeLabels, Counter>,
    /// Those of them that came to their owner through a third node, their own link being down.
    pub detours: Counter,
    /// Requests that this node refused to route.
    pub refusals: Family<OutcomeLabels, Counter>,
    /// Frames sent to other nodes' ledgers. Those served here are among [`Self::asks`].
    pub ledger_frames: Family<FrameLabels, Counter>,
    /// Pings by what became of them.
    pub pings: Family<FateLabels, Counter>,
    /// Frames of edge gateways: `pings` and `near` that were answered, and those `refused`.
    pub edge_frames: Family<KindLabels, Counter>,
    /// Who came to the door of edge gateways: let in (`OK`), refused with a code, `GONE` before he
    /// said who he is, or slower to say it than others who waited (`GAVE_WAY`).
    pub edge_hellos: Family<OutcomeLabels, Counter>,
    /// Open connections of edge gateways that were let in.
    pub edge_connections: Gauge,
    /// Cells that are owned as their children.
    pub split_cells: Gauge,
    /// Explanations that found their queue full.
    pub stories_dropped: Counter,
    /// Pushes that found no socket or a full queue.
    pub pushes_dropped: Counter,
    /// Gossip datagrams by what became of them.
    pub gossip_datagrams: Family<FateLabels, Counter>,
    /// Writes to the write-ahead log, and its syncs.
    pub journal_writes: Counter,
    /// See `journal_writes`.
    pub journal_syncs: Counter,
    /// Partitions this node leads, group 0 among them.
    pub partitions_led: Gauge,
    /// For how long a partition had no leader when this node gave its leadership back.
    pub leadership_return_seconds: Histogram,
    /// Open WebSockets.
    pub sockets: Gauge,
    /// Streams of riders and of drivers.
    pub streams: Family<KindLabels, Gauge>,
    /// Peers with a live connection.
    pub peers_connected: Gauge,
    /// Live members, this one included.
    pub members_live: Gauge,
    /// Whether new clients should come here, as `/readyz` says.
    pub ready: Gauge,
    /// Drivers in the queues of queue zones that are kept here.
    pub queued_drivers: Gauge,
    /// Actors by kind.
    pub shells: Family<KindLabels, Gauge>,
    /// What the runtime counts, by name; it counts by itself, so these are set, not raised.
    pub runtime: BTreeMap<&'static str, Counter>,
}

/// The name of an outcome.
pub fn outcome<T>(result: &Result<T, proto::code::Refusal>) -> &'static str {
    match result {
        Ok(_) => "OK",
        Err(refusal) => refusal.code.as_str(),
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(SECONDS);
        let http_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        let mut metrics = Self {
            registry: Registry::with_prefix("hansom"),
            http_requests: Family::default(),
            http_seconds,
            asks: Family::default(),
            hops: Family::default(),
            forwards: Family::default(),
            detours: Counter::default(),
            refusals: Family::default(),
            ledger_frames: Family::default(),
            pings: Family::default(),
            edge_frames: Family::default(),
            edge_hellos: Family::default(),
            edge_connections: Gauge::default(),
            split_cells: Gauge::default(),
            stories_dropped: Counter::default(),
            pushes_dropped: Counter::default(),
            gossip_datagrams: Family::default(),
            journal_writes: Counter::default(),
            journal_syncs: Counter::default(),
            partitions_led: Gauge::default(),
            leadership_return_seconds: seconds(),
            sockets: Gauge::default(),
            streams: Family::default(),
            peers_connected: Gauge::default(),
            members_live: Gauge::default(),
            ready: Gauge::default(),
            queued_drivers: Gauge::default(),
            shells: Family::default(),
            runtime: BTreeMap::new(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Names everything once; the names are tested to say their unit. Counters get `_total` from
    /// the encoder.
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("http_requests", "HTTP requests", self.http_requests.clone());
        r.register("http_request_duration_seconds", "Time to answer", self.http_seconds.clone());
        r.register("asks", "Requests served by this node's actors", self.asks.clone());
        r.register("asks_by_hops", "The same by number of forwards", self.hops.clone());
        r.register("forwards", "Requests sent on to another node", self.forwards.clone());
        r.register("detours", "Forwards through a third node", self.detours.clone());
        r.register("routing_refusals", "Requests not routed", self.refusals.clone());
        r.register("ledger_frames", "Frames to others' ledgers", self.ledger_frames.clone());
        r.register("pings", "Pings by what became of them", self.pings.clone());
        r.register("edge_frames", "Frames of edge gateways by kind", self.edge_frames.clone());
        let hellos = self.edge_hellos.clone();
        r.register("edge_hellos", "Connections to the door of edge gateways by outcome", hellos);
        let gateways = self.edge_connections.clone();
        r.register("edge_connections_count", "Open connections of edge gateways", gateways);
        let split = self.split_cells.clone();
        r.register("split_cells_count", "Cells that are owned as their children", split);
        let dropped = self.stories_dropped.clone();
        r.register("stories_dropped", "Explanations that found their queue full", dropped);
        r.register("pushes_dropped", "Pushes without socket or room", self.pushes_dropped.clone());
        r.register("gossip_datagrams", "Gossip datagrams by fate", self.gossip_datagrams.clone());
        let writes = self.journal_writes.clone();
        r.register("journal_writes", "Appends and votes made durable", writes);
        let syncs = self.journal_syncs.clone();
        r.register("journal_syncs", "Syncs of the write-ahead log", syncs);
        let led = self.partitions_led.clone();
        r.register("partitions_led_count", "Partitions led, group 0 among them", led);
        let gap = self.leadership_return_seconds.clone();
        r.register("leadership_return_seconds", "From handing over to the next leader", gap);
        r.register("sockets_open_count", "Open WebSockets", self.sockets.clone());
        r.register("streams_open_count", "Followed by kind of party", self.streams.clone());
        r.register(
            "peers_connected_count",
            "Peers with a connection",
            self.peers_connected.clone(),
        );
        r.register("members_live_count", "Live members", self.members_live.clone());
        r.register(
            "ready_bool",
            "1 if new clients should come here, as /readyz says",
            self.ready.clone(),
        );
        r.register("shells_count", "Actors by kind", self.shells.clone());
        let queued = self.queued_drivers.clone();
        r.register("queued_drivers_count", "Drivers in the queues kept here", queued);
        for (name, help) in RUNTIME {
            let counter = Counter::default();
            r.register(*name, *help, counter.clone());
            self.runtime.insert(name, counter);
        }
    }

    /// Counts the answer to a batch of pings.
    pub fn count_pings(&self, counts: PingCounts) {
        let PingCounts { applied, stale, refused, lost } = counts;
        let fates = [("applied", applied), ("stale", stale), ("refused", refused), ("lost", lost)];
        for (fate, n) in fates {
            self.ping(fate, u64::from(n));
        }
    }
    /// Counts `n` pings with one fate.
    pub fn ping(&self, fate: &'static str, n: u64) {
        if n > 0 {
            self.pings.get_or_create(&FateLabels { fate }).inc_by(n);
        }
    }
    /// Brings one of the runtime's counters up to what it counted.
    pub fn count_runtime(&self, name: &'static str, count: u64) {
        if let Some(counter) = self.runtime.get(name) {
            counter.inner().store(count, Ordering::Relaxed);
        }
    }
    /// Everything, in the text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# not encoded: {error}\n"),
        }
    }
}

/// A count as a gauge takes it.
pub fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_unit() {
        let metrics = Metrics::default();
        // A family without a member is not written.
        let path = || "none".to_owned();
        let http = HttpLabels { method: "GET", path: path(), status: 200 };
        drop(metrics.http_requests.get_or_create(&http));
        drop(metrics.http_seconds.get_or_create(&PathLabels { path: path() }));
        drop(metrics.asks.get_or_create(&AskLabels { ask: "Accept", outcome: "OK" }));
        drop(metrics.hops.get_or_create(&HopsLabels { hops: 0 }));
        drop(metrics.forwards.get_or_create(&OutcomeLabels { outcome: "OK" }));
        drop(metrics.refusals.get_or_create(&OutcomeLabels { outcome: "RETRY" }));
        drop(metrics.gossip_datagrams.get_or_create(&FateLabels { fate: "sent" }));
        let frame = FrameLabels { lane: "consensus", outcome: "OK" };
        drop(metrics.ledger_frames.get_or_create(&frame));
        metrics.ping("applied", 1);
        drop(metrics.edge_frames.get_or_create(&KindLabels { kind: "pings" }));
        drop(metrics.edge_hellos.get_or_create(&OutcomeLabels { outcome: "OK" }));
        drop(metrics.shells.get_or_create(&KindLabels { kind: "cell" }));
        drop(metrics.streams.get_or_create(&KindLabels { kind: "rider" }));
        let text = metrics.text();
        let types: Vec<(&str, &str)> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        assert_eq!(types.len(), 27 + RUNTIME.len(), "{text}");
        for (name, kind) in types {
            assert!(name.starts_with("hansom_"), "{name}");
            let ends: &[&str] = match kind {
                "counter" => &[""], // the encoder adds `_total`
                "histogram" => &["_seconds", "_bytes"],
                _ => &["_count", "_bool", "_bytes"],
            };
            assert!(ends.iter().any(|end| name.ends_with(end)), "{name} {kind}");
        }
    }
}
