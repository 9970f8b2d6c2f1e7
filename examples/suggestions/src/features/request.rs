//! A transaction from the raw fields of a prediction request.
//!
//! **Time.** `hour_of_day` and `dow` are those of UTC, as they are computed from a stored transaction's time, whatever the
//! user's own clock says. Where the client gives `occurred_at` (seconds since 1970) they follow from it, and others beside
//! it are refused.

use serde_json::{Map, Value};
use shadow_scorer::suggestions::request;

use super::transaction::{Transaction, hour, weekday};

/// The fields of a prediction request as a transaction. `abs_amount` counts only where `amount` is missing, as money
/// spent; `is_weekend` follows from `dow`.
pub(crate) fn transaction(asked: &Map<String, Value>) -> Result<Transaction, String> {
    let fault = |name: &str, value: &Value, rule: &str| format!("{name} is {}: {rule}", request::shown(value));
    let given = |name: &str| asked.get(name).filter(|value| !value.is_null());
    let text = |name: &str| match given(name) {
        None => Ok(String::new()),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| fault(name, value, "give a text")),
    };
    let number = |name: &str| match given(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| fault(name, value, "give a number")),
    };
    let whole = |name: &str, most: u16, rule: &str| match given(name) {
        None => Ok(None),
        Some(value) => request::id(value)
            .and_then(|n| u16::try_from(n).ok())
            .filter(|n| *n <= most)
            .map(Some)
            .ok_or_else(|| fault(name, value, rule)),
    };
    let flag = |name: &str| match given(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::Number(n)) if n.as_u64().is_some_and(|n| n < 2) => Ok(Some(n.as_u64() == Some(1))),
        Some(value) => Err(fault(name, value, "give true or false")),
    };
    let time = match given("occurred_at") {
        None => None,
        Some(value) => {
            Some(request::id(value).ok_or_else(|| fault("occurred_at", value, "give whole seconds since 1970"))?)
        }
    };
    let small = |n: Option<u16>| n.and_then(|n| u8::try_from(n).ok());
    // One base of time: that of the store.
    let clock = |name: &str, most: u16, rule: &str, of: fn(i64) -> u8| {
        let said = small(whole(name, most, rule)?);
        let computed = time.map(of);
        match (said, computed, given(name)) {
            (Some(said), Some(computed), Some(value)) if said != computed => {
                let rule = format!("occurred_at makes it {computed}, as UTC; leave {name} out, or give that");
                Err(fault(name, value, &rule))
            }
            _ => Ok(computed.or(said)),
        }
    };
    let spent = number("abs_amount")?.map(|size| -size.abs());
    Ok(Transaction {
        merchant: text("merchant")?,
        memo: text("norm_desc")?,
        amount: number("amount")?.or(spent),
        mcc: whole("mcc", 9_999, "give a merchant category code from 0 to 9999")?,
        channel: text("channel")?,
        hour: clock("hour_of_day", 23, "give an hour from 0 to 23, as UTC", hour)?,
        weekday: clock("dow", 6, "give a day from 0 (Monday) to 6, as UTC", weekday)?,
        subscription: flag("is_subscription")?,
        p2p: flag("is_p2p")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(document: Value) -> Result<Transaction, String> {
        let Value::Object(asked) = document else { panic!("no object") };
        transaction(&asked)
    }

    #[test]
    fn the_fields_of_a_request_are_taken() {
        let transaction = raw(json!({
            "amount": -12.5, "abs_amount": 12.5, "merchant": "STARBUCKS #12", "mcc": "5814", "channel": "card",
            "hour_of_day": 8, "dow": 0, "is_weekend": false, "is_subscription": 0, "norm_desc": "coffee",
        }))
        .unwrap();
        assert_eq!((transaction.amount, transaction.mcc, transaction.weekday), (Some(-12.5), Some(5814), Some(0)));
        assert_eq!((transaction.subscription, transaction.memo.as_str()), (Some(false), "coffee"));
    }

    #[test]
    fn what_is_missing_is_not_known() {
        assert_eq!(raw(json!({ "merchant": null })).unwrap(), Transaction::default());
        assert_eq!(raw(json!({ "abs_amount": 3 })).unwrap().amount, Some(-3.0));
    }

    /// Friday 20:30 in Denver is Saturday 02:30 in UTC, which is what the store and so the training go by.
    #[test]
    fn the_time_of_a_payment_means_what_it_means_in_the_store_case_a14() {
        let friday_evening_in_denver = 1_793_500_200;
        let transaction = raw(json!({ "occurred_at": friday_evening_in_denver })).unwrap();
        assert_eq!((transaction.hour, transaction.weekday), (Some(2), Some(6)));
        let same = json!({ "occurred_at": friday_evening_in_denver, "hour_of_day": 2, "dow": 6 });
        assert_eq!(raw(same).unwrap(), transaction);
        let local = json!({ "occurred_at": friday_evening_in_denver, "hour_of_day": 20 });
        let error = raw(local).unwrap_err();
        assert!(error.starts_with("hour_of_day is 20") && error.contains("makes it 2, as UTC"), "{error}");
        assert!(raw(json!({ "occurred_at": "now" })).unwrap_err().starts_with("occurred_at is \"now\""));
    }

    #[test]
    fn the_offending_value_is_named() {
        for (document, named) in [
            (json!({ "amount": "12" }), "amount is \"12\""),
            (json!({ "hour_of_day": 24 }), "hour_of_day is 24"),
            (json!({ "dow": -1 }), "dow is -1"),
            (json!({ "mcc": 123_456 }), "mcc is 123456"),
            (json!({ "merchant": 5 }), "merchant is 5"),
            (json!({ "is_subscription": "yes" }), "is_subscription is \"yes\""),
        ] {
            let error = raw(document).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
