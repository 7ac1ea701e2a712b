//! How a command ended, as clients are told. No IO.

use bytes::Bytes;
use model::Status;
use serde::Deserialize;

#[derive(Deserialize)]
struct Outcome {
    status: String,
    #[serde(default)]
    message: String,
}

/// The `Status` that the node sent, or one that says that it sent none.
pub(super) fn status(from_node: Bytes) -> Bytes {
    if from_node.is_empty() { broken_off("the node ended the stream") } else { from_node }
}

/// A `Status` for a stream whose command's end nobody saw.
pub(super) fn broken_off(why: &str) -> Bytes {
    Status::internal(format!("the connection to the container broke off: {why}")).to_json().to_string().into()
}

/// What the protocols before version 4 write: nothing for success, else text.
pub(super) fn text(status: &Bytes) -> Bytes {
    match serde_json::from_slice::<Outcome>(status) {
        Ok(outcome) if outcome.status == "Success" => Bytes::new(),
        Ok(outcome) => outcome.message.into(),
        Err(_) => status.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_silent_in_old_protocols_and_failure_is_text() {
        assert_eq!(text(&Bytes::from_static(br#"{"metadata":{},"status":"Success"}"#)), "");
        let failure = br#"{"status":"Failure","message":"command terminated with exit code 3"}"#;
        assert_eq!(text(&Bytes::from_static(failure)), "command terminated with exit code 3");
    }

    #[test]
    fn a_stream_without_a_result_is_a_failure() {
        let status: serde_json::Value = serde_json::from_slice(&status(Bytes::new())).unwrap();
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["reason"], "InternalError");
    }
}
