//! What will happen in a run, as a pure function of its seed.

use crate::dice::Dice;
use crate::fault::{Fault, Kind, Loss, Moment, Shape, Whom};
use std::fmt;
use std::time::Duration;

/// Partitions of a simulated cluster: few enough for speed, enough for each node to lead some.
pub const PARTITIONS: u16 = 8;
/// No fault begins before: the cluster is being founded, and people register.
const FIRST_MS: std::ops::Range<u64> = 2_500..5_000;
/// When everything is mended, in milliseconds.
const HEAL_MS: u64 = 45_000;
/// When the run must be over.
const END_MS: u64 = 60_000;
/// The pause between two faults. Most overlap with the next; some are left alone, so that what must
/// be true of a quiet world can be seen.
const GAP_MS: std::ops::Range<u64> = 300..3_000;
const LONG_GAP_MS: std::ops::Range<u64> = 5_000..9_000;
/// Of a hundred pauses so many are long.
const LONG_GAPS: u32 = 15;
/// In one of so many storms bookings may change to a better driver.
const CHANGES_IN: u64 = 4;
/// The remainders by 32 of the storms in which drivers may take their next ride while on one: with clocks
/// that are left alone and without, and none of those that once found something.
const NEXTS: [u64; 8] = [4, 7, 8, 10, 19, 20, 24, 26];
/// A wall clock jumps by so much, ahead or back.
const JUMP_MS: i64 = 3_600_000;

/// A fault with its times, from the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When it should begin.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What happens.
    pub fault: Fault,
}

/// A run's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Nodes that found the cluster.
    pub founders: usize,
    /// How long a sync takes, on every machine.
    pub sync_takes: Duration,
    /// Riders, who book again and again.
    pub riders: usize,
    /// Drivers, fewer than the riders would like.
    pub drivers: usize,
    /// Whether bookings may change to a better driver before the pickup.
    pub changes: bool,
    /// Whether drivers may take their next ride while on one.
    pub nexts: bool,
    /// What happens, in order.
    pub faults: Vec<Due>,
    /// When everything is mended.
    pub heal: Duration,
    /// When the run must be over.
    pub end: Duration,
}

/// How often each kind of fault is chosen, out of the sum.
pub type Diet = Vec<(Kind, u32)>;

/// The usual storm: everything, what is common in the world more often.
pub fn usual() -> Diet {
    const OFTEN: [Kind; 2] = [Kind::Crash, Kind::CrashInSync];
    const MORE: [Kind; 4] = [Kind::Pause, Kind::Isolate, Kind::Halves, Kind::Wipe];
    const RARELY: [Kind; 2] = [Kind::PowerLoss, Kind::MajorityLoss];
    let weights: [(&[Kind], u32); 3] = [(&OFTEN, 10), (&MORE, 6), (&RARELY, 3)];
    let weight = |kind: &Kind| {
        let found = weights.iter().find(|(kinds, _)| kinds.contains(kind));
        found.map_or(4, |(_, weight)| *weight)
    };
    Kind::STORM.iter().map(|kind| (*kind, weight(kind))).collect()
}

/// A storm of these kinds alone, besides crashes.
pub fn of_kinds(kinds: &[Kind]) -> Diet {
    let crashes = [(Kind::Crash, 2), (Kind::CrashInSync, 2)];
    crashes.into_iter().chain(kinds.iter().map(|kind| (*kind, 6))).collect()
}

impl Schedule {
    /// The storm of a seed.
    pub fn storm(seed: u64, diet: &Diet) -> Self {
        let mut dice = Dice::of(seed, "storm");
        let founders = [3, 3, 5, 5, 7][dice.one_of(0..5)];
        // From a good disk to a poor one.
        let sync_takes = dice.ms(2..40);
        let (riders, drivers) = (6 + dice.one_of(0..4), 3 + dice.one_of(0..3));
        // Every other storm leaves clocks alone, so that records can be compared by their times.
        let diet: Diet = diet
            .iter()
            .filter(|(kind, _)| *kind != Kind::ClockJump || seed.is_multiple_of(2))
            .copied()
            .collect();
        let mut faults = Vec::new();
        let mut at = dice.ms(FIRST_MS);
        while at < Duration::from_millis(HEAL_MS - 1_000) {
            let (fault, lasts) = of_kind(chosen(&diet, &mut dice), &mut dice);
            faults.push(Due { at, lasts, fault });
            let gap = if dice.percent(LONG_GAPS) { LONG_GAP_MS } else { GAP_MS };
            at += dice.ms(gap);
        }
        let (heal, end) = (Duration::from_millis(HEAL_MS), Duration::from_millis(END_MS));
        // An odd one, whose clocks are left alone.
        let changes = seed % CHANGES_IN == 1;
        let nexts = NEXTS.contains(&(seed % 32));
        Self { founders, sync_takes, riders, drivers, changes, nexts, faults, heal, end }
    }

    /// A short life with this one fault, or none, among people who are always carried.
    pub fn quiet(seed: u64, fault: Option<(Fault, Duration)>) -> Self {
        let mut dice = Dice::of(seed, "disks");
        let sync_takes = dice.ms(2..120);
        let at = dice.ms(5_000..12_000);
        let faults = fault.into_iter().map(|(fault, lasts)| Due { at, lasts, fault }).collect();
        let (heal, end) = (Duration::from_secs(40), Duration::from_secs(90));
        let (riders, drivers, changes, nexts) = (3, 4, false, false);
        Self { founders: 3, sync_takes, riders, drivers, changes, nexts, faults, heal, end }
    }
}

fn chosen(diet: &Diet, dice: &mut Dice) -> Kind {
    let sum: u32 = diet.iter().map(|(_, weight)| weight).sum();
    let mut left = dice.one_of(0..sum.max(1) as usize);
    for (kind, weight) in diet {
        match left.checked_sub(*weight as usize) {
            Some(rest) => left = rest,
            None => return *kind,
        }
    }
    Kind::Crash
}

/// A fault of a kind, and how long it lasts.
fn of_kind(kind: Kind, dice: &mut Dice) -> (Fault, Duration) {
    let whom = if dice.percent(60) {
        Whom::Leader(u16::try_from(dice.one_of(1..usize::from(PARTITIONS) + 1)).unwrap_or(1))
    } else {
        Whom::Someone(dice.one_of(0..64))
    };
    let moments = [(Kind::CrashInSync, Moment::MidSync), (Kind::CrashUnsynced, Moment::Unasked)];
    let moment = moments.into_iter().find(|(of, _)| *of == kind).map_or(Moment::Any, |it| it.1);
    let loss = Loss { kept: dice.one_of(0..3), moment };
    let mut number = |range| u64::try_from(dice.ms(range).as_millis()).unwrap_or(0);
    let (fault, lasts) = match kind {
        Kind::Crash | Kind::CrashInSync | Kind::CrashUnsynced => {
            (Fault::Crash(whom, loss), 0..10_000)
        }
        Kind::PowerLoss => (Fault::PowerLoss(loss), 100..3_000),
        Kind::MajorityLoss => (Fault::MajorityLoss(loss), 500..5_000),
        Kind::Pause => (Fault::Pause(whom), 100..8_000),
        Kind::Isolate => (Fault::Cut(Shape::Isolate(whom)), 500..8_000),
        Kind::Halves => (Fault::Cut(Shape::Halves(whom)), 500..9_000),
        Kind::Mute => (Fault::Cut(Shape::Mute(whom)), 500..7_000),
        Kind::Deaf => (Fault::Cut(Shape::Deaf(whom)), 500..7_000),
        Kind::Bridge => (Fault::Cut(Shape::Bridge(whom)), 500..7_000),
        Kind::Ring => (Fault::Cut(Shape::Ring), 500..7_000),
        Kind::Flap => (Fault::Cut(Shape::Flap(whom)), 1_000..5_000),
        Kind::SlowLink => (Fault::SlowLink(whom, number(20..300)), 1_000..6_000),
        Kind::LossyLink => {
            let percent = u32::try_from(number(2..40)).unwrap_or(2);
            (Fault::LossyLink(whom, percent, number(20..400)), 1_000..6_000)
        }
        Kind::SlowDisk => (Fault::SlowDisk(whom, number(50..1_500)), 1_000..6_000),
        Kind::FailingDisk => (Fault::FailingDisk(whom), 1_000..6_000),
        Kind::ClockJump => {
            let ahead = number(0..2) == 0;
            (Fault::ClockJump(whom, if ahead { JUMP_MS } else { -JUMP_MS }), 1_000..20_000)
        }
        Kind::Join => (Fault::Join, 0..1),
        Kind::Drain => (Fault::Drain(whom), 4_000..10_000),
        Kind::Wipe => (Fault::Wipe(whom), 200..2_000),
        Kind::Blank => (Fault::Blank(whom), 1_000..5_000),
    };
    (fault, dice.ms(lasts))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { founders, sync_takes, riders, drivers, faults, heal, end, .. } = self;
        let may = match (self.changes, self.nexts) {
            (true, _) => "who may be changed",
            (false, true) => "who may take their next ride while on one",
            (false, false) => "who are kept",
        };
        writeln!(
            f,
            "{founders} nodes, syncs of {sync_takes:?}, {riders} riders, {drivers} drivers {may}, mended at \
             {heal:?}, over by {end:?}"
        )?;
        for Due { at, lasts, fault } in faults {
            writeln!(f, "  {:>6} ms, for {:>5}: {fault:?}", at.as_millis(), lasts.as_millis())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_is_its_seeds_and_every_kind_of_fault_comes_up() {
        assert_eq!(Schedule::storm(7, &usual()), Schedule::storm(7, &usual()));
        assert_ne!(Schedule::storm(7, &usual()), Schedule::storm(8, &usual()));
        let plans: Vec<Schedule> = (0..100).map(|seed| Schedule::storm(seed, &usual())).collect();
        let kinds: BTreeSet<Kind> =
            plans.iter().flat_map(|plan| &plan.faults).map(|due| due.fault.kind()).collect();
        assert_eq!(kinds, Kind::STORM.into());
        let sizes: BTreeSet<usize> = plans.iter().map(|plan| plan.founders).collect();
        assert_eq!(sizes, [3, 5, 7].into());
    }

    #[test]
    fn faults_come_in_order_and_before_the_world_is_mended() {
        for seed in 0..50 {
            let plan = Schedule::storm(seed, &usual());
            assert!(plan.faults.is_sorted_by_key(|due| due.at), "{plan}");
            assert!(plan.faults.iter().all(|due| due.at < plan.heal), "{plan}");
            assert!(plan.faults.len() > 8, "{plan}");
        }
    }

    #[test]
    fn a_diet_has_nothing_else() {
        let plan = Schedule::storm(1, &of_kinds(&[Kind::Wipe]));
        let allowed = [Kind::Crash, Kind::CrashInSync, Kind::Wipe];
        assert!(plan.faults.iter().all(|due| allowed.contains(&due.fault.kind())), "{plan}");
    }
}
