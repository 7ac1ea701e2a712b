//! replica-controller
