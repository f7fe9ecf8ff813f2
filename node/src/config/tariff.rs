//! Prices, as flags: `currency=EUR,base=250,km=120`. What is not named stays as the default has it.

use super::ConfigError;
use actors::policy::Tariffs;
use proto::record::VehicleType;
use proto::record::fare::Tariff;

/// What may be named, for the error that says so.
const NAMES: &str = "currency, base, km, minute, pause, minimum, tax-bp, platform-bp, cancel-free-s, \
                     cancel-fee";

/// The tariffs of `--tariff` and of each `--tariff-for`.
pub(super) fn parse(general: Option<&str>, of_kind: &[String]) -> Result<Tariffs, ConfigError> {
    let mut tariffs = Tariffs::default();
    if let Some(text) = general {
        tariffs.general = over(tariffs.general, "--tariff", text)?;
    }
    for text in of_kind {
        let kind = text.split_once(':').and_then(|(kind, rest)| Some((kind_of(kind)?, rest)));
        let (kind, rest) = kind.ok_or_else(|| {
            let shape = "begins with AUTO:, SEDAN:, SUV: or BIKE:, as in SUV:base=400,km=180";
            ConfigError::new(format!("--tariff-for: `{text}`: it {shape}"))
        })?;
        tariffs.of_kind.insert(kind, over(tariffs.of(kind), "--tariff-for", rest)?);
    }
    Ok(tariffs)
}

fn kind_of(text: &str) -> Option<VehicleType> {
    use VehicleType::{Auto, Bike, Sedan, Suv};
    [Auto, Sedan, Suv, Bike].into_iter().find(|kind| name(*kind) == text)
}

/// A kind of vehicle as `--tariff-for` has it.
pub(super) const fn name(kind: VehicleType) -> &'static str {
    match kind {
        VehicleType::Auto => "AUTO",
        VehicleType::Sedan => "SEDAN",
        VehicleType::Suv => "SUV",
        VehicleType::Bike => "BIKE",
    }
}

/// A tariff as `--tariff` has it.
pub(super) fn show(tariff: &Tariff) -> String {
    let Tariff {
        currency,
        base_minor,
        per_km_minor,
        per_minute_minor,
        per_paused_minute_minor,
        minimum_minor,
        tax_bp,
        platform_bp,
        cancel_free_ms,
        cancel_fee_minor,
    } = tariff;
    format!(
        "currency={currency},base={base_minor},km={per_km_minor},minute={per_minute_minor},\
         pause={per_paused_minute_minor},minimum={minimum_minor},tax-bp={tax_bp},\
         platform-bp={platform_bp},cancel-free-s={},cancel-fee={cancel_fee_minor}",
        cancel_free_ms / 1_000
    )
}

fn over(mut tariff: Tariff, flag: &str, text: &str) -> Result<Tariff, ConfigError> {
    for item in text.split(',') {
        let bad = |why: &str| ConfigError::new(format!("{flag}: `{item}` {why}"));
        let (name, value) =
            item.split_once('=').ok_or_else(|| bad("is no name and value, as in base=250"))?;
        if name == "currency" {
            tariff.currency = value.parse().map_err(|error| bad(&format!("{error}")))?;
            continue;
        }
        let number = || value.parse::<u32>().map_err(|_| bad("is no whole number of 0 or more"));
        let field = match name {
            "base" => &mut tariff.base_minor,
            "km" => &mut tariff.per_km_minor,
            "minute" => &mut tariff.per_minute_minor,
            "pause" => &mut tariff.per_paused_minute_minor,
            "minimum" => &mut tariff.minimum_minor,
            "tax-bp" => &mut tariff.tax_bp,
            "platform-bp" => &mut tariff.platform_bp,
            "cancel-fee" => &mut tariff.cancel_fee_minor,
            "cancel-free-s" => {
                let ms = number()?.checked_mul(1_000).ok_or_else(|| bad("is too long"))?;
                tariff.cancel_free_ms = ms;
                continue;
            }
            _ => return Err(bad(&format!("is none of {NAMES}"))),
        };
        *field = number()?;
    }
    Ok(tariff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_changes_what_it_names() {
        let text = "currency=USD,base=300,cancel-free-s=60";
        let tariffs = parse(Some(text), &["SUV:km=999".into()]).unwrap();
        assert_eq!(tariffs.general.currency.to_string(), "USD");
        assert_eq!((tariffs.general.base_minor, tariffs.general.cancel_free_ms), (300, 60_000));
        let suv = tariffs.of(VehicleType::Suv);
        assert_eq!((suv.base_minor, suv.per_km_minor), (300, 999));
        assert_eq!(tariffs.of(VehicleType::Bike), tariffs.general);
        assert_eq!(parse(Some(&show(&suv)), &[]).unwrap().general, suv);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for bad in ["base", "base=x", "base=-1", "bass=1", "currency=eur", "cancel-free-s=99999999"]
        {
            let error = parse(Some(bad), &[]).unwrap_err().to_string();
            assert!(error.contains("--tariff") && error.contains(bad), "{error}");
        }
        assert!(parse(None, &["CAR:base=1".into()]).is_err());
    }
}
