//! Who somebody is by the token that they show.
//!
//! ```text
//!  data folder: sa.key ──> issuer ── signs ──> tokens of service accounts <── request: kubectl create token,
//!                             │                      │                        node agents for their pods
//!                             └── verifies <─────────┘ shown as a bearer
//!                                    └─> account: do the account, the pod that it is bound to, … still exist?
//!  a file of fixed tokens ──> fixed
//!  Secrets of bootstrap tokens ──> bootstrap
//! ```
//! A token is as good as what it is bound to: with the account or the pod it ends, whatever its time says.
//! Absent on purpose: client certificates (`http::authenticate`), and what somebody may do (`authorization`).

pub mod account;
pub mod bootstrap;
pub mod claims;
pub mod fixed;
pub mod issuer;
pub mod key;
pub mod request;

mod metrics;

use bootstrap::BootstrapToken;
use bus::join::Token;
use jiff::Timestamp;
use model::Status;

use crate::registry::{Registry, decode};
use crate::verbs::Identity;

pub use claims::Claims;
pub use fixed::FixedTokens;
pub use issuer::Issuer;
pub use key::SigningKey;

/// The group of everybody whom we know.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of every service account.
const ACCOUNTS: &str = "system:serviceaccounts";

/// Everything that a bearer may show.
#[derive(Debug)]
pub struct Tokens {
    issuer: Issuer,
    fixed: FixedTokens,
}

/// Somebody whose token is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Who.
    pub identity: Identity,
    /// Of the audiences that were asked for, those that the token is meant for.
    pub audiences: Vec<String>,
}

/// Why a token is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is none of ours, was changed, or is over.
    #[error("invalid bearer token")]
    Invalid(&'static str),
    /// It is meant for others.
    #[error("token audiences {0:?} is invalid for the target audiences {1:?}")]
    Audience(Vec<String>, Vec<String>),
    /// What it is bound to is gone.
    #[error("{0}")]
    Gone(String),
}

// === impl Tokens ===

impl Tokens {
    /// Tokens that `issuer` signs, and those of a file.
    pub fn new(issuer: Issuer, fixed: FixedTokens) -> Tokens {
        Tokens { issuer, fixed }
    }

    /// Who signs.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Who shows this token, as one for any of `audiences`; none means the API server itself.
    pub async fn bearer(
        &self,
        registry: &Registry,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Result<Bearer, Refusal>, Status> {
        let found = self.find(registry, token, audiences, now).await?;
        metrics::count_shown(found.is_ok());
        Ok(found)
    }

    async fn find(
        &self,
        registry: &Registry,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Result<Bearer, Refusal>, Status> {
        if let Some(identity) = self.fixed.find(token) {
            return Ok(Ok(Bearer { identity: identity.clone(), audiences: audiences.to_vec() }));
        }
        if let Ok(token) = token.parse::<Token>() {
            let found = bootstrapper(registry, &token, now).await?;
            return Ok(found.map(|identity| Bearer { identity, audiences: audiences.to_vec() }));
        }
        let claims = match self.issuer.verify(token, now) {
            Ok(claims) => claims,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let audiences = match meant_for(&claims.aud, audiences) {
            Some(audiences) => audiences,
            None => return Ok(Err(Refusal::Audience(claims.aud.clone(), or_ourselves(audiences)))),
        };
        if let Ok(identity) = account::identity(registry.store(), &claims, now) {
            return Ok(Ok(Bearer { identity, audiences }));
        }
        // Our state may be behind the one in which the token was made.
        registry.catch_up("").await?;
        let identity = account::identity(registry.store(), &claims, now);
        Ok(identity.map(|identity| Bearer { identity, audiences }))
    }
}

/// Who shows a bootstrap token.
async fn bootstrapper(
    registry: &Registry,
    token: &Token,
    now: Timestamp,
) -> Result<Result<Identity, Refusal>, Status> {
    let find = || {
        let item = registry.store().get(&bootstrap::key(token.id()))?;
        BootstrapToken::read(&decode(&item).ok()?).filter(|known| known.token().has_secret_of(token))
    };
    let known = match find() {
        Some(known) => Some(known),
        None => {
            // It may have been made a moment ago, on another server.
            registry.catch_up("").await?;
            find()
        }
    };
    let known = known.ok_or(Refusal::Invalid("no such bootstrap token"));
    Ok(known.and_then(|known| known.bearer(now).map_err(|unfit| Refusal::Gone(unfit.to_string()))))
}

/// The audiences of `wanted` that a token has; `None` when there are none.
fn meant_for(has: &[String], wanted: &[String]) -> Option<Vec<String>> {
    let common: Vec<String> = or_ourselves(wanted).into_iter().filter(|one| has.contains(one)).collect();
    (!common.is_empty()).then_some(common)
}

fn or_ourselves(audiences: &[String]) -> Vec<String> {
    match audiences {
        [] => vec![issuer::URL.to_owned()],
        named => named.to_vec(),
    }
}

/// The user that a service account is.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Namespace and name of the service account that a user is.
pub fn service_account_of(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// The groups of a service account in a namespace, without the one of everybody.
pub fn service_account_groups(namespace: &str) -> Vec<String> {
    vec![ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")]
}
