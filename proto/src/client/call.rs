//! A call: what is asked, for whom, and under which key. It is a value, so that it can be asked
//! again as it was.

use super::Client;
use super::failure::Failure;
use super::watch::Watch;
use crate::ids::{DriverId, IdError, RiderId};
use crate::slot::{Slot, frozen_hash};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::str::FromStr;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// This driver.
    Driver(DriverId),
    /// This rider.
    Rider(RiderId),
}

/// The idempotency key of a call: the cluster does what comes under one key once, and answers it the
/// same each time. It is also where the call's chances come from, so that a key says everything
/// about how a call was tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

impl Key {
    /// The call's `n`-th random number.
    pub(super) fn chance(self, n: u32) -> u64 {
        frozen_hash(&[&self.0.to_be_bytes()[..], &n.to_be_bytes()].concat())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 32 {
            return Err(IdError::Length { want: 32, got: text.len() });
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| IdError::Digit)
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// It reads.
    Read,
    /// It reads on, for as long as something comes.
    Follow,
    /// It changes something, once, under its key.
    Change,
    /// It says where something is. Newer words replace older ones, so it has no key.
    Report,
}

/// A request, before it is known which node gets it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) verb: Verb,
    pub(super) path: String,
    pub(super) party: Option<Party>,
    /// Whose record it is about; nothing if no single partition serves it.
    pub(super) slot: Option<Slot>,
    pub(super) body: Option<Bytes>,
    pub(super) key: Key,
}

impl Request {
    pub(super) fn read(path: impl Into<String>) -> Self {
        let (verb, path) = (Verb::Read, path.into());
        Self { verb, path, party: None, slot: None, body: None, key: Key(0) }
    }

    pub(super) fn follow(path: impl Into<String>) -> Self {
        Self { verb: Verb::Follow, ..Self::read(path) }
    }

    pub(super) fn change(path: impl Into<String>, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("our own shapes have text for keys");
        Self { verb: Verb::Change, body: Some(body.into()), ..Self::read(path) }
    }

    pub(super) fn report(path: impl Into<String>, body: &impl Serialize) -> Self {
        Self { verb: Verb::Report, ..Self::change(path, body) }
    }

    pub(super) fn of(self, slot: Slot) -> Self {
        Self { slot: Some(slot), ..self }
    }

    pub(super) fn by(self, party: Party) -> Self {
        Self { party: Some(party), ..self }
    }
}

/// Something to ask of the cluster, that answers with a `T`. Nothing happens before it is awaited,
/// or [asked](Self::ask), as often as one likes: under one key a change is made once.
#[derive(Debug)]
#[must_use = "nothing is asked before it is awaited"]
pub struct Call<'a, T> {
    client: &'a Client,
    request: Request,
    answer: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned + Send> Call<'a, T> {
    pub(super) const fn new(client: &'a Client, request: Request) -> Self {
        Self { client, request, answer: PhantomData }
    }

    /// The key that it goes under; made up with the call.
    pub const fn key(&self) -> Key {
        self.request.key
    }

    /// The same under a key of the caller's: one that was kept from before a crash, or from an
    /// [`Unsettled`](super::Unsettled).
    pub fn keyed(self, key: Key) -> Self {
        Self { request: Request { key, ..self.request }, ..self }
    }

    /// The same read from whichever node is asked, if it has a replica: no other is bothered, and
    /// the answer may be old. For records (riders, drivers, bookings, trips); others are as they are.
    pub fn stale_ok(self) -> Self {
        let Request { path, .. } = self.request;
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}stale_ok=true");
        Self { request: Request { path, slot: None, ..self.request }, ..self }
    }

    /// The same, its answer read as another shape: as `serde_json::Value`, to see all of it.
    pub fn read_as<U: DeserializeOwned + Send>(self) -> Call<'a, U> {
        Call::new(self.client, self.request)
    }

    /// Whether it changes something, under its key. If not, nothing depends on whether it was done.
    pub fn is_change(&self) -> bool {
        self.request.verb == Verb::Change
    }

    /// Method and path, for logs.
    pub fn name(&self) -> String {
        let method = match self.request.verb {
            Verb::Read | Verb::Follow => "GET",
            Verb::Change => "POST",
            Verb::Report => "PUT",
        };
        format!("{method} {}", self.request.path)
    }

    /// Asks until the answer is definite or the client's patience is over.
    pub async fn ask(&self) -> Result<T, Failure> {
        self.watched(&mut ()).await
    }

    /// The same, watched.
    pub async fn watched(&self, watch: &mut dyn Watch) -> Result<T, Failure> {
        self.client.settle(&self.request, watch).await
    }
}

impl<'a, T: DeserializeOwned + Send + 'a> IntoFuture for Call<'a, T> {
    type Output = Result<T, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.ask().await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_written_down() {
        let key = Key(0x0123_4567_89ab_cdef);
        assert_eq!(key.to_string(), "00000000000000000123456789abcdef");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("0123".parse::<Key>(), Err(IdError::Length { want: 32, got: 4 }));
        assert_ne!(key.chance(1), key.chance(2));
    }
}
