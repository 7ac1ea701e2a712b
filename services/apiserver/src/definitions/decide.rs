//! Which names a definition gets, and whether its kind can be served. Pure: what is known of the definitions of its
//! group goes in, its status comes out.
//!
//! Names of a group belong to whoever asked first in the order of the log. A definition waits until those before it
//! are decided about, so every server decides the same whatever it sees first.

use std::collections::BTreeSet;
use std::sync::Arc;

use kinds::Table;
use kinds::definition::{CLEANUP, set_condition};
use kinds::metadata::new_condition;
use model::{Object, Revision};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::Item;

/// The names of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Names {
    /// As `memcacheds`.
    pub plural: String,
    /// As `memcached`.
    pub singular: String,
    /// For command lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<String>,
    /// As `Memcached`.
    pub kind: String,
    /// As `MemcachedList`.
    pub list_kind: String,
    /// As `all`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// What is known of a definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The group of its kind.
    pub group: String,
    /// The revision at which it was made.
    pub created: Revision,
    /// The revision that this is.
    pub revision: Revision,
    /// The names that it asks for.
    pub wanted: Names,
    /// The names that it has.
    pub accepted: Names,
    /// The status of its condition `NamesAccepted`, with the message; none before it was decided about.
    pub verdict: Option<(bool, String)>,
    /// Whether its kind is served.
    pub established: bool,
    /// Whether it is being deleted and its objects are still to be seen to.
    pub cleans_up: bool,
}

/// What is decided about a definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Its status is right as it is.
    Settled,
    /// Another one that asked earlier is decided about first.
    Waits,
    /// It gets this status.
    Status(Judgement),
}

/// The part of a status that is decided here.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The names that it has from now on.
    pub accepted: Names,
    /// Why it does not get all that it asked for: a reason and a message.
    pub conflict: Option<(&'static str, String)>,
}

/// Decides about `one`. `others` are all definitions in the order in which they were made; it may be among them.
pub fn decide(one: &Summary, others: &[Arc<Summary>], table: &Table) -> Decision {
    if one.is_content() {
        return Decision::Settled;
    }
    let mut taken = Taken::by_built_in(table, &one.group);
    for other in others.iter().filter(|other| other.group == one.group && other.name != one.name) {
        if other.verdict.is_none() && other.created < one.created && other.wanted.clash(&one.wanted) {
            return Decision::Waits;
        }
        taken.add(&other.accepted);
    }
    let judgement = judge(one, &taken);
    let verdict = (judgement.conflict.is_none(), judgement.message());
    match one.accepted == judgement.accepted
        && one.verdict == Some(verdict)
        && (one.established || judgement.conflict.is_some())
    {
        true => Decision::Settled,
        false => Decision::Status(judgement),
    }
}

fn judge(one: &Summary, taken: &Taken) -> Judgement {
    let (wanted, has) = (&one.wanted, &one.accepted);
    let mut accepted = has.clone();
    let mut conflict = None;
    let mut claim =
        |reason: &'static str, names: &BTreeSet<String>, wanted: &str, has: &str, slot: &mut String| {
            if wanted != has && names.contains(wanted) {
                conflict = Some((reason, format!("{wanted:?} is already in use")));
            } else {
                wanted.clone_into(slot);
            }
        };
    claim("PluralConflict", &taken.resources, &wanted.plural, &has.plural, &mut accepted.plural);
    claim("SingularConflict", &taken.resources, &wanted.singular, &has.singular, &mut accepted.singular);
    claim("KindConflict", &taken.kinds, &wanted.kind, &has.kind, &mut accepted.kind);
    claim("ListKindConflict", &taken.kinds, &wanted.list_kind, &has.list_kind, &mut accepted.list_kind);
    let is_taken = |name: &&String| !has.short_names.contains(name) && taken.resources.contains(*name);
    let short: Vec<String> = wanted
        .short_names
        .iter()
        .filter(is_taken)
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    match short.as_slice() {
        [] => accepted.short_names.clone_from(&wanted.short_names),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    accepted.categories.clone_from(&wanted.categories);
    Judgement { accepted, conflict }
}

/// Names of a group that somebody has.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

// === impl Taken ===

impl Taken {
    fn by_built_in(table: &Table, group: &str) -> Taken {
        let mut taken = Taken::default();
        for row in table.iter().filter(|row| row.group == group && row.custom.is_none()) {
            taken.resources.extend([row.plural.to_string(), row.singular.to_string()]);
            taken.resources.extend(row.short_names.iter().map(ToString::to_string));
            taken.kinds.extend([row.kind.to_string(), row.list_kind()]);
        }
        taken
    }

    fn add(&mut self, names: &Names) {
        self.resources.extend(names.resources().cloned());
        self.kinds.extend([names.kind.clone(), names.list_kind.clone()]);
    }
}

// === impl Names ===

impl Names {
    fn resources(&self) -> impl Iterator<Item = &String> {
        [&self.plural, &self.singular].into_iter().chain(&self.short_names)
    }

    fn clash(&self, other: &Names) -> bool {
        let kinds = |names: &Names| [names.kind.clone(), names.list_kind.clone()];
        self.resources().any(|name| other.resources().any(|theirs| theirs == name))
            || kinds(self).iter().any(|name| kinds(other).contains(name))
    }
}

// === impl Judgement ===

impl Judgement {
    /// Puts it into the status of a definition.
    pub fn apply(&self, definition: &mut Object, now: &str) {
        definition.set(&["status", "acceptedNames"], json!(self.accepted));
        let established = kinds::metadata::is_true(definition, "Established");
        let (status, reason) = match &self.conflict {
            None => ("True", "NoConflicts"),
            Some((reason, _)) => ("False", *reason),
        };
        set_condition(definition, new_condition("NamesAccepted", status, reason, &self.message()), now);
        if established {
            return;
        }
        let condition = match &self.conflict {
            None => ("True", "InitialNamesAccepted", "the initial names have been accepted"),
            Some(_) => ("False", "NotAccepted", "not all names are accepted"),
        };
        let (status, reason, message) = condition;
        set_condition(definition, new_condition("Established", status, reason, message), now);
    }

    fn message(&self) -> String {
        match &self.conflict {
            None => "no conflicts found".to_owned(),
            Some((_, message)) => message.clone(),
        }
    }
}

// === impl Summary ===

impl Summary {
    /// Whether it has all that it asks for, which nobody can take from it.
    pub fn is_content(&self) -> bool {
        self.established
            && self.accepted == self.wanted
            && self.verdict.as_ref().is_some_and(|(fine, _)| *fine)
    }

    /// What a definition says.
    pub fn of(definition: &Object, item: &Item) -> Summary {
        let names = |path: &[&str]| {
            let value = definition.at(path).cloned().unwrap_or_default();
            serde_json::from_value(value).unwrap_or_default()
        };
        let condition = kinds::metadata::condition(definition, "NamesAccepted");
        let verdict = condition.map(|condition: &Value| {
            (condition["status"] == "True", condition["message"].as_str().unwrap_or_default().to_owned())
        });
        let deleting = definition.deletion_timestamp().is_some();
        Summary {
            name: definition.name().to_owned(),
            group: definition.str_at(&["spec", "group"]).to_owned(),
            created: item.created,
            revision: item.revision,
            wanted: names(&["spec", "names"]),
            accepted: names(&["status", "acceptedNames"]),
            verdict,
            established: kinds::metadata::is_true(definition, "Established"),
            cleans_up: deleting && definition.finalizers().any(|one| one == CLEANUP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, short: &[&str]) -> Names {
        let kind = plural.to_uppercase();
        Names {
            plural: plural.to_owned(),
            singular: format!("{plural}-one"),
            short_names: short.iter().map(|name| (*name).to_owned()).collect(),
            list_kind: format!("{kind}List"),
            kind,
            categories: Vec::new(),
        }
    }

    fn asks(created: u64, wanted: Names) -> Arc<Summary> {
        Arc::new(Summary {
            name: format!("{}.{created}", wanted.plural),
            group: "example.com".to_owned(),
            created: Revision(created),
            revision: Revision(created),
            wanted,
            accepted: Names::default(),
            verdict: None,
            established: false,
            cleans_up: false,
        })
    }

    fn has(created: u64, names: Names) -> Arc<Summary> {
        Arc::new(Summary {
            accepted: names.clone(),
            verdict: Some((true, "no conflicts found".to_owned())),
            established: true,
            ..(*asks(created, names)).clone()
        })
    }

    fn judged(one: &Arc<Summary>, others: &[Arc<Summary>]) -> Judgement {
        match decide(one, others, &Table::default()) {
            Decision::Status(judgement) => judgement,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_alone_gets_all_names_and_is_settled_then() {
        let one = asks(1, names("a", &["x"]));
        let judgement = judged(&one, std::slice::from_ref(&one));
        assert_eq!(judgement, Judgement { accepted: one.wanted.clone(), conflict: None });
        let one = has(1, names("a", &["x"]));
        assert_eq!(decide(&one, std::slice::from_ref(&one), &Table::default()), Decision::Settled);
    }

    #[test]
    fn a_name_that_another_has_is_refused_and_the_rest_is_given() {
        let (first, second) = (has(1, names("a", &["x"])), asks(2, names("b", &["x", "y"])));
        let judgement = judged(&second, &[first]);
        assert_eq!(judgement.conflict, Some(("ShortNamesConflict", "\"x\" is already in use".to_owned())));
        assert_eq!(judgement.accepted.plural, "b");
        assert_eq!(judgement.accepted.short_names, Vec::<String>::new());
    }

    #[test]
    fn who_asked_first_is_decided_about_first() {
        let (first, second) = (asks(1, names("a", &["x"])), asks(2, names("b", &["x"])));
        let all = [first.clone(), second.clone()];
        assert_eq!(decide(&second, &all, &Table::default()), Decision::Waits);
        assert_eq!(judged(&first, &all).conflict, None);
        let other_group = Arc::new(Summary { group: "other.com".to_owned(), ..(*second).clone() });
        assert_eq!(judged(&other_group, &all).conflict, None);
    }

    #[test]
    fn names_that_become_free_are_given() {
        let mut second = (*asks(2, names("b", &["x"]))).clone();
        second.verdict = Some((false, "\"x\" is already in use".to_owned()));
        second.accepted = Names { short_names: Vec::new(), ..second.wanted.clone() };
        assert_eq!(decide(&second, &[has(1, names("a", &["x"]))], &Table::default()), Decision::Settled);
        assert_eq!(judged(&Arc::new(second), &[]).conflict, None);
    }

    #[test]
    fn names_of_built_in_kinds_are_taken() {
        let mut one = (*asks(1, names("deployments", &[]))).clone();
        one.group = "apps".to_owned();
        let Decision::Status(judgement) = decide(&one, &[], &Table::builtin()) else {
            panic!("it is decided")
        };
        assert_eq!(judgement.conflict.map(|(reason, _)| reason), Some("PluralConflict"));
    }

    #[test]
    fn a_kind_stays_established_when_later_names_are_refused() {
        let mut definition = Object::default();
        Judgement { accepted: names("a", &[]), conflict: None }.apply(&mut definition, "then");
        Judgement { accepted: names("a", &[]), conflict: Some(("KindConflict", "taken".to_owned())) }
            .apply(&mut definition, "now");
        let conditions = definition["status"]["conditions"].clone();
        assert_eq!(
            (&conditions[0]["type"], &conditions[0]["status"]),
            (&json!("NamesAccepted"), &json!("False"))
        );
        assert_eq!(
            (&conditions[1]["type"], &conditions[1]["status"]),
            (&json!("Established"), &json!("True"))
        );
        assert_eq!(conditions[1]["lastTransitionTime"], "then");
    }
}
