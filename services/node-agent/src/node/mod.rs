//! The node itself: what it is and has (facts), how it is (object: the Node with its conditions), that it lives
//! (heartbeat).

pub mod facts;
pub mod heartbeat;
pub mod object;
