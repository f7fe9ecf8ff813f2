//! Who may ask: the token of a request, how often its holder may come, and whom he may act for.

use super::App;
use super::problem::Problem;
use crate::auth::{BadToken, Identity};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use proto::code::{Code, Refusal};
use proto::units::Clock;
use proto::{DriverId, RiderId, WallMs};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Subjects that came lately are looked through after so many requests, and those who could come
/// again at full rate are forgotten.
const FORGET_EVERY: u64 = 16_384;

/// The node's clock, as the limiter wants it.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

/// A time of that clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(Nanos);

impl std::ops::Add<Nanos> for Tick {
    type Output = Self;
    fn add(self, more: Nanos) -> Self {
        Self(self.0 + more)
    }
}

impl Reference for Tick {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.duration_since(earlier.0)
    }
    fn saturating_sub(&self, less: Nanos) -> Self {
        Self(self.0.saturating_sub(less))
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Tick;
    fn now(&self) -> Tick {
        Tick(Nanos::new(self.0.mono().0.saturating_mul(1_000_000)))
    }
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Rider(RiderId),
    Driver(DriverId),
}

type Limiter = RateLimiter<Subject, HashMapStateStore<Subject>, Ticks, NoOpMiddleware<Tick>>;

/// How often each rider and driver may come.
pub struct Rates {
    limiter: Limiter,
    clock: Ticks,
    asked: AtomicU64,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("subjects", &self.limiter.len()).finish_non_exhaustive()
    }
}

impl Rates {
    /// `per_second` each, and twice that at once.
    pub fn new(per_second: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(per_second.saturating_mul(TWO));
        let clock = Ticks(clock);
        let limiter = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        Self { limiter, clock, asked: AtomicU64::new(0) }
    }

    /// Counts one request of this subject, or says when it may come again.
    pub(crate) fn admit(&self, identity: Identity) -> Result<(), Problem> {
        let subject = match identity {
            Identity::Rider(rider) => Subject::Rider(rider),
            Identity::Driver(driver) => Subject::Driver(driver),
            // Gateways and operators answer for themselves; who is only believed can't be counted.
            Identity::Gateway | Identity::Operator | Identity::Believed => return Ok(()),
        };
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&subject).map_err(|early| {
            let wait = early.wait_time_from(self.clock.now()).as_millis();
            let mut refusal = Refusal::new(Code::RateLimited, "this subject asks too often");
            refusal.retry_after_ms = Some(u32::try_from(wait).unwrap_or(u32::MAX).max(1));
            refusal.into()
        })
    }
}

/// How often one socket may say something.
pub(super) struct Pace(RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Tick>>);

impl Pace {
    /// `per_second`, and `at_once`.
    pub(super) fn new(per_second: NonZeroU32, at_once: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(at_once);
        Self(RateLimiter::direct_with_clock(quota, Ticks(clock)))
    }

    /// Admits `count` things, all or none.
    pub(super) fn admit(&self, count: NonZeroU32) -> Result<(), Refusal> {
        match self.0.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(
                Code::RateLimited,
                "this socket says too much, none of it was taken",
            )),
        }
    }
}

const TWO: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

/// Who asks, and until when his token is good; for ever where there are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    pub(crate) until: Option<WallMs>,
}

/// Finds out who asks, before anything else is done for him.
pub(super) async fn identified(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let asker = match identify(&app, request.headers()) {
        Ok(asker) => asker,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(asker);
    next.run(request).await
}

fn identify(app: &App, headers: &HeaderMap) -> Result<Asker, Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    asker(app, token)
}

/// Who asks with this token, whichever way it came.
pub(crate) fn asker(app: &App, token: Option<&str>) -> Result<Asker, Problem> {
    let Some(verifier) = &app.verifier else {
        return Ok(Asker { identity: Identity::Believed, until: None });
    };
    let unknown =
        |why: BadToken| Problem::from(Refusal::new(Code::Unauthenticated, why.to_string()));
    let held = verifier.identify(token.ok_or_else(|| unknown(BadToken::Missing))?);
    let (identity, until) = held.map_err(unknown)?;
    app.rates.admit(identity)?;
    Ok(Asker { identity, until: Some(until) })
}

fn forbidden(why: &str) -> Problem {
    Refusal::new(Code::Forbidden, why).into()
}

/// Whom an identity may act for.
impl Identity {
    /// The rider who asks: the token's, or the one that the header names if the holder acts for
    /// many.
    pub(super) fn rider(self, named: Option<RiderId>) -> Result<Option<RiderId>, Problem> {
        match (self, named) {
            (Self::Rider(own), None) => Ok(Some(own)),
            (Self::Rider(own), Some(named)) if own == named => Ok(Some(own)),
            (Self::Rider(_), Some(_)) => Err(forbidden("X-User-ID is not the token's subject")),
            (Self::Driver(_), Some(_)) => Err(forbidden("a driver does not act for riders")),
            (Self::Driver(_), None) => Ok(None),
            (Self::Believed | Self::Gateway | Self::Operator, named) => Ok(named),
        }
    }

    /// The same of drivers.
    pub(super) fn driver(self, named: Option<DriverId>) -> Result<Option<DriverId>, Problem> {
        match (self, named) {
            (Self::Driver(own), None) => Ok(Some(own)),
            (Self::Driver(own), Some(named)) if own == named => Ok(Some(own)),
            (Self::Driver(_), Some(_)) => Err(forbidden("X-Driver-ID is not the token's subject")),
            (Self::Rider(_), Some(_)) => Err(forbidden("a rider does not act for drivers")),
            (Self::Rider(_), None) => Ok(None),
            (Self::Believed | Self::Gateway | Self::Operator, named) => Ok(named),
        }
    }

    /// Whether he may see or change this rider's record.
    pub(super) fn owns_rider(self, rider: RiderId) -> Result<(), Problem> {
        match self {
            Self::Rider(own) if own == rider => Ok(()),
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => Err(forbidden("the record is another party's")),
        }
    }

    /// Whether he may see or change this driver's record.
    pub(crate) fn owns_driver(self, driver: DriverId) -> Result<(), Problem> {
        match self {
            Self::Driver(own) if own == driver => Ok(()),
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => Err(forbidden("the record is another party's")),
        }
    }

    /// Whether he may see what concerns this rider and these drivers.
    pub(super) fn concerns(
        self,
        rider: RiderId,
        mut drivers: impl Iterator<Item = DriverId>,
    ) -> Result<(), Refusal> {
        let may = match self {
            Self::Rider(own) => own == rider,
            Self::Driver(own) => drivers.any(|driver| driver == own),
            Self::Believed | Self::Gateway | Self::Operator => true,
        };
        match may {
            true => Ok(()),
            false => Err(Refusal::new(Code::Forbidden, "it concerns other parties")),
        }
    }

    /// Whether he vouches for others: says that a driver's identity was verified.
    pub(super) fn vouches(self) -> Result<(), Problem> {
        match self {
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => {
                Err(forbidden("only a gateway or an operator says that somebody was verified"))
            }
        }
    }

    /// Whether he may see how others' bookings are dispatched.
    pub(super) fn oversees(self) -> Result<(), Problem> {
        match self {
            Self::Believed | Self::Gateway | Self::Operator => Ok(()),
            Self::Rider(_) | Self::Driver(_) => {
                Err(forbidden("only a gateway or an operator may see this"))
            }
        }
    }

    /// Whether he runs the cluster.
    pub(super) fn operates(self) -> Result<(), Problem> {
        match self {
            Self::Believed | Self::Operator => Ok(()),
            Self::Gateway | Self::Rider(_) | Self::Driver(_) => {
                Err(forbidden("only an operator may do this"))
            }
        }
    }
}
