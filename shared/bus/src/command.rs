//! Writes by bus command: what services ask of the API servers' registry, the one write path.

use bytes::Bytes;
use model::Status;
use serde::{Deserialize, Serialize};

/// Items in one batch at most: as many as one log message holds comfortably.
pub const ITEMS_MAX: usize = 1_000;
/// Bytes in one batch at most; larger frames delay what shares the connection.
pub const BYTES_MAX: usize = 256 * 1024;

/// Requests of one service, carried out independently of each other; the answer has a [`Reply`] for each, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Who asks, as `system:kube-scheduler`: checked and audited like any user.
    pub user: String,
    /// Milliseconds since 1970 after which nobody waits for the answer any more: later, nothing is to be done.
    pub deadline_ms: u64,
    /// Each is one request to the registry.
    pub items: Vec<Write>,
}

/// The answer to a [`Batch`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Replies {
    /// One for each item, in the items' order.
    pub replies: Vec<Reply>,
}

/// What became of one item: the object as it is stored now (empty when the answer has none), or why not.
pub type Reply = Result<Stored, Status>;

/// The object after the write, as JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stored {
    /// JSON with `metadata.resourceVersion`, empty where nothing is left to show.
    pub object: Bytes,
    /// The write's place in the log (`model::Revision`), also of a deletion: a reader that has passed it has seen
    /// the write. 0 where nothing was written, as for a dry run.
    pub revision: u64,
}

/// Which resource a write is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// API group, empty for the core group.
    pub group: String,
    /// API version, as `v1`.
    pub version: String,
    /// Plural, as `pods`.
    pub plural: String,
}

/// One write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Write {
    /// Make an object.
    Create {
        /// Of this resource.
        resource: Resource,
        /// In this namespace, empty for cluster scope.
        namespace: String,
        /// JSON.
        object: Bytes,
    },
    /// Replace an object, or one of its subresources.
    Update {
        /// Of this resource.
        resource: Resource,
        /// In this namespace, empty for cluster scope.
        namespace: String,
        /// The object's name.
        name: String,
        /// `status`, `scale`, … or empty for the object itself.
        subresource: String,
        /// JSON; with a `metadata.resourceVersion` it must be the newest.
        object: Bytes,
    },
    /// Change an object.
    Patch {
        /// Of this resource.
        resource: Resource,
        /// In this namespace, empty for cluster scope.
        namespace: String,
        /// The object's name.
        name: String,
        /// `status`, `scale`, … or empty for the object itself.
        subresource: String,
        /// How to read `patch`.
        format: PatchFormat,
        /// JSON.
        patch: Bytes,
    },
    /// Delete an object.
    Delete {
        /// Of this resource.
        resource: Resource,
        /// In this namespace, empty for cluster scope.
        namespace: String,
        /// The object's name.
        name: String,
        /// A `DeleteOptions` as JSON, empty for the defaults.
        options: Bytes,
    },
    /// Give a pod its node; refused when it has one, is gone or is another pod of that name.
    Bind {
        /// The pod's namespace.
        namespace: String,
        /// Its name.
        pod: String,
        /// Its uid.
        uid: String,
        /// The node's name.
        node: String,
    },
}

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatchFormat {
    /// RFC 6902
    Json,
    /// RFC 7396
    Merge,
    /// Kubernetes' strategic merge patch
    Strategic,
}

// === impl Resource ===

impl Resource {
    /// A resource by its names.
    pub fn new(group: &str, version: &str, plural: &str) -> Self {
        Resource { group: group.to_owned(), version: version.to_owned(), plural: plural.to_owned() }
    }
}

// === impl Write ===

impl Write {
    /// Roughly the bytes that it takes in a frame.
    pub fn size(&self) -> usize {
        const NAMES: usize = 256;
        NAMES
            + match self {
                Write::Create { object, .. } | Write::Update { object, .. } => object.len(),
                Write::Patch { patch, .. } => patch.len(),
                Write::Delete { options, .. } => options.len(),
                Write::Bind { .. } => 0,
            }
    }
}
