//! exec, attach, logs and port-forward: from the client to the node over the bus.
