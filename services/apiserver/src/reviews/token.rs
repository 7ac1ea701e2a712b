//! Whose token is this: asked by servers that are shown one.

use jiff::Timestamp;
use model::{Object, Status};
use serde_json::{Value, json};

use super::{spec_text, texts, user_info};
use crate::registry::Registry;

/// Who shows the token of the review, or why it is not good.
pub async fn review(registry: &Registry, review: &Object, now: Timestamp) -> Result<Value, Status> {
    let token = spec_text(review, "token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let tokens = registry.tokens().ok_or_else(|| Status::unavailable("this server knows no tokens"))?;
    let audiences = texts(review.at(&["spec", "audiences"]));
    Ok(match tokens.bearer(registry, token, &audiences, now).await? {
        Ok(bearer) => json!({
            "authenticated": true, "user": user_info(&bearer.identity), "audiences": bearer.audiences,
        }),
        Err(refusal) => json!({ "authenticated": false, "user": {}, "error": refusal.to_string() }),
    })
}
