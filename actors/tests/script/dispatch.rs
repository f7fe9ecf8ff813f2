//! Scripts for the dispatch core: a line is a time and an event; out come the effects.

use super::names::{driver, offer, offer_id, point, shorten};
use actors::dispatch::{Dispatch, Effect, Event, Findings, Prospect, Start, Step};
use actors::geo;
use actors::policy::Policy;
use proto::record::ask::{ClaimAnswer, HoldAnswer, OfferNews};
use proto::record::cell::Candidate;
use proto::record::driver::DriverStatus;
use proto::record::explain::Searched;
use proto::{DriverId, MonoMs, WallMs};
use std::collections::{BTreeSet, VecDeque};

/// A dispatch, and what it asked that was not answered yet.
#[derive(Default)]
struct Stage {
    dispatch: Option<Dispatch>,
    claiming: VecDeque<DriverId>,
    starting: VecDeque<DriverId>,
}

pub(crate) fn interpret(lines: &[&str]) -> Vec<Vec<String>> {
    let mut stage = Stage::default();
    lines.iter().map(|line| stage.step(line)).collect()
}

impl Stage {
    fn step(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = MonoMs(words[0].strip_suffix("ms").unwrap().parse().unwrap());
        let mut out = Vec::new();
        match &words[1..] {
            ["begin", rest @ ..] => {
                let number = |place: usize, or| rest.get(place).map_or(or, |n| n.parse().unwrap());
                let mut policy =
                    Policy { max_offers_per_attempt: number(0, 1), ..Policy::default() };
                if let Some(seconds) = rest.get(2) {
                    policy.booking_ttl_ms = seconds.parse::<u32>().unwrap() * 1_000;
                }
                let offers_made = usize::from(number(1, 0));
                let start = Start { offers_made, ..Start::default() };
                self.dispatch = Some(Dispatch::begin(now, policy, start, &mut out));
            }
            // Of a policy that has drivers yielded.
            ["appeals"] => {
                let policy = Policy { yield_ms: 60_000, ..Policy::default() };
                let start = Start::default();
                self.dispatch = Some(Dispatch::begin(now, policy, start, &mut out));
            }
            // Of a policy that binds drivers; the booking may have waited for one in vain.
            ["binds", within, waited @ ..] => {
                let next_within_ms =
                    within.strip_suffix('s').unwrap().parse::<u32>().unwrap() * 1_000;
                let policy = Policy { next_within_ms, ..Policy::default() };
                let waited_ms =
                    waited.first().map(|it| it.strip_suffix("ms").unwrap().parse().unwrap());
                let age_ms = waited_ms.unwrap_or_default();
                let start = Start { age_ms, waited_ms, ..Start::default() };
                self.dispatch = Some(Dispatch::begin(now, policy, start, &mut out));
            }
            ["take-up", age_ms, id, to] => {
                let start = Start {
                    age_ms: age_ms.strip_suffix("ms").unwrap().parse().unwrap(),
                    ride_ms: 0,
                    attempt: 2,
                    offers_made: 1,
                    passed_over: BTreeSet::from([driver(to)]),
                    pending: vec![offer(id, "b1", to, 2)],
                    waited_ms: None,
                };
                self.dispatch = Some(Dispatch::begin(now, Policy::default(), start, &mut out));
            }
            ["attempts"] => {
                let steps = self.dispatch.as_ref().unwrap().steps().iter();
                return steps.map(say_step).collect();
            }
            ["searches"] => {
                let (searches, forgotten) = self.dispatch.as_ref().unwrap().searches();
                assert_eq!(forgotten, 0);
                return searches.iter().flat_map(say_search).map(shorten).collect();
            }
            words => {
                let event = self.event(words);
                self.dispatch.as_mut().unwrap().step(now, event, &mut out);
            }
        }
        for effect in &out {
            if let Effect::Claim { candidate, .. } = effect {
                self.claiming.push_back(candidate.driver);
            }
            if let Effect::Start { candidate, .. } = effect {
                self.starting.push_back(candidate.driver);
            }
        }
        out.iter().map(|effect| shorten(say(effect))).collect()
    }

    fn event(&mut self, words: &[&str]) -> Event {
        match words {
            ["found", rest @ ..] => {
                let waiting = rest.iter().find_map(|word| word.strip_prefix("waiting="));
                Event::Found(Findings {
                    candidates: rest.iter().filter_map(|word| candidate(word)).collect(),
                    waiting: waiting.map_or(0, |n| n.parse().unwrap()),
                    queued: rest.contains(&"queue"),
                    ..Findings::default()
                })
            }
            // Who is not named is the one who was asked first.
            ["claimed", answer] => {
                Event::Claimed(self.claiming.pop_front().unwrap(), claim_answer(answer))
            }
            ["claimed", who, answer] => {
                self.claiming.retain(|claimed| *claimed != driver(who));
                Event::Claimed(driver(who), claim_answer(answer))
            }
            ["started", "refused"] => Event::Started(self.starting.pop_front().unwrap(), None),
            ["started", id, to] => {
                self.starting.retain(|started| *started != driver(to));
                Event::Started(driver(to), Some(offer(id, "b1", to, 1)))
            }
            ["held", id, "held"] => Event::Held(offer_id(id), Some(HoldAnswer::Held)),
            ["held", id, "busy"] => Event::Held(offer_id(id), Some(HoldAnswer::Busy)),
            ["held", id, "nothing"] => Event::Held(offer_id(id), None),
            ["news", id, "declined"] => Event::News(offer_id(id), OfferNews::Declined),
            ["news", id, "expired"] => Event::News(offer_id(id), OfferNews::Expired),
            ["appealed", "nobody"] => Event::Appealed(None),
            ["appealed", who] => Event::Appealed(Some(driver(who))),
            ["woken", car] => Event::Woken(candidate(car).unwrap()),
            ["settled"] => Event::Settled(None),
            ["settled", "by", id] => Event::Settled(Some(offer_id(id))),
            ["tick"] => Event::Tick,
            other => panic!("no event {other:?}"),
        }
    }
}

fn claim_answer(word: &str) -> Option<ClaimAnswer> {
    match word {
        "granted" => Some(ClaimAnswer::Granted),
        "lost" => Some(ClaimAnswer::Lost(None)),
        "busy" => Some(ClaimAnswer::Busy(None)),
        "nothing" => None,
        other => panic!("no answer {other}"),
    }
}

fn say_step(step: &Step) -> String {
    let Step { number, radius_m, candidates_found, began_at, ended_at } = *step;
    let until = ended_at.map_or("now".into(), |at| format!("{}ms", at.0));
    format!("attempt {number} {radius_m}m {}ms to {until}, found {candidates_found}", began_at.0)
}

fn say_search(search: &Searched) -> Vec<String> {
    let Searched { attempt, radius_m, age_ms, waiting, .. } = search;
    let mut said = vec![format!("attempt {attempt} {radius_m}m at {age_ms}ms waiting {waiting}")];
    for it in &search.considered {
        let woken = if it.woken { " woken" } else { "" };
        let offer = it.offer.map_or(String::new(), |offer| format!(" {offer}"));
        said.push(format!("  {} rank {}{woken} {:?}{offer}", it.driver, it.rank, it.fate));
    }
    said.extend(search.dropped.iter().map(|it| format!("  {} {}", it.driver, it.filter.as_str())));
    said
}

/// `d1:500` is driver d1, 500 m away in a straight line, as a shell that knows no roads sees him; of
/// `d1:500+7s` the ride ends there in 7 s.
fn candidate(word: &str) -> Option<Prospect> {
    let (who, place) = word.split_once(':')?;
    let (distance_m, soon) = place.split_once('+').unwrap_or((place, "0s"));
    let distance_m = distance_m.parse().unwrap();
    let free_in_ms = soon.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000;
    let Policy { speed_cms, detour_pct, .. } = Policy::default();
    let candidate = Candidate {
        driver: driver(who),
        point: point(),
        at: WallMs(0),
        distance_m,
        status: DriverStatus::Free,
        version: 1,
        spare: 0,
        idle_since: WallMs(0),
    };
    let eta_ms = geo::eta_ms(distance_m, speed_cms, detour_pct);
    Some(Prospect { free_in_ms, ..Prospect::free(candidate, eta_ms, WallMs(0)) })
}

fn say(effect: &Effect) -> String {
    match effect {
        Effect::Claim { candidate, favour_ms, contended } => format!(
            "claim {} eta {}s favour {favour_ms}ms{}",
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
        Effect::HoldNext(offer) => format!("hold {} next for {}", offer.driver, offer.id),
        Effect::Search { radius_m } => format!("search {radius_m}m"),
        Effect::EndOffer(offer, fate) => format!("end {offer} {fate:?}"),
        Effect::Release(driver, offer) => format!("release {driver} from {offer}"),
        Effect::Appeal { within_ms, but_not } => {
            let but_not: Vec<String> = but_not.iter().map(|it| format!(" not {it}")).collect();
            format!("appeal within {within_ms}ms{}", but_not.concat())
        }
        Effect::Expire => "expire".into(),
        Effect::Finish => "finish".into(),
        Effect::WakeAt(at) => format!("wake at {}ms", at.0),
    }
}
