//! What was done to the nodes, how long it was felt, and whether they got over it.

use crate::stall::STALL_MAX_MS;
use crate::stats::Spread;
use crate::takeover::FirstSuccess;
use serde::Serialize;

/// Everything that was done to the nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Harm {
    /// One node was killed and came back.
    pub kill: Option<Kill>,
    /// One node lost its disk and was replaced.
    pub disk: Option<DiskLoss>,
    /// One node after the other was killed and came back.
    pub kills: Option<Kills>,
    /// All nodes were killed at once and came back.
    pub all: Option<KillAll>,
    /// What was ordered and was not done, if so.
    pub undone: Option<String>,
    /// Whether every partition had all its replicas when the riders were done.
    pub whole: Option<Whole>,
}

/// The killing of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// Which.
    pub node: String,
    /// When, in milliseconds after the first request.
    pub at_ms: u64,
    /// How long it was away: until it was started again.
    pub away_ms: u64,
    /// How long after its start it was ready.
    pub ready_after_ms: u64,
    /// How long after the kill every partition had all its replicas; nothing if that took too long.
    pub whole_after_ms: Option<u64>,
}

/// A node whose disk was deleted, and the one that took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskLoss {
    /// Which.
    pub node: String,
    /// Who came in its place.
    pub successor: String,
    /// When, in milliseconds after the first request.
    pub at_ms: u64,
    /// How long after its start the successor was ready.
    pub ready_after_ms: u64,
    /// How long after the loss every partition had all its replicas; nothing if that took too long.
    pub whole_after_ms: Option<u64>,
}

/// Many kills, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Kills {
    /// How many were ordered.
    pub wanted: u32,
    /// Those that were done.
    pub each: Vec<OfMany>,
    /// From the kill to the first successful read, over all partitions that a victim led.
    pub takeover_ms: Spread,
    /// Partitions that did not answer within half a minute; not among the above.
    pub never: usize,
    /// From the kill until every partition had all its replicas.
    pub whole_ms: Spread,
    /// How much too late ready tasks ran, all the while.
    pub stall_ms: Spread,
    /// Requests that clients made meanwhile.
    pub asked: u64,
    /// Those that eight tries or five seconds did not settle.
    pub late: u64,
    /// How the first of them fared.
    pub late_stories: Vec<String>,
}

/// One of many kills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfMany {
    /// The kill itself.
    #[serde(flatten)]
    pub kill: Kill,
    /// The partitions that the victim led, and when they answered again.
    pub led: Vec<FirstSuccess>,
}

/// The killing of all nodes at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KillAll {
    /// When, in milliseconds after the first request.
    pub at_ms: u64,
    /// How long after the last start all nodes were ready.
    pub ready_after_ms: u64,
    /// From the last start to each partition's first successful read.
    pub serving_ms: Spread,
    /// Partitions that did not answer within half a minute; not among the above.
    pub never: usize,
    /// How long after the last start every partition had all its replicas.
    pub whole_after_ms: Option<u64>,
}

/// How the partitions stood in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Whole {
    /// How long was waited for it, in milliseconds.
    pub waited_ms: u64,
    /// What was lacking still.
    pub lacking: Vec<String>,
    /// How many were seen with all replicas at one command.
    pub compared: usize,
    /// Replicas that had applied the same and were not the same.
    pub differing: Vec<String>,
}

/// The times of those that answered, and how many did not.
pub(crate) fn times<'a>(all: impl IntoIterator<Item = &'a FirstSuccess>) -> (Spread, usize) {
    let (mut times, mut never) = (Vec::new(), 0);
    for first in all {
        match first.after_ms {
            Some(ms) => times.push(ms as f64),
            None => never += 1,
        }
    }
    (Spread::of(times), never)
}

impl Kills {
    /// The figures of these kills.
    pub(crate) fn of(wanted: u32, each: Vec<OfMany>, stall_ms: Spread) -> Self {
        let (takeover_ms, never) = times(each.iter().flat_map(|one| &one.led));
        let whole = each.iter().filter_map(|one| Some(one.kill.whole_after_ms? as f64));
        let whole_ms = Spread::of(whole.collect());
        Self { wanted, each, takeover_ms, never, whole_ms, stall_ms, ..Self::default() }
    }

    /// Late requests as a share of all, in percent.
    pub fn late_pct(&self) -> f64 {
        self.late as f64 * 100.0 / self.asked.max(1) as f64
    }

    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        row(
            "killed with SIGKILL, one by one",
            format!("{} of {} kills, back after 0-10 s each", self.each.len(), self.wanted),
        );
        let Spread { n, p50, p95, p99, max, .. } = self.takeover_ms;
        let stalled = self.stall_ms.p99 > STALL_MAX_MS;
        let invalid = if stalled { "INVALID, the machine stalled: " } else { "" };
        let never = if self.never > 0 { format!(", {} NEVER", self.never) } else { String::new() };
        row(
            "kill to first success, by partition",
            format!(
                "{invalid}p50 {p50:.0} ms, p95 {p95:.0} ms, p99 {p99:.0} ms, max {max:.0} ms; {n} partitions{never}"
            ),
        );
        row(
            "scheduling stall",
            format!("p99 {:.0} ms, max {:.0} ms", self.stall_ms.p99, self.stall_ms.max),
        );
        let Spread { p50, max, .. } = self.whole_ms;
        row(
            "kill to all replicas in step",
            format!("p50 {:.1} s, max {:.1} s", p50 / 1000.0, max / 1000.0),
        );
        row(
            "not settled by 8 tries in 5 s",
            format!("{:.3} % ({} of {} requests)", self.late_pct(), self.late, self.asked),
        );
    }
}

impl Harm {
    /// Its part of the table.
    pub(super) fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let s = |ms: u64| ms as f64 / 1000.0;
        let whole = |after: Option<u64>| match after {
            Some(ms) => format!("all replicas in step after {:.1} s", s(ms)),
            None => "replicas NOT in step in time".into(),
        };
        match &self.kill {
            Some(Kill { node, at_ms, away_ms, ready_after_ms, whole_after_ms }) => row(
                "killed with SIGKILL",
                format!(
                    "{node} after {:.1} s, away {:.1} s, ready {:.1} s after its start; {}",
                    s(*at_ms),
                    s(*away_ms),
                    s(*ready_after_ms),
                    whole(*whole_after_ms)
                ),
            ),
            None if self.kills.is_none() => row("killed with SIGKILL", "nobody".into()),
            None => {}
        }
        if let Some(DiskLoss { node, successor, at_ms, ready_after_ms, whole_after_ms }) =
            &self.disk
        {
            row(
                "lost its disk",
                format!(
                    "{node} after {:.1} s; {successor} took its place, ready {:.1} s after its start; {}",
                    s(*at_ms),
                    s(*ready_after_ms),
                    whole(*whole_after_ms)
                ),
            );
        }
        if let Some(kills) = &self.kills {
            kills.rows(row);
        }
        if let Some(KillAll { at_ms, ready_after_ms, serving_ms, never, whole_after_ms }) =
            &self.all
        {
            let never = if *never > 0 { format!(", {never} NEVER") } else { String::new() };
            row(
                "all killed at once and started",
                format!(
                    "after {:.1} s; ready {:.1} s after the last start; partitions serve p50 {:.1} s, max {:.1} s{never}; {}",
                    s(*at_ms),
                    s(*ready_after_ms),
                    serving_ms.p50 / 1000.0,
                    serving_ms.max / 1000.0,
                    whole(*whole_after_ms)
                ),
            );
        }
        if let Some(Whole { waited_ms, lacking, compared, differing }) = &self.whole {
            let list = |all: &[String]| {
                if all.is_empty() { "none".to_owned() } else { all.join("; ") }
            };
            let stands = list(lacking);
            row(
                "partitions under-replicated at the end",
                format!("{stands} (waited {:.1} s)", s(*waited_ms)),
            );
            row(
                "replicas that differ at the end",
                format!("{} ({compared} partitions compared)", list(differing)),
            );
        }
    }

    /// What is wrong, beside what the judge says.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let mut wrongs: Vec<String> = self.undone.clone().into_iter().collect();
        let never = self.kills.as_ref().map_or(0, |kills| kills.never)
            + self.all.as_ref().map_or(0, |all| all.never);
        if never > 0 {
            wrongs.push(format!("{never} partitions did not answer for half a minute"));
        }
        if let Some(Whole { lacking, .. }) = &self.whole
            && !lacking.is_empty()
        {
            wrongs.push(format!("{} partitions are under-replicated", lacking.len()));
        }
        wrongs.extend(self.whole.iter().flat_map(|whole| whole.differing.clone()));
        wrongs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed(whole_after_ms: Option<u64>, led: &[Option<u64>]) -> OfMany {
        let kill =
            Kill { node: "n1".into(), at_ms: 0, away_ms: 0, ready_after_ms: 0, whole_after_ms };
        let led =
            (1u16..).zip(led).map(|(group, after_ms)| FirstSuccess { group, after_ms: *after_ms });
        OfMany { kill, led: led.collect() }
    }

    #[test]
    fn takeover_times_are_taken_over_all_partitions_and_kills() {
        let each = vec![
            killed(Some(9_000), &[Some(700), Some(900)]),
            killed(Some(4_000), &[Some(1_100), None]),
        ];
        let kills = Kills::of(2, each, Spread::default());
        assert_eq!(
            (kills.takeover_ms.n, kills.takeover_ms.p50, kills.takeover_ms.max),
            (3, 900.0, 1_100.0)
        );
        assert_eq!((kills.never, kills.whole_ms.max), (1, 9_000.0));
        let harm = Harm { kills: Some(kills), ..Harm::default() };
        assert_eq!(harm.wrongs(), ["1 partitions did not answer for half a minute"]);
    }

    #[test]
    fn a_stalled_machine_makes_the_times_invalid_and_no_more() {
        let rows = |p99| {
            let stall = Spread { p99, ..Spread::default() };
            let kills = Kills::of(1, vec![killed(Some(1), &[Some(1)])], stall);
            let harm = Harm { kills: Some(kills), ..Harm::default() };
            let mut text = String::new();
            harm.rows(&mut |name, value| text.push_str(&format!("{name}: {value}\n")));
            (text.contains("INVALID"), harm.wrongs().is_empty())
        };
        assert_eq!((rows(50.0), rows(51.0)), ((false, true), (true, true)));
    }

    #[test]
    fn a_partition_that_lacks_a_replica_or_differs_in_the_end_is_wrong() {
        let lacking = vec!["group 7: nobody leads it".to_owned()];
        let differing = vec!["group 7 at 6: n2 and n1 differ".to_owned()];
        let whole = Whole { waited_ms: 30_000, lacking, compared: 64, differing };
        let harm = Harm { whole: Some(whole), ..Harm::default() };
        assert_eq!(
            harm.wrongs(),
            ["1 partitions are under-replicated", "group 7 at 6: n2 and n1 differ"]
        );
        assert!(Harm { whole: Some(Whole::default()), ..Harm::default() }.wrongs().is_empty());
    }
}
