//! The numbers that dispatch is tuned by, as flags. Their meaning and defaults are
//! [`Policy`]'s; a flag that is not given leaves the default.

use super::{ConfigError, tariff};
use actors::policy::{ATTEMPTS, Policy, StartRule};
use std::str::FromStr;

macro_rules! policy_args {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty, $env:literal;)*) => {
        /// Policy, as flags.
        #[derive(Debug, Clone, Default, clap::Args)]
        #[command(next_help_heading = "Policy")]
        pub struct PolicyArgs {
            $($(#[doc = $doc])* #[arg(long, env = $env, value_name = "N")] pub $field: Option<$type>,)*
            /// The radius of each of the three attempts, in metres, not shrinking [default: 1000,3000,8000]
            #[arg(long, env = "HANSOM_SEARCH_RADII_M", value_name = "M,M,M")]
            pub search_radii_m: Option<String>,
            /// The pickup cap of each of them, in percent of the cap [default: 100,100,100]
            #[arg(long, env = "HANSOM_ATTEMPT_CAP_PCT", value_name = "N,N,N")]
            pub attempt_cap_pct: Option<String>,
            /// What rides cost, as in currency=EUR,base=250,km=120. In minor units: base, km, minute, pause (a minute of it), minimum, cancel-fee; in 1/10000: tax-bp, platform-bp; cancel-free-s in seconds
            #[arg(long, env = "HANSOM_TARIFF", value_name = "NAME=N,...")]
            pub tariff: Option<String>,
            /// What rides in one kind of vehicle cost, as in SUV:base=400,km=180; may be given again
            #[arg(long, env = "HANSOM_TARIFF_FOR", value_name = "KIND:NAME=N,...", value_delimiter = ' ')]
            pub tariff_for: Vec<String>,
            /// What a driver must be told to start a trip [default: none]
            #[arg(long, env = "HANSOM_START_CODE", value_name = "RULE")]
            pub start_code: Option<StartCode>,
        }

        /// What a driver must be told to start a trip.
        #[derive(Debug, Clone, Copy, clap::ValueEnum)]
        pub enum StartCode {
            /// Nothing
            None,
            /// Four digits that are made for each trip and shown to its rider
            PerTrip,
            /// The four digits that the rider registered with
            Pin,
        }

        impl PolicyArgs {
            fn over(&self, mut policy: Policy) -> Policy {
                $(if let Some(value) = self.$field { policy.$field = value; })*
                policy
            }
        }
    };
}

policy_args! {
    /// How long a driver has to answer an offer, in milliseconds [default: 15000]
    offer_ttl_ms: u32, "HANSOM_OFFER_TTL_MS";
    /// How long his phone shows it, in milliseconds [default: 10000]
    offer_shown_ms: u32, "HANSOM_OFFER_SHOWN_MS";
    /// How long a booking looks for a driver, in milliseconds [default: 60000]
    booking_ttl_ms: u32, "HANSOM_BOOKING_TTL_MS";
    /// How long one radius is tried, in milliseconds [default: 20000]
    attempt_ms: u32, "HANSOM_ATTEMPT_MS";
    /// How many offers of one booking may be out at once, 1 to 64 [default: 1]
    max_offers_per_attempt: u16, "HANSOM_MAX_OFFERS_PER_ATTEMPT";
    /// How long claims on a contended driver are collected, in milliseconds [default: 300]
    claim_window_ms: u32, "HANSOM_CLAIM_WINDOW_MS";
    /// How long a granted claim reserves its driver, in milliseconds [default: 500]
    claim_reserve_ms: u32, "HANSOM_CLAIM_RESERVE_MS";
    /// Drivers farther than this from the pickup are not offered, in milliseconds of driving [default: 300000]
    pickup_cap_ms: u32, "HANSOM_PICKUP_CAP_MS";
    /// A driver who would reach the rider later than this after he asked is not offered, in milliseconds; 0 is no limit [default: 0]
    pickup_within_ms: u32, "HANSOM_PICKUP_WITHIN_MS";
    /// How much waiting counts against pickup time where several bookings want one driver, in percent [default: 100]
    age_weight_pct: u16, "HANSOM_AGE_WEIGHT_PCT";
    /// How much the time of a ride counts against it where several bookings want one driver, in percent [default: 10]
    ride_weight_pct: u16, "HANSOM_RIDE_WEIGHT_PCT";
    /// The last part of a booking's time, in percent of it, where it may not find another driver [default: 33]
    last_chance_pct: u16, "HANSOM_LAST_CHANCE_PCT";
    /// How much speaks for a booking there, in percent of how far it is into that part [default: 200]
    last_chance_weight_pct: u16, "HANSOM_LAST_CHANCE_WEIGHT_PCT";
    /// What speaks for a booking for which no free driver could come in time, in milliseconds of pickup time [default: 300000]
    stranded_ms: u32, "HANSOM_STRANDED_MS";
    /// From so many others waiting nearby on it does not [default: 80]
    stranded_below: u16, "HANSOM_STRANDED_BELOW";
    /// From so many others waiting nearby on, the two values for a crowd count; 0 is never [default: 250]
    crowded_from: u16, "HANSOM_CROWDED_FROM";
    /// How much waiting counts in a crowd, in percent [default: 20]
    crowded_age_weight_pct: u16, "HANSOM_CROWDED_AGE_WEIGHT_PCT";
    /// The pickup cap in a crowd, in percent of it [default: 100]
    crowded_cap_pct: u16, "HANSOM_CROWDED_CAP_PCT";
    /// Drivers with so much left to drive with their riders are counted on, in milliseconds; 0 is nobody [default: 5000]
    soon_ms: u32, "HANSOM_SOON_MS";
    /// How long a rider takes to get out, in milliseconds [default: 30000]
    soon_margin_ms: u32, "HANSOM_SOON_MARGIN_MS";
    /// Drivers with so much left to drive with their riders are offered a booking as their next ride, and bound if they accept, in milliseconds; 0 is nobody [default: 0]
    next_within_ms: u32, "HANSOM_NEXT_WITHIN_MS";
    /// How long a booking waits for such a driver before it looks on, in milliseconds [default: 180000]
    next_patience_ms: u32, "HANSOM_NEXT_PATIENCE_MS";
    /// What each capability that a booking does not need adds to a driver's cost, in milliseconds [default: 0]
    spare_capability_ms: u32, "HANSOM_SPARE_CAPABILITY_MS";
    /// How much nearer a driver counts as for the time that he has waited for a ride, in percent of it; 0 is off [default: 0]
    fairness_pct: u16, "HANSOM_FAIRNESS_PCT";
    /// The most that he counts as nearer for that, in milliseconds [default: 15000]
    fairness_max_ms: u32, "HANSOM_FAIRNESS_MAX_MS";
    /// The speed that estimates assume, in centimetres a second [default: 600]
    speed_cms: u32, "HANSOM_SPEED_CMS";
    /// How much longer a road is than a straight line, in percent [default: 130]
    detour_pct: u32, "HANSOM_DETOUR_PCT";
    /// Positions older than this are not matched, in milliseconds [default: 10000]
    fresh_ms: u32, "HANSOM_FRESH_MS";
    /// How much later another driver may come for a rider whose own could be in time for one who has nobody, in milliseconds; 0 takes a driver from nobody [default: 0]
    yield_ms: u32, "HANSOM_YIELD_MS";
    /// How often a booking may change to a better driver before its pickup, at most 8; 0 is never [default: 0]
    reassign_max: u16, "HANSOM_REASSIGN_MAX";
    /// How much sooner he must be there, in milliseconds [default: 45000]
    reassign_gain_ms: u32, "HANSOM_REASSIGN_GAIN_MS";
    /// A driver nearer to the pickup than this keeps it, in milliseconds of driving [default: 20000]
    reassign_left_ms: u32, "HANSOM_REASSIGN_LEFT_MS";
    /// How long a booking keeps each driver at least, in milliseconds [default: 30000]
    reassign_rest_ms: u32, "HANSOM_REASSIGN_REST_MS";
    /// How often a better driver is looked for, in milliseconds [default: 5000]
    reassign_every_ms: u32, "HANSOM_REASSIGN_EVERY_MS";
}

impl PolicyArgs {
    /// The policy with these flags over the defaults, checked.
    pub(super) fn into_policy(self) -> Result<Policy, ConfigError> {
        let mut policy = self.over(Policy::default());
        if let Some(list) = &self.search_radii_m {
            policy.search_radii_m = three(list, "search-radii-m", "1000,3000,8000")?;
        }
        if let Some(list) = &self.attempt_cap_pct {
            policy.attempt_cap_pct = three(list, "attempt-cap-pct", "40,70,100")?;
        }
        policy.tariffs = tariff::parse(self.tariff.as_deref(), &self.tariff_for)?;
        policy.start_code = match self.start_code {
            None | Some(StartCode::None) => StartRule::None,
            Some(StartCode::PerTrip) => StartRule::PerTrip,
            Some(StartCode::Pin) => StartRule::Pin,
        };
        policy.check().map_err(|error| {
            let flags = error.field.replace('_', "-");
            ConfigError::new(format!("--{}: {}", flags.replace(", ", ", --"), error.problem))
        })?;
        Ok(policy)
    }
}

/// One number for each attempt.
fn three<T: FromStr>(list: &str, flag: &str, example: &str) -> Result<[T; ATTEMPTS], ConfigError> {
    let numbers: Result<Vec<T>, _> = list.split(',').map(|item| item.trim().parse()).collect();
    numbers.ok().and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| {
        ConfigError::new(format!("--{flag}: `{list}` is not three numbers, as in {example}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_the_defaults_that_are_used() {
        use clap::Args as _;
        let command = PolicyArgs::augment_args(clap::Command::new("x"));
        let policy = serde_json::to_value(Policy::default()).expect("policy is plain data");
        let fields = policy.as_object().expect("a struct");
        // Two flags say the tariffs; none says the queue zones, which `hansom zones` sets, nor the caps of
        // single cells, which `hansom policy` does.
        assert_eq!(command.get_arguments().count() + 1, fields.len());
        for argument in command.get_arguments() {
            let field = argument.get_id().as_str();
            if ["tariff", "tariff_for"].contains(&field) {
                continue;
            }
            let value = &fields[field];
            let text = value.as_array().map_or_else(
                || value.to_string().replace('"', ""),
                |list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            );
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("[default: {text}]")), "{field}: {help} / {text}");
        }
    }
}
