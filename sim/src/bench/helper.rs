//! A server of another kind that the nodes are compared with: started on a port of its own, ended
//! with the comparison.

use super::BenchError;
use super::machine::Usage;
use crate::ports;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long it may take until it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The process.
pub(super) struct Helper {
    child: Child,
    /// Where it listens.
    pub(super) at: SocketAddr,
}

impl Helper {
    /// Starts a program with the arguments for an address, and waits until it listens there.
    pub(super) async fn start(
        program: &Path,
        arguments: impl FnOnce(SocketAddr) -> Vec<String>,
    ) -> Result<Self, BenchError> {
        let what = format!("start {}", program.display());
        let failed = |source| BenchError::System { what: what.clone(), source };
        let at = ports::free(&[]).map_err(failed)?;
        let mut command = Command::new(program);
        command
            .args(arguments(at))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut helper = Self { child: command.spawn().map_err(failed)?, at };
        let listening = async {
            while TcpStream::connect(at).await.is_err() {
                if let Ok(Some(status)) = helper.child.try_wait() {
                    return Err(BenchError::Talk(format!("{}: {status}", program.display())));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(LISTENS_WITHIN, listening).await;
        let late = || BenchError::Talk(format!("{} does not listen", program.display()));
        waited.map_err(|_| late())??;
        Ok(helper)
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
