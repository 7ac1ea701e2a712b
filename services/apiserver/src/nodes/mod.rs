//! The gateway for node agents.
