//! The hand that plays: a client of the cluster, and how its answers are shown.

use super::args::{Keyed, Reaching};
use super::trouble::Trouble;
use crate::clock::SystemClock;
use crate::mint::SeededMint;
use actors::runtime::world::Mint as _;
use proto::WallMs;
use proto::client::{Call, Client, Config, Failure, Token, Unreadable};
use proto::units::Clock as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// A client, and whether programs read its answers.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) client: Client,
    pub(super) clock: SystemClock,
    pub(super) json: bool,
}

impl Hand {
    pub(super) fn new(reaching: Reaching) -> Result<Self, Trouble> {
        let Reaching { node, bearer, json } = reaching;
        let token = bearer.text().map(Token::new).transpose();
        let token = token.map_err(|error| Trouble::Usage(format!("--token: {error}")))?;
        let mint = SeededMint::from_os().map_err(|error| {
            Trouble::Sentence(format!("the operating system gives no random bytes: {error}"))
        })?;
        let chance = u128::from(mint.random()) << 64 | u128::from(mint.random());
        let (config, clock) = (Config::new(node, chance), SystemClock::new());
        let client = Client::new(Config { token, ..config }, Arc::new(clock.clone()));
        let client = client.map_err(|error| Trouble::Sentence(error.to_string()))?;
        Ok(Self { client, clock, json })
    }

    /// Asks.
    pub(super) async fn ask<T: DeserializeOwned + Send>(
        &self,
        call: Call<'_, T>,
    ) -> Result<T, Trouble> {
        let keyed = call.is_change();
        call.ask().await.map_err(|failure| Trouble::Failed { failure, keyed, found: None })
    }

    /// Asks, and shows the answer as whoever reads it wants it.
    pub(super) async fn show<T: DeserializeOwned + Send>(
        &self,
        call: Call<'_, T>,
        table: impl FnOnce(&T, WallMs) -> String,
    ) -> Result<String, Trouble> {
        let answer: Value = self.ask(call.read_as()).await?;
        self.shown(answer, table)
    }

    /// The same of a change, under the key that was given, if one was.
    pub(super) async fn change<T: DeserializeOwned + Send>(
        &self,
        call: Call<'_, T>,
        Keyed { key }: Keyed,
        table: impl FnOnce(&T, WallMs) -> String,
    ) -> Result<String, Trouble> {
        let call = match key {
            Some(key) => call.keyed(key),
            None => call,
        };
        self.show(call, table).await
    }

    /// Shows an answer.
    pub(super) fn shown<T: DeserializeOwned>(
        &self,
        answer: Value,
        table: impl FnOnce(&T, WallMs) -> String,
    ) -> Result<String, Trouble> {
        if self.json {
            return Ok(format!("{answer:#}"));
        }
        let read = serde_json::from_value(answer).map_err(|error| {
            let unreadable = Unreadable { status: 200, detail: error.to_string() };
            Trouble::Failed { failure: Failure::from(unreadable), keyed: false, found: None }
        })?;
        Ok(table(&read, self.clock.wall()))
    }
}
