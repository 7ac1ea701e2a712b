//! What each role may do on a real nats-server: everything that it needs, and nothing else.

mod client;
mod roles;
mod secured;
