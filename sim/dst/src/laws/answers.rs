//! Only yes, no for good, or "ask again": every answer with a status of its own is one of the three,
//! says so the same way in its code, and nothing else is ever said.

use super::Broken;
use proto::Code;
use serde_json::Value;

/// The law's name.
pub const LAW: &str = "only OK, REJECTED or RETRY";

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Yes.
    Ok,
    /// No, for good.
    Rejected,
    /// Ask again.
    Retry,
}

/// What an answer says, or that it says nothing that it may.
pub fn said(request: &str, status: u16, body: &Value) -> Result<Said, Broken> {
    let name = body["code"].as_str().unwrap_or_default();
    let code = Code::ALL.iter().find(|code| code.as_str() == name);
    match (status, code) {
        (200..=299, _) => Ok(Said::Ok),
        (429 | 503, Some(code)) if code.retryable() => Ok(Said::Retry),
        (400..=499, Some(code)) if !code.retryable() => Ok(Said::Rejected),
        _ => Err(Broken::new(LAW, format!("{request} was answered {status} {body}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_one_of_three_or_breaks_the_law() {
        let said = |status, code: &str| said("GET /", status, &json!({ "code": code }));
        assert_eq!(said(201, ""), Ok(Said::Ok));
        assert_eq!(said(503, "RETRY"), Ok(Said::Retry));
        assert_eq!(said(429, "RATE_LIMITED"), Ok(Said::Retry));
        assert_eq!(said(409, "DRIVER_BUSY"), Ok(Said::Rejected));
        for (status, code) in [(500, ""), (500, "RETRY"), (503, ""), (409, "RETRY"), (404, "X")] {
            assert!(said(status, code).is_err(), "{status} {code}");
        }
    }
}
