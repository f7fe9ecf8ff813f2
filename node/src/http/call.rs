//! What is read from a request: who asks, under which key and trace, which id, which body.

use super::App;
use super::identity::Asker;
use super::problem::Problem;
use crate::auth::Identity;
use actors::runtime::world::Context;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use futures_util::StreamExt;
use proto::code::{Code, Refusal};
use proto::envelope::Subject;
use proto::record::command::Idempotency;
use proto::slot::frozen_hash;
use proto::{DriverId, RiderId, WallMs};
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// How long a handler waits for the owner, in milliseconds: an age for what is answered from memory
/// and one disk sync, and little enough that a client who is on the wrong side of a broken network
/// hears so within a second and a half, and tries another node several times in five.
pub(super) const ASK_WITHIN_MS: u32 = 1_000;
/// The longest idempotency key, in bytes.
const KEY_MAX: usize = 255;
/// How much of a body beyond its bound is read only to be able to refuse it, in bytes; the sender
/// of more is cut off.
const DISCARDED_MAX: usize = 16 << 20;

/// The trace of a request, put there by the guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace(pub(super) u128);

/// A trace as headers and logs show it.
pub(super) fn trace_text(trace: u128) -> String {
    format!("{trace:032x}")
}

/// The trace that a client asked for, if it is one.
pub(super) fn trace_of(headers: &HeaderMap) -> Option<u128> {
    let text = headers.get("x-trace-id")?.to_str().ok()?;
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())?
}

/// Who asks for what.
#[derive(Debug)]
pub(super) struct Call {
    trace: u128,
    method: Method,
    path: String,
    driver: Option<DriverId>,
    rider: Option<RiderId>,
    key: Option<u64>,
    asker: Asker,
}

impl Call {
    /// The context of what is asked for this request.
    pub(super) fn context(&self) -> Context {
        let subject = match (self.driver, self.rider) {
            (Some(driver), _) => Subject::Driver(driver),
            (None, Some(rider)) => Subject::Rider(rider),
            (None, None) => Subject::Anonymous,
        };
        Context { trace: self.trace, subject, deadline_ms: ASK_WITHIN_MS }
    }
    /// What the token said.
    pub(super) const fn identity(&self) -> Identity {
        self.asker.identity
    }
    /// When the token runs out; nothing if there is none.
    pub(super) const fn until(&self) -> Option<WallMs> {
        self.asker.until
    }
    /// The driver who asks.
    pub(super) fn driver(&self) -> Result<DriverId, Problem> {
        self.driver.ok_or_else(|| Problem::bad("header X-Driver-ID", "is missing"))
    }
    /// The rider who asks.
    pub(super) fn rider(&self) -> Result<RiderId, Problem> {
        self.rider.ok_or_else(|| Problem::bad("header X-User-ID", "is missing"))
    }
    /// The rider who asks, if nobody says that a driver does.
    pub(super) fn only_rider(&self) -> Option<RiderId> {
        self.rider.filter(|_| self.driver.is_none())
    }
    /// The party who asks, a driver first.
    pub(super) fn party(&self) -> Result<Party, Problem> {
        match (self.driver, self.rider) {
            (Some(driver), _) => Ok(Party::Driver(driver)),
            (None, Some(rider)) => Ok(Party::Rider(rider)),
            (None, None) => Err(Problem::bad("header X-Driver-ID or X-User-ID", "is missing")),
        }
    }
    /// The client's key, and the digest of what it came with.
    pub(super) fn idempotency<T>(&self, sent: &Sent<T>) -> Option<Idempotency> {
        let key = self.key?;
        // Whose it is belongs to it: nobody is given another's answer.
        let party = format!("{:?} {:?}", self.rider, self.driver);
        let text =
            [self.method.as_str().as_bytes(), self.path.as_bytes(), party.as_bytes(), &sent.bytes];
        Some(Idempotency { key, body: frozen_hash(&text.join(&0)) })
    }
}

/// One of the two parties of a trip.
#[derive(Debug, Clone, Copy)]
pub(super) enum Party {
    Driver(DriverId),
    Rider(RiderId),
}

fn header<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<T>, Problem>
where
    T::Err: std::fmt::Display,
{
    let Some(value) = headers.get(name) else { return Ok(None) };
    let field = format!("header {name}");
    let text = value.to_str().map_err(|_| Problem::bad(&field, "is not text"))?;
    text.trim().parse().map(Some).map_err(|error| Problem::bad(&field, error))
}

fn key(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let (name, value) = match headers.get("idempotency-key") {
        Some(value) => ("header Idempotency-Key", value),
        None => match headers.get("x-idempotency-key") {
            Some(value) => ("header X-Idempotency-Key", value),
            None => return Ok(None),
        },
    };
    if value.is_empty() || value.len() > KEY_MAX {
        return Err(Problem::bad(name, format!("must have 1 to {KEY_MAX} bytes")));
    }
    Ok(Some(frozen_hash(value.as_bytes())))
}

impl FromRequestParts<App> for Call {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let asker = match parts.extensions.get() {
            Some(asker) => *asker,
            // A route that forgot to ask is closed, not open.
            None if app.verifier.is_some() => {
                return Err(Refusal::from(Code::Unauthenticated).into());
            }
            None => Asker { identity: Identity::Believed, until: None },
        };
        let identity = asker.identity;
        Ok(Self {
            asker,
            trace: parts.extensions.get().map_or(0, |Trace(trace)| *trace),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            driver: identity.driver(header(&parts.headers, "x-driver-id")?)?,
            rider: identity.rider(header(&parts.headers, "x-user-id")?)?,
            key: key(&parts.headers)?,
        })
    }
}

/// The id in the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id<T>(pub(super) T);

impl<T: FromStr> FromRequestParts<App> for Id<T>
where
    T::Err: std::fmt::Display,
{
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|error| Problem::bad("id in the path", error.body_text()))?;
        text.parse().map(Self).map_err(|error| Problem::bad("id in the path", error))
    }
}

/// The parameters of the query.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, app).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::bad("query", error.body_text())),
        }
    }
}

/// The JSON body; an empty body counts as `{}`.
#[derive(Debug)]
pub(super) struct Sent<T> {
    /// What it says.
    pub(super) value: T,
    bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<App> for Sent<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = read_body(request, app).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        Ok(Self { value: parse(text)?, bytes })
    }
}

/// The body, at most as large as this node takes. One that is larger is read on and thrown away
/// for a while: whoever is cut off while he writes never sees why.
async fn read_body(request: Request, app: &App) -> Result<Bytes, Problem> {
    let max = app.limits.http_body_max_bytes;
    let mut parts = request.into_body().into_data_stream();
    let (mut body, mut length) = (Vec::new(), 0_usize);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| Problem::bad("body", error))?;
        length = length.saturating_add(part.len());
        if length <= max {
            body.extend_from_slice(&part);
        } else if length - max > DISCARDED_MAX {
            break;
        }
    }
    if length > max {
        let detail = format!("the body may have {max} bytes");
        return Err(Refusal::new(Code::TooLarge, detail).into());
    }
    Ok(body.into())
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    Json::from_bytes(text)
        .map(|Json(value)| value)
        .map_err(|error| Problem::bad("body", error.body_text()))
}

/// One thing or a list of them.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T: DeserializeOwned> FromRequest<App> for OneOrMany<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = read_body(request, app).await?;
        let list = bytes.trim_ascii_start().starts_with(b"[");
        if list { parse(&bytes).map(Self) } else { parse(&bytes).map(|one| Self(vec![one])) }
    }
}
