//! Command-line arguments that every service takes.

use std::net::SocketAddr;

/// Where the bus is.
#[derive(Clone, Debug, clap::Args)]
pub struct BusArguments {
    /// NATS servers, as nats://user:password@host:port, several separated by commas
    #[arg(
        long,
        env = "SAMPAN_NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL",
        hide_env_values = true
    )]
    pub nats_url: String,
}

/// Where the service tells of itself.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AdminArguments {
    /// Address of /livez, /readyz and /metrics over plain HTTP; none when left out
    #[arg(long, env = "SAMPAN_ADMIN_ADDR", value_name = "ADDRESS")]
    pub admin_addr: Option<SocketAddr>,
}

// === impl BusArguments ===

impl BusArguments {
    /// The bus configuration of a service that calls itself `name`.
    pub fn config(&self, name: &str) -> bus::Config {
        bus::Config { url: self.nats_url.clone(), name: name.to_owned() }
    }
}
