//! The API as a document: `/v1/openapi.json` is generated from the handlers and their types, and
//! `/docs` shows it in a browser. The table below says which codes each endpoint refuses with; every
//! row of it is reached by a test.

mod states;

use super::problem::{self, ProblemBody};
use axum::http::StatusCode;
use proto::Code;
use states::States;
use std::collections::BTreeMap;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi};

/// What stands above the endpoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hansom",
        description = "Dispatch for rides and deliveries. Any node answers any request.\n\n\
            **Retries.** Send every change with an `Idempotency-Key` of your own. An answer with \
            status 503 or 429, or no answer, means: send the same again with the same key, to any \
            node, after `retry_after_ms`. The first answer to a key is given again for 24 hours, or \
            until its party has used 64 more keys; another body under it is refused.\n\n\
            **Errors** are `application/problem+json` (RFC 9457) with a stable `code`.\n\n\
            **Who asks** is said by the token: `Authorization: Bearer <JWT>` with the claims `aud` (the \
            cluster's name), `role` (`rider`, `driver`, `gateway`, `operator`), `sub` (the rider's or \
            driver's id) and `exp`. Gateways and operators act for many and name the party in \
            `X-User-ID` (a rider) or `X-Driver-ID`; so does everybody where a node runs without keys, \
            for trying. `X-Trace-ID` (32 hex digits) follows a request through all nodes and their \
            logs.\n\n\
            **Driver's socket.** `GET /v1/drivers/{id}/stream` becomes a WebSocket: positions up, \
            offers and trip changes down.\n\n\
            **Rider's stream.** `GET /v1/bookings/{id}/stream` sends events until the booking has ended; \
            come back with the last `id` to any node, and nothing is missed or told twice."
    ),
    components(schemas(ProblemBody)),
    modifiers(&Bearer, &States),
    security(("bearer" = [])),
    tags(
        (name = "riders", description = "Who rides."),
        (name = "drivers", description = "Who drives, and where they are."),
        (name = "bookings", description = "From the wish for a ride to its driver."),
        (name = "offers", description = "A booking put before a driver."),
        (name = "trips", description = "From assignment to the end."),
        (name = "zones", description = "Airports, where drivers wait their turn."),
        (name = "cluster", description = "For operators."),
    )
)]
pub(super) struct Api;

/// How a token is sent.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = api.components.get_or_insert_with(Default::default);
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// What a change is sent with.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its fields are only described; `call` reads the headers")]
pub(super) struct Keyed {
    /// Chosen by the client, the same for every try. Also taken as `X-Idempotency-Key`.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    key: Option<String>,
}

/// A rider asks.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "see `Keyed`")]
pub(super) struct ByRider {
    /// Which; a rider's own token says it as well.
    #[param(rename = "X-User-ID")]
    rider: Option<String>,
}

/// A driver asks.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "see `Keyed`")]
pub(super) struct ByDriver {
    /// Which; a driver's own token says it as well.
    #[param(rename = "X-Driver-ID")]
    driver: Option<String>,
}

/// A rider or a driver asks.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "see `Keyed`")]
pub(super) struct ByEither {
    /// Which rider.
    #[param(rename = "X-User-ID")]
    rider: Option<String>,
    /// Which driver.
    #[param(rename = "X-Driver-ID")]
    driver: Option<String>,
}

/// What every endpoint may refuse with.
const EVERYWHERE: [Code; 9] = [
    Code::BadRequest,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::RateLimited,
    Code::TooLarge,
    Code::Overloaded,
    Code::Retry,
    Code::NotOwner,
    Code::NotReady,
];

/// The refusals of an endpoint, its own and those of every one, by status.
fn refusals(own: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
    for code in own.iter().chain(&EVERYWHERE) {
        by_status.entry(problem::status(*code)).or_default().push(*code);
    }
    let response = |(status, codes): (StatusCode, Vec<Code>)| {
        let means = |code: &Code| format!("* `{code}`: {}", code.meaning().trim());
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody")));
        let response = ResponseBuilder::new()
            .description(codes.iter().map(means).collect::<Vec<_>>().join("\n"))
            .content("application/problem+json", body.build())
            .extensions(Some(Extensions::builder().add("x-codes", names(&codes)).build()));
        (status.as_str().to_owned(), RefOr::T(response.build()))
    };
    by_status.into_iter().map(response).collect()
}

fn names(codes: &[Code]) -> Vec<&'static str> {
    codes.iter().map(|code| code.as_str()).collect()
}

macro_rules! endpoints {
    ($($name:ident: $($code:ident)*;)*) => {
        $(
            pub(super) struct $name;
            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    refusals(&[$(Code::$code),*])
                }
            }
        )*
    };
}

endpoints! {
    RegisterRider: NameTaken KeyReused;
    ReadRider: RiderNotFound;
    RiderBookings: RiderNotFound;
    RegisterDriver: NameTaken KeyReused;
    ReadDriver: DriverNotFound;
    DriverBookings: DriverNotFound;
    GoOnline: DriverNotFound DriverBanned KycRequired KeyReused;
    GoOffline: DriverNotFound DriverBusy KeyReused;
    Offers: DriverNotFound;
    Stream: DriverNotFound;
    Locate: BadCoordinate;
    Nearby: BadCoordinate;
    Supply: BadCoordinate;
    Book: BadCoordinate RiderNotFound RiderBanned RiderBusy KeyReused;
    ReadBooking: BookingNotFound;
    Explain: BookingNotFound;
    FollowBooking: BookingNotFound;
    CancelBooking: BookingNotFound Unauthorized BookingAssigned BookingEnded KeyReused;
    Decline: DriverNotFound OfferNotFound OfferExpired OfferTaken OfferAlreadyAccepted KeyReused;
    Accept: DriverNotFound OfferNotFound OfferExpired OfferTaken OfferAlreadyAccepted DriverBusy KeyReused;
    ReadTrip: TripNotFound;
    ActiveTrip: DriverNotFound RiderNotFound NoActiveTrip;
    Arrive: TripNotFound UnauthorizedDriver TripAlreadyStarted TripAlreadyEnded TripCancelled KeyReused;
    Start: BadCoordinate TripNotFound UnauthorizedDriver InvalidOtp OtpTriesExceeded TripAlreadyStarted TripAlreadyEnded TripCancelled KeyReused;
    Pause: TripNotFound UnauthorizedDriver TripNotStarted TripAlreadyPaused TripAlreadyEnded TripCancelled KeyReused;
    Resume: TripNotFound UnauthorizedDriver TripNotStarted TripNotPaused TripAlreadyEnded TripCancelled KeyReused;
    End: BadCoordinate TripNotFound UnauthorizedDriver TripNotStarted TripAlreadyEnded TripCancelled KeyReused;
    CancelTrip: BadCoordinate TripNotFound UnauthorizedDriver Unauthorized CannotCancelInProgress TripAlreadyCompleted TripCancelled KeyReused;
    Trail: BadCoordinate TripNotFound UnauthorizedDriver;
    ReadTrail: TripNotFound;
    Receipt: TripNotFound TripNotOver;
    Meta: DriverNotFound DriverNotSeen;
    BanRider: RiderNotFound KeyReused;
    BanDriver: DriverNotFound KeyReused;
    Operations: ;
    Drain: NodeNotFound TooFewNodes;
    Activate: NodeNotFound;
    SetPolicy: PolicyChanged;
    SetZones: BadCoordinate PolicyChanged;
    ReadQueue: ZoneNotFound;
    OwnPlace: NotQueued;
}
