//! A client as a phone would be one: it knows all nodes, asks a random one, and asks another, with
//! the same idempotency key, for as long as it gets no definite answer. HTTP/1.1 by hand over
//! turmoil's streams: no client library connects through them.

use crate::cluster;
use crate::dice::Dice;
use crate::laws::Broken;
use crate::laws::answers::{self, Said};
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
/// The pause between two tries, with a random half.
const PAUSE_MS: u64 = 700;
/// The code of a refusal that is none: nobody gave a final answer for as long as the phone asked.
pub const NO_ANSWER: &str = "NO_ANSWER";

/// Who asks.
#[derive(Debug, Clone)]
pub enum Party {
    /// Nobody in particular.
    Nobody,
    /// This driver, by the text of his id.
    Driver(String),
    /// This rider, by the text of his id.
    Rider(String),
}

/// A refusal that asking again would not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The stable code.
    pub code: String,
    /// The sentence.
    pub detail: String,
}

/// What all phones of a run know and note.
#[derive(Debug)]
pub struct Lines {
    /// The nodes that clients know.
    pub doors: RefCell<Vec<usize>>,
    /// Until when a phone asks again.
    pub until: Duration,
    /// Requests answered with yes.
    pub ok: Cell<u64>,
    /// Requests refused for good.
    pub rejected: Cell<u64>,
    /// How often somebody asked again, for whatever reason.
    pub asked_again: Cell<u64>,
    /// Requests without an answer to the end.
    pub unsettled: RefCell<Vec<String>>,
    /// When a node that was up told somebody to ask again, and how.
    pub told_to: RefCell<Vec<(Duration, String)>>,
    /// Answers that none may give.
    pub odd: RefCell<Vec<Broken>>,
}

impl Lines {
    /// Lines to these nodes, for phones that ask again until then.
    pub fn to(doors: Vec<usize>, until: Duration) -> Rc<Self> {
        Rc::new(Self {
            doors: RefCell::new(doors),
            until,
            ok: Cell::default(),
            rejected: Cell::default(),
            asked_again: Cell::default(),
            unsettled: RefCell::default(),
            told_to: RefCell::default(),
            odd: RefCell::default(),
        })
    }
    /// Any node that clients know.
    pub fn any(&self, dice: &mut Dice) -> usize {
        let doors = self.doors.borrow();
        doors[dice.one_of(0..doors.len())]
    }
}

fn count(what: &Cell<u64>) {
    what.set(what.get() + 1);
}

/// A phone.
pub struct Phone {
    party: Party,
    dice: Dice,
    lines: Rc<Lines>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    party: &'a Party,
    key: &'a str,
    body: Option<&'a Value>,
}

struct Response {
    status: u16,
    body: Value,
}

impl Phone {
    /// The phone of `party`, with dice of its own.
    pub fn new(party: Party, dice: Dice, lines: Rc<Lines>) -> Self {
        Self { party, dice, lines }
    }
    /// The phone has been told who its owner is.
    pub fn sign_in(&mut self, party: Party) {
        self.party = party;
    }
    /// Whose it is.
    pub const fn party(&self) -> &Party {
        &self.party
    }
    /// Its owner's dice.
    pub const fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }
    /// Any node that it knows.
    pub fn door(&mut self) -> usize {
        self.lines.any(&mut self.dice)
    }
    /// Reads.
    pub async fn get(&mut self, path: &str) -> Result<Value, Refused> {
        self.ask("GET", path, None).await
    }
    /// Changes.
    pub async fn post(&mut self, path: &str, body: Value) -> Result<Value, Refused> {
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
        while outside::now() < self.lines.until {
            let node = self.door();
            let request =
                Request { method, path, party: &self.party, key: &key, body: body.as_ref() };
            match timeout(TRY_WITHIN, exchange(node, request)).await {
                Ok(Ok(Response { status, body })) => {
                    let name = format!("{method} {path} at {}", cluster::name(node));
                    match answers::said(&name, status, &body) {
                        Ok(Said::Ok) => {
                            count(&self.lines.ok);
                            return Ok(body);
                        }
                        Ok(Said::Rejected) => {
                            count(&self.lines.rejected);
                            let text =
                                |field: &str| body[field].as_str().unwrap_or_default().to_owned();
                            return Err(Refused { code: text("code"), detail: text("detail") });
                        }
                        Ok(Said::Retry) => {
                            last = format!("{name}: {body}");
                            let told = (outside::now(), last.clone());
                            self.lines.told_to.borrow_mut().push(told);
                        }
                        Err(odd) => {
                            last = odd.to_string();
                            self.lines.odd.borrow_mut().push(odd);
                        }
                    }
                }
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{} gave no answer in time", cluster::name(node)),
            }
            tracing::debug!(target: "dst::phone", last, "asks again");
            count(&self.lines.asked_again);
            let pause = self.dice.ms(PAUSE_MS / 2..PAUSE_MS);
            sleep(pause).await;
        }
        let detail = format!("{method} {path} got no final answer, the last was: {last}");
        self.lines.unsettled.borrow_mut().push(detail.clone());
        Err(Refused { code: NO_ANSWER.into(), detail })
    }

    /// Asks any node once, for what is not worth asking again.
    pub async fn try_once(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<Value> {
        let (node, key) = (self.door(), format!("{:016x}", self.dice.bits()));
        self.try_at(node, TRY_WITHIN, (method, path, &key, body)).await.ok()
    }

    /// Asks this node once; says why not, if it is refused or not answered in time.
    pub async fn try_at(
        &mut self,
        node: usize,
        within: Duration,
        (method, path, key, body): (&str, &str, &str, Option<&Value>),
    ) -> Result<Value, String> {
        let answer =
            self.once(node, within, Request { method, path, party: &self.party, key, body });
        let answer = answer.await;
        if let Err(why) = &answer {
            let at = cluster::name(node);
            tracing::debug!(target: "dst::phone", method, path, at, why, "not answered");
        }
        answer
    }

    async fn once(
        &self,
        node: usize,
        within: Duration,
        request: Request<'_>,
    ) -> Result<Value, String> {
        let Request { method, path, .. } = request;
        let answer = timeout(within, exchange(node, request)).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
        let Response { status, body } = answer.map_err(|error| error.to_string())?;
        let name = format!("{method} {path} at {}", cluster::name(node));
        match answers::said(&name, status, &body) {
            Ok(Said::Ok) => {
                count(&self.lines.ok);
                Ok(body)
            }
            Ok(Said::Rejected | Said::Retry) => Err(format!("{status} {body}")),
            Err(odd) => {
                let text = odd.to_string();
                self.lines.odd.borrow_mut().push(odd);
                Err(text)
            }
        }
    }
}

/// Asks one node once, without retry.
pub async fn get_once(node: usize, path: &str) -> io::Result<(u16, Value)> {
    let request = Request { method: "GET", path, party: &Party::Nobody, key: "", body: None };
    let answer = timeout(TRY_WITHIN, exchange(node, request)).await;
    let Response { status, body, .. } = answer.map_err(io::Error::other)??;
    Ok((status, body))
}

async fn exchange(node: usize, request: Request<'_>) -> io::Result<Response> {
    let Request { method, path, party, key, body } = request;
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
