use std::fmt;
use std::str::FromStr;

/// An exact share of requests, between none and all: `10%` or `1/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    numerator: u32,
    denominator: u32,
}

impl Fraction {
    pub const ALL: Self = Self { numerator: 1, denominator: 1 };

    pub fn new(numerator: u32, denominator: u32) -> Result<Self, FractionError> {
        if denominator == 0 || numerator > denominator {
            return Err(FractionError::OutOfRange(format!("{numerator}/{denominator}")));
        }
        Ok(Self { numerator, denominator })
    }

    pub fn is_all(&self) -> bool {
        self.numerator == self.denominator
    }

    /// Whether a draw that is uniform over all of `u64` falls into this share. Exact at the ends:
    /// 0/n never holds, n/n always; in between the error is below 2^-32. One draw decides nested
    /// sets: what falls into a smaller share falls into every larger one.
    pub fn holds(self, draw: u64) -> bool {
        let scaled = (u128::from(draw) * u128::from(self.denominator)) >> 64;
        scaled < u128::from(self.numerator)
    }
}

impl FromStr for Fraction {
    type Err = FractionError;

    fn from_str(text: &str) -> Result<Self, FractionError> {
        let (numerator, denominator) = match (text.strip_suffix('%'), text.split_once('/')) {
            (Some(percent), _) => (percent.parse(), Ok(100)),
            (None, Some((numerator, denominator))) => (numerator.parse(), denominator.parse()),
            (None, None) => return Err(FractionError::Form(text.into())),
        };
        let (Ok(numerator), Ok(denominator)) = (numerator, denominator) else {
            return Err(FractionError::Form(text.into()));
        };
        Self::new(numerator, denominator).map_err(|_| FractionError::OutOfRange(text.into()))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            100 => write!(f, "{}%", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

crate::as_text!(Fraction);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FractionError {
    #[error("{0:?} is not a share such as 10% or 1/3")]
    Form(String),
    #[error("{0} is not between 0 and 1")]
    OutOfRange(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_and_fraction_round_trip() {
        for text in ["0%", "10%", "100%", "1/3", "0/7", "7/7", "1/4294967295"] {
            assert_eq!(text.parse::<Fraction>().unwrap().to_string(), text);
        }
        assert_eq!("12/10".parse::<Fraction>().unwrap_err().to_string(), "12/10 is not between 0 and 1");
        for text in ["", "10", "%", "1/0", "-1/2", "101%", "1/2/3", "1.5%"] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }

    #[test]
    fn none_and_all_are_exact() {
        for draw in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            for denominator in [1, 3, 100, u32::MAX] {
                assert!(!Fraction::new(0, denominator).unwrap().holds(draw));
                assert!(Fraction::new(denominator, denominator).unwrap().holds(draw));
            }
        }
    }

    #[test]
    fn a_smaller_share_lies_within_a_larger_one() {
        let (small, large) = ("10%".parse::<Fraction>().unwrap(), "1/2".parse::<Fraction>().unwrap());
        for step in 0..1000 {
            let draw = step * (u64::MAX / 1000);
            assert!(!small.holds(draw) || large.holds(draw), "{draw}");
        }
    }
}
