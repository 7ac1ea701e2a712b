//! spdy
