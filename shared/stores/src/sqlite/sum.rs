//! Exact sums: of more digits than any of their numbers has.

use std::fmt;
use std::str::FromStr;

/// Digits behind the point that a decimal can have.
const DIGITS: usize = 28;
const ONE: i128 = 10_i128.pow(28);

/// A sum of integers and decimals of at most 28 digits: exact for as many as a table can have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    whole: i128,
    /// In units of the 28th digit behind the point; may be more than a whole.
    fraction: i128,
}

impl Sum {
    pub(super) fn of_integer(number: i64) -> Self {
        Self {
            whole: number.into(),
            fraction: 0,
        }
    }

    /// With both parts of one sign, and the fraction less than a whole.
    fn settled(self) -> Self {
        let (mut whole, mut fraction) = (self.whole + self.fraction / ONE, self.fraction % ONE);
        if whole > 0 && fraction < 0 {
            (whole, fraction) = (whole - 1, fraction + ONE);
        } else if whole < 0 && fraction > 0 {
            (whole, fraction) = (whole + 1, fraction - ONE);
        }
        Self { whole, fraction }
    }

    /// The sum, where 64 bits hold it.
    pub(super) fn to_integer(self) -> Option<i64> {
        let sum = self.settled();
        i64::try_from(sum.whole).ok().filter(|_| sum.fraction == 0)
    }
}

impl std::ops::Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            whole: self.whole + other.whole,
            fraction: self.fraction + other.fraction,
        }
    }
}

impl std::ops::Neg for Sum {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            whole: -self.whole,
            fraction: -self.fraction,
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = self.settled();
        if sum.whole < 0 || sum.fraction < 0 {
            f.write_str("-")?;
        }
        write!(f, "{}", sum.whole.unsigned_abs())?;
        let digits = format!("{:028}", sum.fraction.unsigned_abs());
        match digits.trim_end_matches('0') {
            "" => Ok(()),
            digits => write!(f, ".{digits}"),
        }
    }
}

impl FromStr for Sum {
    type Err = ();

    /// Reads what `Display` writes, and any decimal.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (is_negative, number) = match text.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, text),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if whole.is_empty() || fraction.len() > DIGITS || !digits(whole) || !digits(fraction) {
            return Err(());
        }
        let sum = Self {
            whole: whole.parse().map_err(drop)?,
            fraction: format!("{fraction:0<DIGITS$}").parse().map_err(drop)?,
        };
        Ok(if is_negative { -sum } else { sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(texts: &[&str]) -> String {
        let sums = texts.iter().map(|text| text.parse::<Sum>().unwrap());
        sums.fold(Sum::default(), |a, b| a + b).to_string()
    }

    #[test]
    fn sums_keep_every_digit() {
        let large = "9999999999999999999999999999";
        let small = "0.0000000000000000000000000001";
        assert_eq!(
            sum(&[large, small]),
            "9999999999999999999999999999.0000000000000000000000000001"
        );
        assert_eq!(sum(&[large, small, "-9999999999999999999999999999"]), small);
        assert_eq!(sum(&["0.1", "0.2", "-0.3"]), "0");
        assert_eq!(sum(&["0.75", "0.75"]), "1.5");
        assert_eq!(sum(&["1", "-0.25"]), "0.75");
        assert_eq!(sum(&["-1", "0.25"]), "-0.75");
        assert_eq!(sum(&["-0.5", "-0.75"]), "-1.25");
    }

    #[test]
    fn other_texts_are_no_sums() {
        for text in [
            "",
            "-",
            ".5",
            "1e3",
            "+1",
            "0.00000000000000000000000000001",
        ] {
            assert!(text.parse::<Sum>().is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_told_where_they_fit() {
        let most = Sum::of_integer(i64::MAX);
        assert_eq!(most.to_integer(), Some(i64::MAX));
        assert_eq!((most + Sum::of_integer(1)).to_integer(), None);
        assert_eq!((most + -most).to_integer(), Some(0));
    }
}
