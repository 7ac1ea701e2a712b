//! A real containerd and a small stand-in for the API server, for tests of the whole agent.

pub mod control;
pub mod machine;
pub mod scene;
