//! How long a SIGKILL goes unnoticed. The bound here is loose, for a loaded machine must not fail
//! it; the figure in the documents comes from a quiet one:
//! `HANSOM_KILLS=10 cargo test --release --test processes -- --nocapture sigkill`

use crate::nodes::Cluster;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const NODES: u64 = 5;
const KILLS: usize = 3;
/// How often each survivor is asked whom it sees.
const POLL: Duration = Duration::from_millis(10);
/// Any kill is noticed within this.
const WITHIN: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_sigkill_is_seen_by_all_others() {
    let kills = std::env::var("HANSOM_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut cluster = Cluster::start_alone(NODES, &[]).await;
    let mut took: Vec<Duration> = Vec::new();
    for victim in (1..=NODES).cycle().take(kills) {
        cluster.kill(victim);
        let killed = now();
        let survivors = cluster.running();
        let cluster_ref = &cluster;
        let watches = survivors.iter().map(|node| async move {
            let dropped = async {
                while cluster_ref.members(*node).await.is_none_or(|seen| seen.contains(&victim)) {
                    sleep(POLL).await;
                }
            };
            timeout(WITHIN, dropped).await.unwrap_or_else(|_| {
                panic!("node {node} has not noticed within {WITHIN:?} that node {victim} is dead")
            });
            now() - killed
        });
        let seen = futures_util::future::join_all(watches).await;
        took.push(seen.into_iter().max().unwrap());
        cluster.restart(victim).await;
    }
    took.sort();
    let median = took[took.len() / 2];
    println!(
        "detection by all {} others: median {median:.0?} of {kills}, all {took:.0?}",
        NODES - 1
    );
}
