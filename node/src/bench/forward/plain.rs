//! tarpc as it comes: one connection over loopback TCP, one task per request, and nothing of ours
//! but the codec.

use super::{ANSWER_BYTES, ForwardError, REQUEST_BYTES};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use proto::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use tarpc::context::{self, Context};
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_serde::{Deserializer, Serializer};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// One method, bytes to bytes.
#[tarpc::service]
pub(super) trait Plain {
    /// Answers with a constant.
    async fn call(payload: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Constant;

impl Plain for Constant {
    async fn call(self, _: Context, _: Bytes) -> Bytes {
        Bytes::from(vec![7; ANSWER_BYTES])
    }
}

/// Whatever tarpc says, through the one codec.
#[derive(Debug, Clone, Copy)]
struct Through;

impl<T: Serialize> Serializer<T> for Through {
    type Error = io::Error;
    fn serialize(self: Pin<&mut Self>, item: &T) -> Result<Bytes, io::Error> {
        Ok(codec::encode(item).into())
    }
}

impl<T: DeserializeOwned> Deserializer<T> for Through {
    type Error = io::Error;
    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> Result<T, io::Error> {
        codec::decode(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn framed(stream: TcpStream) -> io::Result<Framed<TcpStream, LengthDelimitedCodec>> {
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, LengthDelimitedCodec::new()))
}

/// A server and a client of it.
pub(super) struct Served {
    pub(super) client: PlainClient,
    server: AbortHandle,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Starts both.
pub(super) async fn start() -> Result<Served, ForwardError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?;
    let dialled = TcpStream::connect(at).await?;
    let (accepted, _) = listener.accept().await?;
    let (up, down) = (framed(dialled)?, framed(accepted)?);
    let channel = BaseChannel::with_defaults(tarpc::serde_transport::new(down, Through));
    let serving = channel.execute(Constant.serve()).for_each(|answering| async {
        tokio::spawn(answering);
    });
    let server = tokio::spawn(serving).abort_handle();
    let config = tarpc::client::Config::default();
    let client = PlainClient::new(config, tarpc::serde_transport::new(up, Through)).spawn();
    Ok(Served { client, server })
}

/// Asks once; true if there was an answer.
pub(super) async fn ask(client: PlainClient) -> bool {
    let payload = Bytes::from(vec![7; REQUEST_BYTES]);
    let answer = client.call(context::current(), payload).await;
    answer.is_ok_and(|answer| answer.len() == ANSWER_BYTES)
}
