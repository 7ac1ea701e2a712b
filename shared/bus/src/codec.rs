//! MessagePack with named fields: the one encoding on the bus.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// A payload that is not what its subject carries.
#[derive(Debug, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(#[from] rmp_serde::decode::Error);

/// The bytes of `value`. Fields are named, so that a newer reader may add some and an older one skip them.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    rmp_serde::to_vec_named(value).expect("our messages hold nothing that MessagePack cannot").into()
}

/// The value in `payload`.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Malformed> {
    Ok(rmp_serde::from_slice(payload)?)
}
