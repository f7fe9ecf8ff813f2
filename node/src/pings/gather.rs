//! What waits to be sent: the newest ping of each driver, of so many drivers.

use proto::DriverId;
use proto::record::cell::Ping;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Why a ping will not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A newer one of the same driver was there, or came.
    Superseded,
    /// Too many drivers wait.
    Overflow,
}

impl Lost {
    /// The name, as metrics have it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Overflow => "overflow",
        }
    }
}

/// The pings that wait.
#[derive(Debug)]
pub(crate) struct Gather {
    newest: BTreeMap<DriverId, Ping>,
    max: usize,
}

impl Gather {
    pub(crate) const fn new(max: usize) -> Self {
        Self { newest: BTreeMap::new(), max }
    }
    pub(crate) fn len(&self) -> usize {
        self.newest.len()
    }
    /// Adds a ping; says if one was lost by it, this or an older one.
    pub(crate) fn add(&mut self, ping: Ping) -> Option<Lost> {
        let full = self.newest.len() >= self.max;
        match self.newest.entry(ping.driver) {
            Entry::Occupied(mut known) => {
                if ping.at > known.get().at {
                    known.insert(ping);
                }
                Some(Lost::Superseded)
            }
            Entry::Vacant(_) if full => Some(Lost::Overflow),
            Entry::Vacant(free) => {
                free.insert(ping);
                None
            }
        }
    }
    /// Takes all out.
    pub(crate) fn drain(&mut self) -> Vec<Ping> {
        std::mem::take(&mut self.newest).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Point, WallMs};

    fn ping(driver: u64, at: u64) -> Ping {
        Ping {
            driver: DriverId::from_raw(driver),
            point: Point::from_e7(1, 1).expect("on the globe"),
            heading_deg: 0,
            speed_cms: 0,
            accuracy_m: 0,
            at: WallMs(at),
        }
    }

    #[test]
    fn the_newest_ping_of_a_driver_wins_in_whatever_order_they_come() {
        let mut gather = Gather::new(2);
        assert_eq!(gather.add(ping(1, 10)), None);
        assert_eq!(gather.add(ping(1, 12)), Some(Lost::Superseded));
        assert_eq!(gather.add(ping(1, 11)), Some(Lost::Superseded));
        assert_eq!(gather.drain(), [ping(1, 12)]);
        assert_eq!(gather.len(), 0);
    }

    #[test]
    fn a_driver_too_many_is_dropped_but_not_a_newer_ping_of_a_known_one() {
        let mut gather = Gather::new(2);
        assert_eq!([gather.add(ping(1, 1)), gather.add(ping(2, 1))], [None, None]);
        assert_eq!(gather.add(ping(3, 1)), Some(Lost::Overflow));
        assert_eq!(gather.add(ping(2, 2)), Some(Lost::Superseded));
        assert_eq!(gather.drain(), [ping(1, 1), ping(2, 2)]);
    }
}
