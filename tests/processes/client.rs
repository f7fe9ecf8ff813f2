//! HTTP as a client sees it.

use crate::nodes::{POLL, WITHIN};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{sleep, timeout};

/// Keys for requests that come without one.
static KEYS: AtomicU64 = AtomicU64::new(0);

/// A request.
pub(crate) struct Ask {
    what: String,
    request: RequestBuilder,
    /// Whether it may be sent again as it is.
    keyed: bool,
}

impl Ask {
    pub(crate) fn new(client: &Client, to: SocketAddr, what: &str) -> Self {
        let (method, path) = what.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let keyed = method != Method::POST;
        let request = client.request(method, format!("http://{to}{path}"));
        Self { what: format!("{what} at {to}"), request, keyed }
    }
    pub(crate) fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let keyed = self.keyed || name.as_str().ends_with("idempotency-key");
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        Self { request: self.request.header(name, value), keyed, ..self }
    }
    pub(crate) fn rider(self, id: &str) -> Self {
        self.header("x-user-id", id)
    }
    pub(crate) fn driver(self, id: &str) -> Self {
        self.header("x-driver-id", id)
    }
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }
    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }
    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body: Vec<u8> = body.into();
        let request = self.request.header("content-type", "application/json").body(body);
        Self { request, ..self }
    }
    /// Sends it as a phone does: again, under the same key, for as long as it is told to. An answer
    /// must come.
    pub(crate) async fn send(mut self) -> Answer {
        if !self.keyed {
            let key = format!("nobody's {}", KEYS.fetch_add(1, Ordering::Relaxed));
            self = self.key(&key);
        }
        let Self { what, request, keyed } = self;
        let mut last = None;
        let asking = async {
            loop {
                let request = request.try_clone().unwrap();
                let ask = Self { what: what.clone(), request, keyed };
                let answer = last.insert(ask.send_once().await);
                if !answer.says_again() {
                    return;
                }
                sleep(POLL).await;
            }
        };
        let in_time = timeout(WITHIN, asking).await;
        let last = last.unwrap_or_else(|| panic!("{what}: no answer"));
        assert!(in_time.is_ok(), "{what}: still not served: {}", last.text);
        last
    }
    /// Sends it once; the answer must come.
    pub(crate) async fn send_once(self) -> Answer {
        let what = self.what.clone();
        self.sent().await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }
    /// Sends it once, to a node that may be down.
    pub(crate) async fn try_send(self) -> Option<Answer> {
        self.sent().await.ok()
    }

    async fn sent(self) -> reqwest::Result<Answer> {
        let response = self.request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answer { what: self.what, status, headers, json, text })
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// What was asked, for messages.
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body; null if it is no JSON.
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Answer {
    /// Whether it says that nobody could answer yet: a partition changes its leader, a node starts.
    pub(crate) fn says_again(&self) -> bool {
        let code = self.json["code"].as_str();
        self.status == 503 && matches!(code, Some("RETRY" | "NOT_READY" | "NOT_OWNER"))
    }
    /// Fails unless it has this status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text);
        self
    }
    /// Fails unless it is this problem, in every place that says so.
    pub(crate) fn problem(&self, status: u16, code: &str) {
        let Self { what, text, json, .. } = self;
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{what}: {text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        assert_eq!(json["status"], status, "{what}: {text}");
        let urn = format!("urn:hansom:{}", code.to_lowercase().replace('_', "-"));
        assert_eq!(json["type"], urn, "{what}: {text}");
        for field in ["title", "detail", "trace_id"] {
            let filled = json[field].as_str().is_some_and(|text| !text.is_empty());
            assert!(filled, "{what}: no {field} in {text}");
        }
        assert_eq!(self.header("x-trace-id"), json["trace_id"], "{what}");
        let later = [429, 503].contains(&status);
        assert_eq!(json["retryable"], later, "{what}: {text}");
        let seconds: Option<u32> = self.header("retry-after").parse().ok();
        assert_eq!(seconds.is_some_and(|seconds| seconds >= 1), later, "{what}: Retry-After");
        assert_eq!(json["retry_after_ms"].is_u64(), later, "{what}: {text}");
    }
    /// A field that is a text.
    pub(crate) fn text(&self, field: &str) -> String {
        let Self { what, text, .. } = self;
        let found = self.json[field].as_str();
        found.unwrap_or_else(|| panic!("{what}: no {field} in {text}")).to_owned()
    }
    /// A header, empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    /// How often it was forwarded.
    pub(crate) fn hops(&self) -> u8 {
        let hops = self.header("x-hansom-hops").parse();
        hops.unwrap_or_else(|_| panic!("{}: does not say its hops", self.what))
    }
}
