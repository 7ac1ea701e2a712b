//! `ready`: asks a service whether it is ready, for health checks of containers that hold no other client.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Long for an answer, short for whoever waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// A readiness report is short; more than this is not one.
const REPORT_BYTES: u64 = 64 * 1024;

/// Whom to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct ReadyArguments {
    /// What the service was given as its --admin-addr, or host:port of another
    #[arg(env = "SAMPAN_ADMIN_ADDR", value_name = "ADDRESS")]
    address: String,
    /// What to ask for
    #[arg(long, default_value = "/readyz", value_name = "PATH")]
    path: String,
}

/// Fails, and says what the service waits for, unless it is ready.
pub async fn run(arguments: &ReadyArguments) -> Result<()> {
    // All addresses of a machine are none to ask.
    let address = arguments.address.replace("0.0.0.0:", "127.0.0.1:");
    match timeout(PATIENCE, ask(&address, &arguments.path)).await {
        Err(_) => bail!("{address} does not answer"),
        Ok(answer) => {
            let answer = answer.with_context(|| format!("cannot ask {address}"))?;
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
            match answer.split(' ').nth(1) {
                Some("200") => {
                    println!("{body}");
                    Ok(())
                }
                _ => bail!("not ready: {body}"),
            }
        }
    }
}

async fn ask(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(REPORT_BYTES).read_to_string(&mut answer).await?;
    Ok(answer)
}
