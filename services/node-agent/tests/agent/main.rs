//! The whole agent over a real bus: on a real containerd where there is one, and pretending.

#![allow(clippy::unwrap_used)] // A test ends where it does not go on.

mod containerd;
mod credentials;
mod hollow;
mod streams;
mod support;
