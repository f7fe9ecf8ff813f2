//! One node: its disk, its log, its process.

use super::{ClusterError, Ground, Place, Plan};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The node that holds a seat.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: usize,
    /// Whether it is one of the first, which found the cluster together.
    pub(super) founder: bool,
    pub(super) place: Place,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) child: Option<Child>,
}

impl Node {
    /// A node that does not run yet, with a disk that is empty.
    pub(super) fn new(
        (id, seat): (usize, usize),
        founder: bool,
        directory: &Path,
        ground: &mut dyn Ground,
    ) -> Result<Self, ClusterError> {
        let place = ground.settle(id, seat).map_err(|source| ClusterError::Prepare {
            what: format!("find a place for node n{id}"),
            source,
        })?;
        let data = place.data.clone().unwrap_or_else(|| directory.join(format!("n{id}")));
        std::fs::create_dir_all(&data).map_err(|source| {
            let what = format!("make {}", data.display());
            ClusterError::Prepare { what, source }
        })?;
        let log = directory.join(format!("n{id}.log"));
        Ok(Self { id, founder, place, data, log, child: None })
    }

    pub(super) fn name(&self) -> String {
        format!("n{}", self.id)
    }

    /// Starts its program.
    pub(super) fn launch(
        &mut self,
        plan: &Plan,
        ground: &dyn Ground,
        bootstrap: [String; 2],
    ) -> Result<(), ClusterError> {
        let open = || -> std::io::Result<(File, File)> {
            let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
            Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(|source| {
            let what = format!("write {}", self.log.display());
            ClusterError::Prepare { what, source }
        })?;
        let Place { http, peer, advertised, edge, .. } = &self.place;
        let mut command = ground.command(self.id, &plan.program);
        command
            .arg("node")
            .args(["--node-id", &self.id.to_string()])
            .args(bootstrap)
            .args(["--http", &http.to_string()])
            .args(["--peer", &peer.to_string()])
            .args(advertised.map(|told| format!("--peer-advertised={told}")))
            .arg("--data-dir")
            .arg(&self.data)
            .args(plan.edge.then(|| format!("--edge={edge}")))
            .args(&plan.flags)
            // Not a flag, so that `ps` does not show it.
            .env("HANSOM_CLUSTER_KEY", &plan.key)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let child = command.spawn().map_err(|source| {
            let program = plan.program.clone();
            ClusterError::Start { program, source }
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills its process and waits until it is gone.
    pub(super) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended already, which is what is wanted.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

/// How much of each log is shown when something went wrong.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8_192;

/// The end of a log.
pub(super) fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    last.push('\n');
    Ok(last)
}
