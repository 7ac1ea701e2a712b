//! Rather where the pod's images are, if they are large and many nodes have them.

use super::SCORE_MAX;
use crate::observe::nodes::Image;
use crate::observe::{NodeId, Nodes, Shape};

/// Less is fetched in no time.
const BYTES_MIN: i64 = 23 << 20;
/// More, per container, makes no further difference.
const BYTES_MAX: i64 = 1_000 << 20;

/// Prepared for a pod.
pub struct Scorer<'a> {
    /// Each image with its bytes, in proportion to the nodes that have it: else a node that is the only one to have
    /// an image would draw all of its pods.
    images: Vec<(&'a Image, i64)>,
    bytes_max: i64,
}

// === impl Scorer ===

impl<'a> Scorer<'a> {
    /// `None` if no node has any of the pod's images.
    pub fn prepare(nodes: &'a Nodes, shape: &Shape) -> Option<Self> {
        let spread = |image: &'a Image| {
            let share = image.count as f64 / nodes.count() as f64;
            (image, (image.size as f64 * share) as i64)
        };
        let images: Vec<_> = shape.images.iter().filter_map(|name| nodes.image(name)).map(spread).collect();
        (!images.is_empty()).then(|| Scorer { images, bytes_max: BYTES_MAX * shape.images.len() as i64 })
    }

    /// How much need not be fetched, in hundredths of what counts.
    #[inline]
    pub fn score(&self, node: NodeId) -> i64 {
        let present = self.images.iter().filter(|(image, _)| image.nodes.has(node));
        let bytes: i64 = present.map(|(_, bytes)| *bytes).sum();
        SCORE_MAX * (bytes.clamp(BYTES_MIN, self.bytes_max) - BYTES_MIN) / (self.bytes_max - BYTES_MIN)
    }
}
