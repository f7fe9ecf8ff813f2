//! Errors as clients see them: problem+json (RFC 9457) with a stable code. A handler returns a
//! [`Problem`]; the guard around every request writes it out, so that each carries the trace.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::code::Refusal;
use proto::{Code, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A refusal on its way to a client.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Why.
    pub refusal: Refusal,
    /// Who refused it after how many forwards; nothing if it never left this node's front door.
    pub served: Option<(NodeId, u8)>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, served: None }
    }
}

impl Problem {
    /// A request that is not well formed; `field` says where.
    pub(crate) fn bad(field: &str, what: impl std::fmt::Display) -> Self {
        Refusal::new(Code::BadRequest, format!("{field}: {what}")).into()
    }
    /// A coordinate that is not on the globe.
    pub(crate) fn off_the_globe(field: &str) -> Self {
        let sentence = proto::units::OutOfRange;
        Refusal::new(Code::BadCoordinate, format!("{field}: {sentence}")).into()
    }
}

/// The status of a code.
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::NotOwner | Code::Retry | Code::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        Code::Overloaded | Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::BadPeer => StatusCode::BAD_GATEWAY,
        Code::BadRequest | Code::BadCoordinate | Code::InvalidOtp => StatusCode::BAD_REQUEST,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::KeyReused | Code::TripCancelled | Code::CannotCancelInProgress => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Code::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
        Code::NoSuchPath
        | Code::DriverNotFound
        | Code::RiderNotFound
        | Code::BookingNotFound
        | Code::OfferNotFound
        | Code::TripNotFound
        | Code::NodeNotFound
        | Code::NoActiveTrip
        | Code::ZoneNotFound
        | Code::NotQueued
        | Code::DriverNotSeen => StatusCode::NOT_FOUND,
        Code::KycRequired
        | Code::RiderBanned
        | Code::DriverBanned
        | Code::OtpTriesExceeded
        | Code::UnauthorizedDriver
        | Code::Unauthorized
        | Code::Forbidden => StatusCode::FORBIDDEN,
        Code::OfferTaken => StatusCode::GONE,
        Code::NameTaken
        | Code::TooFewNodes
        | Code::PolicyChanged
        | Code::DriverBusy
        | Code::DriverOffline
        | Code::RiderBusy
        | Code::BookingAssigned
        | Code::BookingEnded
        | Code::OfferExpired
        | Code::OfferAlreadyAccepted
        | Code::TripAlreadyStarted
        | Code::TripNotStarted
        | Code::TripAlreadyEnded
        | Code::TripAlreadyCompleted
        | Code::TripAlreadyPaused
        | Code::TripNotPaused
        | Code::TripNotOver => StatusCode::CONFLICT,
    }
}

/// The body.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// A name for the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's meaning.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What was wrong with this very request.
    pub detail: String,
    /// Whether the same request with the same key may succeed later.
    pub retryable: bool,
    /// When to ask again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// Who probably owns what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The request's trace.
    pub trace_id: String,
}

impl Problem {
    /// The response with its body.
    pub(super) fn write(&self, trace: u128) -> Response {
        let Refusal { code, detail, owner, retry_after_ms } = &self.refusal;
        let status = status(*code);
        let title = code.meaning().trim();
        let body = ProblemBody {
            kind: format!("urn:hansom:{}", code.as_str().to_ascii_lowercase().replace('_', "-")),
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.as_str().to_owned(),
            detail: if detail.is_empty() { title.to_owned() } else { detail.clone() },
            retryable: code.retryable(),
            retry_after_ms: *retry_after_ms,
            owner: owner.map(|owner| owner.to_string()),
            trace_id: super::call::trace_text(trace),
        };
        let mut response = (status, axum::Json(body)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            // Whole seconds are all this header can say; `retry_after_ms` is finer.
            let seconds = retry_after_ms.unwrap_or(0).div_ceil(1_000).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = status(self.refusal.code).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_an_error_status_and_retryable_ones_a_retry_status() {
        for code in Code::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            let retry =
                [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status);
            assert_eq!(code.retryable(), retry, "{code}");
        }
    }
}
