//! Pods on a machine that does at once what it is told, unless a test says otherwise.

mod lifecycle;
mod properties;
mod restarts;
mod stage;
mod trouble;
