//! The registry as its callers see it: each verb's rules, two API servers on one log, commands and node reports.
//!
//! The log is the one in memory and time is paused, so nothing here waits for a clock.

mod cluster;

mod admission;
mod commands;
mod create;
mod custom;
mod delete;
mod events;
mod identity;
mod joining;
mod leadership;
mod list;
mod nodes;
mod patch;
mod storage;
mod update;
mod watch;
