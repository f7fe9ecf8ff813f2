//! Everything comes to rest: ten seconds after the world was mended nobody waits, nobody is held or
//! taken for nothing, every partition has its replicas, and all nodes see one cluster.

use super::Broken;
use std::time::Duration;

/// The law's name.
pub const LAW: &str = "at rest after the heal";
/// How long that may take.
pub const WITHIN: Duration = Duration::from_secs(10);
/// Who has a car by then is carried to his end first: riders may have queued for one of three cars.
pub const RIDE: Duration = Duration::from_secs(3);
/// What a ride that ended so late leaves behind is gone this soon.
pub const CLEARED: Duration = Duration::from_secs(1);

/// What is still not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unrest {
    /// Riders and drivers who wait for something, and for what.
    pub waiting: Vec<String>,
    /// Drivers held or taken without a reason.
    pub bound: Vec<String>,
    /// The partition that lacks a replica, and which.
    pub lacking: Option<String>,
    /// How the nodes' views differ.
    pub views: Option<String>,
}

impl Unrest {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Judges what was so when the time was over.
pub fn judge(unrest: &Unrest) -> Vec<Broken> {
    let Unrest { waiting, bound, lacking, views } = unrest;
    let all = waiting.iter().chain(bound).chain(lacking).chain(views);
    all.map(|what| Broken::new(LAW, what.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unrest_is_named() {
        assert_eq!(judge(&Unrest::default()), []);
        let unrest = Unrest {
            waiting: vec!["rider 1 for an answer".into()],
            bound: vec!["driver 2 is held".into()],
            lacking: Some("g1 has two votes".into()),
            views: Some("n1 sees two".into()),
        };
        assert!(!unrest.is_none());
        assert_eq!(judge(&unrest).len(), 4);
    }
}
