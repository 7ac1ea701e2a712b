//! The cluster as the scheduler sees it: parsed once, kept in columns.
//!
//! ```text
//!  pod JSON ──> pod ──> shape (interned: pods of one owner share it) ─┐
//!  node JSON ─> node ─> nodes (a column per property, dense ids) <────┴─ view (who is where, assumed or seen)
//! ```

pub mod amount;
pub mod bits;
pub mod node;
pub mod nodes;
pub mod pod;
pub mod shape;
pub mod taint_sets;
pub mod view;
pub mod volumes;

pub use amount::{Amounts, ResourceId, ResourceNames};
pub use bits::Bits;
pub use node::Node;
pub use nodes::{NodeId, Nodes};
pub use placement::NodeAffinity;
pub use pod::Pod;
pub use shape::{HostPort, Shape};
pub use view::View;
pub use volumes::Volumes;
