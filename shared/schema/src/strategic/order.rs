//! In which order a merged list comes: a client knows only some of its items, the server the rest.
//!
//! ```text
//!   order   c  a           items that it names come as it says,
//!   server  a  X  b  Y     the others (X, b, Y) as they are,
//!   result  X  b  Y  c  a  and of one of each that were both there before, the earlier goes first
//! ```

use serde_json::Value;

use super::Refused;

/// Puts `items` in order. `before` is the list as it was.
pub(super) fn arrange(
    items: Vec<Value>,
    order: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Refused> {
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| position(order, item, key).is_some());
    named.sort_by_key(|item| position(order, item, key));

    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let named_first = match (named.peek(), others.peek()) {
            (Some(one), Some(other)) => {
                let (one, other) = (position(before, one, key), position(before, other, key));
                one.is_some() && other.is_some() && one < other
            }
            (one, _) => one.is_some(),
        };
        let next = if named_first { named.next() } else { others.next() };
        match next {
            Some(item) => arranged.push(item),
            None => return Ok(arranged),
        }
    }
}

/// Holds a patch to the order that comes with it: it names each item, and in the same order.
pub(super) fn validate(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Refused> {
    let mut last = 0;
    for item in patch.iter().filter(|item| item.get(super::PATCH).is_none()) {
        match position(order, item, key) {
            Some(at) if at >= last => last = at,
            _ => {
                let (patch, order) = (Value::from(patch), Value::from(order));
                return Err(Refused::Format(format!(
                    "the order in the patch list {patch} does not match that of $setElementOrder {order}"
                )));
            }
        }
    }
    Ok(())
}

pub(super) fn bad_format() -> Refused {
    Refused::Format("invalid patch format of setElementOrder list".to_owned())
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    match key {
        None => list.iter().position(|one| one == item),
        Some(key) => {
            let value = item.get(key)?;
            list.iter().position(|one| one.get(key) == Some(value))
        }
    }
}
