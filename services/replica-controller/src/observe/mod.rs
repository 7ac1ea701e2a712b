//! What the controllers see of the cluster: objects parsed once into what decisions need, and found by their owner.
//!
//! ```text
//!  [ Deployment ] <── controller reference ── [ Set ] <── controller reference ── [ Pod ]
//!        └──────────────── selector ────────────┘└──────────────── selector ────────┘
//! ```

pub mod deployments;
pub mod owned;
pub mod pods;
pub mod sets;

pub use deployments::{Deployment, Strategy};
pub use owned::Owned;
pub use pods::{Phase, Pod};
pub use sets::{Set, Template};

use k8s_openapi::jiff::Timestamp;

/// A time as the API writes it: whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
