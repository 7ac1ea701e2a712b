//! Why the runtime did not do what it was asked.

use tonic::{Code, Status};

/// A failed call. The texts are those that users of `kubectl describe` know from other clusters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CriError {
    /// Nobody answers on the socket; everything else is as it was.
    #[error("container runtime is down: {0}")]
    Down(String),
    /// The sandbox, container or image is not there.
    #[error("rpc error: code = NotFound desc = {0}")]
    NotFound(String),
    /// No answer within the call's deadline; the runtime may still be at it.
    #[error("rpc error: code = DeadlineExceeded desc = {0} took longer than its deadline")]
    TimedOut(&'static str),
    /// Anything else that the runtime says.
    #[error("rpc error: code = {code} desc = {message}")]
    Refused {
        /// gRPC's name of the code.
        code: String,
        /// The runtime's words.
        message: String,
    },
}

// === impl CriError ===

impl CriError {
    /// What remains of an answer of `call` that is none.
    pub(crate) fn from_status(call: &'static str, status: &Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unavailable => CriError::Down(deepest(status)),
            Code::NotFound => CriError::NotFound(message),
            Code::DeadlineExceeded => CriError::TimedOut(call),
            // The connection broke while the call was under way.
            _ if transport_broke(status) => CriError::Down(deepest(status)),
            Code::Cancelled => CriError::Refused { code: "Canceled".to_owned(), message },
            code => CriError::Refused { code: format!("{code:?}"), message },
        }
    }

    /// Whether the runtime itself is away.
    pub fn is_down(&self) -> bool {
        matches!(self, CriError::Down(_))
    }

    /// Whether what was asked about is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, CriError::NotFound(_))
    }
}

fn transport_broke(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// The innermost reason: "No such file or directory" says more than "transport error".
fn deepest(status: &Status) -> String {
    let mut error: &dyn std::error::Error = status;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}
