//! An API error as data: the Kubernetes `Status` object, and field errors in upstream's words.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why a request was refused: `Status.reason` of the API conventions. Each has its HTTP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// 400
    BadRequest,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 406
    NotAcceptable,
    /// 409, the name is taken.
    AlreadyExists,
    /// 409, the object has changed.
    Conflict,
    /// 410, the revision is no longer kept.
    Expired,
    /// 413
    RequestEntityTooLarge,
    /// 415
    UnsupportedMediaType,
    /// 422
    Invalid,
    /// 429
    TooManyRequests,
    /// 500
    InternalError,
    /// 503
    ServiceUnavailable,
    /// 504
    Timeout,
}

/// A refusal, with what a client needs to act on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The machine-readable reason.
    pub reason: Reason,
    /// For a person.
    pub message: String,
    /// The resource (plural) or kind that it is about, empty if none.
    #[serde(default)]
    pub kind: String,
    /// Its API group.
    #[serde(default)]
    pub group: String,
    /// The object's name, empty if none.
    #[serde(default)]
    pub name: String,
    /// The fields at fault.
    #[serde(default)]
    pub causes: Vec<Cause>,
    /// When to try again, in seconds; 0 for not said.
    #[serde(default)]
    pub retry_after_seconds: u32,
    /// For an expired list: where a client may go on that takes what is there now; empty if nowhere.
    #[serde(default)]
    pub continue_token: String,
}

/// One of `Status.details.causes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`, …
    pub reason: String,
    /// For a person.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

/// What is wrong with a field: the types of upstream's `field.Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// `Required value`
    Required,
    /// `Invalid value`
    Invalid,
    /// `Unsupported value`
    NotSupported,
    /// `Duplicate value`
    Duplicate,
    /// `Forbidden`
    Forbidden,
    /// `Not found`
    NotFound,
    /// `Too long`
    TooLong,
    /// `Too many`
    TooMany,
    /// `Invalid value` with a type mismatch
    TypeInvalid,
}

/// An error about one field: `spec.containers[0].name: Required value`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// The path, as `spec.containers[0].name`.
    pub field: String,
    /// The value at fault; not printed for `Required` and `Forbidden`.
    pub value: Value,
    /// The rule that it breaks.
    pub detail: String,
}

/// The result of an operation that the API may refuse.
pub type Result<T> = std::result::Result<T, Status>;

// === impl Reason ===

impl Reason {
    /// The HTTP code of the API conventions.
    pub const fn code(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::MethodNotAllowed => 405,
            Reason::NotAcceptable => 406,
            Reason::AlreadyExists | Reason::Conflict => 409,
            Reason::Expired => 410,
            Reason::RequestEntityTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::Invalid => 422,
            Reason::TooManyRequests => 429,
            Reason::InternalError => 500,
            Reason::ServiceUnavailable => 503,
            Reason::Timeout => 504,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// === impl Status ===

impl Status {
    /// A refusal about nothing in particular.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Status {
            reason,
            message: message.into(),
            kind: String::new(),
            group: String::new(),
            name: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
            continue_token: String::new(),
        }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.group = group.to_owned();
        self.kind = kind.to_owned();
        self.name = name.to_owned();
        self
    }

    /// 404 for an object: `pods "x" not found`. `resource` is plural.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource, group));
        Status::new(Reason::NotFound, message).about(group, resource, name)
    }

    /// 409 for a taken name: `pods "x" already exists`.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource, group));
        Status::new(Reason::AlreadyExists, message).about(group, resource, name)
    }

    /// 409 for a stale precondition: `Operation cannot be fulfilled on pods "x": why`.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(resource, group));
        Status::new(Reason::Conflict, message).about(group, resource, name)
    }

    /// 409 for a stale `resourceVersion`, in the words that clients know.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403: `pods "x" is forbidden: why`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = match name {
            "" => format!("{} is forbidden: {why}", qualified(resource, group)),
            name => format!("{} {name:?} is forbidden: {why}", qualified(resource, group)),
        };
        Status::new(Reason::Forbidden, message).about(group, resource, name)
    }

    /// 422: `Pod "x" is invalid: spec.containers: Required value`. `kind` is the singular kind.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut status =
            Status::new(Reason::Invalid, format!("{} {name:?} is invalid: {list}", qualified(kind, group)))
                .about(group, kind, name);
        status.causes = errors.iter().map(FieldError::cause).collect();
        status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Status::new(Reason::BadRequest, message)
    }

    /// 500.
    pub fn internal(message: impl fmt::Display) -> Self {
        Status::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// 503 with `Retry-After: 1`.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let mut status = Status::new(Reason::ServiceUnavailable, message);
        status.retry_after_seconds = 1;
        status
    }

    /// 410 for a revision that is no longer kept.
    pub fn expired(message: impl Into<String>) -> Self {
        Status::new(Reason::Expired, message)
    }

    /// 405 for a verb that the resource does not have.
    pub fn method_not_allowed(group: &str, resource: &str, verb: &str) -> Self {
        let message =
            format!("{verb} is not supported on resources of kind {:?}", qualified(resource, group));
        Status::new(Reason::MethodNotAllowed, message).about(group, resource, "")
    }

    /// The HTTP code.
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// The `Status` object as it goes over the wire.
    pub fn to_json(&self) -> Value {
        let mut details = serde_json::Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind)];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            details.insert(field.to_owned(), json!(text));
        }
        if !self.causes.is_empty() {
            details.insert("causes".to_owned(), json!(self.causes));
        }
        if self.retry_after_seconds > 0 {
            details.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason.to_string(), "code": self.code(),
        });
        if !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        if !self.continue_token.is_empty() {
            status["metadata"] = json!({"continue": self.continue_token});
        }
        status
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.reason)
    }
}

impl std::error::Error for Status {}

fn qualified(resource: &str, group: &str) -> String {
    match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    }
}

// === impl FieldError ===

impl FieldError {
    /// `field: Required value: detail`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, Value::Null, detail)
    }

    /// `field: Invalid value: value: detail`
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, field, value, detail)
    }

    /// `field: Unsupported value: value: supported values: "a", "b"`
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        Self::new(
            FieldErrorKind::NotSupported,
            field,
            value,
            format!("supported values: {}", list.join(", ")),
        )
    }

    /// `field: Duplicate value: value`
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, value, "")
    }

    /// `field: Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, Value::Null, detail)
    }

    /// `field: Not found: value`
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, field, value, "")
    }

    /// An error of any kind.
    pub fn new(
        kind: FieldErrorKind,
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        FieldError { kind, field: field.into(), value: value.into(), detail: detail.into() }
    }

    fn cause(&self) -> Cause {
        let reason = match self.kind {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
        };
        Cause { reason: reason.to_owned(), message: self.body(), field: self.field.clone() }
    }

    /// The text without the field path.
    fn body(&self) -> String {
        let value = &self.value;
        let title = match self.kind {
            FieldErrorKind::Required => "Required value".to_owned(),
            FieldErrorKind::Forbidden => "Forbidden".to_owned(),
            FieldErrorKind::TooLong => "Too long".to_owned(),
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => format!("Invalid value: {value}"),
            FieldErrorKind::NotSupported => format!("Unsupported value: {value}"),
            FieldErrorKind::Duplicate => format!("Duplicate value: {value}"),
            FieldErrorKind::NotFound => format!("Not found: {value}"),
            FieldErrorKind::TooMany => format!("Too many: {value}"),
        };
        match self.detail.as_str() {
            "" => title,
            detail => format!("{title}: {detail}"),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_errors_read_as_upstream_words_them() {
        let errors = [
            FieldError::required("spec.containers[0].name", ""),
            FieldError::not_supported("spec.restartPolicy", "Maybe", &["Always", "Never"]),
        ];
        let status = Status::invalid("apps", "Deployment", "web", &errors);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: [spec.containers[0].name: Required value, \
             spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\"]"
        );
        assert_eq!(status.code(), 422);
        assert_eq!(status.causes[0].reason, "FieldValueRequired");
    }
}
