//! The chain of wants: each names the one before it, so a loss is found. Pure.

use bus::node::Want;

/// How far this agent has followed an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    session: String,
    link: u64,
}

/// What to do with a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It follows: take it in.
    Apply,
    /// It says nothing new: a keepalive, or one that the snapshot has in it already.
    Known,
    /// It belongs to another attachment: an earlier one, perhaps of an earlier run of this agent, whose last words were
    /// still on their way.
    Foreign,
    /// Something was lost: attach again.
    Broken(String),
}

// === impl Chain ===

impl Chain {
    /// A chain that begins after `link`, which the snapshot includes.
    pub fn new(session: &str, link: u64) -> Self {
        Chain { session: session.to_owned(), link }
    }

    /// Judges a want and steps on when it follows.
    pub fn accept(&mut self, want: &Want) -> Verdict {
        match want {
            _ if want.session != self.session => Verdict::Foreign,
            _ if want.link <= self.link => Verdict::Known,
            _ if want.prev > self.link => Verdict::Broken(format!(
                "link {} follows {}, the last seen is {}",
                want.link, want.prev, self.link
            )),
            _ => {
                self.link = want.link;
                Verdict::Apply
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(session: &str, prev: u64, link: u64) -> Want {
        Want { session: session.to_owned(), prev, link, changes: Vec::new(), traces: Vec::new() }
    }

    #[test]
    fn links_are_followed_and_gaps_found() {
        let mut chain = Chain::new("s", 5);
        let cases = [
            (want("s", 3, 4), Verdict::Known),
            (want("s", 5, 5), Verdict::Known),
            (want("s", 5, 6), Verdict::Apply),
            (want("s", 6, 9), Verdict::Apply),
            (want("s", 9, 9), Verdict::Known),
            (want("old", 1, 2), Verdict::Foreign),
        ];
        for (want, expected) in cases {
            assert_eq!(chain.accept(&want), expected, "{want:?}");
        }
        assert!(matches!(chain.accept(&want("s", 10, 11)), Verdict::Broken(_)));
        // A keepalive that names a link which never came.
        assert!(matches!(chain.accept(&want("s", 12, 12)), Verdict::Broken(_)));
    }
}
