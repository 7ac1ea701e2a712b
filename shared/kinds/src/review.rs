//! Questions that are answered at once and never kept: who somebody is, and what they may do.

use crate::{Column, Kind, Storage, Verb, Verbs};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// The reviews, a group after the other.
pub fn kinds() -> Vec<Kind> {
    let everywhere = |group, kind, plural| review(Kind::cluster(group, "v1", kind, plural));
    vec![
        everywhere(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews"),
        everywhere(AUTHENTICATION, "TokenReview", "tokenreviews"),
        review(Kind::namespaced(
            AUTHORIZATION,
            "v1",
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
        )),
        everywhere(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
        everywhere(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
        everywhere(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews"),
    ]
}

fn review(kind: Kind) -> Kind {
    Kind {
        storage: Storage::Virtual,
        verbs: Verbs::of(&[Verb::Create]),
        columns: vec![Column::name(), Column::created_at()],
        ..kind
    }
}
