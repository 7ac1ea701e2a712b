//! What API servers and node agents say to each other.
//!
//! ```text
//!  agent                                        API server
//!    │ subscribe node.<node>.want                   │
//!    ├─ attach.<node>  Attach ─────────────────────>│ follows the node's pods, what they reference, all Services
//!    │<─ Snapshot frames on the reply subject ──────┤ the last says at which link of the chain it stands
//!    │<─ node.<node>.want  Want{prev, link} ────────┤ each names the one before it; keepalives name the last
//!    ├─ report.<node>  Report ─────────────────────>│ committed before it is answered
//!    ├─ token.<node>  TokenWish ───────────────────>│ only for a pod that was given to the node
//!    ├─ hb.<node>  Heartbeat                        │
//! ```
//! A link that does not follow the last one seen, or three keepalives that are missed, means: attach again. Words of
//! other sessions are those of earlier ones, still on their way. Objects are JSON with their `resourceVersion`.

use bytes::Bytes;
use model::{Status, Trace};
use serde::{Deserialize, Serialize};

/// How often an API server names the last link of each session, in seconds. An agent that misses three attaches again.
pub const KEEPALIVE_SECONDS: u64 = 5;
/// How often an agent says that it lives, in seconds.
pub const HEARTBEAT_SECONDS: u64 = 5;
/// Bytes of objects in one snapshot frame; a larger object travels alone.
pub const FRAME_BYTES: usize = 256 * 1024;

/// Who makes volumes on the disks of nodes. A volume that it made carries the name as a finalizer until nothing of it is
/// left on its node.
pub const LOCAL_PATH: &str = "sampan.io/local-path";
/// On such a volume: its node.
pub const VOLUME_NODE: &str = "sampan.io/node";
/// On a Node: the folder in which it keeps such volumes, each under its own name.
pub const VOLUMES_FOLDER: &str = "sampan.io/volumes";

/// An agent asks for what is wanted of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attach {
    /// Chosen by the agent at random for this attachment.
    pub session: String,
    /// Whether it wants to hear of every Service and EndpointSlice as well, and where the pods of the other nodes are,
    /// cut down to what a node needs of them. A hollow agent does not ask for them.
    #[serde(default)]
    pub services: bool,
}

/// A part of the answer to [`Attach`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Snapshot {
    /// Objects, and more to come.
    Part(Vec<Wanted>),
    /// All was sent; the chain begins after this link.
    End {
        /// The link that the snapshot includes.
        link: u64,
        /// The host of the API server that serves the attachment.
        #[serde(default)]
        host: String,
    },
    /// Not now.
    Refused(Status),
}

/// An object that the node needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// `core/pods/default/redis`: see `model::Key`.
    pub key: String,
    /// JSON with `resourceVersion`; `None` when it is gone or no longer needed.
    pub object: Option<Bytes>,
}

/// A change of what is wanted, or a keepalive when `link == prev` and there are no changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Want {
    /// The attachment that this belongs to.
    pub session: String,
    /// The link before this one.
    pub prev: u64,
    /// This link.
    pub link: u64,
    /// In order.
    pub changes: Vec<Wanted>,
    /// The traces that changes belong to, by key, for what is done about them to go on with. Nearly always empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<(String, Trace)>,
}

/// Published by the API server that answered an attachment, so that another one stops serving the node's older one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// The attachment.
    pub session: String,
}

/// Published by an API server that begins: what one on its host served before is over, so that agents attach again at
/// once instead of after three keepalives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Began {
    /// The host.
    pub host: String,
}

/// What an agent says of its node, pods, volumes and events; answered after commit by [`ReportReply`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The Node object to register or update (metadata.labels/annotations it owns and status), as JSON.
    pub node: Option<Bytes>,
    /// Pod statuses.
    pub pods: Vec<PodReport>,
    /// `v1` Event objects, as JSON, each with its namespace and name.
    pub events: Vec<Bytes>,
    /// Volumes that were to go and of which nothing is left on the node.
    #[serde(default)]
    pub volumes: Vec<VolumeReport>,
}

/// A PersistentVolume that was being deleted: its data is gone from its node, and the object may go as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// Its name.
    pub name: String,
    /// The volume that is meant; another one of that name is left alone.
    pub uid: String,
}

/// What became of one pod on its node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PodReport {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The pod that is meant; another one of that name is left alone.
    pub uid: String,
    /// The whole `status` as JSON; `None` with `gone` only.
    pub status: Option<Bytes>,
    /// The pod was being deleted and nothing of it is left on the node: remove the object.
    pub gone: bool,
}

/// The answer to [`Report`]: what was refused and why. Everything else is committed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReportReply {
    /// Why the node was refused.
    pub node: Option<Status>,
    /// Index into `pods` and why.
    pub pods: Vec<(usize, Status)>,
    /// Index into `volumes` and why.
    #[serde(default)]
    pub volumes: Vec<(usize, Status)>,
    /// The whole report was refused: try again.
    pub refused: Option<Status>,
}

/// An agent needs a token for a volume of one of its pods; answered by [`TokenReply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenWish {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// Whom the token is for; empty for the API server.
    pub audience: String,
    /// How long it is to live.
    pub seconds: u64,
}

/// The token, or why not.
pub type TokenReply = Result<TokenMade, Status>;

/// A token that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenMade {
    /// The token.
    pub token: String,
    /// When it is over, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// An agent lives. Never stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The node's name.
    pub node: String,
    /// Milliseconds since 1970 on the node's clock.
    pub time_ms: u64,
    /// The session that the agent follows, empty while it has none.
    pub session: String,
}
