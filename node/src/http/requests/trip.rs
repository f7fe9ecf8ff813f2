//! What comes in about trips.

use super::{free_text, id, latest, measured, point};
use crate::http::problem::Problem;
use proto::Code;
use proto::code::Refusal;
use proto::record::Actor;
use proto::record::cell::Ping;
use proto::record::party::Pin;
use proto::record::trail::{PIECE_MAX, TrailPoint};
use proto::record::trip::Ending;
use proto::units::Point;
use proto::{DriverId, WallMs};
use serde::Deserialize;
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct AcceptIn {
    #[serde(deserialize_with = "id")]
    #[schema(value_type = String)]
    pub(in crate::http) offer_id: proto::OfferId,
}

/// A place without an address.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
struct SpotIn {
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    lng: f64,
}

impl SpotIn {
    fn check(self, field: &str) -> Result<Point, Problem> {
        point(field, self.lat, self.lng)
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct StartIn {
    /// What the rider told the driver, where the policy wants that: four digits.
    #[schema(pattern = "^[0-9]{4}$")]
    otp: Option<String>,
    /// Where the rider got in; checked, and not kept.
    location: Option<SpotIn>,
}

impl StartIn {
    pub(in crate::http) fn pin(self) -> Result<Option<Pin>, Problem> {
        self.location.map(|spot| spot.check("location")).transpose()?;
        let Some(text) = self.otp else { return Ok(None) };
        // What is no code at all is as wrong as a wrong one, and not worth a try.
        text.parse().map(Some).map_err(|_| Refusal::from(Code::InvalidOtp).into())
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct EndIn {
    /// How long the trip was by the driver's odometer.
    #[schema(minimum = 0, maximum = 4_000_000)]
    odometer_km: Option<f64>,
    /// Where the rider got out.
    dropoff: Option<SpotIn>,
    /// How long the trip took by the driver's clock, in seconds.
    actual_duration_sec: Option<u32>,
}

impl EndIn {
    pub(in crate::http) fn ending(self) -> Result<Ending, Problem> {
        Ok(Ending {
            dropoff: self.dropoff.map(|spot| spot.check("dropoff")).transpose()?,
            odometer_m: self.odometer_km.map(odometer_m).transpose()?,
            duration_s: self.actual_duration_sec,
        })
    }
}

/// The odometer in metres.
fn odometer_m(km: f64) -> Result<u32, Problem> {
    if !(0.0..=4_000_000.0).contains(&km) {
        return Err(Problem::bad("odometer_km", "must be 0 to 4000000"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 4e9 was checked above"
    )]
    let metres = (km * 1_000.0).round() as u32;
    Ok(metres)
}

/// Who calls a trip off, as clients name it.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum CalledOffBy {
    Rider,
    Driver,
    System,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct CancelIn {
    #[schema(max_length = 256)]
    reason: Option<String>,
    /// Who calls it off. The headers say so too, and must agree.
    cancelled_by: Option<CalledOffBy>,
    /// Where he is; checked, and not kept.
    location: Option<SpotIn>,
}

impl CancelIn {
    /// The reason, if `by` is who the body says.
    pub(in crate::http) fn reason(self, by: Actor) -> Result<String, Problem> {
        self.location.map(|spot| spot.check("location")).transpose()?;
        let agrees = match self.cancelled_by {
            None => true,
            Some(CalledOffBy::Rider) => by == Actor::Rider,
            Some(CalledOffBy::Driver) => by == Actor::Driver,
            Some(CalledOffBy::System) => by == Actor::System,
        };
        if !agrees {
            return Err(Problem::bad("cancelled_by", "is not who asks"));
        }
        free_text("reason", self.reason)
    }
}

/// A position that was recorded on the way.
#[derive(Debug, Deserialize, ToSchema)]
struct LocationIn {
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    lng: f64,
    /// How far off it may be, in metres. A position that may be off by more than 100 m adds nothing to
    /// the distance.
    #[schema(minimum = 0)]
    accuracy_m: Option<f64>,
    #[schema(minimum = 0)]
    speed_kmh: Option<f64>,
    #[schema(minimum = 0)]
    bearing: Option<f64>,
    /// When, by the phone's clock, in milliseconds since 1970.
    recorded_at_ms: u64,
}

/// What a phone recorded since it last had a connection.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct LocationsIn {
    /// In any order; what was sent before may be sent again.
    #[schema(min_items = 1, max_items = 1000)]
    locations: Vec<LocationIn>,
    /// What the phone's clock says as it sends this. If it is wrong, the positions' times are put right
    /// by as much.
    sent_at_ms: Option<u64>,
}

impl LocationsIn {
    /// The points in order of time, and the newest as a ping.
    pub(in crate::http) fn check(
        self,
        driver: DriverId,
        now: WallMs,
    ) -> Result<(Vec<TrailPoint>, Ping), Problem> {
        if self.locations.len() > PIECE_MAX {
            let detail = format!("{} positions, a request takes {PIECE_MAX}", self.locations.len());
            return Err(Refusal::new(Code::TooLarge, detail).into());
        }
        // What the phone's clock is behind or ahead of this node's.
        let (behind_ms, ahead_ms) = self
            .sent_at_ms
            .map_or((0, 0), |sent| (now.0.saturating_sub(sent), sent.saturating_sub(now.0)));
        let recorded_at = |ms: u64| WallMs(ms.saturating_add(behind_ms).saturating_sub(ahead_ms));
        let mut pings = Vec::with_capacity(self.locations.len());
        for (n, it) in self.locations.into_iter().enumerate() {
            let field = |name: &str| format!("locations[{n}].{name}");
            pings.push(Ping {
                driver,
                point: point(&field("lat, lng"), it.lat, it.lng)?,
                heading_deg: measured(&field("bearing"), it.bearing, 1.0)? % 360,
                speed_cms: measured(&field("speed_kmh"), it.speed_kmh, 100.0 / 3.6)?,
                accuracy_m: measured(&field("accuracy_m"), it.accuracy_m, 1.0)?,
                at: recorded_at(it.recorded_at_ms),
            });
        }
        pings.sort_by_key(|ping| ping.at);
        let mut newest = *pings.last().ok_or_else(|| Problem::bad("locations", "is empty"))?;
        newest.at = newest.at.min(latest(now));
        let recorded = |ping: &Ping| TrailPoint {
            point: ping.point,
            recorded_at: ping.at,
            accuracy_m: ping.accuracy_m,
        };
        Ok((pings.iter().map(recorded).collect(), newest))
    }
}
