//! What the controllers see of the cluster: objects parsed once into what decisions need, and found by their owner.
//!
//! ```text
//!  [ Deployment ] <── controller reference ── [ Set ] <── controller reference ── [ Pod ]
//!        └──────────────── selector ────────────┘└──────────────── selector ────────┘
//! ```

pub mod daemon_pods;
pub mod daemon_sets;
pub mod deployments;
pub mod managers;
pub mod nodes;
pub mod owned;
pub mod pods;
pub mod revisions;
pub mod sets;
pub mod strategy;

pub use daemon_pods::DaemonPod;
pub use daemon_sets::{DaemonSet, Update};
pub use deployments::{Deployment, Strategy};
pub use managers::Managers;
pub use nodes::Node;
pub use owned::Owned;
pub use pods::{Phase, Pod, next_available};
pub use revisions::Revision;
pub use sets::{Set, Template};

use k8s_openapi::jiff::Timestamp;

/// A time as the API writes it: whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
