//! Writes by bus command: what services ask of the API servers' registry, the one write path.

use bytes::Bytes;
use model::status::Cause;
use model::{Class, Reason, Status};
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
    /// What must hold for any of it to count.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// Each is one request to the registry.
    pub items: Vec<Write>,
}

/// That whoever asks leads still. Each write is a transaction with a guard on the fence of its class, so that those of
/// a leader whose fence was taken over do nothing, whenever they come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The role, as `replica-controller`.
    pub role: String,
    /// The revision of the role's fence in each class that the leader may write.
    pub fences: Vec<(Class, u64)>,
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

/// Marks a refusal on account of a [`Guard`].
const DEPOSED: &str = "LeaderDeposed";

// === impl Guard ===

impl Guard {
    /// The revision of the fence in a class, if the leader may write there.
    pub fn fence(&self, class: Class) -> Option<u64> {
        self.fences.iter().find(|(fenced, _)| *fenced == class).map(|(_, revision)| *revision)
    }

    /// The newest of the fences: a view that has passed it shows everything that earlier leaders have done.
    pub fn newest(&self) -> u64 {
        self.fences.iter().map(|(_, revision)| *revision).max().unwrap_or(0)
    }

    /// The answer to a write that does not count any more.
    pub fn refusal(&self) -> Status {
        let why = format!("another leads as {} since: the write was not carried out", self.role);
        let mut status = Status::new(Reason::Conflict, why.clone());
        status.causes.push(Cause { reason: DEPOSED.to_owned(), message: why, field: String::new() });
        status
    }

    /// The answer to a write of a class in which the leader has no fence.
    pub fn unfenced(&self, class: Class) -> Status {
        Status::bad_request(format!("who leads as {} has no fence in class {}", self.role, class.token()))
    }
}

/// Whether a refusal means that whoever asked does not lead any more.
pub fn is_deposed(status: &Status) -> bool {
    status.causes.iter().any(|cause| cause.reason == DEPOSED)
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
