//! The controllers together, from what a user writes to the pods and back, without a server.

mod cluster;
mod daemons;
mod rollout;
