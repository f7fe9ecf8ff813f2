//! Scripts for the dispatch core: a line is a time and an event; out come the effects.

use super::names::{driver, offer, offer_id, point, shorten};
use actors::dispatch::{Dispatch, Effect, Event};
use actors::policy::Policy;
use proto::record::ask::{ClaimAnswer, HoldAnswer, OfferNews};
use proto::record::cell::Candidate;
use proto::record::driver::DriverStatus;
use proto::{MonoMs, WallMs};
use std::collections::BTreeSet;

pub(crate) fn interpret(lines: &[&str]) -> Vec<Vec<String>> {
    let mut dispatch = None;
    lines.iter().map(|line| step(&mut dispatch, line)).collect()
}

fn step(dispatch: &mut Option<Dispatch>, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let now = MonoMs(words[0].strip_suffix("ms").unwrap().parse().unwrap());
    let mut out = Vec::new();
    match &words[1..] {
        ["begin", rest @ ..] => {
            let fan_out = rest.first().map_or(1, |n| n.parse().unwrap());
            let policy = Policy { max_offers_per_attempt: fan_out, ..Policy::default() };
            let begun = Dispatch::begin(now, policy, 0, 0, BTreeSet::new(), Vec::new(), &mut out);
            *dispatch = Some(begun);
        }
        ["take-up", age_ms, id, to] => {
            let age_ms = age_ms.strip_suffix("ms").unwrap().parse().unwrap();
            let pending = vec![offer(id, "b1", to, 2)];
            let offered = BTreeSet::from([driver(to)]);
            let policy = Policy::default();
            *dispatch = Some(Dispatch::begin(now, policy, age_ms, 2, offered, pending, &mut out));
        }
        words => dispatch.as_mut().unwrap().step(now, event(words), &mut out),
    }
    out.iter().map(|effect| shorten(say(effect))).collect()
}

fn event(words: &[&str]) -> Event {
    match words {
        ["found", rest @ ..] => {
            let waiting = rest.iter().find_map(|word| word.strip_prefix("waiting="));
            Event::Found {
                candidates: rest.iter().filter_map(|word| candidate(word)).collect(),
                waiting: waiting.map_or(0, |n| n.parse().unwrap()),
            }
        }
        ["claimed", "granted"] => Event::Claimed(Some(ClaimAnswer::Granted)),
        ["claimed", "lost"] => Event::Claimed(Some(ClaimAnswer::Lost)),
        ["claimed", "busy"] => Event::Claimed(Some(ClaimAnswer::Busy)),
        ["claimed", "nothing"] => Event::Claimed(None),
        ["started", id, to] => Event::Started(Some(offer(id, "b1", to, 1))),
        ["started", "refused"] => Event::Started(None),
        ["held", id, "held"] => Event::Held(offer_id(id), Some(HoldAnswer::Held)),
        ["held", id, "busy"] => Event::Held(offer_id(id), Some(HoldAnswer::Busy)),
        ["held", id, "nothing"] => Event::Held(offer_id(id), None),
        ["news", id, "declined"] => Event::News(offer_id(id), OfferNews::Declined),
        ["news", id, "expired"] => Event::News(offer_id(id), OfferNews::Expired),
        ["woken", car] => Event::Woken(candidate(car).unwrap()),
        ["settled"] => Event::Settled(None),
        ["settled", "by", id] => Event::Settled(Some(offer_id(id))),
        ["tick"] => Event::Tick,
        other => panic!("no event {other:?}"),
    }
}

/// `d1:500` is driver d1, 500 m away.
fn candidate(word: &str) -> Option<Candidate> {
    let (who, distance_m) = word.split_once(':')?;
    Some(Candidate {
        driver: driver(who),
        point: point(),
        at: WallMs(0),
        distance_m: distance_m.parse().unwrap(),
        status: DriverStatus::Free,
        version: 1,
    })
}

fn say(effect: &Effect) -> String {
    match effect {
        Effect::Claim { candidate, age_ms, contended } => format!(
            "claim {} eta {}s age {age_ms}ms{}",
            candidate.driver,
            candidate.eta_s,
            if *contended { " contended" } else { "" }
        ),
        Effect::Start { candidate, attempt } => {
            format!(
                "start an offer to {} rank {} attempt {attempt}",
                candidate.driver, candidate.rank
            )
        }
        Effect::Hold(offer) => format!("hold {} for {}", offer.driver, offer.id),
        Effect::Search { radius_m } => format!("search {radius_m}m"),
        Effect::EndOffer(offer, fate) => format!("end {offer} {fate:?}"),
        Effect::Release(driver, offer) => format!("release {driver} from {offer}"),
        Effect::Expire => "expire".into(),
        Effect::Finish => "finish".into(),
        Effect::WakeAt(at) => format!("wake at {}ms", at.0),
    }
}
