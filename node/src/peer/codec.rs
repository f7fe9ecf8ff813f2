//! The one codec, plugged into tarpc. Requests travel as our own two messages: tarpc's would carry
//! a deadline read from the machine's clock, and the envelope has one already.

use super::service::{PeerRequest, PeerResponse};
use bytes::{Bytes, BytesMut};
use proto::codec::{self, CodecError};
use proto::envelope::{Envelope, FRAME_MAX};
use serde::{Deserialize, Serialize};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tarpc::{ClientMessage, Request, Response, context};
use tokio_serde::{Deserializer, Serializer};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// How long tarpc itself waits. The envelope's deadline is ours to keep and always shorter, so
/// this only has to be out of the way.
const OUT_OF_THE_WAY: Duration = Duration::from_secs(60);

/// What a client says.
#[derive(Debug, Serialize, Deserialize)]
enum Up {
    Call { id: u64, envelope: Envelope },
    Cancel { id: u64 },
}

/// Values to frames and back.
#[derive(Debug, Clone, Copy)]
pub struct PeerCodec;

/// A tarpc transport over `stream`, with frames of at most [`FRAME_MAX`] bytes.
pub(crate) fn transport<S, Item, Out>(
    stream: S,
) -> tarpc::serde_transport::Transport<S, Item, Out, PeerCodec>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
    Item: for<'de> Deserialize<'de>,
    Out: Serialize,
    PeerCodec: Serializer<Out> + Deserializer<Item>,
{
    let frames = LengthDelimitedCodec::builder().max_frame_length(FRAME_MAX).new_codec();
    tarpc::serde_transport::new(Framed::new(stream, frames), PeerCodec)
}

/// The context of a call: never the one to expire first.
pub(crate) fn call_context() -> context::Context {
    let mut context = context::current();
    context.deadline += OUT_OF_THE_WAY;
    context
}

fn invalid(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Serializer<ClientMessage<PeerRequest>> for PeerCodec {
    type Error = io::Error;
    fn serialize(
        self: Pin<&mut Self>,
        message: &ClientMessage<PeerRequest>,
    ) -> Result<Bytes, io::Error> {
        let up = match message {
            ClientMessage::Request(Request { id, message, .. }) => {
                let PeerRequest::Call { envelope } = message;
                Up::Call { id: *id, envelope: envelope.clone() }
            }
            ClientMessage::Cancel { request_id, .. } => Up::Cancel { id: *request_id },
            _ => return Err(io::Error::other("a tarpc message this build does not know")),
        };
        Ok(codec::encode(&up).into())
    }
}

impl Deserializer<ClientMessage<PeerRequest>> for PeerCodec {
    type Error = io::Error;
    fn deserialize(
        self: Pin<&mut Self>,
        frame: &BytesMut,
    ) -> Result<ClientMessage<PeerRequest>, io::Error> {
        Ok(match codec::decode(frame).map_err(invalid)? {
            Up::Call { id, envelope } => ClientMessage::Request(Request {
                context: call_context(),
                id,
                message: PeerRequest::Call { envelope },
            }),
            Up::Cancel { id } => {
                ClientMessage::Cancel { trace_context: Default::default(), request_id: id }
            }
        })
    }
}

impl Serializer<Response<PeerResponse>> for PeerCodec {
    type Error = io::Error;
    fn serialize(
        self: Pin<&mut Self>,
        response: &Response<PeerResponse>,
    ) -> Result<Bytes, io::Error> {
        Ok(codec::encode(response).into())
    }
}

impl Deserializer<Response<PeerResponse>> for PeerCodec {
    type Error = io::Error;
    fn deserialize(
        self: Pin<&mut Self>,
        frame: &BytesMut,
    ) -> Result<Response<PeerResponse>, io::Error> {
        codec::decode(frame).map_err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::envelope::{PAYLOAD_MAX, Reply, Route, Subject};
    use proto::{Code, NodeId};

    fn envelope(bytes: usize) -> Envelope {
        let payload = Bytes::from(vec![7; bytes]);
        Envelope::seal(Route::Cell(u64::MAX), Subject::Node(NodeId(3)), u128::MAX, 9, payload)
            .expect("small enough")
    }

    #[test]
    fn a_call_comes_out_as_it_went_in() {
        let sent = ClientMessage::Request(Request {
            context: call_context(),
            id: 9,
            message: PeerRequest::Call { envelope: envelope(100) },
        });
        let frame = Pin::new(&mut PeerCodec).serialize(&sent).expect("encodes");
        let read = Pin::new(&mut PeerCodec).deserialize(&BytesMut::from(&frame[..]));
        let ClientMessage::Request(Request { id, message, .. }) = read.expect("decodes") else {
            panic!("a call became something else");
        };
        let PeerRequest::Call { envelope: got } = message;
        assert_eq!((id, got), (9, envelope(100)));
    }

    #[test]
    fn the_largest_payload_fits_in_a_frame_both_ways() {
        let up = Up::Call { id: u64::MAX, envelope: envelope(PAYLOAD_MAX) };
        assert!(codec::encode(&up).len() <= FRAME_MAX);
        let reply = Reply::seal(NodeId(u64::MAX), 2, Ok(Bytes::from(vec![7; PAYLOAD_MAX])));
        let down = Response { request_id: u64::MAX, message: Ok(PeerResponse::Call(reply)) };
        let frame = Pin::new(&mut PeerCodec).serialize(&down).expect("encodes");
        assert!(frame.len() <= FRAME_MAX);
    }

    #[test]
    fn a_frame_of_garbage_is_an_error_and_no_panic() {
        for frame in [&b""[..], &[9, 9, 9], &[1, 0, 255, 255]] {
            let frame = BytesMut::from(frame);
            let call: Result<ClientMessage<PeerRequest>, _> =
                Pin::new(&mut PeerCodec).deserialize(&frame);
            assert!(call.is_err(), "{frame:?}");
        }
        assert_eq!(Code::BadPeer.as_str(), "BAD_PEER");
    }

    #[test]
    fn fuzz_frames() {
        let sent = [
            codec::encode(&Up::Call { id: 9, envelope: envelope(40) }),
            codec::encode(&Up::Cancel { id: 9 }),
        ];
        proptest::proptest!(|(frame in proto::almost::almost(sent.to_vec()))| {
            let frame = BytesMut::from(&frame[..]);
            let _call: Result<ClientMessage<PeerRequest>, _> =
                Pin::new(&mut PeerCodec).deserialize(&frame);
            let _answer: Result<Response<PeerResponse>, _> =
                Pin::new(&mut PeerCodec).deserialize(&frame);
        });
    }
}
