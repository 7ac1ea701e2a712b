//! What of the machine is kept from pods, as `cpu=500m,memory=1Gi`.

use std::str::FromStr;

use model::quantity::Quantity;

/// Amounts that the node's own programs need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Thousandths of a cpu.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub ephemeral_storage: u64,
}

/// Why a text names no amounts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReservedError {
    /// There is no `=`.
    #[error("{0:?} is not written resource=quantity")]
    Shape(String),
    /// Nobody reserves it.
    #[error("{0:?} cannot be reserved: cpu, memory and ephemeral-storage can")]
    Resource(String),
    /// It is no amount.
    #[error("{0:?} is not a quantity of something that is there")]
    Quantity(String),
}

impl FromStr for Reserved {
    type Err = ReservedError;

    fn from_str(text: &str) -> Result<Self, ReservedError> {
        let mut reserved = Reserved::default();
        for part in text.split(',').map(str::trim) {
            let (resource, amount) =
                part.split_once('=').ok_or_else(|| ReservedError::Shape(part.to_owned()))?;
            let wrong = || ReservedError::Quantity(amount.to_owned());
            let quantity = Quantity::parse(amount).map_err(|_| wrong())?;
            let amount = |value: i64| u64::try_from(value).map_err(|_| wrong());
            match resource {
                "cpu" => reserved.cpu_milli = amount(quantity.milli())?,
                "memory" => reserved.memory = amount(quantity.value())?,
                "ephemeral-storage" => reserved.ephemeral_storage = amount(quantity.value())?,
                other => return Err(ReservedError::Resource(other.to_owned())),
            }
        }
        Ok(reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_the_api_writes_them() {
        let read = "cpu=500m, memory=1Gi".parse();
        assert_eq!(read, Ok(Reserved { cpu_milli: 500, memory: 1 << 30, ephemeral_storage: 0 }));
    }

    #[test]
    fn what_is_no_amount_is_refused_by_name() {
        let refused = |text: &str| text.parse::<Reserved>().unwrap_err();
        assert_eq!(refused("memory"), ReservedError::Shape("memory".into()));
        assert_eq!(refused("pods=3"), ReservedError::Resource("pods".into()));
        assert_eq!(refused("memory=much"), ReservedError::Quantity("much".into()));
        assert_eq!(refused("cpu=-1"), ReservedError::Quantity("-1".into()));
    }
}
