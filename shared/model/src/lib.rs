//! What Sampan's parts talk about, as plain data: no tokio, no NATS, no clock.
//!
//! ```text
//!  Key ── names ──> Object ── stored at ──> Revision
//!                     │ changed by             │ rejected with
//!                     v                        v
//!                   patch                    Status
//! ```
//! Absent on purpose: anything that knows a particular kind (crate `kinds`) or the log (crate `store`).

pub mod key;
pub mod names;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod revision;
pub mod selector;
pub mod spelling;
pub mod status;
pub mod template;
pub mod trace;

pub use key::{Class, Key};
pub use object::Object;
pub use quantity::Quantity;
pub use revision::Revision;
pub use selector::{FieldSelector, LabelSelector};
pub use status::{FieldError, FieldErrorKind, Reason, Status};
pub use trace::Trace;
