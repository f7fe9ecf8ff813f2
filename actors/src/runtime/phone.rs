//! What goes to a driver's phone, one thing after the other: the next is sent once the one before
//! has been written to his socket. So whoever must know that nothing more will reach him asks for
//! the end of what was sent.

use super::Runtime;
use futures_util::FutureExt;
use futures_util::future::Shared;
use proto::DriverId;
use proto::record::ask::{Push, PushDown};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the node of his socket may take to write something, in milliseconds. A phone that is
/// slower is told what is before him when it attaches again.
const PUSH_MS: u32 = 500;
/// How long the end of what was sent is waited for: two pushes, and room. Later nothing is certain,
/// as nothing is of a phone that can't be reached.
const QUIET_WITHIN: Duration = Duration::from_millis(800);

/// The way to one phone.
#[derive(Default)]
pub(super) struct Phone {
    /// Resolves when what was sent last has been written, or given up.
    last: Option<Shared<oneshot::Receiver<()>>>,
}

impl Phone {
    /// Sends something to his phone, if a socket is known. Lost pushes are made good when the
    /// socket attaches again.
    pub(super) fn push(&mut self, runtime: &Runtime, driver: DriverId, push: Push) {
        let Some(session) = runtime.0.soft.session(driver) else { return };
        let (written, last) = oneshot::channel::<()>();
        let before = self.last.replace(last.shared());
        let runtime = runtime.clone();
        tokio::spawn(async move {
            if let Some(before) = before {
                let _slow = timeout(Duration::from_millis(PUSH_MS.into()), before).await;
            }
            let ask = PushDown { session, push };
            let context = runtime.background().within_ms(PUSH_MS);
            if let Ok(false) = runtime.world().router.ask(ask, context).await {
                runtime.0.soft.detach(driver, session);
            }
            drop(written);
        });
    }

    /// Waits until what was sent so far has been written, or for a while.
    pub(super) fn quiet(&self) -> impl Future<Output = ()> + Send + use<> {
        let last = self.last.clone();
        async move {
            if let Some(last) = last {
                let _slow = timeout(QUIET_WITHIN, last).await;
            }
        }
    }
}
