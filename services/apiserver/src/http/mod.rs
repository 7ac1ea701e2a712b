//! The wire: from a TLS connection to a verb, and from its answer back to bytes.
//!
//! ```text
//!  ca ─> tls ─> accept ─> authenticate ─> request_info ─> routes ─┬─> codec ──> verbs ─┐
//!                                          authorize <────┘       ├─> discovery        │
//!                                                                 ├─> health, metrics  │
//!  bytes <── accept <──────────────── respond, watch_body <───────┴────────────────────┘
//! ```
//! Nothing below `http` knows hyper, headers or media types.

pub mod ca;
pub mod kubeconfig;
pub mod private_file;
pub mod tls;



pub mod query;
pub mod request_info;



