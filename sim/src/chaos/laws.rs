//! What a run must keep beside the judge's laws of what clients saw ([`crate::checker`]): that the
//! cluster recovers from everything, says nothing unexpected, serves locations on both sides of
//! every partition; and that the run proves something at all. Pure functions of the evidence.

use super::fault::Kind;
use super::incident::{Incident, OfKind};
use super::locate::{Look, Served};
use proto::Code;
use serde::Serialize;
use std::collections::BTreeMap;

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Broken {
    /// Its name.
    pub law: String,
    /// How.
    pub what: String,
}

impl Broken {
    pub(super) fn new(law: &str, what: impl Into<String>) -> Self {
        Self { law: law.to_owned(), what: what.into() }
    }
}

/// **Every fault is recovered from**: nodes get ready again, all replicas get in step, and each
/// partition that lost its leader is written to by others within half a minute.
pub(super) fn recovers(incidents: &[Incident]) -> Vec<Broken> {
    let mut broken = Vec::new();
    for Incident { kind, nodes, at_ms, wrong, takeover, .. } in incidents {
        let whose = format!("{kind} of {} at {:.1} s", nodes.join(" "), *at_ms as f64 / 1000.0);
        for what in wrong {
            broken.push(Broken::new("recovers", format!("{whose}: {what}")));
        }
        for first in takeover.iter().filter(|first| first.after_ms.is_none()) {
            let what = format!("{whose}: partition {} did not answer for 30 s", first.group);
            broken.push(Broken::new("recovers", what));
        }
    }
    broken
}

/// The first number of codes that are about parties, bookings and trips: a refusal that a correct
/// client may earn.
const REFUSALS_FROM: u16 = 3_000;

/// **Clients see OK, a final refusal, or RETRY**, and nothing else. A try without an answer counts as
/// RETRY; what comes of it, the judge knows.
pub(super) fn answers(outcomes: &BTreeMap<String, u64>) -> Vec<Broken> {
    let is_expected = |outcome: &str| {
        let (status, code) = outcome.split_once(' ').unwrap_or((outcome, ""));
        let Ok(status) = status.parse::<u16>() else {
            return !outcome.starts_with("unreadable");
        };
        let code = Code::ALL.iter().find(|known| known.as_str() == code);
        let refusal = |code: &Code| *code as u16 >= REFUSALS_FROM;
        match status {
            200..=299 => true,
            429 | 503 => code.is_some_and(|code| code.retryable()),
            400..=499 => code.is_some_and(refusal),
            _other => false,
        }
    };
    let unexpected = outcomes.iter().filter(|(outcome, _)| !is_expected(outcome));
    unexpected
        .map(|(outcome, n)| Broken::new("answers", format!("{n} times `{outcome}`")))
        .collect()
}

/// After a cut the two sides have so long to notice it.
const NOTICE_MS: u64 = 2_000;
/// After a heal, positions are found again within so long.
const FRESH_MS: u64 = 20_000;
/// Fewer looks than this at a seat say nothing.
const LOOKS_MIN: usize = 4;

/// The time of a partition in which both sides have to serve.
fn split_time(incident: &Incident) -> std::ops::Range<u64> {
    incident.at_ms + NOTICE_MS..incident.healed_ms
}

/// Cuts with two sides. Where members hear of each other by way of others (bridge, ring, one-way),
/// there are no sides: a node may be asked for a cell whose owner it knows to live and can't reach.
fn cuts(incidents: &[Incident]) -> impl Iterator<Item = &Incident> {
    let has_sides = |kind: Kind| matches!(kind, Kind::Isolate | Kind::Split);
    incidents.iter().filter(move |one| has_sides(one.kind) && one.skipped.is_none())
}

/// How locations were served while the cluster was in two parts.
pub(super) fn served_in_cuts(incidents: &[Incident], looks: &[Look]) -> Served {
    let within =
        |look: &&Look| cuts(incidents).any(|incident| split_time(incident).contains(&look.at_ms));
    Served::of(looks.iter().filter(within))
}

/// **Locations are served on both sides of every partition**, and found again after its end.
pub(super) fn locations(incidents: &[Incident], looks: &[Look], seats: usize) -> Vec<Broken> {
    let mut broken = Vec::new();
    for incident in cuts(incidents) {
        let healed = incident.healed_ms;
        for seat in 0..seats {
            let of_seat = |during: std::ops::Range<u64>| {
                let within = move |look: &&Look| look.seat == seat && during.contains(&look.at_ms);
                Served::of(looks.iter().filter(within))
            };
            let whose = |what: &str| {
                let Incident { kind, at_ms, .. } = incident;
                format!("seat {} {what} of {kind} at {:.1} s", seat + 1, *at_ms as f64 / 1000.0)
            };
            let split = of_seat(split_time(incident));
            if split.looks >= LOOKS_MIN && (split.wrote == 0 || split.read == 0) {
                broken.push(Broken::new(
                    "locations",
                    whose(&format!("served nothing during the cut ({split:?})")),
                ));
            }
            let after = of_seat(healed..healed + FRESH_MS);
            if after.looks >= LOOKS_MIN && after.found == 0 {
                broken.push(Broken::new(
                    "locations",
                    whose("did not find its driver within 20 s after the end"),
                ));
            }
        }
    }
    broken
}

/// Less than so many of the requests settled, and the run proves little.
const SETTLED_SHARE_MIN: f64 = 0.5;

/// **The run proves something**: each kind of fault was done and met a leader, and clients got
/// answers. Why not, if not.
pub(super) fn void(
    kinds: &[Kind],
    by_kind: &BTreeMap<Kind, OfKind>,
    (asked, settled): (u64, u64),
    hopeless: bool,
) -> Vec<String> {
    let mut void = Vec::new();
    let of = |kind: &Kind| by_kind.get(kind).map_or((0, 0), |of| (of.times, of.hit_leader));
    for kind in kinds {
        match of(kind) {
            (0, _) => void.push(format!("{kind} was never done")),
            (_, 0) => void.push(format!("{kind} never met a leader")),
            (_, _) => {}
        }
    }
    if (settled as f64) < asked as f64 * SETTLED_SHARE_MIN {
        void.push(format!("only {settled} of {asked} requests got a final answer"));
    }
    if hopeless {
        void.push("it was stopped, for the cluster did not recover from fault after fault".into());
    }
    void
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::takeover::FirstSuccess;

    fn incident(kind: Kind, at_ms: u64, healed_ms: u64) -> Incident {
        Incident {
            kind,
            nodes: vec!["n1".into()],
            seats: vec![0],
            what: String::new(),
            at_ms,
            healed_ms,
            whole_after_ms: Some(10),
            led: 3,
            takeover: vec![FirstSuccess { group: 7, after_ms: Some(900) }],
            asked: 10,
            repeated: 1,
            late: 0,
            beside: false,
            wrong: vec![],
            skipped: None,
        }
    }

    #[test]
    fn a_partition_that_stays_away_is_named() {
        let good = incident(Kind::Kill, 0, 10);
        assert_eq!(recovers(std::slice::from_ref(&good)), []);
        let never = vec![FirstSuccess { group: 7, after_ms: None }];
        let bad = Incident { takeover: never, wrong: vec!["lacking".into()], ..good };
        let broken = recovers(&[bad]);
        assert_eq!(broken.len(), 2);
        assert!(broken[1].what.contains("partition 7"), "{broken:?}");
    }

    #[test]
    fn clients_may_see_ok_refusals_and_retry_only() {
        let good = [
            "200",
            "201",
            "503 RETRY",
            "503 NOT_READY",
            "429 RATE_LIMITED",
            "409 DRIVER_BUSY",
            "410 OFFER_TAKEN",
            "timeout",
            "connection lost",
            "no connection",
            "gave up",
        ];
        let outcomes = |all: &[&str]| all.iter().map(|one| ((*one).to_owned(), 1)).collect();
        assert_eq!(answers(&outcomes(&good)), []);
        let bad = [
            "500",
            "400 BAD_REQUEST",
            "404 NO_SUCH_PATH",
            "503",
            "502 RETRY",
            "unreadable frame",
            "409 MYSTERY",
        ];
        assert_eq!(answers(&outcomes(&bad)).len(), bad.len());
    }

    /// Looks of two seats, twice a second for a minute.
    fn looks(change: impl Fn(&mut Look)) -> Vec<Look> {
        let look = |n: u64| {
            let seat = usize::from(n % 2 == 1);
            let mut look = Look { at_ms: n / 2 * 500, seat, wrote: true, read: true, found: true };
            change(&mut look);
            look
        };
        (0..240).map(look).collect()
    }

    #[test]
    fn both_sides_serve_locations_and_find_them_again() {
        let cut = [incident(Kind::Split, 10_000, 20_000)];
        assert_eq!(locations(&cut, &looks(|_| {}), 2), []);
        let in_cut = |look: &Look| (10_000..20_000).contains(&look.at_ms);
        let deaf = looks(|look| look.wrote = !(in_cut(look) && look.seat == 1));
        let broken = locations(&cut, &deaf, 2);
        assert!(
            broken.len() == 1 && broken[0].what.starts_with("seat 2 served nothing"),
            "{broken:?}"
        );
        let stale = looks(|look| look.found = look.seat == 1 || look.at_ms < 20_000);
        let broken = locations(&cut, &stale, 2);
        assert!(
            broken.len() == 1 && broken[0].what.starts_with("seat 1 did not find"),
            "{broken:?}"
        );
        assert_eq!(locations(&[incident(Kind::Kill, 10_000, 20_000)], &deaf, 2), []);
        assert_eq!(served_in_cuts(&cut, &deaf).looks, 32);
    }

    #[test]
    fn a_run_that_missed_a_kind_or_its_leaders_proves_nothing() {
        let met = OfKind { times: 2, hit_leader: 1, ..OfKind::default() };
        let missed = OfKind { times: 2, ..OfKind::default() };
        let by_kind = BTreeMap::from([(Kind::Kill, met), (Kind::Pause, missed)]);
        let kinds = [Kind::Kill, Kind::Pause, Kind::Wipe];
        assert_eq!(void(&kinds[..1], &by_kind, (100, 99), false), Vec::<String>::new());
        let why = void(&kinds, &by_kind, (100, 49), true);
        assert_eq!(why.len(), 4, "{why:?}");
    }
}
