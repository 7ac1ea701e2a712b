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

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;

/// The owner that manages an object, if any.
pub fn controller_of(owners: Option<&Vec<OwnerReference>>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
}

/// A time as the API writes it: whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
