//! Tokens on request: `serviceaccounts/token` for whoever may, and for node agents on behalf of their pods.

use jiff::{SignedDuration, Timestamp};
use model::{FieldError, Key, Object, Status};
use serde_json::{Value, json};

use super::claims::{Bound, Claims, Named};
use super::{issuer, metrics, service_account_user};
use crate::registry::metadata::time_text;
use crate::registry::{Registry, body, decode};
use crate::verbs::{Body, Context, Stored, Target, WriteOptions};

const GROUP: &str = "authentication.k8s.io";
/// A token lives for so long when nobody says otherwise, in seconds.
const DEFAULT_SECONDS: i64 = 3_600;
/// Shorter ones would be renewed all the time.
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;

/// A token that is wished for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Of the account.
    pub namespace: String,
    /// The account's name.
    pub account: String,
    /// Whom it is meant for; none for the API server itself.
    pub audiences: Vec<String>,
    /// How long it is to live.
    pub seconds: i64,
    /// What it is to end with, besides the account.
    pub bound: Option<BoundTo>,
}

/// The object that a token is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundTo {
    /// `Pod`, `Secret` or `Node`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid, empty for whichever is there.
    pub uid: String,
}

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The token.
    pub token: String,
    /// Whom it is meant for.
    pub audiences: Vec<String>,
    /// When it is over.
    pub expires: Timestamp,
}

/// Answers a `TokenRequest`.
pub async fn create(
    registry: &Registry,
    context: &Context,
    target: &Target,
    sent: Body,
    options: &WriteOptions,
) -> Result<Stored, Status> {
    let warnings = body::field_warnings(target, &sent, options.field_validation)?;
    let mut answer = sent.object;
    body::check_type(&mut answer, &format!("{GROUP}/v1"), "TokenRequest")?;
    if !answer.name().is_empty() && answer.name() != target.name {
        let why = format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            answer.name(),
            target.name
        );
        return Err(Status::bad_request(why));
    }
    let wish = Wish::read(target, &answer);
    // The account and the pod may have been made a moment ago, on another server.
    registry.catch_up("").await?;
    let made = make(registry, &wish, context.now)?;
    answer.set(&["metadata", "name"], target.name.as_str());
    answer.set(&["metadata", "namespace"], target.namespace.as_str());
    answer.set(&["metadata", "creationTimestamp"], time_text(context.now));
    answer.set(&["spec", "audiences"], made.audiences);
    answer.set(&["spec", "expirationSeconds"], wish.seconds);
    answer.set(&["status"], json!({"token": made.token, "expirationTimestamp": time_text(made.expires)}));
    Ok(Stored { object: answer.encode(), created: true, warnings, ..Stored::default() })
}

/// Makes a token, bound to what the state holds at this moment.
pub fn make(registry: &Registry, wish: &Wish, now: Timestamp) -> Result<Made, Status> {
    let tokens = registry.tokens().ok_or_else(|| Status::unavailable("this server signs no tokens"))?;
    if let Some(wrong) = wish.wrong() {
        return Err(Status::invalid(GROUP, "TokenRequest", "", &[wrong]));
    }
    let bound = bind(registry, wish)?;
    let audiences = match wish.audiences.as_slice() {
        [] => vec![issuer::URL.to_owned()],
        named => named.to_vec(),
    };
    let expires = now
        .checked_add(SignedDuration::from_secs(wish.seconds))
        .map_err(|_| Status::bad_request("the token would never be over"))?;
    let claims = Claims {
        aud: audiences.clone(),
        exp: expires.as_second(),
        iat: now.as_second(),
        iss: issuer::URL.to_owned(),
        jti: registry.entropy().uid(),
        bound,
        nbf: now.as_second(),
        sub: service_account_user(&wish.namespace, &wish.account),
    };
    let token = tokens.issuer().sign(&claims)?;
    metrics::SIGNED.inc();
    Ok(Made { token, audiences, expires })
}

fn bind(registry: &Registry, wish: &Wish) -> Result<Bound, Status> {
    let account = find(registry, "serviceaccounts", &wish.namespace, &wish.account)?;
    let mut bound =
        Bound { namespace: wish.namespace.clone(), serviceaccount: named(&account), ..Bound::default() };
    let Some(to) = &wish.bound else { return Ok(bound) };
    match to.kind.as_str() {
        "Pod" => {
            let pod = find_bound(registry, "pods", &wish.namespace, to)?;
            if pod.str_at(&["spec", "serviceAccountName"]) != wish.account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    wish.account
                )));
            }
            let node = pod.str_at(&["spec", "nodeName"]);
            if !node.is_empty() {
                // A node that is not there yet has no uid to tell.
                let uid = find(registry, "nodes", "", node).map(|node| node.uid().to_owned());
                bound.node = Some(Named { name: node.to_owned(), uid: uid.unwrap_or_default() });
            }
            bound.pod = Some(named(&pod));
        }
        "Secret" => bound.secret = Some(named(&find_bound(registry, "secrets", &wish.namespace, to)?)),
        "Node" => bound.node = Some(named(&find_bound(registry, "nodes", "", to)?)),
        other => {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to type {other}",
                wish.account
            )));
        }
    }
    Ok(bound)
}

fn find(registry: &Registry, resource: &str, namespace: &str, name: &str) -> Result<Object, Status> {
    let item = registry.store().get(&Key::object("", resource, namespace, name));
    decode(&item.ok_or_else(|| Status::not_found("", resource, name))?)
}

fn find_bound(registry: &Registry, resource: &str, namespace: &str, to: &BoundTo) -> Result<Object, Status> {
    let object = find(registry, resource, namespace, &to.name)?;
    if to.uid.is_empty() || to.uid == object.uid() {
        return Ok(object);
    }
    let why = format!(
        "the UID in the bound object reference ({}) does not match the UID in record. The object might have been \
         deleted and then recreated",
        to.uid
    );
    Err(Status::conflict("", resource, &to.name, &why))
}

fn named(object: &Object) -> Named {
    Named { name: object.name().to_owned(), uid: object.uid().to_owned() }
}

// === impl Wish ===

impl Wish {
    fn read(target: &Target, request: &Object) -> Wish {
        let audiences = request.at(&["spec", "audiences"]).and_then(Value::as_array).into_iter().flatten();
        let seconds = request.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
        Wish {
            namespace: target.namespace.clone(),
            account: target.name.clone(),
            audiences: audiences.filter_map(Value::as_str).map(str::to_owned).collect(),
            seconds: seconds.unwrap_or(DEFAULT_SECONDS),
            bound: request
                .at(&["spec", "boundObjectRef"])
                .filter(|bound| bound.is_object())
                .map(BoundTo::read),
        }
    }

    /// What is wrong with the time that it is to live.
    fn wrong(&self) -> Option<FieldError> {
        let invalid = |why| Some(FieldError::invalid("spec.expirationSeconds", self.seconds, why));
        match self.seconds {
            seconds if seconds < SECONDS_MIN => invalid("may not specify a duration less than 10 minutes"),
            seconds if seconds > SECONDS_MAX => {
                invalid("may not specify a duration larger than 2^32 seconds")
            }
            _ => None,
        }
    }
}

// === impl BoundTo ===

impl BoundTo {
    fn read(reference: &Value) -> BoundTo {
        let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
        BoundTo { kind: text("kind"), name: text("name"), uid: text("uid") }
    }
}
