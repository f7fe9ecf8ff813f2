//! Whom a fault hits, and whether the cluster is in a state in which it may.

use super::{Storm, World};
use crate::cluster::{MACHINES_MAX, Replicas};
use crate::fault::{Fault, Whom};
use proto::GroupId;

/// No node joins a cluster that has grown by so many.
const GROWTH_MAX: usize = 2;

impl Storm {
    /// Whom a fault hits now.
    fn victim(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        whom: Whom,
    ) -> Result<usize, String> {
        match whom {
            Whom::Leader(group) => {
                let led = replicas.leader(GroupId(group)).map(|(index, _)| index);
                let awake = led.filter(|index| !self.links.stands_still(*index));
                awake.ok_or_else(|| format!("nobody leads {group}"))
            }
            Whom::Someone(n) => {
                let running = world.cluster.running();
                let awake: Vec<usize> =
                    running.into_iter().filter(|index| !self.links.stands_still(*index)).collect();
                if awake.is_empty() {
                    Err("nobody runs".into())
                } else {
                    Ok(awake[n % awake.len()])
                }
            }
        }
    }

    /// Whom a fault hits now, all of them.
    pub(super) fn victims(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        what: Fault,
    ) -> Result<Vec<usize>, String> {
        let on = world.cluster.on();
        match (what, what.whom()) {
            (_, Some(whom)) => Ok(vec![self.victim(world, replicas, whom)?]),
            (Fault::PowerLoss(_), None) => Ok(on),
            (Fault::MajorityLoss(_), None) => {
                let most = world.cluster.kept().len() / 2 + 1;
                Ok(on.into_iter().take(most).collect())
            }
            (Fault::Cut(_), None) => Ok(world.cluster.running()),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether the cluster is in a state in which this may happen.
    pub(super) fn may(
        &self,
        world: &World<'_, '_>,
        replicas: &Replicas,
        what: Fault,
        victims: &[usize],
    ) -> Result<(), String> {
        let cluster = world.cluster;
        if let Fault::Crash(_, loss) = what
            && !cluster.is_at(victims[0], loss.moment)
        {
            return Err(format!("its disk was never so: {:?}", loss.moment));
        }
        if what == Fault::Join && cluster.kept().len() >= self.plan.founders + GROWTH_MAX {
            return Err("it has grown enough".into());
        }
        if matches!(what, Fault::Drain(_)) && cluster.running().len() <= 3 {
            return Err("three nodes can spare none".into());
        }
        if matches!(what, Fault::Wipe(_)) && cluster.size() + 2 >= MACHINES_MAX {
            return Err("so many machines were lost already".into());
        }
        if loses_a_disk(what) {
            if self.active.iter().any(|active| loses_a_disk(active.what)) {
                return Err("another disk is being replaced".into());
            }
            replicas.are_whole(&cluster.wanted(), &cluster.on())?;
        }
        Ok(())
    }
}

/// Whether a disk and all that is on it are gone. Of three that hold the same, two at once are lost
/// whatever the software does.
const fn loses_a_disk(what: Fault) -> bool {
    matches!(what, Fault::Wipe(_) | Fault::Blank(_))
}
