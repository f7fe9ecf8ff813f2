//! Why a booking got the driver it got: the attempts of its record, and what the nodes that decided
//! still know of each search.

use super::App;
use super::answer::{Reply, show};
use super::api;
use super::call::{Call, Id};
use super::views::{AttemptView, StoryView};
use crate::router::Served;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::join_all;
use proto::code::Refusal;
use proto::record::Booking;
use proto::record::ask::{Explain, GetBooking};
use proto::record::explain::Explanation;
use proto::{BookingId, NodeId};
use serde::Serialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// How long a node may take to tell, in milliseconds. What it does not tell is said to be gone.
const TELL_WITHIN_MS: u32 = 600;

/// A leader that decided and can't tell any more.
#[derive(Debug, Serialize, ToSchema)]
struct GoneView {
    node: String,
    term: u64,
    why: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainView {
    booking_id: String,
    /// What the record says, for as long as there is one.
    dispatch_attempts: Vec<AttemptView>,
    /// What those who decided know of it, oldest first.
    told: Vec<StoryView>,
    /// Who decided and has nothing more to tell.
    gone: Vec<GoneView>,
}

/// Who was considered for a booking, and why he got it or not; for operators and gateways. Each node
/// that decided keeps what it knows for 24 hours, up to 64 MiB.
#[utoipa::path(
    get,
    path = "/v1/bookings/{id}/explain",
    tag = "bookings",
    params(("id" = String, Path)),
    responses((status = 200, description = "The story", body = ExplainView), api::Explain),
)]
pub(super) async fn explain(
    State(app): State<App>,
    call: Call,
    Id(booking): Id<BookingId>,
) -> Reply {
    call.identity().oversees()?;
    let Served { result, by, hops } =
        app.router.served(GetBooking { booking }, call.context()).await;
    let result = match result {
        Ok(record) => Ok(tell(&app, &call, record).await),
        Err(refusal) => Err(refusal),
    };
    show(StatusCode::OK, Served { result, by, hops }, |view| view)
}

async fn tell(app: &App, call: &Call, booking: Booking) -> ExplainView {
    let mut nodes: BTreeSet<NodeId> = booking.attempts.iter().map(|it| it.node).collect();
    // Who leads now may search without a word of it in the record yet.
    nodes.extend(app.router.partitions().and_then(|all| all.leader(booking.id.slot())));
    let asks = nodes.into_iter().map(|node| async move {
        let ask = Explain { node, booking: booking.id };
        let context = call.context().within_ms(TELL_WITHIN_MS);
        (node, app.router.served(ask, context).await.result)
    });
    let answers = join_all(asks).await;
    let gone = gone(&booking, &answers);
    let mut told: Vec<Explanation> =
        answers.into_iter().filter_map(|(_, answer)| answer.ok()).flatten().collect();
    told.sort_by_key(|story| story.term);
    ExplainView {
        booking_id: booking.id.to_string(),
        dispatch_attempts: AttemptView::all(&booking),
        told: told.into_iter().map(StoryView::from).collect(),
        gone,
    }
}

/// The leaders of the record's attempts of whom nothing was told, and why.
fn gone(
    booking: &Booking,
    answers: &[(NodeId, Result<Vec<Explanation>, Refusal>)],
) -> Vec<GoneView> {
    let decided: BTreeSet<(u64, NodeId)> =
        booking.attempts.iter().map(|attempt| (attempt.term, attempt.node)).collect();
    let why = |(term, node): &(u64, NodeId)| {
        let answer = answers.iter().find(|(asked, _)| asked == node).map(|(_, answer)| answer);
        match answer {
            Some(Ok(told)) if told.iter().any(|story| story.term == *term) => None,
            Some(Ok(_)) => Some(
                "it has nothing more: it died while it searched, lost its disk, or put older \
                 stories away (24 hours, 64 MiB)"
                    .to_owned(),
            ),
            Some(Err(refusal)) => Some(format!("it does not answer: {refusal}")),
            None => Some("it was not asked".to_owned()),
        }
    };
    let gone = |decided: (u64, NodeId)| {
        let why = why(&decided)?;
        Some(GoneView { node: decided.1.to_string(), term: decided.0, why })
    };
    decided.into_iter().filter_map(gone).collect()
}
