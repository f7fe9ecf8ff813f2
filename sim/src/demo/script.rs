//! What is done to the nodes, and when. Without orders to the contrary: one node is killed and
//! started again on the same disk; later one loses its disk for good and another takes its place.
//! With `--kills`: one node after the other is killed, and each time it is measured how long its
//! partitions were away. With `--kill-all`, in the end, all at once.
//!
//! All of it in wall time at any speed: a restart does not get faster because the city does.

use super::Failure;
use super::nemesis::Nemesis;
use crate::client::Client;
use crate::dice::Dice;
use crate::partitions::Equality;
use crate::progress::Voice;
use crate::report::harm::{DiskLoss, Harm, Kill, KillAll, Kills, OfMany, Whole, times};
use crate::stall::Stall;
use crate::takeover::Probes;
use crate::tally::Tally;
use proto::units::MonoMs;
use std::sync::Arc;
use std::time::Duration;

/// How long a killed node stays away where nothing else is said.
const AWAY: Duration = Duration::from_secs(5);
/// The longest that one of many stays away.
const AWAY_MAX_MS: f64 = 10_000.0;
/// After a restarted node is ready and seen by all, requests that left before may still be on their
/// way; for so long the ring counts as changing.
const SETTLE: Duration = Duration::from_secs(1);
/// A steady load runs for so long before the first kill of many, and after the last thing done.
const WARM_UP: Duration = Duration::from_secs(8);
const COOL_DOWN: Duration = Duration::from_secs(3);
/// How long partitions may lack a replica after something was done. Beyond that it is not done again.
const WHOLE_WITHIN_MS: u64 = 60_000;
/// The same after the riders are done.
const WHOLE_AT_END_MS: u64 = 30_000;
/// How often it is looked, in the end, whether replicas are equal, until all were seen at one command:
/// 5 s in all.
const EQUAL_LOOKS: u32 = 25;
const EQUAL_LOOK_EVERY: Duration = Duration::from_millis(200);
/// The fewest nodes of which one can lose its disk: with fewer, a partition's only other copy would
/// be no majority.
pub(super) const WIPE_NODES_MIN: usize = 3;

/// What is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Kill a node.
    pub(crate) kill: bool,
    /// Delete a node's disk.
    pub(crate) wipe: bool,
    /// Kill so many, one after the other; then neither of the above.
    pub(crate) kills: u32,
    /// Kill all at once, in the end.
    pub(crate) kill_all: bool,
}

impl Orders {
    /// Whether it takes a rider in each partition.
    pub(super) const fn probes(self) -> bool {
        self.kills > 0 || self.kill_all
    }
}

/// Everything that the script plays with.
pub(super) struct Stage<'a> {
    pub(super) nemesis: &'a Nemesis,
    pub(super) client: &'a Client,
    pub(super) tally: &'a Tally,
    pub(super) voice: &'a Voice,
    pub(super) probes: Option<&'a Probes>,
    /// From the first request to the last.
    pub(super) demand: Duration,
    pub(super) began: MonoMs,
    pub(super) dice: Dice,
}

impl Stage<'_> {
    /// Does what is ordered.
    pub(super) async fn play(mut self, orders: Orders) -> Result<Harm, Failure> {
        let mut harm = Harm::default();
        if orders.kills > 0 {
            self.many(orders.kills, &mut harm).await?;
        } else {
            if orders.kill {
                self.until(self.demand / if orders.wipe { 3 } else { 2 }).await;
                harm.kill = Some(self.kill_one().await?);
            }
            if orders.wipe {
                self.until(self.demand * 2 / 3).await;
                self.wipe_one(&mut harm).await?;
            }
        }
        if orders.kill_all && harm.undone.is_none() {
            harm.all = Some(self.all_at_once().await?);
        }
        if orders.kills > 0 {
            tokio::time::sleep(COOL_DOWN).await;
        }
        Ok(harm)
    }

    async fn until(&self, at: Duration) {
        let gone = Duration::from_millis(self.since_began(self.nemesis.clock.mono()));
        tokio::time::sleep(at.saturating_sub(gone)).await;
    }

    fn since_began(&self, at: MonoMs) -> u64 {
        at.since(self.began)
    }

    fn since(&self, at: MonoMs) -> u64 {
        self.nemesis.clock.mono().since(at)
    }

    /// How long after `at` every partition has all its replicas.
    async fn whole_since(&self, at: MonoMs) -> Option<u64> {
        let (lacking, _) = self.nemesis.whole(self.client, WHOLE_WITHIN_MS).await;
        lacking.is_empty().then(|| self.since(at))
    }

    /// Kills a node and brings it back.
    async fn kill_one(&mut self) -> Result<Kill, Failure> {
        let (nemesis, client) = (self.nemesis, self.client);
        let victim = self.dice.below(nemesis.seats());
        let node = nemesis.cluster().name(victim);
        nemesis.remember(victim, client).await;
        self.tally.set_stable(false);
        let killed = nemesis.kill(victim);
        self.voice.say(&format!("{node} was killed"));
        tokio::time::sleep(AWAY).await;
        let (started, ready_after_ms) = nemesis.revive(victim, client).await?;
        self.voice.say(&format!("{node} is back, ready after {ready_after_ms} ms"));
        nemesis.seen_by_all(client).await;
        let whole_after_ms = self.whole_since(killed).await;
        tokio::time::sleep(SETTLE).await;
        self.tally.set_stable(true);
        let (at_ms, away_ms) = (self.since_began(killed), started.since(killed));
        Ok(Kill { node, at_ms, away_ms, ready_after_ms, whole_after_ms })
    }

    /// Deletes a node's disk and puts another node in its place.
    async fn wipe_one(&mut self, harm: &mut Harm) -> Result<(), Failure> {
        let (nemesis, client) = (self.nemesis, self.client);
        // A partition that lacks a replica already could lose its majority.
        let (lacking, _) = nemesis.whole(client, WHOLE_WITHIN_MS).await;
        if let Some(first) = lacking.first() {
            harm.undone = Some(format!("no disk was wiped, for partitions lack replicas: {first}"));
            return Ok(());
        }
        let victim = self.dice.below(nemesis.seats());
        nemesis.remember(victim, client).await;
        let node = nemesis.cluster().name(victim);
        self.tally.set_stable(false);
        let lost = self.nemesis.clock.mono();
        nemesis.cluster().replace(victim)?;
        let successor = nemesis.cluster().name(victim);
        self.voice.say(&format!("{node} lost its disk; {successor} was started in its place"));
        nemesis.ready(victim, client).await?;
        let ready_after_ms = self.since(lost);
        let whole_after_ms = self.whole_since(lost).await;
        if let Some(ms) = whole_after_ms {
            self.voice.say(&format!("all partitions are whole again {ms} ms after the loss"));
        }
        tokio::time::sleep(SETTLE).await;
        self.tally.set_stable(true);
        let at_ms = self.since_began(lost);
        harm.disk = Some(DiskLoss { node, successor, at_ms, ready_after_ms, whole_after_ms });
        Ok(())
    }

    /// Kills one after the other, each only when all partitions are whole.
    async fn many(&mut self, wanted: u32, harm: &mut Harm) -> Result<(), Failure> {
        tokio::time::sleep(WARM_UP).await;
        let stall = Stall::watch(Arc::clone(&self.nemesis.clock));
        let (asked, late) = (self.tally.asked.get(), self.tally.late.get());
        self.tally.set_stable(false);
        let mut each = Vec::new();
        while each.len() < wanted as usize {
            let (lacking, partitions) = self.nemesis.whole(self.client, WHOLE_WITHIN_MS).await;
            if let Some(first) = lacking.first() {
                harm.undone = Some(format!(
                    "only {} of {wanted} kills, for partitions lacked replicas for a minute: {first}",
                    each.len()
                ));
                break;
            }
            let victim = self.dice.below(self.nemesis.seats());
            let led = partitions.led_by(&self.nemesis.cluster().name(victim));
            each.push(self.one_of_many(victim, &led).await?);
        }
        let mut kills = Kills::of(wanted, each, stall.so_far());
        kills.asked = self.tally.asked.get() - asked;
        kills.late = self.tally.late.get() - late;
        kills.late_stories = self.tally.late_stories();
        harm.kills = Some(kills);
        self.tally.set_stable(true);
        Ok(())
    }

    async fn one_of_many(&mut self, victim: usize, led: &[u16]) -> Result<OfMany, Failure> {
        let (nemesis, client) = (self.nemesis, self.client);
        let node = nemesis.cluster().name(victim);
        let survivors: Vec<usize> = (0..nemesis.seats()).filter(|seat| *seat != victim).collect();
        let away = Duration::from_secs_f64(self.dice.between(0.0, AWAY_MAX_MS) / 1000.0);
        let mut dice = self.dice.fork();
        nemesis.remember(victim, client).await;
        let killed = nemesis.kill(victim);
        let (led, back) = tokio::join!(
            async {
                match self.probes {
                    Some(probes) => {
                        probes.first_successes(led, &survivors, killed, &mut dice).await
                    }
                    None => Vec::new(),
                }
            },
            async {
                tokio::time::sleep(away).await;
                nemesis.revive(victim, client).await
            }
        );
        let (started, ready_after_ms) = back?;
        let whole_after_ms = self.whole_since(killed).await;
        let (slowest, count) = (times(&led).0.max, led.len());
        self.voice.say(&format!(
            "{node} was killed at {:.1} s, led {count} partitions, the slowest was back after {slowest} ms; away {} ms, all whole after {}",
            self.since_began(killed) as f64 / 1000.0,
            started.since(killed),
            whole_after_ms.map_or("a minute: NOT".into(), |ms| format!("{ms} ms")),
        ));
        let (at_ms, away_ms) = (self.since_began(killed), started.since(killed));
        let kill = Kill { node, at_ms, away_ms, ready_after_ms, whole_after_ms };
        Ok(OfMany { kill, led })
    }

    /// Kills all nodes at once and starts them again.
    async fn all_at_once(&mut self) -> Result<KillAll, Failure> {
        let (nemesis, client) = (self.nemesis, self.client);
        let seats: Vec<usize> = (0..nemesis.seats()).collect();
        for seat in &seats {
            nemesis.remember(*seat, client).await;
        }
        self.tally.set_stable(false);
        let killed = nemesis.clock.mono();
        nemesis.cluster().kill_all();
        self.voice.say("all nodes were killed");
        for seat in &seats {
            nemesis.cluster().spawn(*seat)?;
        }
        let last_start = nemesis.clock.mono();
        let mut dice = self.dice.fork();
        let (served, ready) = tokio::join!(
            async {
                let Some(probes) = self.probes else { return Vec::new() };
                probes.first_successes(&probes.groups(), &seats, last_start, &mut dice).await
            },
            async {
                nemesis.all_ready(client).await?;
                Ok::<_, Failure>(self.since(last_start))
            }
        );
        let ready_after_ms = ready?;
        let (serving_ms, never) = times(&served);
        let max = serving_ms.max;
        self.voice.say(&format!("all partitions serve {max} ms after the last start"));
        let whole_after_ms = self.whole_since(last_start).await;
        tokio::time::sleep(SETTLE).await;
        self.tally.set_stable(true);
        let at_ms = self.since_began(killed);
        Ok(KillAll { at_ms, ready_after_ms, serving_ms, never, whole_after_ms })
    }
}

/// Waits, at the end, until no partition lacks a replica.
pub(crate) async fn whole_at_end(nemesis: &Nemesis, client: &Client) -> Whole {
    let began = nemesis.clock.mono();
    let (lacking, _) = nemesis.whole(client, WHOLE_AT_END_MS).await;
    let waited_ms = nemesis.clock.mono().since(began);
    let lacking = lacking.iter().map(ToString::to_string).collect();
    let mut equality = Equality::default();
    let mut looks = 0;
    while !equality.is_complete() && looks < EQUAL_LOOKS {
        equality.look(&nemesis.partitions(client).await);
        looks += 1;
        tokio::time::sleep(EQUAL_LOOK_EVERY).await;
    }
    Whole { waited_ms, lacking, compared: equality.compared(), differing: equality.differing() }
}
