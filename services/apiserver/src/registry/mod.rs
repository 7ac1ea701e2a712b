//! Make it so: the order of a write, from preparing to committing.
