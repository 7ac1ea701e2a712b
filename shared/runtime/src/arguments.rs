//! Command-line arguments that every service takes.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the bus is, and who we are on it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BusArguments {
    /// NATS servers, as nats://host:port or tls://host:port, several separated by commas; nats://user:password@host:port
    /// for a server that knows passwords
    #[arg(
        long,
        env = "SAMPAN_NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL",
        hide_env_values = true
    )]
    pub nats_url: String,
    /// Credentials on the bus, as `sampan bus config` and `sampan join` write them
    #[arg(long, env = "SAMPAN_BUS_CREDENTIALS", value_name = "FILE")]
    pub bus_credentials: Option<PathBuf>,
    /// Certificates of the CAs whose word counts for tls://; the machine's own by default
    #[arg(long, env = "SAMPAN_BUS_CA", value_name = "FILE")]
    pub bus_ca: Option<PathBuf>,
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
        bus::Config {
            url: self.nats_url.clone(),
            name: name.to_owned(),
            identity: self.bus_credentials.clone().map_or(bus::Identity::Url, bus::Identity::File),
            trust: self.bus_ca.clone().map_or(bus::Trust::Machine, bus::Trust::File),
        }
    }
}
