//! cluster-controller
