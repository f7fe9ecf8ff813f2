//! Reads that may be old: with `?stale_ok=true` a record is read from the replica of the node that
//! was asked, if it has one, and no other node is bothered. The answer says so. It is as old as that
//! replica is behind: milliseconds, or as long as the node has been cut off without noticing.

use super::App;
use super::answer::{Reply, show};
use super::call::Call;
use crate::router::Served;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use ledger::Ledger as _;
use proto::code::Refusal;
use proto::codec;
use proto::record::Key;
use proto::record::ask::Ask;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

const STALE: HeaderName = HeaderName::from_static("x-hansom-stale");

/// What a client says of how new an answer must be.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Freshness {
    /// Whether an answer that may be old will do: it comes from the node that was asked, and the
    /// header `X-Hansom-Stale` says so.
    #[serde(default)]
    stale_ok: bool,
}

/// Shows the record under a key to those who may see it: the one at hand if an old one will do, else what its owner says.
/// What this replica does not have may be too new for it, so its owner is asked for that as well.
pub(super) async fn read<A: Ask, V: Serialize>(
    app: &App,
    call: &Call,
    freshness: Freshness,
    (key, ask): (Key, A),
    may: impl FnOnce(&A::Answer) -> Result<(), Refusal>,
    view: impl FnOnce(A::Answer) -> V,
) -> Reply {
    let (served, old) = find(app, call, freshness, (key, ask), may).await;
    tell(served, old, view)
}

/// Finds that record; says whether it may be old.
pub(super) async fn find<A: Ask>(
    app: &App,
    call: &Call,
    freshness: Freshness,
    (key, ask): (Key, A),
    may: impl FnOnce(&A::Answer) -> Result<(), Refusal>,
) -> (Served<A::Answer>, bool) {
    let at_hand = if freshness.stale_ok { at_hand(app, key) } else { None };
    let old = at_hand.is_some();
    let Served { result, by, hops } = match at_hand {
        Some(record) => Served { result: Ok(record), by: app.node, hops: 0 },
        None => app.router.served(ask, call.context()).await,
    };
    let result = result.and_then(|record| may(&record).map(|()| record));
    (Served { result, by, hops }, old)
}

/// Shows what was found.
pub(super) fn tell<T, V: Serialize>(
    served: Served<T>,
    old: bool,
    view: impl FnOnce(T) -> V,
) -> Reply {
    let mut response = show(StatusCode::OK, served, view)?;
    if old {
        response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The record as this node's replica has it, if there are both.
fn at_hand<T: DeserializeOwned>(app: &App, key: Key) -> Option<T> {
    let group = app.router.partitions()?.group(key.slot());
    let bytes = app.facts.ledger.read_stale(group, &key.to_bytes()).ok()??;
    codec::decode(&bytes).ok()
}
