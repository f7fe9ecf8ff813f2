//! A client as a phone would be one: it knows all nodes, asks a random one, and asks another, with
//! the same idempotency key, for as long as it gets no definite answer. HTTP/1.1 by hand over
//! turmoil's streams: no client library connects through them.

use crate::cluster::{self, NODES};
use crate::dice::Dice;
use crate::outside;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// How long one try may take; above a node's own deadline.
const TRY_WITHIN: Duration = Duration::from_secs(4);
/// Tries until the cluster counts as broken: with their pauses some 30 s.
const TRIES_MAX: u32 = 60;
/// The pause between two tries, with a random half.
const PAUSE_MS: u64 = 700;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Party {
    /// Nobody in particular.
    Nobody,
    /// This driver, by the text of his id.
    Driver(String),
    /// This rider, by the text of his id.
    Rider(String),
}

/// A refusal that asking again would not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The stable code.
    pub(crate) code: String,
    /// The sentence.
    pub(crate) detail: String,
}

/// What people had to put up with.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How often somebody asked again, for whatever reason.
    pub(crate) asked_again: Cell<usize>,
    /// When a node that was up told somebody to.
    pub(crate) told_to: RefCell<Vec<(Duration, String)>>,
}

/// A phone.
pub(crate) struct Phone {
    party: Party,
    dice: Dice,
    patience: Rc<Patience>,
}

struct Response {
    status: u16,
    body: Value,
}

impl Phone {
    /// The phone of `party`, with dice of its own; counts how often it asks again.
    pub(crate) fn new(party: Party, dice: Dice, patience: Rc<Patience>) -> Self {
        Self { party, dice, patience }
    }
    /// The phone has been told who its owner is.
    pub(crate) fn sign_in(&mut self, party: Party) {
        self.party = party;
    }
    /// Whose it is.
    pub(crate) const fn party(&self) -> &Party {
        &self.party
    }
    /// Its owner's dice.
    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }
    /// Reads.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Value, Refused> {
        self.ask("GET", path, None).await
    }
    /// Changes.
    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Result<Value, Refused> {
        self.ask("POST", path, Some(body)).await
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Refused> {
        let key = format!("{:016x}", self.dice.bits());
        let mut last = String::new();
        for _ in 0..TRIES_MAX {
            let node = self.dice.one_of(0..NODES);
            match timeout(
                TRY_WITHIN,
                exchange(node, method, path, &self.party, &key, body.as_ref()),
            )
            .await
            {
                Ok(Ok(Response { status: 200..=299, body })) => return Ok(body),
                Ok(Ok(Response { status: 429 | 503, body, .. })) => {
                    last = format!("{method} {path} at {}: {body}", cluster::name(node));
                    self.patience.told_to.borrow_mut().push((outside::now(), last.clone()));
                }
                Ok(Ok(Response { body, .. })) => {
                    let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                    return Err(Refused { code: field("code"), detail: field("detail") });
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "no answer in time".into(),
            }
            self.patience.asked_again.set(self.patience.asked_again.get() + 1);
            let pause = self.dice.ms(PAUSE_MS / 2..PAUSE_MS);
            sleep(pause).await;
        }
        panic!("{method} {path} got no definite answer in {TRIES_MAX} tries, the last was: {last}");
    }
}

/// Asks one node once, without retry.
pub(crate) async fn get_once(node: usize, path: &str) -> io::Result<(u16, Value)> {
    let answer = timeout(TRY_WITHIN, exchange(node, "GET", path, &Party::Nobody, "", None)).await;
    let Response { status, body, .. } = answer.map_err(io::Error::other)??;
    Ok((status, body))
}

async fn exchange(
    node: usize,
    method: &str,
    path: &str,
    party: &Party,
    key: &str,
    body: Option<&Value>,
) -> io::Result<Response> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let at = cluster::http(node);
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n");
    match party {
        Party::Nobody => {}
        Party::Driver(id) => head += &format!("x-driver-id: {id}\r\n"),
        Party::Rider(id) => head += &format!("x-user-id: {id}\r\n"),
    }
    if method != "GET" {
        head += &format!("idempotency-key: {key}\r\ncontent-type: application/json\r\n");
        head += &format!("content-length: {}\r\n", body.len());
    }
    let mut stream = turmoil::net::TcpStream::connect(at).await?;
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    read(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "half an answer"))
}

/// An answer, if it is whole.
fn read(bytes: &[u8]) -> Option<Response> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name| head.lines().find_map(|line| line.strip_prefix(name));
    if header("content-length: ")?.parse() != Ok(body.len()) {
        return None;
    }
    Some(Response { status, body: serde_json::from_str(body).unwrap_or_default() })
}
