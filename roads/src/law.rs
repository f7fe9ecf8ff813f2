//! What OpenStreetMap's tags mean for a car with a passenger: where it may drive, which way, and
//! how fast it usually is. Classes' speeds, the share of a limit that is driven, and what blocks a
//! way are those of OSRM's car profile (`profiles/car.lua`); access follows the wiki's hierarchy
//! (`motorcar` over `motor_vehicle` over `vehicle` over `access`).
//!
//! # Not done
//! * Conditional tags (`*:conditional`), lanes and surfaces are not read. A street whose direction
//!   changes by the hour (`oneway=reversible`) is left out.
//! * Buses' and taxis' exceptions (`oneway:psv`, `psv=yes`) are not made use of: a driver may have
//!   no licence for them.

use crate::geometry::whole;
use crate::source::Tags;
use serde::Serialize;

/// The speed on a class of street where no limit is given, in km/h.
const CLASSES: [(&str, u16); 16] = [
    ("motorway", 90),
    ("motorway_link", 45),
    ("trunk", 85),
    ("trunk_link", 40),
    ("primary", 65),
    ("primary_link", 30),
    ("secondary", 55),
    ("secondary_link", 25),
    ("tertiary", 40),
    ("tertiary_link", 20),
    ("unclassified", 25),
    ("residential", 25),
    ("road", 25),
    ("living_street", 10),
    ("service", 15),
    ("services", 15),
];

/// How much of a speed limit is driven on the average, in percent.
const OF_LIMIT_PCT: f64 = 80.0;
/// Limits outside of this are mistakes, in km/h.
const LIMIT_KMH: std::ops::RangeInclusive<f64> = 3.0..=160.0;
const KMH_PER_MPH: f64 = 1.609_344;
/// `maxspeed=walk`, in km/h.
const WALK_KMH: f64 = 5.0;
const CMS_PER_KMH: f64 = 100.0 / 3.6;

/// From the most to the least particular.
const ACCESS: [&str; 4] = ["motorcar", "motor_vehicle", "vehicle", "access"];
/// Values of these keys that keep us out.
const SHUT: [&str; 12] = [
    "no",
    "private",
    "agricultural",
    "forestry",
    "emergency",
    "psv",
    "bus",
    "military",
    "permit",
    "residents",
    "agricultural;forestry",
    "delivery",
];
/// What one can drive past though it is called a barrier.
const PASSED: [&str; 12] = [
    "no",
    "entrance",
    "gate",
    "lift_gate",
    "swing_gate",
    "cattle_grid",
    "border_control",
    "toll_booth",
    "sally_port",
    "height_restrictor",
    "kerb",
    "arch",
];

/// How a street is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drive {
    /// The speed in the direction of the way, in centimetres a second; 0 where that is not allowed.
    pub(crate) ahead_cms: u32,
    /// The speed against it.
    pub(crate) back_cms: u32,
}

/// Why a way is not driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// Paths, tracks, streets being built, areas.
    NotForCars,
    /// A boat carries the car.
    Ferry,
    /// Private, or closed to cars.
    NoAccess,
    /// Its direction changes with the hour.
    Reversible,
}

/// How a way is driven; nothing if it is no street at all.
pub(crate) fn way(tags: &Tags<'_>) -> Option<Result<Drive, Closed>> {
    if tags.get("route") == Some("ferry") {
        return Some(Err(Closed::Ferry));
    }
    let highway = tags.get("highway")?;
    let Some(class_kmh) = CLASSES.iter().find(|(name, _)| *name == highway).map(|class| class.1)
    else {
        return Some(Err(Closed::NotForCars));
    };
    if tags.get("area") == Some("yes") {
        return Some(Err(Closed::NotForCars));
    }
    if tags.first(&ACCESS).is_some_and(|value| SHUT.contains(&value)) {
        return Some(Err(Closed::NoAccess));
    }
    let speed = |key: &str| {
        let limit_kmh = tags.get(key).or_else(|| tags.get("maxspeed")).and_then(limit_kmh);
        let kmh = limit_kmh.map_or(f64::from(class_kmh), |limit| limit * OF_LIMIT_PCT / 100.0);
        whole(kmh * CMS_PER_KMH)
    };
    let (ahead_cms, back_cms) = (speed("maxspeed:forward"), speed("maxspeed:backward"));
    Some(match direction(tags, highway) {
        Some(Direction::Ahead) => Ok(Drive { ahead_cms, back_cms: 0 }),
        Some(Direction::Back) => Ok(Drive { ahead_cms: 0, back_cms }),
        Some(Direction::Both) => Ok(Drive { ahead_cms, back_cms }),
        None => Err(Closed::Reversible),
    })
}

enum Direction {
    Ahead,
    Back,
    Both,
}

fn direction(tags: &Tags<'_>, highway: &str) -> Option<Direction> {
    match tags.first(&["oneway:motorcar", "oneway:motor_vehicle", "oneway:vehicle", "oneway"]) {
        Some("yes" | "true" | "1") => Some(Direction::Ahead),
        Some("-1" | "reverse") => Some(Direction::Back),
        Some("reversible") => None,
        Some(_) => Some(Direction::Both), // no, 0, false, alternating
        None => {
            let round = matches!(tags.get("junction"), Some("roundabout" | "circular"));
            let one_way = round || highway == "motorway";
            Some(if one_way { Direction::Ahead } else { Direction::Both })
        }
    }
}

/// A speed limit in km/h; nothing where the value is no number with a unit that we know
/// (`PT:urban`, `signals`, `none`).
fn limit_kmh(text: &str) -> Option<f64> {
    let text = text.trim();
    if text == "walk" {
        return Some(WALK_KMH);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let kmh = match text[digits..].trim() {
        "" | "km/h" | "kmh" | "kph" => number,
        "mph" => number * KMH_PER_MPH,
        _ => return None,
    };
    Some(kmh).filter(|kmh| LIMIT_KMH.contains(kmh))
}

/// What stands on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// No car gets past.
    pub(crate) blocked: bool,
    /// A traffic light.
    pub(crate) signal: bool,
}

/// What stands on a node with these tags.
pub(crate) fn node(tags: &Tags<'_>) -> Mark {
    let access = tags.first(&ACCESS);
    let barrier = tags.get("barrier").is_some_and(|kind| !PASSED.contains(&kind));
    let rising = tags.get("bollard") == Some("rising");
    let blocked = match access {
        Some(value) => SHUT.contains(&value),
        None => barrier && !rising,
    };
    Mark { blocked, signal: tags.get("highway") == Some("traffic_signals") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags<'a>(text: &'a str) -> Tags<'a> {
        Tags(text.split_whitespace().filter_map(|pair| pair.split_once('=')).collect())
    }

    fn kmh(text: &str) -> (u32, u32) {
        let drive = way(&tags(text)).unwrap().unwrap();
        let kmh = |cms: u32| whole(f64::from(cms) / CMS_PER_KMH);
        (kmh(drive.ahead_cms), kmh(drive.back_cms))
    }

    #[test]
    fn one_ways_are_those_that_are_tagged_or_implied() {
        for (text, expected) in [
            ("highway=residential", (25, 25)),
            ("highway=residential oneway=yes", (25, 0)),
            ("highway=residential oneway=-1", (0, 25)),
            ("highway=residential oneway=yes oneway:psv=no", (25, 0)),
            ("highway=tertiary junction=roundabout", (40, 0)),
            ("highway=tertiary junction=roundabout oneway=-1", (0, 40)),
            ("highway=motorway", (90, 0)),
            ("highway=motorway oneway=no", (90, 90)),
            ("highway=motorway_link", (45, 45)),
        ] {
            assert_eq!(kmh(text), expected, "{text}");
        }
    }

    #[test]
    fn limits_are_read_with_their_units() {
        for (text, expected) in [
            ("highway=residential maxspeed=50", (40, 40)),
            ("highway=residential maxspeed=30mph", (39, 39)),
            ("highway=residential maxspeed=50 maxspeed:backward=30", (40, 24)),
            ("highway=residential maxspeed=walk", (4, 4)),
            ("highway=residential maxspeed=PT:urban", (25, 25)),
            ("highway=residential maxspeed=5000", (25, 25)),
            ("highway=residential maxspeed=none", (25, 25)),
        ] {
            assert_eq!(kmh(text), expected, "{text}");
        }
        assert_eq!(limit_kmh("30 mph").map(whole), Some(48));
    }

    #[test]
    fn what_a_car_may_not_enter_says_why() {
        for (text, why) in [
            ("highway=footway", Closed::NotForCars),
            ("highway=construction", Closed::NotForCars),
            ("highway=service area=yes", Closed::NotForCars),
            ("route=ferry motor_vehicle=yes", Closed::Ferry),
            ("highway=service access=private", Closed::NoAccess),
            ("highway=residential motor_vehicle=no", Closed::NoAccess),
            ("highway=residential access=no psv=yes", Closed::NoAccess),
            ("highway=primary oneway=reversible", Closed::Reversible),
        ] {
            assert_eq!(way(&tags(text)), Some(Err(why)), "{text}");
        }
        assert!(way(&tags("building=yes")).is_none());
        assert!(way(&tags("highway=service access=no motorcar=yes")).unwrap().is_ok());
        assert!(way(&tags("highway=service access=destination")).unwrap().is_ok());
    }

    #[test]
    fn barriers_block_unless_they_open() {
        for (text, blocked) in [
            ("barrier=bollard", true),
            ("barrier=block", true),
            ("barrier=bollard bollard=rising", false),
            ("barrier=gate", false),
            ("barrier=gate access=private", true),
            ("barrier=bollard motor_vehicle=yes", false),
            ("highway=crossing", false),
        ] {
            assert_eq!(node(&tags(text)).blocked, blocked, "{text}");
        }
        assert!(node(&tags("highway=traffic_signals")).signal);
    }
}
