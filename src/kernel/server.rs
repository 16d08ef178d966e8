//! The disk's server: one file over FUSE, a log of what is written to it, and nothing else.
//!
//! A process of its own that never touches a file system which is on the disk: whoever waits for the disk waits for this
//! process, so it may wait for nobody. (A server in the process that mounts is a deadlock as soon as that process is
//! killed: the thread in mount(2) waits for a reply, and the connection stays open as long as the thread is there.) Its
//! mount is in a mount namespace of its own and goes with it; requests are served one at a time, so that the log is in
//! the order of the replies.
//!
//! The kernel may keep what it has read: whatever is written comes here all the same, and when the disk becomes another
//! one, the kernel is told where. While it is told it waits for reads of that range that are on their way; so a server
//! that is killed in that moment goes only when its connection is aborted, as the supervisor does.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, MountOption,
    Notifier, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request as FuseRequest,
    Session, WriteFlags,
};

use super::control::{Places, Reply, Request};
use super::host;
use super::store::{Saved, Store};

const FILE: INodeNo = INodeNo(2);
/// The kernel may remember attributes: they never change.
const TTL: Duration = Duration::from_secs(1 << 30);
/// FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE: no disk is asked for these.
const MOVES_BYTES: i32 = 0x08 | 0x20;

type Shared = Arc<Mutex<Store>>;

fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a disk of `size_bytes` until it is killed; writes the number of its FUSE connection to the standard output
/// once it is there.
///
/// Errors: FUSE cannot be had.
pub fn serve(places: &Places, size_bytes: u64) -> io::Result<()> {
    host::dies_with_parent()?;
    host::own_mounts()?;
    // Memory that this process is given must not be made free by writing to the disk that it serves. (Containers may
    // refuse it, CAP_SYS_RESOURCE; there the supervisor's patience is what is left.)
    let _ = rustix::process::configure_io_flusher_behavior(true);
    let store: Shared = Arc::new(Mutex::new(Store::new(size_bytes)));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("pullplug".to_owned())];
    let listener = UnixListener::bind(places.control())?;
    let session = Session::new(Disk { store: store.clone(), name: places.name() }, places.served(), &config)?;
    let connection = host::mount_minor(&places.served())?;
    let notifier = session.notifier();
    std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let (store, notifier) = (store.clone(), notifier.clone());
            // A client that goes away, or that no thread can be had for, is none of the disk's business.
            let _ = std::thread::Builder::new().spawn(move || obey(&store, &notifier, stream));
        }
    })?;
    let mut out = io::stdout();
    writeln!(out, "{connection}")?;
    out.flush()?;
    session.run()
}

/// Does what one client asks.
fn obey(store: &Shared, notifier: &Notifier, stream: UnixStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut saved: Option<Saved> = None;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        let request: Request = serde_json::from_str(&line)?;
        line.clear();
        let mut store = lock(store);
        let mut changed = Vec::new();
        let reply = match request {
            Request::Save => {
                saved = Some(store.saved());
                Reply::Done
            }
            Request::Restore => {
                if let Some(saved) = &saved {
                    changed = store.restore(saved);
                }
                Reply::Done
            }
            Request::Begin => {
                store.begin();
                Reply::Done
            }
            Request::Position => Reply::Position(store.position()),
            Request::End => Reply::Log(store.end()),
            Request::Show(image) => {
                changed = store.show(&image);
                Reply::Done
            }
            Request::Write(path) => match store.write_to(&path) {
                Ok(()) => Reply::Done,
                Err(e) => Reply::Failed(format!("cannot write {}: {e}", path.display())),
            },
        };
        // The kernel waits for reads that are on their way, and these wait for the store.
        drop(store);
        for (offset, len) in changed {
            notifier.inval_inode(FILE, offset as i64, len as i64)?;
        }
        let mut text = serde_json::to_string(&reply)?;
        text.push('\n');
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The file system.
struct Disk {
    store: Shared,
    /// The name of the one file.
    name: String,
}

impl Disk {
    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match ino {
            INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            FILE => (FileType::RegularFile, 0o600, lock(&self.store).size_bytes()),
            _ => return None,
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &FuseRequest, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(FILE).filter(|_| name == OsStr::new(&self.name)) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &FuseRequest, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &FuseRequest, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &FuseRequest,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = lock(&self.store).read(offset, size as usize);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &FuseRequest,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        lock(&self.store).write(offset, data);
        reply.written(data.len() as u32);
    }

    fn flush(&self, _: &FuseRequest, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A descriptor was closed; no block is meant.
        reply.ok();
    }

    fn fsync(&self, _: &FuseRequest, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        lock(&self.store).flush();
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &FuseRequest,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & MOVES_BYTES != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        // Without a mode blocks are only set aside: the disk has them all.
        if mode != 0 {
            lock(&self.store).zero(offset, length);
        }
        reply.ok();
    }
}
