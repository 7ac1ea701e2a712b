//! How many pods a rollout may add and take away. Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::observe::{Deployment, Strategy};

/// Pods beyond, and pods missing of, the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Pods there may be beyond the wanted number.
    pub surge: i32,
    /// Pods that may be missing of the wanted number.
    pub unavailable: i32,
}

/// The bounds of a Deployment. Percentages are rounded so that a rollout can move and still keeps its promise: a
/// surge up, a lack down; if both come out as nothing, one pod may be missing.
pub fn bounds(deployment: &Deployment) -> Bounds {
    let Strategy::RollingUpdate { max_surge, max_unavailable } = &deployment.strategy else {
        return Bounds { surge: 0, unavailable: 0 };
    };
    let replicas = deployment.replicas;
    let surge = scaled(max_surge, replicas, round_up);
    let mut unavailable = scaled(max_unavailable, replicas, |hundredths| hundredths / 100);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds { surge, unavailable: unavailable.min(replicas) }
}

/// A percentage that is met or passed.
pub fn round_up(hundredths: u64) -> u64 {
    hundredths.div_ceil(100)
}

/// A bound as a number, of so many in all.
pub fn scaled(bound: &IntOrString, replicas: i32, round: fn(u64) -> u64) -> i32 {
    match bound {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: u64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let hundredths = u64::try_from(replicas).unwrap_or(0).saturating_mul(percent);
            i32::try_from(round(hundredths)).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::fixture;

    #[test]
    fn percentages_round_towards_progress_and_safety() {
        let text = |text: &str| IntOrString::String(text.to_owned());
        let cases = [
            (4, text("25%"), text("25%"), (1, 1)),
            (3, text("25%"), text("25%"), (1, 0)),
            (10, text("25%"), text("25%"), (3, 2)),
            (1, text("25%"), text("25%"), (1, 0)),
            (2, text("0%"), text("0%"), (0, 1)),
            (2, IntOrString::Int(0), text("10%"), (0, 1)),
            (2, IntOrString::Int(5), IntOrString::Int(5), (5, 2)),
            (0, text("25%"), text("25%"), (0, 0)),
        ];
        for (replicas, max_surge, max_unavailable, (surge, unavailable)) in cases {
            let strategy = Strategy::RollingUpdate { max_surge, max_unavailable };
            let deployment = Deployment { replicas, strategy, ..fixture::deployment() };
            assert_eq!(bounds(&deployment), Bounds { surge, unavailable }, "{deployment:?}");
        }
        let recreate = Deployment { replicas: 5, strategy: Strategy::Recreate, ..fixture::deployment() };
        assert_eq!(bounds(&recreate), Bounds { surge: 0, unavailable: 0 });
    }
}
