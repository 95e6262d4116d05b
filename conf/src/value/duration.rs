use std::fmt;
use std::str::FromStr;
use std::time::Duration as StdDuration;

/// A span of time as the Gateway API writes it (GEP-2257): up to four numbers of up to five
/// digits, each with its unit `h`, `m`, `s` or `ms`: `1h30m`, `10s`, `250ms`, `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(StdDuration);

const MAX_PARTS: usize = 4;
const MAX_DIGITS: usize = 5;
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    pub fn from_millis(millis: u32) -> Self {
        Self(StdDuration::from_millis(millis.into()))
    }

    pub fn from_secs(seconds: u32) -> Self {
        Self(StdDuration::from_secs(seconds.into()))
    }

    pub fn as_std(self) -> StdDuration {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let error = || DurationError(text.into());
        if text.is_empty() {
            return Err(error());
        }
        let mut rest = text;
        let mut millis = 0;
        for _ in 0..MAX_PARTS {
            if rest.is_empty() {
                break;
            }
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            if digits == 0 || digits > MAX_DIGITS {
                return Err(error());
            }
            let number: u64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(error)?;
            millis += number * unit;
            rest = &rest[letters..];
        }
        if rest.is_empty() { Ok(Self(StdDuration::from_millis(millis))) } else { Err(error()) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

crate::as_text!(Duration);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as 10s, 250ms or 1h30m")]
pub struct DurationError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gep_2257_durations_round_trip() {
        for (text, millis, canonical) in [
            ("0s", 0, "0s"),
            ("10s", 10_000, "10s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("1500ms", 1_500, "1s500ms"),
            ("90s", 90_000, "1m30s"),
            ("1m1m", 120_000, "2m"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.as_std().as_millis(), millis, "{text}");
            assert_eq!(duration.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "10", "s", "1.5s", "-1s", "1d", "100000s", "1h1m1s1ms1s", "1s ", "10S"] {
            assert_eq!(text.parse::<Duration>(), Err(DurationError(text.into())), "{text}");
        }
    }
}
