//! `hansom policy`: the policy in force, and other values for some.

use super::{Asking, ToolError, exchange, finish, print};
use crate::policy::{PolicyChange, PolicyView};
use reqwest::Method;
use serde_json::{Map, Value};
use std::process::ExitCode;

/// What is shown or set.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = "\
Without a value it shows the policy. With some it sets those on all nodes, from their next decision
on, and leaves the others; searches that are under way go on as they began. `hansom node --help`
explains the values. Set from two places at once, the slower is refused.

Examples:
  hansom policy
  hansom policy pickup_cap_ms=240000 offer_ttl_ms=12000
  hansom policy search_radii_m=[800,2000,4000]
  hansom policy 'pickup_cap_by_cell={\"872a100d6ffffff\":420000}'   a cap of its own for an H3 cell")]
pub struct PolicyArgs {
    /// A value and what it is to be, as in pickup_cap_ms=240000; lists and objects as JSON.
    #[arg(value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, Value)>,
    #[command(flatten)]
    pub asking: Asking,
}

/// Words that are no JSON are themselves.
fn pair(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("a value needs a name: NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.replace('-', "_"), value))
}

/// `hansom policy`.
pub async fn policy(args: PolicyArgs) -> ExitCode {
    let found = shown_or_set(&args).await;
    finish("hansom policy", &args.asking, found, table)
}

async fn shown_or_set(args: &PolicyArgs) -> Result<PolicyView, ToolError> {
    let (door, path) = (&args.asking.door, "/v1/policy");
    let view: PolicyView = exchange(door, Method::GET, path, &[], None).await?;
    if args.set.is_empty() {
        return Ok(view);
    }
    let set: Map<String, Value> = args.set.iter().cloned().collect();
    let change = PolicyChange { version: view.version, set };
    let body = serde_json::to_value(change).unwrap_or_default();
    exchange(door, Method::PATCH, path, &[], Some(body)).await
}

fn table(view: &PolicyView) -> String {
    let rows = view.policy.iter().map(|(name, value)| [name.clone(), value.to_string()]);
    let whose = match view.version {
        0 => "as that node was started".to_owned(),
        version => format!("version {version}, on all nodes"),
    };
    format!("{}\n{whose}", print::list(["policy", "value"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_json_or_a_word() {
        for (text, value) in
            [("a=3", json!(3)), ("a=[1,2]", json!([1, 2])), ("a=per-trip", json!("per-trip"))]
        {
            assert_eq!(pair(text), Ok(("a".to_owned(), value)));
        }
        assert_eq!(pair("pickup-cap-ms=1").map(|(name, _)| name), Ok("pickup_cap_ms".to_owned()));
        assert!(pair("a").is_err());
    }
}
