//! The worker's machine: the disk behind loop devices, a file system on it, and the power that goes.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Advice, Dir, FileType, Mode, OFlags, fadvise, open, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::FileSystem;
use super::control::{Control, Places, Request};
use super::image::Image;
use super::store::Logged;
use crate::disk::tree::{Content, Ino, Node, ROOT, Tree};
use crate::fs::FileKind;

/// What the file system makes in its root by itself.
const OWN: &str = "lost+found";
/// More than any file that is written here.
const MAX_FILE_BYTES: u64 = 1 << 24;

/// The disk, attached and with a file system on it.
#[derive(Debug)]
pub struct Machine {
    kind: FileSystem,
    places: Places,
    /// Calls are made on it: what is written goes to the disk as it is.
    recorded: Device,
    /// Images are mounted from it. Where that is cached, the kernel keeps what it has read of the disk from image to
    /// image, less what the disk's server says is another now.
    shown: Device,
    control: Control,
}

/// A loop device over the disk.
#[derive(Debug)]
struct Device {
    path: String,
    /// Open as long as the device is to stay: it goes with its last user.
    open: OwnedFd,
}

impl Device {
    /// Attaches the disk, with the kernel's cache of its file or past that.
    fn over(disk: &str, is_cached: bool) -> io::Result<Self> {
        let direct_io = if is_cached { "--direct-io=off" } else { "--direct-io=on" };
        let path = run("losetup", &["--find", "--show", direct_io, disk])?.trim().to_owned();
        let open = OpenOptions::new().read(true).write(true).open(&path)?.into();
        // Of a device that is in use this says: once it is not.
        run("losetup", &["--detach", &path])?;
        Ok(Self { path, open })
    }

    /// The kernel forgets what it has read of it.
    fn forget(&self) -> io::Result<()> {
        Ok(fadvise(&self.open, 0, None, Advice::DontNeed)?)
    }
}

impl Machine {
    /// Attaches the disk that process `server` serves, and makes a file system on it.
    ///
    /// Errors: a device or a program cannot be had, or fails.
    pub fn new(kind: FileSystem, places: Places, server: u32) -> io::Result<Self> {
        let control = Control::connect(&places.control())?;
        // The server's mounts are its own; its root shows them.
        let disk = format!("/proc/{server}/root{}", places.disk().display());
        let (recorded, shown) = (Device::over(&disk, false)?, Device::over(&disk, kind.is_cached)?);
        fs::create_dir(places.mounted())?;
        let mut machine = Self { kind, places, recorded, shown, control };
        machine.make()?;
        Ok(machine)
    }

    fn make(&mut self) -> io::Result<()> {
        let args: Vec<&str> = self.kind.mkfs_args.iter().copied().chain([&*self.recorded.path]).collect();
        run(self.kind.mkfs, &args)?;
        self.mount()?;
        match fs::remove_dir(self.places.mounted().join(OWN)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        self.unmount()?;
        self.control.ask(&Request::Save)?;
        Ok(())
    }

    /// The file system that the worker watches.
    pub fn kind(&self) -> FileSystem {
        self.kind
    }

    /// Where it is mounted.
    pub fn dir(&self) -> std::path::PathBuf {
        self.places.mounted()
    }

    /// An empty file system, mounted.
    ///
    /// Errors: it cannot be mounted.
    pub fn start(&mut self) -> io::Result<()> {
        self.control.ask(&Request::Restore)?;
        self.recorded.forget()?;
        self.mount()
    }

    /// All that was done is durable and nothing of it is in memory; the log begins.
    ///
    /// Errors: it cannot be mounted again.
    pub fn settle(&mut self) -> io::Result<()> {
        self.unmount()?;
        self.control.ask(&Request::Begin)?;
        self.mount()
    }

    /// How much was written so far.
    ///
    /// Errors: the server is gone.
    pub fn position(&mut self) -> io::Result<usize> {
        self.control.position()
    }

    /// Ends the log, and unmounts.
    ///
    /// Errors: the server is gone, or something still uses the file system.
    pub fn stop(&mut self) -> io::Result<Vec<Logged>> {
        let log = self.control.end()?;
        self.unmount()?;
        Ok(log)
    }

    /// What the file system shows of an image; `Err` within, if it does not show it.
    ///
    /// Errors: the server is gone.
    pub fn after(&mut self, image: &Image) -> io::Result<Result<Tree, String>> {
        self.after_in(image, &self.places.mounted())
    }

    /// The same of one directory of those below [`dir`](Self::dir).
    ///
    /// Errors: the server is gone.
    pub fn after_in(&mut self, image: &Image, dir: &Path) -> io::Result<Result<Tree, String>> {
        if let Err(why) = self.show(image, MountFlags::RDONLY)? {
            return Ok(Err(why));
        }
        let tree = tree_of(dir);
        self.unmount()?;
        Ok(tree)
    }

    /// Mounts an image, for whatever `then` does in it; `Err` within, if it cannot be mounted.
    ///
    /// Errors: the server is gone, `then` fails, or something still uses the file system after it.
    pub fn within<T>(&mut self, image: &Image, then: impl FnOnce() -> io::Result<T>) -> io::Result<Result<T, String>> {
        if let Err(why) = self.show(image, MountFlags::empty())? {
            return Ok(Err(why));
        }
        let done = then()?;
        self.unmount()?;
        Ok(Ok(done))
    }

    /// Writes an image into a file.
    ///
    /// Errors: the server is gone, or cannot write there.
    pub fn save(&mut self, image: &Image, path: &Path) -> io::Result<()> {
        self.control.ask(&Request::Show(image.clone()))?;
        self.control.ask(&Request::Write(path.to_owned())).map(drop)
    }

    fn show(&mut self, image: &Image, flags: MountFlags) -> io::Result<Result<(), String>> {
        self.control.ask(&Request::Show(image.clone()))?;
        self.shown.forget()?;
        Ok(self.mount_as(&self.shown, flags).map_err(|e| format!("it cannot be mounted: {e}")))
    }

    fn mount(&self) -> io::Result<()> {
        self.mount_as(&self.recorded, MountFlags::empty())
    }

    fn mount_as(&self, device: &Device, flags: MountFlags) -> io::Result<()> {
        let options = CString::new(self.kind.options)?;
        let flags = flags | MountFlags::NOATIME | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        Ok(mount(&*device.path, self.places.mounted(), self.kind.kind, flags, &*options)?)
    }

    fn unmount(&self) -> io::Result<()> {
        Ok(unmount(self.places.mounted(), UnmountFlags::empty())?)
    }
}

/// Whether a program can be started at all.
pub fn has_program(name: &str) -> bool {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(name).exists())
}

/// Runs a program to its end, and gives back what it printed.
fn run(program: &str, args: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(args).env("PATH", SYSTEM_PATH).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}: {}", args.join(" "), output.status, said.trim())))
}

/// Where system programs are, whatever the caller's path.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that is below a real directory. Each step is taken from where it is: an image is read by as few calls as can be.
///
/// Errors: something cannot be read, or is neither a file nor a directory; the words name it.
fn tree_of(root: &Path) -> Result<Tree, String> {
    let mut reading = Reading { tree: Tree::default(), known: BTreeMap::new() };
    let root = open(root, DIR, Mode::empty()).map_err(|e| format!("{}: {e}", root.display()))?;
    reading.below(root, "", ROOT)?;
    Ok(reading.tree)
}

const DIR: OFlags = OFlags::DIRECTORY.union(FILE);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

struct Reading {
    tree: Tree,
    /// What a file has become, by its number: it may have many names.
    known: BTreeMap<u64, Ino>,
}

impl Reading {
    fn below(&mut self, dir: OwnedFd, path: &str, at: Ino) -> Result<(), String> {
        let failed = |e: Errno| format!("{path}/: {e}");
        let mut dir = Dir::new(dir).map_err(failed)?;
        let mut entries = Vec::new();
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(failed)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                let name = entry.file_name().to_str().map_err(|e| format!("{path}/{:?}: {e}", entry.file_name()))?;
                entries.push((name.to_owned(), entry.file_type(), entry.ino()));
            }
        }
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let dir = dir.fd().map_err(failed)?;
        for (name, kind, number) in entries {
            let path = format!("{path}/{name}");
            let failed = |e: io::Error| format!("{path}: {e}");
            let open = |how| openat(dir, &*name, how, Mode::empty()).map_err(|e| failed(e.into()));
            let ino = match (kind, self.known.get(&number)) {
                (FileType::Directory, _) => {
                    let ino = self.tree.add(Node::empty(FileKind::Dir));
                    self.below(open(DIR)?, &path, ino)?;
                    ino
                }
                (FileType::RegularFile, Some(ino)) => *ino,
                (FileType::RegularFile, None) => {
                    let bytes = whole(&open(FILE)?.into()).map_err(failed)?;
                    let ino = self.tree.add(Node::File(Content::of(&bytes)));
                    self.known.insert(number, ino);
                    ino
                }
                _ => return Err(format!("{path}: neither a file nor a directory")),
            };
            self.tree.set_entry(at, &name.into(), Some(ino));
        }
        Ok(())
    }
}

fn whole(file: &File) -> io::Result<Vec<u8>> {
    let len_bytes = file.metadata()?.len();
    if len_bytes > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("{len_bytes} bytes, more than the limit of {MAX_FILE_BYTES}")));
    }
    let mut bytes = vec![0; len_bytes as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
