//! Numbers of JSON as upstream's validator sees and prints them.

use serde_json::{Number, Value};

/// Up to here every whole number has a double of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether it is written as a whole number.
pub(super) fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}

/// Whether it is a whole number, however it is written.
pub(super) fn is_whole(number: &Number) -> bool {
    is_integer(number) || number.as_f64().is_some_and(|value| value.fract() == 0.0 && value.abs() <= EXACT)
}

/// As Go prints a number in a message.
pub(super) fn text(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e21 { format!("{value:.0}") } else { value.to_string() }
}

/// A bound as it is compared with, and shown beside, `number`: for a whole number the whole part of it.
pub(super) fn bound_for(number: &Number, bound: f64) -> f64 {
    if is_integer(number) { bound.trunc() } else { bound }
}

/// Whether the number fits a format.
pub(super) fn fits(number: &Number, format: &str) -> bool {
    match format {
        "int32" => number.as_i64().is_some_and(|value| i32::try_from(value).is_ok()) || !is_integer(number),
        "float" | "float32" => number.as_f64().is_none_or(|value| value.abs() <= f64::from(f32::MAX)),
        _ => true,
    }
}

/// Whether it is a multiple of `factor`.
pub(super) fn is_multiple(number: &Number, factor: f64) -> bool {
    if let (Some(value), true) = (number.as_i64(), factor.fract() == 0.0 && factor.abs() < EXACT) {
        return factor == 0.0 || value % (factor as i64) == 0;
    }
    let value = number.as_f64().unwrap_or(0.0);
    let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
    (times - times.round()).abs() <= f64::EPSILON * times.abs().max(1.0)
}

/// Whether a value of an enumeration is this one; 1 and 1.0 are the same.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}
