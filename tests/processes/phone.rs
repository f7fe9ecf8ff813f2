//! A driver's phone: a WebSocket to one node.

use crate::nodes::{Cluster, eventually};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a message may take that must come.
const WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Phone {
    socket: WebSocketStream<TcpStream>,
    /// What came that nobody has asked for yet.
    pub(crate) seen: Vec<Value>,
    /// What the node closed the socket with.
    closed: Option<(u16, String)>,
}

impl Phone {
    /// Opens a socket of a driver at a node, and waits for its greeting.
    pub(crate) async fn open(cluster: &Cluster, node: u64, driver: &str) -> Self {
        let mut phone = Self::try_open(cluster, node, driver).await.unwrap();
        let hello = phone.wait_for("hello").await;
        assert_eq!(hello["driver_id"], driver);
        assert_eq!(hello["node"], format!("n{node}"));
        phone
    }

    /// Opens a socket that goes on after a cursor, if there is one.
    pub(crate) async fn resume(
        cluster: &Cluster,
        node: u64,
        driver: &str,
        cursor: Option<&str>,
    ) -> Self {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("?cursor={cursor}"));
        let path = format!("/v1/drivers/{driver}/stream{cursor}");
        Self::dial(cluster, node, &path, None).await.unwrap()
    }

    /// Opens a socket with a token.
    pub(crate) async fn with_token(
        cluster: &Cluster,
        node: u64,
        driver: &str,
        token: &str,
    ) -> Self {
        let path = format!("/v1/drivers/{driver}/stream");
        Self::dial(cluster, node, &path, Some(token)).await.unwrap()
    }

    /// Tries to open a socket, again for as long as the node says so.
    pub(crate) async fn try_open(
        cluster: &Cluster,
        node: u64,
        driver: &str,
    ) -> Result<Self, Box<Error>> {
        Self::dial(cluster, node, &format!("/v1/drivers/{driver}/stream"), None).await
    }

    async fn dial(
        cluster: &Cluster,
        node: u64,
        path: &str,
        token: Option<&str>,
    ) -> Result<Self, Box<Error>> {
        let address = cluster.http(node);
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let opened = eventually("a phone gets an answer", async || {
            let stream = TcpStream::connect(address).await.unwrap();
            match client_async(request.clone(), stream).await {
                Err(Error::Http(response)) if response.status() == 503 => None,
                answer => Some(answer),
            }
        });
        let (socket, _) = opened.await.map_err(Box::new)?;
        Ok(Self { socket, seen: Vec::new(), closed: None })
    }

    /// Sends a message; whether it went out shows when the next is read.
    pub(crate) async fn send(&mut self, message: Message) {
        let _closed_already = self.socket.send(message).await;
    }
    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }
    /// The connection beneath, for bytes that are no message.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// The next message that the node sends; nothing when it has closed the socket.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        self.hear_within(WITHIN).await
    }

    /// The same with another patience.
    pub(crate) async fn hear_within(&mut self, time: Duration) -> Option<Value> {
        timeout(time, self.message()).await.expect("the node says something")
    }

    /// The next binary message; texts are kept in `seen`.
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        let waiting = timeout(WITHIN, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(frame))) => return frame.to_vec(),
                    Some(Ok(Message::Text(text))) => {
                        self.seen.push(serde_json::from_str(&text).expect("JSON comes down"));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("{other:?} instead of a frame"),
                }
            }
        });
        waiting.await.expect("a frame comes")
    }

    async fn message(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("JSON comes down"));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(with))) => {
                    self.closed = with.map(|with| (with.code.into(), with.reason.to_string()));
                    return None;
                }
                Some(Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?} comes down"),
            }
        }
    }

    /// Waits for a message of a type; others are kept in `seen`.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await;
            let message = message.unwrap_or_else(|| panic!("closed before a message `{kind}`"));
            if message["type"] == kind {
                return message;
            }
            self.seen.push(message);
        }
    }

    /// Waits until the node has closed the socket.
    pub(crate) async fn closed(&mut self) {
        while self.hear().await.is_some() {}
    }

    /// The same; gives what it closed it with, if it said so.
    pub(crate) async fn closed_with(&mut self) -> Option<(u16, String)> {
        self.closed().await;
        self.closed.take()
    }
}
