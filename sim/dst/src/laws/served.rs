//! A partition serves while it can: if a majority of its replicas runs and talks, and nothing has
//! changed or slowed the world for a while, its writes are answered.

use super::Broken;
use std::collections::BTreeMap;
use std::time::Duration;

/// The law's name.
pub const LAW: &str = "a majority serves";
/// So long after the last change a partition must have answered a write, and from then on at every
/// moment have answered one no longer ago.
pub const WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Partition {
    /// Since when it could have served.
    able: Option<Duration>,
    acked: Duration,
    accused: bool,
}

/// What was seen of all partitions.
#[derive(Debug, Default)]
pub struct Service {
    partitions: BTreeMap<u16, Partition>,
    broken: Vec<Broken>,
}

impl Service {
    /// Whether a partition could serve at this moment: it is quiet, and has a majority.
    pub fn sample(&mut self, now: Duration, group: u16, able: bool, why: impl Fn() -> String) {
        let partition = self.partitions.entry(group).or_default();
        if !able {
            partition.able = None;
            return;
        }
        let since = *partition.able.get_or_insert(now);
        let late = now.saturating_sub(since.max(partition.acked)) > WITHIN;
        if late && !std::mem::replace(&mut partition.accused, late) {
            let what = format!(
                "partition {group} has had a majority in a quiet world since {since:?} and answered no \
                 write until {now:?}, the last at {:?}; {}",
                partition.acked,
                why()
            );
            self.broken.push(Broken::new(LAW, what));
        } else if !late {
            partition.accused = false;
        }
    }

    /// The world changed.
    pub fn changed(&mut self) {
        self.partitions.values_mut().for_each(|partition| partition.able = None);
    }

    /// A write was answered now.
    pub fn acked(&mut self, now: Duration, group: u16) {
        self.partitions.entry(group).or_default().acked = now;
    }

    /// Who did not serve.
    pub fn broken(&self) -> Vec<Broken> {
        self.broken.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(acks: &[u64], unable: &[u64], changes: &[u64]) -> usize {
        let mut service = Service::default();
        for second in 0..30 {
            let now = Duration::from_secs(second);
            if changes.contains(&second) {
                service.changed();
            }
            if acks.contains(&second) {
                service.acked(now, 1);
            }
            service.sample(now, 1, !unable.contains(&second), String::new);
        }
        service.broken().len()
    }

    #[test]
    fn silence_of_a_majority_in_a_quiet_world_breaks_the_law_once_for_each_silence() {
        assert_eq!(judged(&[3, 7, 11, 15, 19, 23, 27], &[], &[]), 0);
        assert_eq!(judged(&[3, 7], &[], &[]), 1);
        assert_eq!(judged(&[3, 7, 20, 24, 28], &[], &[]), 1);
        assert_eq!(judged(&[3, 7, 20], &[], &[]), 2);
    }

    #[test]
    fn nobody_is_accused_while_the_world_changes_or_without_a_majority() {
        assert_eq!(judged(&[], &[4, 8, 12, 16, 20, 24, 28], &[]), 0);
        assert_eq!(judged(&[], &[], &[4, 8, 12, 16, 20, 24, 28]), 0);
    }
}
