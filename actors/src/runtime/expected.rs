//! Who is expected somewhere: drivers with a rider aboard whose rides end there soon. Where they will be
//! and when is an estimate from where they were seen last; none of it is stored.

use super::Runtime;
use super::search::Wanted;
use crate::dispatch::{Prospect, cost};
use crate::geo::SEARCH_RADIUS_MAX_M;
use proto::record::ask::Search;
use proto::record::cell::Seek;

/// Free drivers that each owner names, of whom nobody is used: a search ends early once it has as many
/// as it was asked for, so with too few it would end before it has seen the riding ones.
const FREE_MAX: u16 = 200;

impl Runtime {
    /// Those whose rides end within `wanted`'s circle and the next `within_ms`, the least way to its
    /// centre first, at most [`crate::cell::index::ENDING_MAX`]; and whether some owner did not answer.
    pub(super) async fn expected(&self, wanted: Wanted, within_ms: u32) -> (Vec<Prospect>, bool) {
        let world = self.world();
        let policy = world.policy.load_full();
        let Wanted { center, radius_m, need, fresh_ms, .. } = wanted;
        // They may still be as far outside as they drive in that time.
        let ending_m = cost::drives_m(&policy, within_ms);
        let widened_m = radius_m.saturating_add(ending_m).min(SEARCH_RADIUS_MAX_M);
        let ask = Search {
            node: world.node,
            center,
            radius_m: widened_m,
            need,
            seek: Seek::Free,
            max: FREE_MAX,
            fresh_ms: fresh_ms.unwrap_or(policy.fresh_ms),
            ending_m,
            post: None,
            ring_keys: Vec::new(),
            copies: false,
        };
        let owners = world.membership.view().owners_within(center, widened_m);
        let answers = self.ask_owners(ask, owners).await;
        let found = self.merged(answers.into_iter().map(|(.., answer)| answer), FREE_MAX);
        let mut soon = self.riding(&policy, found.ending, center);
        soon.retain(|it| it.free_in_ms <= within_ms.into() && it.candidate.distance_m <= radius_m);
        (soon, found.partial)
    }
}
