//! Where cars are is known on both sides: while a cut leaves two clean sides, each takes positions and
//! answers who is near; after the world is mended every driver at work is seen where he was lately.

use super::Broken;
use std::time::Duration;

/// The law's name.
pub const LAW: &str = "location served on both sides";
/// The ring of each side is of that side's nodes by then.
pub const SETTLED_AFTER: Duration = Duration::from_secs(4);
/// No position of a driver at work is older after the world was mended.
pub const FRESH: Duration = Duration::from_secs(20);

/// One look from one side of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub at: Duration,
    /// How long after the cut.
    pub after: Duration,
    /// The nodes of the side.
    pub side: String,
    /// What was refused; nothing if a position was taken and the search answered.
    pub refused: Option<String>,
}

/// Judges the looks of a run.
pub fn judge(looks: &[Look]) -> Vec<Broken> {
    let settled = looks.iter().filter(|look| look.after >= SETTLED_AFTER);
    settled
        .filter_map(|Look { at, after, side, refused }| {
            let refused = refused.as_ref()?;
            let what =
                format!("at {at:?}, {after:?} after the cut, on the side of {side}: {refused}");
            Some(Broken::new(LAW, what))
        })
        .collect()
}

/// Judges how old the positions are that a node shows of drivers at work: each with his age, or
/// nothing if he is not shown.
pub fn fresh(node: &str, drivers: &[(String, Option<Duration>)]) -> Vec<Broken> {
    let stale = drivers.iter().filter(|(_, age)| age.is_none_or(|age| age > FRESH));
    stale
        .map(|(driver, age)| {
            let how = age.map_or("not at all".into(), |age| format!("where he was {age:?} ago"));
            Broken::new(LAW, format!("{node} shows driver {driver} {how}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_refuses_after_a_while_breaks_the_law() {
        let look = |after, refused: Option<&str>| Look {
            at: Duration::from_secs(20),
            after: Duration::from_secs(after),
            side: "n1".into(),
            refused: refused.map(Into::into),
        };
        assert_eq!(judge(&[look(1, Some("503")), look(9, None)]), []);
        assert_eq!(judge(&[look(9, Some("503"))]).len(), 1);
    }

    #[test]
    fn a_driver_must_be_seen_where_he_was_lately() {
        let seconds = |s| Some(Duration::from_secs(s));
        let seen = [("a".to_owned(), seconds(3)), ("b".into(), seconds(21)), ("c".into(), None)];
        assert_eq!(fresh("n1", &seen).len(), 2);
    }
}
