//! The rules of where a pod may be placed.

use std::collections::HashSet;

use model::{FieldError, names};

use crate::field::{Errors, Field};
use crate::metadata::{label_selector, labels};
use crate::node::EFFECTS;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Judges tolerations, affinity and spread of a pod.
pub fn validate(spec: &Field<'_>, errors: &mut Errors) {
    let affinity = spec.at("affinity");
    node_affinity(&affinity.at("nodeAffinity"), errors);
    for kind in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&affinity.at(kind), errors);
    }
    tolerations(&spec.at("tolerations"), errors);
    spread(&spec.at("topologySpreadConstraints"), errors);
}

/// Judges the tolerations of a pod.
pub fn tolerations(tolerations: &Field<'_>, errors: &mut Errors) {
    for toleration in tolerations.items() {
        let (key, operator) = (toleration.at("key"), toleration.at("operator"));
        let (value, effect) = (toleration.at("value"), toleration.at("effect"));
        key.may(names::qualified_name, errors);
        if key.text().is_empty() && operator.text() != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(&operator.path, operator.text(), detail));
        }
        if toleration.at("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(&effect.path, effect.text(), detail));
        }
        match operator.text() {
            "" | "Equal" => {
                let wrong = names::label_value(value.text());
                if !wrong.is_empty() {
                    errors.push(FieldError::invalid(&operator.path, value.text(), wrong.join(";")));
                }
            }
            "Exists" if !value.text().is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(&operator.path, toleration.value.clone(), detail));
            }
            "Exists" => (),
            _ => errors.push(operator.not_supported(&["Equal", "Exists"])),
        }
        effect.may_be_one_of(&EFFECTS, errors);
    }
}

fn node_affinity(affinity: &Field<'_>, errors: &mut Errors) {
    let required = affinity.at(REQUIRED);
    if required.is_set() {
        node_selector(&required, errors);
    }
    for preferred in affinity.at(PREFERRED).items() {
        weight(&preferred, errors);
        node_term(&preferred.at("preference"), errors);
    }
}

/// Judges a node selector: of a pod, or of a volume that is not everywhere.
pub fn node_selector(selector: &Field<'_>, errors: &mut Errors) {
    let terms = selector.at("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(terms.required("must have at least one node selector term"));
    }
    terms.items().for_each(|term| node_term(&term, errors));
}

fn node_term(term: &Field<'_>, errors: &mut Errors) {
    for requirement in term.at("matchExpressions").items() {
        let (operator, values) = (requirement.at("operator"), requirement.at("values"));
        let detail = match (operator.text(), values.len()) {
            ("In" | "NotIn", 0) => {
                Some(values.required("must be specified when `operator` is 'In' or 'NotIn'"))
            }
            ("Exists" | "DoesNotExist", 1..) => {
                Some(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
            }
            ("Gt" | "Lt", count) if count != 1 => {
                Some(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"))
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => None,
            _ => Some(operator.invalid("not a valid selector operator")),
        };
        errors.extend(detail);
        requirement.at("key").must(names::qualified_name, errors);
    }
    for requirement in term.at("matchFields").items() {
        let (key, operator, values) =
            (requirement.at("key"), requirement.at("operator"), requirement.at("values"));
        if key.text() != "metadata.name" {
            errors.push(key.invalid("not a valid field selector key"));
        }
        match operator.text() {
            "In" | "NotIn" if values.len() != 1 => {
                let detail =
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(values.required(detail));
            }
            "In" | "NotIn" => (),
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
    }
}

fn weight(term: &Field<'_>, errors: &mut Errors) {
    let weight = term.at("weight");
    if weight.number().is_none_or(|weight| !(1..=100).contains(&weight)) {
        errors.push(FieldError::invalid(
            &weight.path,
            weight.number().unwrap_or(0),
            "must be in the range 1-100",
        ));
    }
}

fn pod_affinity(affinity: &Field<'_>, errors: &mut Errors) {
    affinity.at(REQUIRED).items().for_each(|term| pod_term(&term, errors));
    for preferred in affinity.at(PREFERRED).items() {
        weight(&preferred, errors);
        pod_term(&preferred.at("podAffinityTerm"), errors);
    }
}

fn pod_term(term: &Field<'_>, errors: &mut Errors) {
    label_selector(&term.at("labelSelector"), errors);
    label_selector(&term.at("namespaceSelector"), errors);
    for namespace in term.at("namespaces").items() {
        let wrong = names::dns_label(namespace.text()).into_iter();
        errors.extend(
            wrong.map(|why| FieldError::invalid(format!("{}.namespace", term.path), namespace.text(), why)),
        );
    }
    let key = term.at("topologyKey");
    if key.text().is_empty() {
        errors.push(key.required("can not be empty"));
    } else {
        key.must(names::qualified_name, errors);
    }
    both_keys(term, errors);
}

/// Keys that stand for the pod's own labels cannot be in both lists.
fn both_keys(term: &Field<'_>, errors: &mut Errors) {
    let (matched, mismatched) = (term.at("matchLabelKeys"), term.at("mismatchLabelKeys"));
    for key in matched.items().filter(|key| mismatched.texts().any(|other| other == key.text())) {
        errors.push(key.invalid("exists in both matchLabelKeys and mismatchLabelKeys"));
    }
}

fn spread(constraints: &Field<'_>, errors: &mut Errors) {
    const WHEN: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
    let mut seen = HashSet::new();
    for constraint in constraints.items() {
        let (skew, key, when) =
            (constraint.at("maxSkew"), constraint.at("topologyKey"), constraint.at("whenUnsatisfiable"));
        if skew.number().unwrap_or(0) <= 0 {
            errors.push(FieldError::invalid(
                &skew.path,
                skew.number().unwrap_or(0),
                "must be greater than zero",
            ));
        }
        match key.text() {
            "" => errors.push(key.required("can not be empty")),
            _ => key.must(names::qualified_name, errors),
        }
        if !WHEN.contains(&when.text()) {
            errors.push(FieldError::not_supported(&when.path, when.text(), &WHEN));
        }
        if !seen.insert((key.text(), when.text())) {
            let pair = format!("{{{}, {}}}", key.text(), when.text());
            errors.push(FieldError::duplicate(
                format!("{}.{{topologyKey, whenUnsatisfiable}}", constraint.path),
                pair,
            ));
        }
        let least = constraint.at("minDomains");
        if least.number().is_some_and(|least| least <= 0) {
            errors.push(least.invalid("must be greater than zero"));
        }
        if least.is_set() && when.text() != "DoNotSchedule" {
            let detail =
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", when.text());
            errors.push(least.invalid(detail));
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.at(policy).may_be_one_of(&["Honor", "Ignore"], errors);
        }
        label_selector(&constraint.at("labelSelector"), errors);
    }
}

/// Judges that a node selector only grew narrower.
pub fn narrower_selector(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    labels(new, errors);
    if old.entries().any(|(key, value)| new.key(key).value != value.value) {
        errors
            .push(new.invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)"));
    }
}
