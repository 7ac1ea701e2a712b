//! Amounts of cpu, memory and other resources, exactly.
//!
//! ```text
//!   "1.5Gi" ── parse ──> 1610612736 (in billionths) + BinarySi ── display ──> "1536Mi"
//! ```
//! A billionth is the least that an amount can express and 2^63-1 the most, so an `i128` of billionths holds
//! every amount without rounding, and comparing and adding are those of numbers.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

/// An amount of a resource, with the family of suffixes that it is printed in.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    billionths: i128,
    format: Format,
}

/// The family of suffixes of a printed amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Powers of a thousand: `n u m k M G T P E`.
    DecimalSi,
    /// Powers of 1024: `Ki Mi Gi Ti Pi Ei`.
    BinarySi,
    /// An exponent of ten: `1e3`.
    DecimalExponent,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number followed by a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The suffix is none of those that exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

const UNIT: i128 = 1_000_000_000;
/// The most that upstream can hold; larger amounts are cut to it.
const MAX: i128 = i64::MAX as i128 * UNIT;

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

// === impl Quantity ===

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity { billionths: 0, format: Format::DecimalSi };

    /// The amount that `text` spells.
    pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
        let (number, suffix) = split(text)?;
        let (scale, format) = suffix_scale(suffix)?;
        let magnitude = billionths(number.integer, number.fraction, scale, format);
        let below_one = magnitude > 0 && magnitude < UNIT;
        let format = if format == Format::BinarySi && below_one { Format::DecimalSi } else { format };
        Ok(Quantity { billionths: if number.negative { -magnitude } else { magnitude }, format })
    }

    /// A whole amount.
    pub const fn whole(value: i64) -> Quantity {
        Quantity { billionths: value as i128 * UNIT, format: Format::DecimalSi }
    }

    /// A whole amount that is printed in powers of 1024.
    pub const fn bytes(value: i64) -> Quantity {
        Quantity { billionths: value as i128 * UNIT, format: Format::BinarySi }
    }

    /// An amount in thousandths, as of a cpu.
    pub const fn thousandths(value: i64) -> Quantity {
        Quantity { billionths: value as i128 * (UNIT / 1000), format: Format::DecimalSi }
    }

    /// The amount as a whole number, a fraction rounded away from zero.
    pub fn value(&self) -> i64 {
        clamp(divide_away_from_zero(self.billionths, UNIT))
    }

    /// The amount in thousandths, a fraction of one rounded away from zero.
    pub fn milli(&self) -> i64 {
        clamp(divide_away_from_zero(self.billionths, UNIT / 1000))
    }

    /// Rounded away from zero to whole thousandths: the precision that amounts of resources are kept in.
    pub fn round_to_milli(self) -> Quantity {
        let thousandths = divide_away_from_zero(self.billionths, UNIT / 1000);
        Quantity { billionths: thousandths * (UNIT / 1000), ..self }
    }

    /// -1, 0 or 1 for less than, exactly and more than nothing.
    pub fn sign(&self) -> i32 {
        self.billionths.signum() as i32
    }

    /// Whether this is nothing.
    pub fn is_zero(&self) -> bool {
        self.billionths == 0
    }

    /// Whether this is a whole number.
    pub fn is_whole(&self) -> bool {
        self.billionths % UNIT == 0
    }

    /// The family of suffixes that it is printed in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The sum, in the form of the first amount that is not nothing.
    fn plus(self, billionths: i128, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity { billionths: self.billionths.saturating_add(billionths).clamp(-MAX, MAX), format }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.billionths == other.billionths
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.billionths.cmp(&other.billionths)
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Quantity::ZERO
    }
}

impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        self.plus(other.billionths, other)
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        self.plus(-other.billionths, other)
    }
}

impl Neg for Quantity {
    type Output = Quantity;

    fn neg(self) -> Quantity {
        Quantity { billionths: -self.billionths, ..self }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Quantity>>(amounts: I) -> Quantity {
        amounts.fold(Quantity::ZERO, Add::add)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::parse(text)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: the largest suffix that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let binary = self.format == Format::BinarySi
            && self.is_whole()
            && self.billionths.unsigned_abs() >= 1024 * UNIT.unsigned_abs();
        if binary {
            return write_binary(f, self.billionths / UNIT);
        }
        let (number, exponent) = decimal(self.billionths);
        let suffix = DECIMAL.iter().find(|(_, scale)| *scale == exponent).map(|(suffix, _)| *suffix);
        match (self.format, suffix) {
            (_, Some("")) => write!(f, "{number}"),
            (Format::DecimalExponent, _) | (_, None) => write!(f, "{number}e{exponent}"),
            (_, Some(suffix)) => write!(f, "{number}{suffix}"),
        }
    }
}

struct Number<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
}

fn split(text: &str) -> Result<(Number<'_>, &str), QuantityError> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |from: &str| from.bytes().take_while(u8::is_ascii_digit).count();
    let (integer, rest) = unsigned.split_at(digits(unsigned));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if integer.is_empty() && fraction.is_empty() {
        return Err(QuantityError::Format);
    }
    let letters = suffix.bytes().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
    let exponent = &suffix[letters..];
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    match digits(exponent) == exponent.len() {
        true => Ok((Number { negative, integer, fraction }, suffix)),
        false if suffix.starts_with('.') => Err(QuantityError::Numeric),
        false => Err(QuantityError::Format),
    }
}

/// A power of ten, or of two for [`Format::BinarySi`].
fn suffix_scale(suffix: &str) -> Result<(i32, Format), QuantityError> {
    let among = |table: &[(&str, i32)]| table.iter().find(|(one, _)| *one == suffix).map(|(_, scale)| *scale);
    if let Some(scale) = among(&DECIMAL) {
        return Ok((scale, Format::DecimalSi));
    }
    if let Some(scale) = among(&BINARY) {
        return Ok((scale, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
    // Beyond a thousand digits either way the amount is the largest or the smallest anyhow.
    let exponent: i64 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok((exponent.clamp(-1000, 1000) as i32, Format::DecimalExponent))
}

/// `integer.fraction` times the scale in billionths, what is left of a billionth rounded up, cut to [`MAX`].
fn billionths(integer: &str, fraction: &str, scale: i32, format: Format) -> i128 {
    match (fraction, integer.parse::<u32>()) {
        ("", Ok(number)) => whole_billionths(number, scale, format),
        _ => long_billionths(integer, fraction, scale, format),
    }
}

/// The common case: a small number without a fraction.
fn whole_billionths(number: u32, scale: i32, format: Format) -> i128 {
    let number = i128::from(number);
    let factor = match format {
        Format::BinarySi => 1_i128.checked_shl(scale.unsigned_abs()).and_then(|two| two.checked_mul(UNIT)),
        _ if scale < -9 => return long_billionths(&number.to_string(), "", scale, format),
        _ => 10_i128.checked_pow((9 + scale).unsigned_abs()),
    };
    match factor.and_then(|factor| number.checked_mul(factor)) {
        Some(amount) => amount.min(MAX),
        None if number == 0 => 0,
        None => MAX,
    }
}

/// Any number, by long arithmetic on decimal digits.
fn long_billionths(integer: &str, fraction: &str, scale: i32, format: Format) -> i128 {
    let mut digits: Vec<u8> = integer.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    let shift = match format {
        Format::BinarySi => {
            (0..scale).for_each(|_| double(&mut digits));
            9
        }
        _ => 9 + i64::from(scale),
    } - fraction.len() as i64;
    let kept = (digits.len() as i64 + shift.min(0)).max(0) as usize;
    let (kept, lost) = digits.split_at(kept);
    let zeros = std::iter::repeat_n(&0_u8, shift.max(0) as usize);
    // Cut at every digit: no amount beyond the largest can overflow.
    let number = kept.iter().chain(zeros).fold(0, |sum, digit| (sum * 10 + i128::from(*digit)).min(MAX));
    let rest = lost.iter().any(|digit| *digit != 0);
    (number + i128::from(rest)).min(MAX)
}

fn double(digits: &mut Vec<u8>) {
    let mut carry = 0;
    for digit in digits.iter_mut().rev() {
        let doubled = *digit * 2 + carry;
        *digit = doubled % 10;
        carry = doubled / 10;
    }
    if carry > 0 {
        digits.insert(0, carry);
    }
}

/// The number and the exponent of ten, a multiple of three, that spell `billionths` in the fewest digits.
fn decimal(billionths: i128) -> (i128, i32) {
    let (mut number, mut exponent) = (billionths, -9);
    while number % 1000 == 0 {
        number /= 1000;
        exponent += 3;
    }
    (number, exponent)
}

fn write_binary(f: &mut fmt::Formatter<'_>, whole: i128) -> fmt::Result {
    let (mut number, mut suffix) = (whole, "");
    for (next, _) in BINARY {
        if number % 1024 != 0 {
            break;
        }
        number /= 1024;
        suffix = next;
    }
    write!(f, "{number}{suffix}")
}

fn divide_away_from_zero(number: i128, by: i128) -> i128 {
    number / by + if number % by == 0 { 0 } else { number.signum() }
}

fn clamp(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn amounts_are_printed_in_canonical_form() {
        let cases = [
            ("0", "0"),
            ("0Mi", "0"),
            ("0.5", "500m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("0.5Gi", "512Mi"),
            ("1024Mi", "1Gi"),
            ("1000Ki", "1000Ki"),
            ("1024", "1024"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("0.1Mi", "104857600m"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("1e-3", "1e-3"),
            ("100e-1", "10"),
            (".5", "500m"),
            ("5.", "5"),
            ("+5", "5"),
            ("-5m", "-5m"),
            ("0.0000000001", "1n"),
            ("1n", "1n"),
            ("9223372036854775807", "9223372036854775807"),
            ("100E", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("4Ei", "4Ei"),
            ("007", "7"),
        ];
        for (text, canonical) in cases {
            assert_eq!(parse(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        use QuantityError::{Format, Numeric, Suffix};
        let cases = [
            ("", Format),
            ("m", Format),
            ("1.2.3", Numeric),
            ("1x", Format),
            ("1 Gi", Format),
            ("1kk", Suffix),
            ("1Kii", Suffix),
            ("1mi", Suffix),
            ("1K", Suffix),
            ("1e", Suffix),
            ("--1", Format),
            ("1m5", Suffix),
        ];
        for (text, why) in cases {
            assert_eq!(Quantity::parse(text).expect_err(text), why, "{text}");
        }
    }

    #[test]
    fn whole_numbers_and_thousandths_are_rounded_up() {
        let rounded = |text| (parse(text).value(), parse(text).milli());
        assert_eq!(rounded("1500m"), (2, 1500));
        assert_eq!(rounded("1u"), (1, 1));
        assert_eq!(rounded("-1500m"), (-2, -1500));
        assert_eq!(rounded("1Ki"), (1024, 1_024_000));
        assert_eq!(rounded("9E"), (9_000_000_000_000_000_000, i64::MAX));
        assert_eq!(parse("1500u").round_to_milli().to_string(), "2m");
    }

    #[test]
    fn a_sum_keeps_the_form_of_its_first_amount() {
        assert_eq!((parse("1Gi") + parse("512Mi")).to_string(), "1536Mi");
        assert_eq!([parse("1Gi"), parse("1M")].into_iter().sum::<Quantity>().format(), Format::BinarySi);
        assert_eq!((parse("1") - parse("250m")).to_string(), "750m");
        assert!(parse("1Gi") > parse("1G"));
        assert_eq!(parse("1000m"), parse("1"));
    }

    fn amount() -> impl Strategy<Value = String> {
        let suffix = prop_oneof![
            prop::sample::select(vec!["n", "u", "m", "", "k", "M", "G", "T", "P", "E"])
                .prop_map(str::to_owned),
            prop::sample::select(vec!["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]).prop_map(str::to_owned),
            (-12_i32..20).prop_map(|exponent| format!("e{exponent}")),
        ];
        ("-?[0-9]{1,12}(\\.[0-9]{0,12})?", suffix).prop_map(|(number, suffix)| number + &suffix)
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_as_the_same_amount(text in amount()) {
            let first = parse(&text);
            let printed = first.to_string();
            prop_assert_eq!(parse(&printed), first, "{}", printed);
            prop_assert_eq!(parse(&printed).to_string(), printed);
        }

        #[test]
        fn order_is_that_of_the_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (first, second) = (parse(&format!("{a}m")), parse(&format!("{b}m")));
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!((first + second).milli(), a + b);
        }

        #[test]
        fn short_and_long_arithmetic_agree(number: u32, scale in -12_i32..30, power in 1_i32..7) {
            let text = number.to_string();
            let decimal = (whole_billionths(number, scale, Format::DecimalSi),
                           long_billionths(&text, "", scale, Format::DecimalSi));
            let binary = (whole_billionths(number, power * 10, Format::BinarySi),
                          long_billionths(&text, "", power * 10, Format::BinarySi));
            prop_assert_eq!(decimal.0, decimal.1);
            prop_assert_eq!(binary.0, binary.1);
        }

        #[test]
        fn no_text_panics(text in "[-+.0-9eEinumkKMGTP]{0,12}") {
            let _ = Quantity::parse(&text);
        }
    }
}
