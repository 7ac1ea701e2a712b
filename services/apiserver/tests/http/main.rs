//! The API server over real TLS, on a log in memory: what clients see.
//!
//! ```text
//!  server.rs  one server for each test          raw.rs  requests as bytes
//!  discovery.rs objects.rs patches.rs output.rs watches.rs history.rs errors.rs clients.rs identity.rs
//!  bus.rs     the service as a whole on a real nats-server
//! ```

// A test that unwraps nothing has failed, and says where; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used)]

mod bus;
mod clients;
mod discovery;
mod errors;
mod history;
mod identity;
mod objects;
mod output;
mod patches;
mod raw;
mod server;
mod watches;
