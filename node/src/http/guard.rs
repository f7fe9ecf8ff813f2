//! What is done around every request: its trace, its place among those under way, its time, the
//! writing of problems, and the counting.

use super::App;
use super::call::{Trace, trace_of, trace_text};
use super::problem::Problem;
use crate::metrics::{HttpLabels, PathLabels};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use proto::Code;
use proto::code::Refusal;
use std::time::Duration;

/// How long a request may take in all, its body included.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

const NODE: HeaderName = HeaderName::from_static("x-hansom-node");
const SERVED_BY: HeaderName = HeaderName::from_static("x-hansom-served-by");
const HOPS: HeaderName = HeaderName::from_static("x-hansom-hops");
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The route template of a response, for the counters.
#[derive(Debug, Clone)]
struct Template(MatchedPath);

/// Everything that is common to all requests.
pub(super) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = app.clock.mono();
    let method = method_label(request.method());
    let trace = trace_of(request.headers())
        .unwrap_or_else(|| (u128::from(app.mint.random()) << 64) | u128::from(app.mint.random()));
    request.extensions_mut().insert(Trace(trace));

    let mut response = match app.in_flight.try_acquire() {
        Ok(_permit) => match tokio::time::timeout(REQUEST_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refuse(Code::Retry, "the request took too long; it may still happen"),
        },
        Err(_) => refuse(Code::Overloaded, "too many requests under way"),
    };

    let path = response
        .extensions()
        .get::<Template>()
        .map_or_else(|| "none".to_owned(), |Template(path)| path.as_str().to_owned());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allowed = response.headers_mut().remove(header::ALLOW);
        response = problem.write(trace);
        if let Some(allowed) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        if let Some((by, hops)) = problem.served {
            mark_served(&mut response, by, hops);
        }
    }
    for (name, value) in [(NODE, app.node.to_string()), (TRACE_ID, trace_text(trace))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    count(&app, method, path, &response, app.clock.mono().since(started));
    response
}

/// Notes the route template on the response; runs inside the router, where it is known.
pub(super) async fn named(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(path) = path {
        response.extensions_mut().insert(Template(path));
    }
    response
}

/// Refuses while this node has not seen enough of its cluster yet. One that was cut off goes on.
pub(super) async fn serves(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.facts.serves() {
        Ok(()) => next.run(request).await,
        Err(why) => refuse(Code::NotReady, &why),
    }
}

/// Says on a response who served it and after how many forwards.
pub(super) fn mark_served(response: &mut Response, by: proto::NodeId, hops: u8) {
    if let Ok(by) = HeaderValue::try_from(by.to_string()) {
        response.headers_mut().insert(SERVED_BY, by);
    }
    response.headers_mut().insert(HOPS, HeaderValue::from(u16::from(hops)));
}

fn refuse(code: Code, detail: &str) -> Response {
    Problem::from(Refusal::new(code, detail)).into_response()
}

fn count(app: &App, method: &'static str, path: String, response: &Response, took_ms: u64) {
    let seconds = std::time::Duration::from_millis(took_ms).as_secs_f64();
    app.metrics.http_seconds.get_or_create(&PathLabels { path: path.clone() }).observe(seconds);
    let labels = HttpLabels { method, path, status: response.status().as_u16() };
    app.metrics.http_requests.get_or_create(&labels).inc();
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}
