//! One request to one node over HTTP. The only file of this crate that knows how that is done.

use super::call::{Party, Request, Verb};
use super::watch::NoAnswer;
use crate::ids::NodeId;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use std::fmt;
use std::time::Duration;

/// How long opening a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Idle connections kept to one node: about as many as a busy second needs, so that it opens none.
const IDLE_PER_NODE: usize = 128;
/// The longest answer that is read, in bytes. A page of fifty bookings and two hundred drivers around
/// a point have some 50 KB; a node's metrics, which name partitions and peers, a few hundred.
const ANSWER_MAX: usize = 4 << 20;

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an HTTP client: {0}")]
pub struct BuildError(#[from] reqwest::Error);

/// A bearer token. It is sent with every try, and shown nowhere.
#[derive(Clone)]
pub struct Token(HeaderValue);

/// A text that cannot be a token. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is made of visible ASCII characters, and has at least one")]
pub struct NoToken;

impl Token {
    /// Takes a text as a token; whether it is a good one, the cluster says.
    pub fn new(text: &str) -> Result<Self, NoToken> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoToken);
        }
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| NoToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// What a node answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) served_by: Option<NodeId>,
    pub(super) hops: Option<u8>,
    pub(super) retry_after_ms: Option<u64>,
    /// Nothing if it is longer than anybody should answer, or comes as a stream.
    pub(super) body: Option<Vec<u8>>,
    /// What comes bit by bit, if that was asked for and the answer is no refusal.
    pub(super) stream: Option<Stream>,
}

/// A body that goes on for as long as its node likes.
#[derive(Debug)]
pub(super) struct Stream(Response);

impl Stream {
    /// The next piece; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, NoAnswer> {
        self.0.chunk().await.map_err(|error| why(&error))
    }
}

/// The connections.
#[derive(Debug)]
pub(super) struct Carrier(reqwest::Client);

impl Carrier {
    pub(super) fn new(token: Option<Token>) -> Result<Self, BuildError> {
        let headers: HeaderMap =
            token.into_iter().map(|Token(value)| (AUTHORIZATION, value)).collect();
        let http = reqwest::Client::builder()
            // A node is asked itself; neither a proxy of the environment nor a redirection is one.
            .no_proxy()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_WITHIN)
            .pool_max_idle_per_host(IDLE_PER_NODE)
            .build()?;
        Ok(Self(http))
    }

    /// Asks a node once. How long that may take is the caller's to say.
    pub(super) async fn send(&self, to: &str, request: &Request) -> Result<Answered, NoAnswer> {
        let method = match request.verb {
            Verb::Read | Verb::Follow => Method::GET,
            Verb::Change => Method::POST,
            Verb::Report => Method::PUT,
        };
        let mut sent = self.0.request(method, format!("http://{to}{}", request.path));
        match request.party {
            None => {}
            Some(Party::Driver(driver)) => sent = sent.header("x-driver-id", driver.to_string()),
            Some(Party::Rider(rider)) => sent = sent.header("x-user-id", rider.to_string()),
        }
        if request.verb == Verb::Change {
            sent = sent.header("idempotency-key", request.key.to_string());
        }
        if let Some(body) = &request.body {
            sent = sent.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = sent.send().await.map_err(|error| why(&error))?;
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let seconds = header(RETRY_AFTER.as_str()).and_then(|text| text.parse::<u64>().ok());
        let mut answered = Answered {
            status: response.status().as_u16(),
            served_by: header("x-hansom-served-by").and_then(|node| node.parse().ok()),
            hops: header("x-hansom-hops").and_then(|hops| hops.parse().ok()),
            retry_after_ms: seconds.map(|seconds| seconds.saturating_mul(1_000)),
            body: None,
            stream: None,
        };
        if request.verb == Verb::Follow && response.status().is_success() {
            answered.stream = Some(Stream(response));
        } else {
            answered.body = read(response).await?;
        }
        Ok(answered)
    }
}

async fn read(mut response: Response) -> Result<Option<Vec<u8>>, NoAnswer> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| why(&error))? {
        if body.len() + part.len() > ANSWER_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

fn why(error: &reqwest::Error) -> NoAnswer {
    if error.is_connect() {
        NoAnswer::NoConnection
    } else if error.is_timeout() {
        NoAnswer::Timeout
    } else {
        NoAnswer::Lost
    }
}
