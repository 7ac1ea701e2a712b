//! From single results to verdicts: so many in a row. Pure.

/// Counts the results of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    count: u32,
    verdict: Option<bool>,
}

// === impl Streak ===

impl Streak {
    /// Nothing has been tried.
    pub fn new(success_threshold: u32, failure_threshold: u32) -> Self {
        Streak { success_threshold, failure_threshold, last: None, count: 0, verdict: None }
    }

    /// Takes a result in; returns a verdict when it differs from the last one.
    pub fn add(&mut self, passed: bool) -> Option<bool> {
        self.count = if self.last == Some(passed) { self.count.saturating_add(1) } else { 1 };
        self.last = Some(passed);
        let threshold = if passed { self.success_threshold } else { self.failure_threshold };
        if self.count < threshold || self.verdict == Some(passed) {
            return None;
        }
        self.verdict = Some(passed);
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_so_many_results_in_a_row() {
        let mut streak = Streak::new(2, 3);
        let results = "+-++--+---++";
        let verdicts: String = results
            .chars()
            .map(|result| match streak.add(result == '+') {
                None => '.',
                Some(true) => 'Y',
                Some(false) => 'N',
            })
            .collect();
        assert_eq!(verdicts, "...Y.....N.Y");
    }
}
