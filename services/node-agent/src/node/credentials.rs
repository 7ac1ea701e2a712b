//! The node's credentials on the bus: renewed long before their end, for as long as the cluster wants the node.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bus::join::{LIFE_SECONDS, Renew, Renewed};
use bus::security::Credentials;
use bus::{Bus, subject};
use jiff::Timestamp;
use rand::Rng;
use runtime::Shutdown;
use tracing::{info, warn};

/// How often they are looked at; a little at random, so that nodes which joined together do not come together.
const LOOK: Duration = Duration::from_secs(6 * 3_600);
/// For the answer, which is a signature.
const PATIENCE: Duration = Duration::from_secs(10);
/// They are renewed in the last two thirds of their life: a cluster may be away for weeks, and nodes stay.
const RENEW_LEFT: i64 = LIFE_SECONDS / 3 * 2;

/// Keeps the credentials in `file` good until `shutdown`. The next connection uses the newer ones.
pub async fn keep_good(bus: Bus, node: String, file: PathBuf, shutdown: Shutdown) {
    loop {
        match renew(&bus, &node, &file).await {
            Ok(true) => info!("the node's credentials are renewed"),
            Ok(false) => {}
            Err(why) => warn!("the node's credentials are not renewed: {why}"),
        }
        let pause = LOOK.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Whether they were due and are renewed.
pub async fn renew(bus: &Bus, node: &str, file: &Path) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let present = Credentials::from_text(&text).map_err(|error| error.to_string())?;
    let left = present.expires().map(|end| end - Timestamp::now().as_second());
    if left.is_none_or(|left| left > RENEW_LEFT) {
        return Ok(false);
    }
    let question = Renew { public_key: present.public_key() };
    let answer: Result<Renewed, _> = bus.request(&subject::credential(node), &question, PATIENCE).await;
    let statement = answer.map_err(|error| error.to_string())?.map_err(|status| status.to_string())?;
    let newer = present.renewed(&statement).map_err(|error| error.to_string())?;
    replace(file, &newer.to_text()).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(true)
}

/// Whole or not at all, and for its owner only.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let draft = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&draft, file)
}
