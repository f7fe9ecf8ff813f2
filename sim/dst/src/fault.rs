//! What may happen to a cluster, as values.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whom a fault hits. Nodes come and go, so it is decided when the fault begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// Whoever leads this partition then.
    Leader(u16),
    /// This one of those that run then, counted round and round.
    Someone(usize),
}

/// Who can't hear whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One node hears nobody, and nobody him.
    Isolate(Whom),
    /// A minority with this node in it, and the rest.
    Halves(Whom),
    /// Nobody hears this node; he hears all.
    Mute(Whom),
    /// This node hears nobody; all hear him.
    Deaf(Whom),
    /// Two halves that only this node, in both, hears.
    Bridge(Whom),
    /// Each hears his two neighbours.
    Ring,
    /// As [`Shape::Isolate`], on and off every 200 ms.
    Flap(Whom),
}

/// What a crash waits for at its victim's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing.
    Any,
    /// The middle of a sync: somebody waits for what is lost.
    MidSync,
    /// Writes that no sync was asked for: whoever was told that they are safe was told too much.
    Unasked,
}

/// What a crash does to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// So many of the writes that were not synced survive, the first ones.
    pub kept: usize,
    /// It waits until there is something to lose.
    pub moment: Moment,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A machine loses power, and has it again when the fault ends.
    Crash(Whom, Loss),
    /// All machines do.
    PowerLoss(Loss),
    /// A majority of them does.
    MajorityLoss(Loss),
    /// A machine stands still: what is sent by it or to it arrives when the fault ends, and so does
    /// what its disk was writing. Unlike under SIGSTOP its own timers go on, so it also takes
    /// decisions meanwhile that nobody hears: harsher for others, milder for itself.
    Pause(Whom),
    /// Words are lost.
    Cut(Shape),
    /// Whatever a node sends or gets takes so many milliseconds.
    SlowLink(Whom, u64),
    /// Of a hundred datagrams of a node so many are lost and as many come twice; what TCP makes of
    /// that is delay, up to so many milliseconds.
    LossyLink(Whom, u32, u64),
    /// A sync takes so many milliseconds.
    SlowDisk(Whom, u64),
    /// Syncs fail. The node must stop itself; it is started again, on a sound disk, at the end.
    FailingDisk(Whom),
    /// A wall clock is so many milliseconds off; monotonic time isn't.
    ClockJump(Whom, i64),
    /// A node joins.
    Join,
    /// An operator drains a node, and takes it in again at the end.
    Drain(Whom),
    /// A machine burns down. At the end one with another id joins. Waits until every partition has
    /// all its replicas: more than a minority of disks can't be lost for ever.
    Wipe(Whom),
    /// A machine loses its disk and comes back under its old id, which must be refused.
    Blank(Whom),
}

/// Faults by their kind, for counting and for choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are the faults' names")]
pub enum Kind {
    Crash,
    CrashInSync,
    CrashUnsynced,
    PowerLoss,
    MajorityLoss,
    Pause,
    Isolate,
    Halves,
    Mute,
    Deaf,
    Bridge,
    Ring,
    Flap,
    SlowLink,
    LossyLink,
    SlowDisk,
    FailingDisk,
    ClockJump,
    Join,
    Drain,
    Wipe,
    Blank,
}

impl Kind {
    /// All that a storm is made of. A blank disk under an old id ends a node, so it has tests of its
    /// own.
    pub const STORM: [Self; 21] = [
        Self::Crash,
        Self::CrashInSync,
        Self::CrashUnsynced,
        Self::PowerLoss,
        Self::MajorityLoss,
        Self::Pause,
        Self::Isolate,
        Self::Halves,
        Self::Mute,
        Self::Deaf,
        Self::Bridge,
        Self::Ring,
        Self::Flap,
        Self::SlowLink,
        Self::LossyLink,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::ClockJump,
        Self::Join,
        Self::Drain,
        Self::Wipe,
    ];

    /// The name in reports and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashInSync => "crash-in-sync",
            Self::CrashUnsynced => "crash-unsynced",
            Self::PowerLoss => "power-loss",
            Self::MajorityLoss => "majority-loss",
            Self::Pause => "pause",
            Self::Isolate => "isolate",
            Self::Halves => "halves",
            Self::Mute => "mute",
            Self::Deaf => "deaf",
            Self::Bridge => "bridge",
            Self::Ring => "ring",
            Self::Flap => "flap",
            Self::SlowLink => "slow-link",
            Self::LossyLink => "lossy-link",
            Self::SlowDisk => "slow-disk",
            Self::FailingDisk => "failing-disk",
            Self::ClockJump => "clock-jump",
            Self::Join => "join",
            Self::Drain => "drain",
            Self::Wipe => "wipe",
            Self::Blank => "blank",
        }
    }

    /// Whether it can hit a leader: a join hits nobody.
    pub fn hits(self) -> bool {
        self != Self::Join
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fault {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Crash(_, Loss { moment: Moment::Any, .. }) => Kind::Crash,
            Self::Crash(_, Loss { moment: Moment::MidSync, .. }) => Kind::CrashInSync,
            Self::Crash(_, Loss { moment: Moment::Unasked, .. }) => Kind::CrashUnsynced,
            Self::PowerLoss(_) => Kind::PowerLoss,
            Self::MajorityLoss(_) => Kind::MajorityLoss,
            Self::Pause(_) => Kind::Pause,
            Self::Cut(Shape::Isolate(_)) => Kind::Isolate,
            Self::Cut(Shape::Halves(_)) => Kind::Halves,
            Self::Cut(Shape::Mute(_)) => Kind::Mute,
            Self::Cut(Shape::Deaf(_)) => Kind::Deaf,
            Self::Cut(Shape::Bridge(_)) => Kind::Bridge,
            Self::Cut(Shape::Ring) => Kind::Ring,
            Self::Cut(Shape::Flap(_)) => Kind::Flap,
            Self::SlowLink(..) => Kind::SlowLink,
            Self::LossyLink(..) => Kind::LossyLink,
            Self::SlowDisk(..) => Kind::SlowDisk,
            Self::FailingDisk(_) => Kind::FailingDisk,
            Self::ClockJump(..) => Kind::ClockJump,
            Self::Join => Kind::Join,
            Self::Drain(_) => Kind::Drain,
            Self::Wipe(_) => Kind::Wipe,
            Self::Blank(_) => Kind::Blank,
        }
    }

    /// Whom it is aimed at; nothing if at several, or nobody.
    pub const fn whom(&self) -> Option<Whom> {
        match self {
            Self::Crash(whom, _)
            | Self::Pause(whom)
            | Self::Cut(
                Shape::Isolate(whom)
                | Shape::Halves(whom)
                | Shape::Mute(whom)
                | Shape::Deaf(whom)
                | Shape::Bridge(whom)
                | Shape::Flap(whom),
            )
            | Self::SlowLink(whom, _)
            | Self::LossyLink(whom, ..)
            | Self::SlowDisk(whom, _)
            | Self::FailingDisk(whom)
            | Self::ClockJump(whom, _)
            | Self::Drain(whom)
            | Self::Wipe(whom)
            | Self::Blank(whom) => Some(*whom),
            Self::PowerLoss(_) | Self::MajorityLoss(_) | Self::Cut(Shape::Ring) | Self::Join => {
                None
            }
        }
    }
}
