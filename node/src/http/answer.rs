//! An owner's answer as a response.

use super::guard::mark_served;
use super::problem::Problem;
use crate::router::Served;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What every handler returns.
pub(super) type Reply = Result<Response, Problem>;

/// Shows what was served, or the problem.
pub(super) fn show<T, V: Serialize>(
    status: StatusCode,
    served: Served<T>,
    view: impl FnOnce(T) -> V,
) -> Reply {
    show_as(served, |value| (status, view(value)))
}

/// The same, where the status is part of the answer.
pub(super) fn show_as<T, V: Serialize>(
    served: Served<T>,
    view: impl FnOnce(T) -> (StatusCode, V),
) -> Reply {
    let Served { result, by, hops } = served;
    match result {
        Ok(value) => {
            let (status, shown) = view(value);
            let mut response = (status, Json(shown)).into_response();
            mark_served(&mut response, by, hops);
            Ok(response)
        }
        Err(refusal) => Err(Problem { refusal, served: Some((by, hops)) }),
    }
}
