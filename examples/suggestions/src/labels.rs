//! The spending labels.

/// The closed set that the rules, the generated transactions and the first model know. The order is that of a model's
/// history features: append only. The gateway is given the same list (`labels.json`).
pub const SPENDING_LABELS: [&str; 21] = [
    "groceries",
    "restaurants",
    "coffee",
    "shopping",
    "transportation",
    "transportation.fuel",
    "transportation.auto",
    "travel",
    "entertainment",
    "home",
    "housing",
    "utilities",
    "health",
    "health.insurance",
    "personal.care",
    "education",
    "pets",
    "fees",
    "transfers",
    "income",
    "cash",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_given_the_same_labels() {
        let given: Vec<String> = serde_json::from_str(include_str!("../labels.json")).unwrap();
        assert_eq!(given, SPENDING_LABELS);
    }
}
