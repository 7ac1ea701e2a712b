//! The node itself: what it is and has (facts), what of it pods do not get (reserved), how it is (object: the Node with
//! its conditions), that it lives (heartbeat), and who it is on the bus (credentials).

pub mod credentials;
pub mod facts;
pub mod heartbeat;
pub mod object;
pub mod reserved;
