//! Taints of nodes and what pods tolerate of them.

use serde::Deserialize;

/// Taint of a node that says that it is not ready.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a node that says nothing.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint of a cordoned node.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Keeps pods away.
    NoSchedule,
    /// Rather not here.
    PreferNoSchedule,
    /// Keeps pods away and drives off those that are there.
    NoExecute,
}

/// A taint; when it was added does not matter here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, often empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// What a pod tolerates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// The taint's key; empty for any.
    pub key: String,
    /// The taint's value; `None` for any.
    pub value: Option<String>,
    /// The taint's effect; `None` for any.
    pub effect: Option<Effect>,
}

/// A taint in JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct TaintJson {
    key: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

/// A toleration in JSON; for how long it holds matters only to who evicts.
#[derive(Clone, Debug, Deserialize)]
pub struct TolerationJson {
    key: Option<String>,
    operator: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

// === impl Effect ===

impl Effect {
    /// The effect of that name; `None` for one that we do not know.
    pub fn named(name: &str) -> Option<Effect> {
        match name {
            "NoSchedule" => Some(Effect::NoSchedule),
            "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
            "NoExecute" => Some(Effect::NoExecute),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Effect::NoSchedule => "NoSchedule",
            Effect::PreferNoSchedule => "PreferNoSchedule",
            Effect::NoExecute => "NoExecute",
        }
    }
}

// === impl Toleration ===

impl Toleration {
    /// The toleration with these fields; `None` for an effect that we do not know, and so cannot tolerate.
    pub fn of(
        key: Option<String>,
        operator: Option<&str>,
        value: Option<String>,
        effect: Option<&str>,
    ) -> Option<Self> {
        Some(Toleration {
            key: key.unwrap_or_default(),
            value: (operator != Some("Exists")).then(|| value.unwrap_or_default()),
            effect: match effect {
                None | Some("") => None,
                Some(effect) => Some(Effect::named(effect)?),
            },
        })
    }

    /// Whether it covers a taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
    }
}

/// Whether one of them covers a taint.
pub fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| toleration.tolerates(taint))
}

// === impl TaintJson, TolerationJson ===

impl TaintJson {
    /// `None` for an effect that we do not know, and so cannot follow.
    pub fn into_taint(self) -> Option<Taint> {
        let effect = Effect::named(self.effect.as_deref()?)?;
        Some(Taint { key: self.key.unwrap_or_default(), value: self.value.unwrap_or_default(), effect })
    }
}

impl TolerationJson {
    /// `None` for an effect that we do not know, and so cannot tolerate.
    pub fn into_toleration(self) -> Option<Toleration> {
        Toleration::of(self.key, self.operator.as_deref(), self.value, self.effect.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str, effect: Effect) -> Taint {
        Taint { key: key.to_owned(), value: value.to_owned(), effect }
    }

    #[test]
    fn a_toleration_covers_what_it_names_and_anything_where_it_names_nothing() {
        let gpu = taint("gpu", "a", Effect::NoSchedule);
        let toleration = |key: &str, value: Option<&str>, effect| Toleration {
            key: key.to_owned(),
            value: value.map(str::to_owned),
            effect,
        };
        for (toleration, covers) in [
            (toleration("", None, None), true),
            (toleration("gpu", None, None), true),
            (toleration("gpu", Some("a"), Some(Effect::NoSchedule)), true),
            (toleration("gpu", Some("b"), None), false),
            (toleration("cpu", None, None), false),
            (toleration("gpu", None, Some(Effect::NoExecute)), false),
        ] {
            assert_eq!(toleration.tolerates(&gpu), covers, "{toleration:?}");
        }
    }

    #[test]
    fn without_an_operator_the_value_counts_and_unknown_effects_are_never_tolerated() {
        let parse =
            |json: &str| serde_json::from_str::<TolerationJson>(json).expect("JSON").into_toleration();
        let gpu = taint("gpu", "", Effect::NoSchedule);
        let tolerates = |json| parse(json).is_some_and(|one| one.tolerates(&gpu));
        assert!(tolerates(r#"{"key": "gpu"}"#));
        assert!(!tolerates(r#"{"key": "gpu", "value": "a"}"#));
        assert!(tolerates(r#"{"operator": "Exists"}"#));
        assert_eq!(parse(r#"{"key": "gpu", "operator": "Exists", "effect": "Whatever"}"#), None);
    }
}
