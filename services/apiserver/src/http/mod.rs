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

pub mod accept;
pub mod limits;
pub mod state;

pub mod authenticate;
pub mod authorize;
pub mod impersonate;

pub mod query;
pub mod request_info;

pub mod routes;

pub mod resources;

pub mod codec;
pub mod options;

pub mod body;
pub mod list_body;
pub mod negotiate;
pub mod pretty;
pub mod respond;
pub mod watch_body;

pub mod health;
pub mod history;
pub mod metrics;
pub mod trace;
