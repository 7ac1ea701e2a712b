//! A small client of the container runtime interface, and images as archives.
//!
//! ```text
//!  node agent ── Client ── gRPC over a unix socket ──> containerd (RuntimeService, ImageService)
//!                  └────── subscribe ────────────────> containerd's own events: something changed, look again
//!  sampan image load ── images::import ── runs ctr ──> containerd
//!  sampan up ── archive ──> a docker archive with the pause program
//! ```
//! The messages are generated from `proto/`, which holds only what Sampan uses. Absent on purpose: any idea of pods
//! beyond the runtime's own, retries (the node agent decides those), and protoc.

pub mod archive;
pub mod client;
pub mod error;
pub mod images;

pub use client::{Client, Events};
pub use error::CriError;

/// CRI v1, generated.
#[allow(missing_docs, clippy::all, rust_2018_idioms)]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

/// containerd's events, generated.
#[allow(missing_docs, clippy::all, rust_2018_idioms)]
mod events {
    tonic::include_proto!("containerd.services.events.v1");
}
