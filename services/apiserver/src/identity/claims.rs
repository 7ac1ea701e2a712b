//! What a service account's token says.

use serde::{Deserialize, Serialize};

/// The content of a token, with the names that others read it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it is meant for.
    pub aud: Vec<String>,
    /// From this second on it is over.
    pub exp: i64,
    /// Signed in this second.
    pub iat: i64,
    /// Who signed it.
    pub iss: String,
    /// Its own id.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub bound: Bound,
    /// Before this second it is not good yet.
    pub nbf: i64,
    /// `system:serviceaccount:<namespace>:<name>`
    pub sub: String,
}

/// What a token is bound to, by uid: it ends with any of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Of the account, and of whatever else is in one.
    pub namespace: String,
    /// The node that the pod was on; for information unless it is bound to the node alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Named>,
    /// A pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Named>,
    /// A secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Named>,
    /// The account.
    pub serviceaccount: Named,
}

/// An object that is meant exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}
