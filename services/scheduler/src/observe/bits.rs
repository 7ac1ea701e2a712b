//! A set of nodes.

use super::NodeId;

/// One bit a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

// === impl Bits ===

impl Bits {
    /// Whether a node is in it.
    #[inline]
    pub fn has(&self, node: NodeId) -> bool {
        self.0.get(node.index() / 64).is_some_and(|word| word & (1 << (node.index() % 64)) != 0)
    }

    /// Puts a node in or takes it out; returns whether that changed anything.
    pub fn set(&mut self, node: NodeId, value: bool) -> bool {
        let (word, bit) = (node.index() / 64, 1 << (node.index() % 64));
        if word >= self.0.len() {
            if !value {
                return false;
            }
            self.0.resize(word + 1, 0);
        }
        let changes = (self.0[word] & bit != 0) != value;
        if changes {
            self.0[word] ^= bit;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_in_once_it_was_put_in_and_until_it_is_taken_out() {
        let mut bits = Bits::default();
        let node = NodeId::new(130);
        assert!(!bits.has(node) && !bits.set(node, false));
        assert!(
            bits.set(node, true) && !bits.set(node, true) && bits.has(node) && !bits.has(NodeId::new(129))
        );
        assert!(bits.set(node, false) && !bits.has(node));
    }
}
