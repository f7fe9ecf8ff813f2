//! The links between nodes, and what can be done to them: each direction of each is cut, mended and
//! slowed down for itself. Clients reach every node whatever happens here, so that both sides of a
//! partition are asked.
//!
//! [`namespaces`] are the real thing: one network for each node, in a namespace of our own, so that
//! the host's is never touched. Where that is not permitted, [`proxies`] on loopback stand between
//! the nodes.

pub(super) mod namespaces;
pub(super) mod proxies;
mod relay;

use crate::cluster::Ground;
use crate::dice::Dice;
use namespaces::Namespaces;
use proxies::Proxies;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// From one node to another, by their numbers.
pub(super) type Link = (usize, usize);

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Cut {
    /// What is sent is lost; the sender learns nothing.
    Silent,
    /// The sender is told at once that there is no way.
    Refused,
}

/// How slow a link is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slowness {
    /// At least so long for each packet.
    pub(super) delay_ms: f64,
    /// And up to so much longer, by chance: so they overtake each other.
    pub(super) jitter_ms: f64,
    /// How probably a packet is lost.
    pub(super) loss: f64,
    /// How probably it comes twice.
    pub(super) repeat: f64,
}

impl Slowness {
    /// A bad link, of the sort that is still used.
    pub(super) fn bad(dice: &mut Dice) -> Self {
        Self {
            delay_ms: dice.between(10.0, 80.0),
            jitter_ms: dice.between(0.0, 40.0),
            loss: dice.between(0.0, 0.03),
            repeat: dice.between(0.0, 0.02),
        }
    }

    /// A busy link: late, and complete.
    pub(super) fn busy(dice: &mut Dice) -> Self {
        let (delay_ms, jitter_ms) = (dice.between(1.0, 15.0), dice.between(0.0, 10.0));
        Self { delay_ms, jitter_ms, loss: 0.0, repeat: dice.between(0.0, 0.01) }
    }
}

/// How a link is now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct State {
    cut: Option<Cut>,
    slow: Option<Slowness>,
}

/// What was done to links, so that two faults may meet on one and either be undone alone.
#[derive(Debug, Default)]
struct States(Mutex<BTreeMap<Link, State>>);

impl States {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Link, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, link: Link) -> State {
        self.lock().get(&link).copied().unwrap_or_default()
    }

    fn change(&self, links: &[Link], change: impl Fn(&mut State)) {
        let mut states = self.lock();
        for link in links {
            change(states.entry(*link).or_default());
        }
    }
}

/// The links.
#[derive(Debug, Clone)]
pub(super) enum Network {
    /// Each node has a network of its own.
    Namespaces(Namespaces),
    /// All are on loopback.
    Proxies(Proxies),
}

impl Network {
    /// In a word.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Namespaces(_) => "namespaces",
            Self::Proxies(_) => "proxies",
        }
    }

    /// Where nodes live on it.
    pub(super) fn ground(&self) -> Box<dyn Ground> {
        match self {
            Self::Namespaces(namespaces) => Box::new(namespaces.clone()),
            Self::Proxies(proxies) => Box::new(proxies.clone()),
        }
    }

    fn states(&self) -> &States {
        match self {
            Self::Namespaces(namespaces) => namespaces.states(),
            Self::Proxies(proxies) => proxies.states(),
        }
    }

    /// Cuts links.
    pub(super) async fn cut(&self, links: &[Link], how: Cut) {
        self.states().change(links, |state| state.cut = Some(how));
        self.apply(links).await;
    }

    /// Undoes that.
    pub(super) async fn mend(&self, links: &[Link]) {
        self.states().change(links, |state| state.cut = None);
        self.apply(links).await;
    }

    /// Slows links down; nothing makes them fast again.
    pub(super) async fn slow(&self, links: &[Link], how: Option<Slowness>) {
        self.states().change(links, |state| state.slow = how);
        self.apply(links).await;
    }

    async fn apply(&self, links: &[Link]) {
        match self {
            Self::Namespaces(namespaces) => namespaces.apply(links).await,
            Self::Proxies(_) => {} // They look at each piece that they pass on.
        }
    }
}
