//! A service's own state, fed by the log.

use bus::Bus;
use model::Class;
use runtime::{Condition, Shutdown};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use store::jetstream::{JetStream, JetStreamOptions};
use store::{Health, OpenError, Options, Store};
use tracing::warn;

/// Opens a store that only reads, of the classes that the service may see; `condition` follows its health until
/// `shutdown`.
pub async fn open(
    bus: &Bus,
    classes: &[Class],
    condition: Condition,
    shutdown: Shutdown,
) -> Result<Store, OpenError> {
    let options = JetStreamOptions { create: false, ..JetStreamOptions::default() };
    let log =
        JetStream::connect(bus.client(), options).await.map_err(|error| OpenError(error.to_string()))?;
    let options = Options { classes: classes.to_vec(), ..Options::default() };
    let store = Store::open(log, options).await?;
    let mut health = store.health();
    tokio::spawn(async move {
        loop {
            match &*health.borrow_and_update() {
                Health::Ready => condition.set_ready(),
                Health::Starting(why) | Health::Disconnected(why) | Health::Stopped(why) => {
                    condition.set_waiting(why);
                }
            }
            tokio::select! {
                changed = health.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
        }
    });
    Ok(store)
}

/// A stored object in its typed form. One that does not decode is left out and logged: it must not stop the others.
pub fn typed<T: DeserializeOwned>(key: &model::Key, json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).inspect_err(|error| warn!(%key, "is not what its kind says: {error}")).ok()
}

/// For `#[serde(deserialize_with)]` in a partial form of a kind: in the API a null means the same as nothing.
pub fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
