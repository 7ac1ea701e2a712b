//! What tests need of the world: a real nats-server of their own, free ports, and waiting without sleeping blindly.

pub mod nats;
pub mod wait;

pub use nats::NatsServer;
pub use wait::eventually;

/// A port of 127.0.0.1 on which nobody listens now.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
