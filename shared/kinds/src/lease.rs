//! Leases: who leads, and since when.

use model::Object;

use crate::field::{Errors, Field};
use crate::{Column, Kind};

/// The row.
pub fn kind() -> Kind {
    let kind = Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases")
        .with_columns(vec![
            Column::text("Holder", "Who holds it.", |object| {
                object.str_at(&["spec", "holderIdentity"]).to_owned()
            }),
            Column::age(),
        ])
        .with_hooks(|hooks| {
            hooks.validate = validate;
        });
    Kind { unconditional_update: false, ..kind }
}

fn validate(object: &Object) -> Errors {
    let spec = Field::of(object, "spec");
    let mut errors = Errors::new();
    let holder = spec.at("holderIdentity");
    if holder.is_set() && holder.text().is_empty() {
        errors.push(holder.invalid("must not be empty"));
    }
    let duration = spec.at("leaseDurationSeconds");
    if duration.number().is_some_and(|seconds| seconds <= 0) {
        errors.push(duration.invalid("must be greater than 0"));
    }
    spec.at("leaseTransitions").not_negative(&mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{object, said};
    use serde_json::json;

    #[test]
    fn a_lease_lasts_longer_than_nothing() {
        let lease = |spec| object(json!({"spec": spec}));
        assert_eq!(said(validate(&lease(json!({"holderIdentity": "a", "leaseDurationSeconds": 15})))), "");
        assert_eq!(
            said(validate(&lease(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1})))),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0\n\
             spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"
        );
    }
}
