//! Faults of links.

use super::super::fault::{Fault, Kind};
use super::super::incident::Incident;
use super::super::network::{Cut, Link, Slowness};
use super::super::shape::shape;
use super::Stage;
use crate::partitions::Partitions;
use std::time::Duration;

/// How probably a cut is silent.
const SILENT: f64 = 0.7;
/// How long each half of a flap lasts.
const FLAP: Duration = Duration::from_millis(200);
/// How probably all of a node's links are slow, not one; and one in both directions.
const ALL_SLOW: f64 = 0.3;
const BOTH_WAYS: f64 = 0.5;

impl Stage<'_> {
    /// Cuts links, and mends them again.
    pub(super) async fn cut(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) {
        let victim = self.victim(partitions, &mut fault);
        let shape = shape(fault.kind, self.nemesis.seats(), victim, &mut fault.dice);
        let led = self.met(&shape.met, partitions, incident);
        let how = if fault.dice.chance(SILENT) { Cut::Silent } else { Cut::Refused };
        let word = match how {
            Cut::Silent => "silently",
            Cut::Refused => "refused",
        };
        incident.what = format!("({}, {word})", shape.what);
        let links = self.by_number(&shape.links);
        let began = self.nemesis.clock.mono();
        self.network.cut(&links, how).await;
        let mend = async {
            if fault.kind == Kind::Flap {
                self.flap(&links, how, fault.lasts).await;
            } else {
                tokio::time::sleep(fault.lasts).await;
            }
            self.network.mend(&links).await;
            self.board.ms()
        };
        // Others must lead where nobody hears the leader. Elsewhere he may go on with those who do.
        if fault.kind == Kind::Isolate {
            let (seats, mut dice) = (self.others(&shape.met), fault.dice.fork());
            let takeover = self.probes.first_successes(&led, &seats, began, &mut dice);
            (incident.takeover, incident.healed_ms) = tokio::join!(takeover, mend);
        } else {
            incident.healed_ms = mend.await;
        }
    }

    async fn flap(&self, links: &[Link], how: Cut, lasts: Duration) {
        let mut left = lasts;
        loop {
            tokio::time::sleep(FLAP).await;
            self.network.mend(links).await;
            tokio::time::sleep(FLAP).await;
            left = left.saturating_sub(FLAP * 2);
            if left.is_zero() {
                return;
            }
            self.network.cut(links, how).await;
        }
    }

    /// Slows links down, and makes them fast again.
    pub(super) async fn slow(
        &self,
        mut fault: Fault,
        partitions: &Partitions,
        incident: &mut Incident,
    ) {
        let victim = self.victim(partitions, &mut fault);
        let _led = self.met(&[victim], partitions, incident);
        let others = self.others(&[victim]);
        // Beside another fault two of three replicas may have to do with this link.
        let alone = !fault.beside;
        let (links, what): (Vec<Link>, &str) = if alone && fault.dice.chance(ALL_SLOW) {
            (others.iter().flat_map(|other| [(victim, *other), (*other, victim)]).collect(), "all")
        } else {
            let other = others[fault.dice.below(others.len())];
            if fault.dice.chance(BOTH_WAYS) {
                (vec![(victim, other), (other, victim)], "one, both ways")
            } else {
                (vec![(victim, other)], "one, one way")
            }
        };
        let make = if alone { Slowness::bad } else { Slowness::busy };
        let slow = make(&mut fault.dice);
        let Slowness { delay_ms, jitter_ms, loss, .. } = slow;
        let most_ms = delay_ms + jitter_ms;
        incident.what =
            format!("({what}; {delay_ms:.0}-{most_ms:.0} ms a packet, {:.1} % lost)", loss * 100.0);
        let links = self.by_number(&links);
        self.network.slow(&links, Some(slow)).await;
        tokio::time::sleep(fault.lasts).await;
        self.network.slow(&links, None).await;
        incident.healed_ms = self.board.ms();
    }

    /// Links between the nodes that hold these seats now.
    fn by_number(&self, links: &[Link]) -> Vec<Link> {
        let cluster = self.nemesis.cluster();
        links.iter().map(|(from, to)| (cluster.id(*from), cluster.id(*to))).collect()
    }
}
