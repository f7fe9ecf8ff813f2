//! The one place where a measured or scaled quantity becomes a whole number. The city computes in
//! floats (it is no replicated state); what it sends, counts and prints is whole.

/// `quantity` rounded to the nearest whole number; below zero and not-a-number become 0, above
/// the largest becomes the largest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and that is what the doc promises"
)]
pub(crate) fn whole(quantity: f64) -> u64 {
    quantity.round() as u64
}

/// The same in 32 bits.
pub(crate) fn whole32(quantity: f64) -> u32 {
    u32::try_from(whole(quantity)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_quantities_saturate() {
        assert_eq!([whole(2.5), whole(-1.0), whole(f64::NAN)], [3, 0, 0]);
        assert_eq!(whole32(1e12), u32::MAX);
    }
}
