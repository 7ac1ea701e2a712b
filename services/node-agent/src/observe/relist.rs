//! Looking at the runtime: when it says that something happened, when the agent did something, and now and then.
//!
//! The runtime tells of an end before its own list shows it, so a look that finds nothing new after such a hint is
//! followed by a few more, each twice as late.

use std::time::Duration;

use cri::CriError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::listing::Listing;
use crate::act::Runtime;
use crate::decide::Input;
use runtime::Shutdown;

/// Two looks are at least this far apart, so that many deeds at once share one.
const APART: Duration = Duration::from_millis(10);
/// After a hint: the first further look, and for how long they go on.
const AGAIN_FIRST: Duration = Duration::from_millis(20);
const AGAIN_LONGEST: Duration = Duration::from_millis(400);
/// While the runtime says nothing by itself but something is being done.
const BUSY: Duration = Duration::from_millis(100);
/// While it says nothing and nothing is being done.
const IDLE: Duration = Duration::from_secs(1);

/// What the agent's loop tells the one who looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The newest deed; a list is as new as the epoch at its beginning.
    pub epoch: u64,
    /// Something is being done.
    pub is_busy: bool,
}

/// Looks until `shutdown`. `is_up` says whether the runtime answers.
pub async fn relist<R: Runtime>(
    runtime: R,
    inputs: mpsc::Sender<Input>,
    mut interest: watch::Receiver<Interest>,
    is_up: watch::Sender<bool>,
    shutdown: Shutdown,
) {
    let mut hints = hints(runtime.clone(), shutdown.clone());
    let mut last = Listing::default();
    let mut again: Option<Duration> = None;
    loop {
        let seen = *interest.borrow_and_update();
        let began = Instant::now();
        let found = runtime.list().await;
        let is_new = found.as_ref().is_ok_and(|listing| *listing != last);
        if let Ok(listing) = &found {
            last.clone_from(listing);
        }
        if tell(found, seen.epoch, &inputs, &is_up).await.is_err() {
            return;
        }
        again = match again {
            Some(pause) if !is_new && pause < AGAIN_LONGEST => Some(pause * 2),
            _ => None,
        };
        let tells_by_itself = *hints.borrow_and_update() != Hint::Deaf;
        let calm = match (tells_by_itself, seen.is_busy) {
            (true, _) => runtime.trust(),
            (false, true) => BUSY,
            (false, false) => IDLE,
        };
        let next = began + again.unwrap_or(calm);
        tokio::select! {
            () = sleep_until(next) => {}
            changed = interest.wait_for(|now| now.epoch > seen.epoch) => if changed.is_err() { return },
            changed = hints.changed() => match changed {
                Ok(()) => again = Some(AGAIN_FIRST),
                Err(_) => return,
            },
            () = shutdown.cancelled() => return,
        }
        sleep_until(began + APART).await;
    }
}

async fn tell(
    found: Result<Listing, CriError>,
    epoch: u64,
    inputs: &mpsc::Sender<Input>,
    is_up: &watch::Sender<bool>,
) -> Result<(), mpsc::error::SendError<Input>> {
    let input = match found {
        Ok(listing) => Input::Listing(listing, epoch),
        Err(error) => {
            if *is_up.borrow() {
                warn!("cannot list what runs: {error}");
            }
            Input::RuntimeDown
        }
    };
    let up = matches!(input, Input::Listing(..));
    is_up.send_if_modified(|known| std::mem::replace(known, up) != up);
    inputs.send(input).await
}

/// What the runtime says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// Nothing: it must be asked.
    Deaf,
    /// Something happened, for the so-manieth time.
    Happened(u64),
}

fn hints<R: Runtime>(runtime: R, shutdown: Shutdown) -> watch::Receiver<Hint> {
    let (tell, hints) = watch::channel(Hint::Deaf);
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            let heard = tokio::select! {
                heard = runtime.changed() => heard,
                () = shutdown.cancelled() => return,
            };
            match heard {
                Ok(()) => {
                    count += 1;
                    tell.send_replace(Hint::Happened(count));
                }
                Err(error) => {
                    debug!("the runtime tells nothing: {error}");
                    tell.send_if_modified(|known| std::mem::replace(known, Hint::Deaf) != Hint::Deaf);
                    sleep(IDLE).await;
                }
            }
        }
    });
    hints
}
