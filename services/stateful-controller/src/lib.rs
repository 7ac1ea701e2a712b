//! stateful-controller
