//! A share: its value, and how people write it.

use std::fmt;

/// The environment variable that gives the share at start ([`Share::from_variable`]).
pub const START_VARIABLE: &str = "SUGGEST_USE_MODEL_CANARY";

/// A share's denominator, as in Envoy's `FractionalPercent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denominator {
    /// Whole percentages.
    Hundred,
    /// Hundredths of a percent.
    TenThousand,
    /// Ten-thousandths of a percent.
    Million,
}

impl Denominator {
    /// Its number.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::Hundred => 100,
            Self::TenThousand => 10_000,
            Self::Million => 1_000_000,
        }
    }

    /// Its name in Envoy's JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hundred => "HUNDRED",
            Self::TenThousand => "TEN_THOUSAND",
            Self::Million => "MILLION",
        }
    }
}

/// A share of the users, or of the requests: `numerator <= denominator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    numerator: u32,
    denominator: Denominator,
}

/// A text that is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a share: give 0, 1 (all), or a percentage from 0% to 100% with at most four decimals, e.g. 10% or 0.5%"
)]
pub struct NotAShare(pub String);

impl Share {
    /// The share 0%: every user is given the baseline.
    pub const OFF: Self = Self { numerator: 0, denominator: Denominator::Hundred };
    /// Everybody.
    pub const ALL: Self = Self { numerator: 100, denominator: Denominator::Hundred };

    /// `numerator` of `denominator`; a larger numerator means all.
    #[must_use]
    pub const fn new(numerator: u32, denominator: Denominator) -> Self {
        let all = denominator.value();
        Self { numerator: if numerator > all { all } else { numerator }, denominator }
    }

    /// `percent` of the users; above 100 means all.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::new(percent, Denominator::Hundred)
    }

    /// The value of [`START_VARIABLE`]: `0` or empty is off, `1` is all, `N%` is a percentage (`docs/names.md` says
    /// where these come from). A bare `1` means 1% to Envoy, so this is the only place that translates it.
    ///
    /// # Errors
    /// For any other text; the error names it.
    pub fn from_variable(text: &str) -> Result<Self, NotAShare> {
        match text.trim() {
            "" | "0" => Ok(Self::OFF),
            "1" => Ok(Self::ALL),
            other => Self::from_percent(other),
        }
    }

    /// Parses `10%` or `0.5%`. The sign is needed, since a bare number means one thing to Envoy and another in the
    /// variable.
    ///
    /// # Errors
    /// When it is not a percentage, is outside 0–100, or has more than four decimals.
    pub fn from_percent(text: &str) -> Result<Self, NotAShare> {
        let fault = || NotAShare(text.to_owned());
        let number = text.trim().strip_suffix('%').ok_or_else(fault)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
            return Err(fault());
        }
        if number.ends_with('.') {
            return Err(fault());
        }
        let whole: u32 = whole.parse().map_err(|_| fault())?;
        let ten_thousandths: u32 = format!("{decimals:0<4}").parse().map_err(|_| fault())?;
        let millionths = whole * 10_000 + ten_thousandths;
        if millionths > 1_000_000 {
            return Err(fault());
        }
        Ok(if millionths.is_multiple_of(10_000) {
            Self { numerator: millionths / 10_000, denominator: Denominator::Hundred }
        } else if millionths.is_multiple_of(100) {
            Self { numerator: millionths / 100, denominator: Denominator::TenThousand }
        } else {
            Self { numerator: millionths, denominator: Denominator::Million }
        })
    }

    /// Its numerator.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// Its denominator.
    #[must_use]
    pub const fn denominator(self) -> Denominator {
        self.denominator
    }

    /// The share as a number, 0.0..=1.0.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator.value())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In whole numbers: 13.4951 times 100 is 13.495099999999999 to a float.
        let millionths = self.numerator * (Denominator::Million.value() / self.denominator.value());
        let (whole, part) = (millionths / 10_000, format!("{:04}", millionths % 10_000));
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}
