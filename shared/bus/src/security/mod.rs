//! Who may do what on the bus, and how the bus knows who somebody is.
//!
//! ```text
//!  Authority (seeds, in one private file) ──> server: the text of nats-server's configuration
//!      │ one key a role; the account holds the role's permissions as a template     ^ public keys and signed
//!      │                                                                            │ statements only
//!      ├── Signer (one role's key) ── signs ──> Credentials of API servers and services, at the start
//!      └── Signer of nodes ──> API servers ── sign ──> Credentials of a node: its name, nothing else
//! ```
//! The permissions of a role stand in one place ([`Role::permissions`]) and reach the server inside the account's
//! statement. Credentials hold a name alone, which the server puts into the template: whoever holds the key of nodes
//! can make nodes, and nothing that is more than a node. The server knows neither names nor secrets, so any number of
//! clients may come back at once without anybody being asked.
//! Absent on purpose: files and clocks (callers bring the texts and the time).

mod authority;
mod claims;
mod credentials;
mod role;
mod server;
pub(crate) mod trust;

pub use authority::{Authority, Signer};
pub use credentials::Credentials;
pub use role::{Permissions, Role};
pub use server::{Listen, Server, Tls, authorization};
pub use trust::ca_hash;

/// A text that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Unreadable {
    what: &'static str,
    why: String,
}

impl Unreadable {
    fn new(what: &'static str, why: impl std::fmt::Display) -> Self {
        Unreadable { what, why: why.to_string() }
    }
}
