//! A node that gets a fraction of a core: it is bound to one, together with processes that only
//! compute. Also a disk that can be filled. Both are undone when they are dropped.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Processes that share the node's core: it gets about a third of it.
const BUSY: usize = 2;

/// Busy processes on one core, and a node that is bound to it.
#[derive(Debug)]
pub(super) struct Burden {
    busy: Vec<Child>,
    node: u32,
}

impl Burden {
    /// Binds a process to a core and keeps that busy.
    pub(super) fn on(node: u32, core: usize) -> io::Result<Self> {
        bind(node, &core.to_string())?;
        let mut burden = Self { busy: Vec::new(), node };
        for _ in 0..BUSY {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string(), "sh", "-c", "while :; do :; done"]);
            burden.busy.push(command.stdin(Stdio::null()).spawn()?);
        }
        Ok(burden)
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        for child in &mut self.busy {
            // Both fail only if it has ended already.
            let _gone = child.kill();
            let _status = child.wait();
        }
        let last = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
        // The node may have been killed meanwhile.
        let _gone = bind(self.node, &format!("0-{last}"));
    }
}

fn bind(process: u32, cores: &str) -> io::Result<()> {
    run("taskset", &["-acp", cores, &process.to_string()]).map(drop)
}

/// A small file system in memory, for one node's disk. Only this process and what it starts see it.
#[derive(Debug)]
pub(super) struct SmallDisk {
    path: PathBuf,
    /// The seat of the node that has it.
    pub(super) seat: usize,
}

/// More than a node needs in half a day; what is not used takes no memory.
const SIZE: &str = "4g";

impl SmallDisk {
    /// Mounts it here, which has to be in a mount namespace of our own.
    pub(super) fn mount(path: &Path, seat: usize) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let at = path.display().to_string();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={SIZE}"), "none", &at])?;
        Ok(Self { path: path.into(), seat })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves no room: it becomes as large as what is on it.
    pub(super) fn fill(&self) -> io::Result<()> {
        let at = self.path.display().to_string();
        let mut last = io::Error::other("never tried");
        // Somebody writes meanwhile; then it would be smaller than what is on it, and is refused.
        for spare in [0, 16, 64, 256] {
            let said = run("stat", &["-f", "-c", "%b %f %S", &at])?;
            let mut numbers = said.split_whitespace().map(|number| number.parse::<u64>());
            let (Some(Ok(all)), Some(Ok(free)), Some(Ok(block))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return Err(io::Error::other(format!("stat: {said}")));
            };
            match self.resize(&((all - free + spare) * block).to_string()) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Gives the room back.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.resize(SIZE)
    }

    fn resize(&self, size: &str) -> io::Result<()> {
        let (at, options) = (self.path.display().to_string(), format!("remount,size={size}"));
        // All said, so that `mount` does not add what it finds, which a user namespace refuses.
        run("mount", &["-t", "tmpfs", "-o", &options, "none", &at]).map(drop)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What does not work now ends with the namespace.
        let _left = run("umount", &["-l", &self.path.display().to_string()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said.lines().next().unwrap_or("refused without a word");
    Err(io::Error::other(format!("{program}: {said}")))
}
