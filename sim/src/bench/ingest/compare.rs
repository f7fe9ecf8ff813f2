//! Others that do the same work in the same run, and how much faster we are.

use super::super::BenchError;
use super::super::converse::{Manner, Phase};
use super::super::helper::Helper;
use super::super::line::{self, Line, Requests};
use super::super::load::{Under, WRITE_AT};
use super::super::redis::{self, Commands};
use super::super::traffic::Flock;
use super::row::Ratio;
use super::{Bench, Plan, Row};
use proto::units::Clock;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Who takes one ping a request as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// A handler that parses and says yes.
    Bare,
    /// A node.
    Node,
}

impl Bench<'_> {
    /// The same pings for Redis.
    pub(super) async fn redis(&mut self, plan: Plan, version: &str) -> Result<Row, BenchError> {
        let helper = redis::start().await?;
        let phase = Phase::default();
        let mut talks = Vec::new();
        for flock in self.flocks(plan) {
            let broken = |source| BenchError::System { what: "reach redis".into(), source };
            let stream = TcpStream::connect(helper.at).await.map_err(broken)?;
            stream.set_nodelay(true).map_err(broken)?;
            talks.push((stream, Commands::new(flock, plan.batch, Arc::clone(self.clock))));
        }
        let manner = self.manner(usize::from(self.args.window), plan.batch, talks.len());
        let load = Under::load(talks, &manner, &phase, self.clock);
        let what = format!("{version}, {} drivers, {} a batch", plan.drivers, plan.batch);
        let (_, row) = self.measured((what, plan), load, &phase, || helper.usage()).await?;
        Ok(row)
    }

    /// One ping a request as JSON.
    pub(super) async fn json(&mut self, who: Compared) -> Result<Row, BenchError> {
        let drivers = self.drivers.len();
        let plan = Plan { drivers, batch: 1, skew_pct: 0 };
        let bare = match who {
            Compared::Bare => Some(bare().await?),
            Compared::Node => None,
        };
        let doors = match &bare {
            Some(helper) => vec![helper.at],
            None => self.stage.doors(),
        };
        let phase = Phase::default();
        let mut talks = Vec::new();
        for (flock, number) in self.flocks(plan).into_iter().zip(0usize..) {
            let broken = |source| BenchError::System { what: "reach a door".into(), source };
            let line = Line::open(doors[number % doors.len()]).await.map_err(broken)?;
            let next = requests(flock, Arc::clone(self.clock));
            talks.push((line.stream(), Requests { next, applied: 0, other: 0 }));
        }
        let manner = Manner { window: 1, per_s: None, write_at: WRITE_AT };
        let load = Under::load(talks, &manner, &phase, self.clock);
        let what = match who {
            Compared::Bare => BARE,
            Compared::Node => NODE,
        };
        let usage = || bare.as_ref().map_or_else(|| self.stage.usage(), Helper::usage);
        let span = super::span(&phase, self.args.lasts(), self.clock, usage, what).await;
        let (talks, samples) = load.ended().await?;
        self.at = self.clock.wall().max(self.at);
        let refused = talks.iter().map(|talk| talk.other).sum();
        let row = self.row(what.to_owned(), plan, &samples, span);
        Ok(Row { refused, ..row })
    }
}

const BARE: &str = "bare axum handler, one ping a request";
const NODE: &str = "hansom, one ping a request as JSON";

async fn bare() -> Result<Helper, BenchError> {
    let program = std::env::current_exe();
    let what = "find this program".to_owned();
    let program = program.map_err(|source| BenchError::System { what, source })?;
    let flags =
        |at: SocketAddr| ["bench", "bare", "--http", &at.to_string()].map(str::to_owned).to_vec();
    Helper::start(&program, flags).await
}

/// The pings of a flock as requests.
fn requests(mut flock: Flock, clock: Arc<dyn Clock>) -> impl FnMut(&mut Vec<u8>) + Send + 'static {
    move |to| {
        let Some((_, car, at)) = flock.next_car(clock.wall()) else { return };
        let (point, at, driver) = (car.point(), at.0, car.driver);
        let body = format!(
            "{{\"lat\":{:.7},\"lng\":{:.7},\"speed_kmh\":36.0,\"heading_deg\":90.0,\
             \"accuracy_m\":5.0,\"ts\":{at}}}",
            point.lat(),
            point.lng()
        );
        let path = format!("/v1/drivers/{driver}/location");
        line::put(&path, &format!("x-driver-id: {driver}\r\n"), &body, to);
    }
}

/// How rows of the same work compare: ours to the other's.
pub(super) fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let mut all = Vec::new();
    let is_redis = |row: &Row| row.what.starts_with("redis");
    for theirs in rows.iter().filter(|row| is_redis(row)) {
        let same = |row: &&Row| {
            !is_redis(row) && row.batch == theirs.batch && row.drivers == theirs.drivers
        };
        let Some(ours) = rows.iter().find(same) else { continue };
        let at = format!("at {} pings a batch, {} drivers", theirs.batch, theirs.drivers);
        all.push(Ratio::of(format!("updates/s to redis {at}"), ours.per_s, theirs.per_s));
        let what = format!("updates per server CPU second to redis {at}");
        all.push(Ratio::of(what, ours.per_server_cpu_s, theirs.per_server_cpu_s));
    }
    let find = |name: &str| rows.iter().find(|row| row.what == name);
    if let (Some(ours), Some(bare)) = (find(NODE), find(BARE)) {
        all.push(Ratio::of("requests/s to the bare handler".into(), ours.per_s, bare.per_s));
    }
    let skewed = |row: &&Row| row.what.ends_with("in one cell");
    for hot in rows.iter().filter(skewed) {
        let same = |row: &&Row| {
            !skewed(row) && row.what.starts_with("hansom") && row.drivers == hot.drivers
        };
        let Some(even) = rows.iter().find(same) else { continue };
        all.push(Ratio::of("p99 of skewed to uniform traffic".into(), hot.p99_ms, even.p99_ms));
        let nodes = hot.node_shares_pct.len().max(1) as f64;
        let most = hot.node_shares_pct.iter().copied().fold(0.0, f64::max);
        let what = "busiest node's share of skewed traffic to the mean".into();
        all.push(Ratio::of(what, most, 100.0 / nodes));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, batch: usize, per_s: f64, p99_ms: f64) -> Row {
        let per_server_cpu_s = 2.0 * per_s;
        Row {
            what: what.into(),
            batch,
            drivers: 9,
            per_s,
            per_server_cpu_s,
            p99_ms,
            ..Row::default()
        }
    }

    fn shown(rows: &[Row]) -> Vec<(String, f64)> {
        ratios(rows).into_iter().map(|ratio| (ratio.what, ratio.times)).collect()
    }

    #[test]
    fn rows_of_the_same_work_are_compared() {
        let rows = [
            row("hansom, 9 drivers, 16 a frame", 16, 100.0, 1.0),
            row("hansom, 9 drivers, 64 a frame", 64, 300.0, 1.0),
            row("redis 7.0.15, 9 drivers, 16 a batch", 16, 20.0, 1.0),
            row("redis 7.0.15, 9 drivers, 64 a batch", 64, 30.0, 1.0),
        ];
        let times: Vec<f64> = shown(&rows).into_iter().map(|(_, times)| times).collect();
        assert_eq!(times, [5.0, 5.0, 10.0, 10.0]);
        let rows = [row(BARE, 1, 80.0, 1.0), row(NODE, 1, 60.0, 1.0)];
        assert_eq!(shown(&rows), [("requests/s to the bare handler".to_owned(), 0.75)]);
    }

    #[test]
    fn a_skewed_row_is_compared_with_the_uniform_one() {
        let mut hot = row("hansom, 9 drivers, 64 a frame, 50 % in one cell", 64, 1.0, 6.0);
        hot.node_shares_pct = vec![50.0, 30.0, 20.0];
        let rows = [row("hansom, 9 drivers, 64 a frame", 64, 1.0, 4.0), hot];
        let times: Vec<f64> = shown(&rows).into_iter().map(|(_, times)| times).collect();
        assert_eq!(times[0], 1.5);
        assert!((times[1] - 1.5).abs() < 1e-9, "{times:?}");
        assert!(shown(&rows[..1]).is_empty());
    }
}
