//! What the worker asks of the disk's server, beside its blocks: one line of JSON each way over a socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::{Image, Logged};

/// Where things are in the work directory.
#[derive(Debug, Clone)]
pub struct Places(pub PathBuf);

impl Places {
    /// Where the disk's file system is mounted, for its server and the worker alone.
    pub fn served(&self) -> PathBuf {
        self.0.join("disk")
    }

    /// The disk: the one file there.
    pub fn disk(&self) -> PathBuf {
        self.served().join(self.name())
    }

    /// The disk's file name, by which its loop device is known: that of the work directory, which is nobody else's.
    pub fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The socket of the disk's server.
    pub fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    /// Where the worker mounts what is on the disk.
    pub fn mounted(&self) -> PathBuf {
        self.0.join("mounted")
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Keep what the disk holds, to come back to.
    Save,
    /// Come back to what was kept.
    Restore,
    /// What the disk holds is the base from now on; log what is written.
    Begin,
    /// Tell how long the log is.
    Position,
    /// End the log, and tell what is in it.
    End,
    /// Hold this image of the last log.
    Show(Image),
    /// Write what the disk holds into this file.
    Write(PathBuf),
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// So many entries.
    Position(usize),
    /// What is in the log.
    Log(Vec<Logged>),
    /// It cannot be done.
    Failed(String),
}

/// The worker's end.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects.
    ///
    /// Errors: nobody serves there.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(socket)?) })
    }

    /// Asks, and waits for the reply.
    ///
    /// Errors: the server is gone, says nonsense, or cannot do it.
    pub fn ask(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        line.clear();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the disk's server is gone"));
        }
        match serde_json::from_str(&line)? {
            Reply::Failed(why) => Err(io::Error::other(why)),
            reply => Ok(reply),
        }
    }

    /// How long the log is.
    ///
    /// Errors: as [`ask`](Self::ask).
    pub fn position(&mut self) -> io::Result<usize> {
        match self.ask(&Request::Position)? {
            Reply::Position(at) => Ok(at),
            other => Err(io::Error::other(format!("{other:?} is no position"))),
        }
    }

    /// Ends the log.
    ///
    /// Errors: as [`ask`](Self::ask).
    pub fn end(&mut self) -> io::Result<Vec<Logged>> {
        match self.ask(&Request::End)? {
            Reply::Log(log) => Ok(log),
            other => Err(io::Error::other(format!("{other:?} is no log"))),
        }
    }
}
