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
pub mod object;
pub mod revision;
pub mod status;

pub use key::{Class, Key};
pub use object::Object;
pub use revision::Revision;
pub use status::{FieldError, FieldErrorKind, Reason, Status};
