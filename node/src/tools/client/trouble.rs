//! Why a command of `hansom client` failed, and what to do next.

use crate::tools::print::Unwritten;
use proto::Code;
use proto::client::{Failure, NoAnswer, Reason, Refused, Unsettled};
use std::fmt;

/// Why there is nothing to show.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What was asked for makes no sense, beyond what clap can see.
    Usage(String),
    /// It can't be asked, or there is nothing to ask about.
    Sentence(String),
    /// The call failed.
    Failed {
        failure: Failure,
        /// Whether the command takes its key, if it is not settled. If not, it may be repeated.
        keyed: bool,
        /// What the command looked up, and must be told when it is repeated.
        found: Option<String>,
    },
    /// What was found can't be printed.
    Unwritten(Unwritten),
}

impl Trouble {
    /// With an id that the command found by itself.
    pub(super) fn about(self, id: &impl fmt::Display) -> Self {
        match self {
            Self::Failed { failure, keyed, found: _ } => {
                Self::Failed { failure, keyed, found: Some(id.to_string()) }
            }
            other @ (Self::Usage(_) | Self::Sentence(_) | Self::Unwritten(_)) => other,
        }
    }

    /// Of a step that the command takes anew whenever it is repeated.
    pub(super) fn repeatable(self) -> Self {
        match self {
            Self::Failed { failure, keyed: _, found } => {
                Self::Failed { failure, keyed: false, found }
            }
            other @ (Self::Usage(_) | Self::Sentence(_) | Self::Unwritten(_)) => other,
        }
    }

    /// Whether it was refused for this reason.
    pub(super) fn is(&self, code: Code) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.is(code))
    }

    /// Whether the command line is to blame.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_))
    }

    /// Whether nobody reads what is printed any more.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Unwritten(unwritten) if unwritten.is_closed())
    }
}

impl From<Unwritten> for Trouble {
    fn from(unwritten: Unwritten) -> Self {
        Self::Unwritten(unwritten)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Sentence(sentence) => f.write_str(sentence),
            Self::Unwritten(unwritten) => unwritten.fmt(f),
            Self::Failed { failure: Failure::Refused(refused), .. } => {
                let next = next(refused);
                write!(f, "{refused}{}{next}", if next.is_empty() { "" } else { "\n  " })
            }
            Self::Failed { failure: Failure::Unreadable(unreadable), .. } => write!(
                f,
                "{unreadable}\n  is --node a node of hansom, and of this build? --json shows all answers"
            ),
            Self::Failed { failure: Failure::Unsettled(unsettled), keyed, found } => {
                let Unsettled { key, tries, last } = unsettled;
                write!(f, "not settled after {tries} tries, the last: {last}")?;
                if *last == NoAnswer::NoConnection.to_string() {
                    f.write_str("\n  is a node running, and is --node right?")?;
                }
                let found = found.iter().map(|id| format!("{id} ")).collect::<String>();
                match keyed {
                    true => write!(
                        f,
                        "\n  nobody knows whether it was done; the same command with `{found}--key {key}` settles it"
                    ),
                    false => f.write_str("\n  asking again does no harm"),
                }
            }
        }
    }
}

/// What helps after a refusal, of those where it is not plain.
const NEXT: &[(Code, &str)] = &[
    (Code::DriverNotFound, "hansom client register driver NAME"),
    (Code::RiderNotFound, "hansom client register rider NAME"),
    (Code::NameTaken, "another name, or the same details as the first time"),
    (Code::KycRequired, "whoever registered him must say that his identity was verified"),
    (Code::DriverBusy, "hansom client driver DRIVER shows with what"),
    (Code::DriverOffline, "hansom client online DRIVER"),
    (
        Code::RiderBusy,
        "hansom client rider RIDER shows it; hansom client cancel --rider RIDER calls it off",
    ),
    (Code::BookingAssigned, "hansom client cancel --rider RIDER calls the trip off"),
    (Code::OfferNotFound, "hansom client offers DRIVER shows what is before him"),
    (Code::OfferExpired, "hansom client offers DRIVER --wait waits for the next"),
    (Code::OfferTaken, "hansom client offers DRIVER --wait waits for the next"),
    (Code::TripNotStarted, "hansom client start --driver DRIVER"),
    (Code::CannotCancelInProgress, "hansom client end --driver DRIVER"),
    (Code::KeyReused, "without --key, or with what was asked under it the first time"),
    (Code::Unauthenticated, "--token or HANSOM_TOKEN; hansom token mint --help makes one"),
    (Code::Forbidden, "a token of whom it is about, or of a gateway or an operator"),
];

fn next(refused: &Refused) -> &'static str {
    let Reason::Known(code) = &refused.code else { return "" };
    NEXT.iter().find(|(known, _)| known == code).map_or("", |(_, next)| next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::client::Key;

    fn unsettled(last: &str) -> Trouble {
        let failure = Unsettled { key: Key(0xab), tries: 8, last: last.to_owned() }.into();
        Trouble::Failed { failure, keyed: true, found: None }
    }

    #[test]
    fn an_unsettled_change_names_the_key_that_settles_it_and_what_was_looked_up() {
        let text = unsettled("503 RETRY: no leader").to_string();
        assert!(text.contains("`--key 000000000000000000000000000000ab` settles it"), "{text}");
        assert!(!text.contains("is a node running"), "{text}");
        let text = unsettled("no connection").about(&"off_1").to_string();
        assert!(text.contains("`off_1 --key 0000") && text.contains("is a node running"), "{text}");
        let text = unsettled("timeout").repeatable().to_string();
        assert!(text.contains("does no harm") && !text.contains("--key"), "{text}");
    }

    #[test]
    fn a_refusal_says_its_code_its_sentence_and_what_to_do() {
        let (code, detail) = (Reason::Known(Code::DriverOffline), "he is off duty".to_owned());
        let failure = Refused { status: 409, code, detail }.into();
        let text = Trouble::Failed { failure, keyed: true, found: None }.to_string();
        assert_eq!(
            text,
            "refused with 409 DRIVER_OFFLINE: he is off duty\n  hansom client online DRIVER"
        );
    }
}
