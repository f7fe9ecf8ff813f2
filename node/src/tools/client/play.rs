//! What the two parts that are played to their end have in common: what they say as things happen.

use super::hand::Hand;
use super::tables::{Milliseconds, word};
use super::trouble::Trouble;
use crate::tools::print;
use proto::MonoMs;
use proto::client::{Failure, Transition, Trip};
use proto::units::Clock as _;
use serde_json::{Value, json};
use std::time::Duration;

/// The pause between two looks at what has happened.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Something that happened, as a line for people and as an object for programs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct News {
    pub(super) event: &'static str,
    pub(super) about: Value,
    pub(super) text: String,
}

/// A part that is played.
#[derive(Debug)]
pub(super) struct Play<'a> {
    pub(super) hand: &'a Hand,
    began: MonoMs,
}

impl<'a> Play<'a> {
    pub(super) fn new(hand: &'a Hand) -> Self {
        Self { hand, began: hand.clock.mono() }
    }

    /// How long it has been played.
    pub(super) fn after(&self) -> Milliseconds {
        Milliseconds(self.hand.clock.mono().since(self.began))
    }

    /// Says what happened.
    pub(super) fn say(&self, news: News) -> Result<(), Trouble> {
        let News { event, mut about, text } = news;
        let after = self.after();
        if self.hand.json {
            about["event"] = event.into();
            about["after_ms"] = after.0.into();
            print::data(about)?;
        } else {
            print::data(format_args!("{:>7.1} s  {text}", after.seconds()))?;
        }
        Ok(())
    }

    /// What was heard; nothing if the cluster could not say, which passes.
    pub(super) fn heard<T>(&self, answer: Result<T, Failure>) -> Result<Option<T>, Trouble> {
        match answer {
            Ok(heard) => Ok(Some(heard)),
            Err(unsettled @ Failure::Unsettled(_)) => {
                print::talk(format_args!("{:>7.1} s  {unsettled}", self.after().seconds()));
                Ok(None)
            }
            Err(failure) => Err(Trouble::Failed { failure, keyed: false, found: None }),
        }
    }

    /// What came of something that may be refused, which is said.
    pub(super) fn tried<T>(&self, answer: Result<T, Failure>) -> Result<Option<T>, Trouble> {
        let Err(Failure::Refused(refused)) = answer else { return self.heard(answer) };
        self.say(News {
            event: "refused",
            about: json!({ "code": refused.code.as_str(), "detail": refused.detail }),
            text: refused.to_string(),
        })?;
        Ok(None)
    }
}

/// The steps of a trip that have not been seen, which are counted by `seen`.
pub(super) fn steps(seen: &mut u32, trip: &Trip) -> Vec<News> {
    let new = trip.transitions.iter().filter(|step| step.sequence > *seen);
    let news = new.map(|step| news_of(trip, step)).collect();
    *seen = trip.transitions.iter().map(|step| step.sequence).max().unwrap_or(0).max(*seen);
    news
}

fn news_of(trip: &Trip, step: &Transition) -> News {
    let (status, by) = (word(&step.to), word(&step.by));
    let why = if step.reason.is_empty() { String::new() } else { format!(": {}", step.reason) };
    News {
        event: "trip",
        about: json!({ "trip_id": trip.trip_id.to_string(), "status": status, "by": by }),
        text: format!("{} {status} by {by}{why}", trip.trip_id),
    }
}
