//! What this layer needs of the machine: mount namespaces, and a look at what is attached.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal, setpgid};

/// Where the kernel shows FUSE connections.
pub const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// This process is killed when the one that started it goes.
pub fn dies_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// What this process mounts from now on, only it sees, and it goes with it.
pub fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// What this thread starts from now on is in a namespace of processes of its own: its first process takes all the
/// others with it, whatever sessions and groups they have made. The thread itself can start no thread any more.
pub fn own_processes() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWPID)?)
}

/// The mounts of this process: device number and place.
fn mounts() -> io::Result<Vec<(String, PathBuf)>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Some(((*words.get(2)?).to_owned(), PathBuf::from(*words.get(4)?)))
    };
    Ok(text.lines().filter_map(mount).collect())
}

/// The minor device number of what is mounted there: of a FUSE file system, the number of its connection. Asks the
/// kernel's list and not the file system.
pub fn mount_minor(place: &Path) -> io::Result<u32> {
    let found = mounts()?.into_iter().rfind(|(_, at)| at == place);
    let minor = found.and_then(|(device, _)| device.split_once(':')?.1.parse().ok());
    minor.ok_or_else(|| io::Error::other(format!("nothing is mounted at {}", place.display())))
}

/// Makes [`CONNECTIONS`] show them to this process.
pub fn show_connections() -> io::Result<()> {
    if mounts()?.iter().any(|(_, at)| at == Path::new(CONNECTIONS)) {
        return Ok(());
    }
    Ok(mount("fusectl", CONNECTIONS, "fusectl", MountFlags::empty(), None)?)
}

/// Whether this process sees anything mounted in a directory.
pub fn is_mounted_below(dir: &Path) -> io::Result<bool> {
    Ok(mounts()?.iter().any(|(_, at)| at.starts_with(dir)))
}

/// The loop devices over files of this name.
pub fn loops_over(name: &str) -> Vec<String> {
    let Ok(devices) = Path::new("/sys/block").read_dir() else { return Vec::new() };
    let over = |device: &String| {
        let file = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")).unwrap_or_default();
        Path::new(file.trim_end()).file_name().is_some_and(|file| file == name)
    };
    devices.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(over).collect()
}

/// Becomes a program that is killed when whoever started this process goes, in a process group of its own.
///
/// Errors: it cannot be started. Otherwise this process is another one now.
pub fn become_program(command: &mut std::process::Command) -> io::Error {
    use std::os::unix::process::CommandExt;
    let ready = dies_with_parent().and_then(|()| Ok(setpgid(None, None)?));
    ready.err().unwrap_or_else(|| command.exec())
}
