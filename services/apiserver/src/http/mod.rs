//! The wire: from a TLS connection to a verb, and from its answer back to bytes.
