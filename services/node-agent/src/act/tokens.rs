//! Tokens of pods' accounts: asked of the API server, which alone can sign them, and renewed before they are over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::node::{TokenMade, TokenReply, TokenWish};
use bus::{Bus, subject};
use jiff::{SignedDuration, Timestamp};

use crate::observe::listing::PodIdentity;
use crate::spec::volumes::{Content, File, Plan, TokenFile};

/// A signature takes well under a millisecond; the rest is the way there.
const PATIENCE: Duration = Duration::from_secs(10);
/// A token is renewed when this much of its life has passed: the rest is for trying again, and for clients that read
/// it now and then only.
const RENEWED_PERCENT: i32 = 80;
/// However long it lives, it is renewed after this.
const RENEWED_AT_LEAST: SignedDuration = SignedDuration::from_hours(24);

/// The tokens of a node's pods.
#[derive(Clone, Debug)]
pub struct Tokens {
    bus: Bus,
    subject: String,
    known: Arc<Mutex<HashMap<Purpose, Known>>>,
}

/// What a token is for: the pod's uid, the audience and the life.
type Purpose = (String, String, u64);

#[derive(Clone, Debug)]
struct Known {
    token: String,
    renew: Timestamp,
}

// === impl Tokens ===

impl Tokens {
    /// Of a node.
    pub fn new(bus: Bus, node: &str) -> Self {
        Tokens { bus, subject: subject::token(node), known: Arc::default() }
    }

    /// Puts the tokens that a plan asks for among its files. Returns the time at which the first is to be renewed.
    pub async fn fill(
        &self,
        pod: &PodIdentity,
        plan: &mut Plan,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, String> {
        let mut renew: Option<Timestamp> = None;
        for volume in &mut plan.volumes {
            let Content::Files { files, tokens, .. } = &mut volume.content else { continue };
            for (path, wanted) in std::mem::take(tokens) {
                let known = self.token(pod, &wanted, now).await.map_err(|why| {
                    format!(
                        "MountVolume.SetUp failed for volume {:?} : failed to fetch token: {why}",
                        volume.name
                    )
                })?;
                files.insert(path, File { content: known.token.into_bytes(), mode: wanted.mode });
                renew = Some(renew.map_or(known.renew, |renew| renew.min(known.renew)));
            }
        }
        Ok(renew)
    }

    async fn token(&self, pod: &PodIdentity, wanted: &TokenFile, now: Timestamp) -> Result<Known, String> {
        let purpose = (pod.uid.clone(), wanted.audience.clone(), wanted.seconds);
        if let Some(known) = self.fresh(&purpose, now) {
            return Ok(known);
        }
        let wish = TokenWish {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            audience: wanted.audience.clone(),
            seconds: wanted.seconds,
        };
        let reply: TokenReply =
            self.bus.request(&self.subject, &wish, PATIENCE).await.map_err(|error| error.to_string())?;
        let TokenMade { token, expires_ms } = reply.map_err(|status| status.message)?;
        let known = Known { token, renew: renewal(now, expires_ms) };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(purpose, known.clone());
        Ok(known)
    }

    /// The token for that purpose, unless it is time for another. Those whose time has come are forgotten: their pods
    /// ask again or are gone.
    fn fresh(&self, purpose: &Purpose, now: Timestamp) -> Option<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| now < known.renew);
        known.get(purpose).cloned()
    }
}

/// When a token made now is to be renewed.
fn renewal(now: Timestamp, expires_ms: u64) -> Timestamp {
    let end =
        i64::try_from(expires_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(now);
    let life = end.duration_since(now);
    now + (life / 100 * RENEWED_PERCENT).clamp(SignedDuration::from_secs(1), RENEWED_AT_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_well_before_it_is_over() {
        let now = Timestamp::from_second(1000).unwrap();
        let after = |seconds: u64| renewal(now, (1000 + seconds) * 1000).duration_since(now).as_secs();
        assert_eq!(after(3600), 2880);
        assert_eq!(after(365 * 86400), 86400);
        assert_eq!(after(0), 1, "one that is over already is not asked for in a loop");
    }
}
