//! Amounts of resources as whole numbers: cpu in thousandths, everything else in units.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use model::Quantity;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A resource as the index of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(u32);

/// Names of resources, numbered in the order in which they were met.
#[derive(Clone, Debug)]
pub struct ResourceNames {
    names: Vec<String>,
    ids: HashMap<String, ResourceId>,
}

/// How much of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// In thousandths of a core.
    pub cpu: i64,
    /// In bytes.
    pub memory: i64,
    /// In bytes.
    pub ephemeral: i64,
    /// Of others, sorted, each once.
    pub others: Vec<(ResourceId, i64)>,
}

/// A quantity in JSON, where it may also be a number.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub Quantity);

/// Amounts by name, as JSON has them.
pub type AmountsByName = BTreeMap<String, Amount>;

// === impl ResourceId ===

impl ResourceId {
    /// `cpu`
    pub const CPU: ResourceId = ResourceId(0);
    /// `memory`
    pub const MEMORY: ResourceId = ResourceId(1);
    /// `ephemeral-storage`
    pub const EPHEMERAL: ResourceId = ResourceId(2);
    /// `pods`: how many fit on a node.
    pub const PODS: ResourceId = ResourceId(3);

    /// The column.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

// === impl ResourceNames ===

impl Default for ResourceNames {
    fn default() -> Self {
        let mut names = ResourceNames { names: Vec::new(), ids: HashMap::new() };
        for name in ["cpu", "memory", "ephemeral-storage", "pods"] {
            names.id(name);
        }
        names
    }
}

impl ResourceNames {
    /// The id of a name, a new one if it was never met.
    pub fn id(&mut self, name: &str) -> ResourceId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = ResourceId(self.names.len() as u32);
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The name of an id.
    pub fn name(&self, id: ResourceId) -> &str {
        self.names.get(id.index()).map_or("", String::as_str)
    }
}

// === impl Amounts ===

impl Amounts {
    /// The amounts in a map by name; `pods` is not one that a pod asks for.
    pub fn of(map: Option<&AmountsByName>, names: &mut ResourceNames) -> Self {
        let mut amounts = Amounts::default();
        for (name, Amount(quantity)) in map.into_iter().flatten() {
            match name.as_str() {
                "cpu" => amounts.cpu = quantity.milli(),
                "memory" => amounts.memory = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral = quantity.value(),
                "pods" => {}
                other => amounts.others.push((names.id(other), quantity.value())),
            }
        }
        amounts.others.retain(|(_, amount)| *amount != 0);
        amounts.others.sort_unstable();
        amounts
    }

    /// The sum.
    pub fn plus(&self, other: &Amounts) -> Amounts {
        self.zip(other, i64::saturating_add)
    }

    /// The greater of the two, resource by resource.
    pub fn max(&self, other: &Amounts) -> Amounts {
        self.zip(other, i64::max)
    }

    fn zip(&self, other: &Amounts, join: fn(i64, i64) -> i64) -> Amounts {
        let mut others: BTreeMap<ResourceId, i64> = self.others.iter().copied().collect();
        for (id, amount) in &other.others {
            let joined = others.entry(*id).or_default();
            *joined = join(*joined, *amount);
        }
        Amounts {
            cpu: join(self.cpu, other.cpu),
            memory: join(self.memory, other.memory),
            ephemeral: join(self.ephemeral, other.ephemeral),
            others: others.into_iter().collect(),
        }
    }

    /// Each resource with its amount, where there is any.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceId, i64)> {
        let fixed = [
            (ResourceId::CPU, self.cpu),
            (ResourceId::MEMORY, self.memory),
            (ResourceId::EPHEMERAL, self.ephemeral),
        ];
        fixed.into_iter().chain(self.others.iter().copied()).filter(|(_, amount)| *amount != 0)
    }
}

// === impl Amount ===

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;

        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                Quantity::parse(text).map(Amount).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(AmountVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(json: serde_json::Value, names: &mut ResourceNames) -> Amounts {
        let map: AmountsByName = serde_json::from_value(json).expect("amounts");
        Amounts::of(Some(&map), names)
    }

    #[test]
    fn quantities_become_whole_numbers_whether_text_or_number() {
        let mut names = ResourceNames::default();
        let read = amounts(
            serde_json::json!({"cpu": 1.5, "memory": "1Gi", "example.com/gpu": 2, "example.com/none": "0"}),
            &mut names,
        );
        assert_eq!((read.cpu, read.memory), (1500, 1 << 30));
        assert_eq!(read.others, [(names.id("example.com/gpu"), 2)]);
    }

    #[test]
    fn sums_and_maxima_are_taken_resource_by_resource() {
        let mut names = ResourceNames::default();
        let a = amounts(serde_json::json!({"cpu": "1", "a/a": 1}), &mut names);
        let b = amounts(serde_json::json!({"cpu": "2", "memory": "1", "b/b": 2}), &mut names);
        let (sum, max) = (a.plus(&b), a.max(&b));
        assert_eq!((sum.cpu, sum.memory, max.cpu, max.memory), (3000, 1, 2000, 1));
        assert_eq!((sum.others.len(), max.others.len()), (2, 2));
    }
}
