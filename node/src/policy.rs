//! The policy in force: what the flags say, until an operator has set another for the whole
//! cluster, which group 0 keeps. Stored as JSON, so that builds of two ages read each other's: a
//! field that is missing has this build's default, one that is not known is passed over.

use actors::policy::Policy;
use actors::queue::zone::QueueZones;
use arc_swap::ArcSwap;
use ledger::Refused;
use ledger::replicated::{AgreedPolicy, Objection, Replicated};
use proto::code::{Code, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

/// The policy, and how often it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PolicyView {
    /// How often it was set; 0 if never, so that what each node was started with counts there.
    pub version: u64,
    /// The values by name, as `hansom node --help` explains them.
    #[schema(value_type = Object)]
    pub policy: Map<String, Value>,
}

/// Other values for some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyChange {
    /// The version that they change; refused if another counts by now.
    pub version: u64,
    /// The new values by name; the others stay.
    #[schema(value_type = Object)]
    pub set: Map<String, Value>,
}

/// Why a policy was not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotSet {
    /// No such value, or none that can be meant: which, and why.
    Bad(String, String),
    /// Refused, or it may or may not have happened.
    Refused(Refusal),
}

/// The policy of a node.
#[derive(Clone)]
pub struct InForce {
    ledger: Replicated,
    /// What the shells look at.
    now: Arc<ArcSwap<Policy>>,
    /// What this node was started with.
    configured: Arc<Policy>,
}

impl InForce {
    pub(crate) fn new(ledger: Replicated, configured: Policy) -> Self {
        let configured = Arc::new(configured);
        Self { ledger, now: Arc::new(ArcSwap::new(Arc::clone(&configured))), configured }
    }

    /// What decisions look at.
    pub(crate) fn now(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.now)
    }

    /// Takes over what group 0 agrees on, for as long as the ledger lives.
    pub(crate) async fn follow(self) {
        let mut known = self.ledger.known();
        let mut version = 0;
        loop {
            let agreed = Arc::clone(&known.borrow_and_update().policy);
            if agreed.version > version {
                version = agreed.version;
                match read(&agreed, &self.configured) {
                    Ok(policy) => {
                        tracing::info!(version, "the policy is set");
                        self.now.store(Arc::new(policy));
                    }
                    // Written by another build, and checked there.
                    Err(error) => tracing::error!(version, %error, "keeps the policy it had"),
                }
            }
            if known.changed().await.is_err() {
                return;
            }
        }
    }

    /// The policy, as far as this node has heard.
    pub(crate) fn view(&self) -> PolicyView {
        let agreed = Arc::clone(&self.ledger.known().borrow().policy);
        // Of the two this is the one that was heard later, or what keeps its place.
        let policy =
            read(&agreed, &self.configured).unwrap_or_else(|_| Policy::clone(&self.now.load()));
        PolicyView { version: agreed.version, policy: values(&policy) }
    }

    /// The queue zones, as far as this node has heard, and the version of the policy.
    pub(crate) fn zones(&self) -> (u64, QueueZones) {
        let agreed = Arc::clone(&self.ledger.known().borrow().policy);
        let policy = read(&agreed, &self.configured);
        let zones =
            policy.map_or_else(|_| self.now.load().queue_zones.clone(), |it| it.queue_zones);
        (agreed.version, zones)
    }

    /// Sets other values for some, if this version still counts.
    pub(crate) async fn set(&self, change: PolicyChange) -> Result<PolicyView, NotSet> {
        let before = self.view();
        if change.version != before.version {
            return Err(stale(before.version));
        }
        let policy = changed(before.policy, change.set)?;
        let bytes = serde_json::to_vec(&policy).unwrap_or_default();
        match self.ledger.set_policy(change.version, bytes).await {
            Ok(Ok(())) => Ok(PolicyView { version: change.version + 1, policy: values(&policy) }),
            Ok(Err(Objection::Stale { version })) => Err(stale(version)),
            Ok(Err(objection)) => Err(refused(Code::NotReady, objection)),
            Err(Refused::Overloaded) => Err(NotSet::Refused(Code::Overloaded.into())),
            Err(error) => Err(refused(Code::Retry, error)),
        }
    }
}

fn stale(version: u64) -> NotSet {
    let counts = format!("version {version} counts; read it, and change that");
    NotSet::Refused(Refusal::new(Code::PolicyChanged, counts))
}

fn refused(code: Code, why: impl std::fmt::Display) -> NotSet {
    NotSet::Refused(Refusal::new(code, why.to_string()))
}

fn values(policy: &Policy) -> Map<String, Value> {
    match serde_json::to_value(policy) {
        Ok(Value::Object(values)) => values,
        Ok(_) | Err(_) => Map::new(), // it is plain data with names
    }
}

fn read(agreed: &AgreedPolicy, configured: &Policy) -> Result<Policy, serde_json::Error> {
    if agreed.version == 0 { Ok(configured.clone()) } else { serde_json::from_slice(&agreed.bytes) }
}

/// The policy with other values for some.
fn changed(mut values: Map<String, Value>, set: Map<String, Value>) -> Result<Policy, NotSet> {
    for (name, value) in set {
        let known: Vec<String> = values.keys().cloned().collect();
        let Some(old) = values.get_mut(&name) else {
            return Err(NotSet::Bad(
                name,
                format!("is no value of a policy; those are {}", known.join(", ")),
            ));
        };
        *old = value;
        // One at a time, so that the refusal names the one that can't be meant.
        if let Err(error) = serde_json::from_value::<Policy>(Value::Object(values.clone())) {
            return Err(NotSet::Bad(name, error.to_string()));
        }
    }
    let policy: Policy = serde_json::from_value(Value::Object(values))
        .map_err(|error| NotSet::Bad("set".to_owned(), error.to_string()))?;
    policy.check().map_err(|error| NotSet::Bad(error.field.to_owned(), error.problem))?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(these: Value) -> Result<Policy, NotSet> {
        let Value::Object(these) = these else { panic!("an object") };
        changed(values(&Policy::default()), these)
    }

    #[test]
    fn some_values_are_changed_and_the_others_stay() {
        let policy = set(json!({ "pickup_cap_ms": 240_000, "search_radii_m": [500, 900, 900] }));
        let expected =
            Policy { pickup_cap_ms: 240_000, search_radii_m: [500, 900, 900], ..Policy::default() };
        assert_eq!(policy, Ok(expected));
        assert_eq!(set(json!({})), Ok(Policy::default()));
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_refused_by_its_name() {
        let table = [
            (json!({ "pickup_cap_ms": "soon" }), "pickup_cap_ms"),
            (json!({ "pickup_cap_by_cell": { "midtown": 60_000 } }), "pickup_cap_by_cell"),
            (json!({ "pickup_cap_ms": -1 }), "pickup_cap_ms"),
            (json!({ "search_radii_m": [1_000, 3_000] }), "search_radii_m"),
            (json!({ "search_radii_m": [3_000, 1_000, 1_000] }), "search_radii_m"),
            (json!({ "patience": 3 }), "patience"),
            (json!({ "tariffs": 3 }), "tariffs"),
            (json!({ "offer_ttl_ms": 10, "offer_shown_ms": 20 }), "offer_shown_ms"),
        ];
        for (these, name) in table {
            match set(these.clone()) {
                Err(NotSet::Bad(field, _)) => assert_eq!(field, name, "{these}"),
                other => panic!("{these}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_older_builds_policy_is_read_with_this_builds_defaults_for_what_it_does_not_say() {
        let bytes = br#"{"pickup_cap_ms":120000,"of_another_build":1}"#.to_vec();
        let agreed = AgreedPolicy { version: 1, bytes };
        let read = read(&agreed, &Policy::default()).unwrap();
        assert_eq!(read, Policy { pickup_cap_ms: 120_000, ..Policy::default() });
    }
}
