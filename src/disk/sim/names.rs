//! What calls do to the tree of names: create, rename, link, remove, list. Errors come in the order of Linux.

use super::Disk;
use crate::disk::effect::What;
use crate::disk::fault::FaultKind;
use crate::disk::tree::{Ino, Node};
use crate::fs::{DirEntry, ErrorKind, FileKind, FsError, OpenMode, Result, check_path};

impl Disk {
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let fail = |kind, path: &str| Err(FsError::new(kind, "rename", path));
        self.writable("rename", from)?;
        check_path("rename", to)?;
        let source = self.walk("rename", from)?;
        let target = self.walk("rename", to)?;
        if from.is_empty() || to.is_empty() {
            return fail(ErrorKind::InvalidInput, from);
        }
        let Some(ino) = source.ino else { return fail(ErrorKind::NotFound, from) };
        let moves_dir = self.tree.dir(ino).is_some();
        if moves_dir && to.starts_with(from) && to[from.len()..].starts_with('/') {
            return fail(ErrorKind::InvalidInput, to);
        }
        if let Some(old) = target.ino {
            if old == ino {
                return Ok(());
            }
            // A directory cannot give way to what it contains.
            if from.starts_with(to) && from[to.len()..].starts_with('/') {
                return fail(ErrorKind::NotEmpty, to);
            }
            match (moves_dir, self.tree.dir(old)) {
                (true, None) => return fail(ErrorKind::NotADirectory, to),
                (false, Some(_)) => return fail(ErrorKind::IsADirectory, to),
                (true, Some(_)) => {
                    self.listed(old);
                    if self.tree.dir(old).is_some_and(|d| !d.is_empty()) {
                        return fail(ErrorKind::NotEmpty, to);
                    }
                }
                (false, None) => {}
            }
        }
        let effects = vec![
            self.dentry(target.dir, target.name, target.ino, Some(ino)),
            self.dentry(source.dir, source.name, Some(ino), None),
        ];
        self.execute(|| format!("rename {from} -> {to}"), effects);
        if let Some(old) = target.ino {
            self.forget_if_unused(old);
        }
        Ok(())
    }

    /// unlink and rmdir.
    pub(super) fn remove(&mut self, op: &'static str, path: &str, kind: FileKind) -> Result<()> {
        let fail = |kind| Err(FsError::new(kind, op, path));
        let place = self.walk(op, path)?;
        let Some(ino) = place.ino else { return fail(ErrorKind::NotFound) };
        match (kind, self.tree.dir(ino)) {
            (FileKind::File, Some(_)) => return fail(ErrorKind::IsADirectory),
            (FileKind::Dir, None) => return fail(ErrorKind::NotADirectory),
            (FileKind::Dir, Some(_)) => {
                self.listed(ino);
                if path.is_empty() {
                    return fail(ErrorKind::InvalidInput);
                }
                if self.tree.dir(ino).is_some_and(|d| !d.is_empty()) {
                    return fail(ErrorKind::NotEmpty);
                }
            }
            (FileKind::File, None) => {}
        }
        self.writable(op, path)?;
        let effect = self.dentry(place.dir, place.name, Some(ino), None);
        self.execute(|| format!("{op} {path}"), vec![effect]);
        self.forget_if_unused(ino);
        Ok(())
    }

    pub(super) fn open(&mut self, path: &str, mode: OpenMode) -> Result<Ino> {
        let op = if matches!(mode, OpenMode::Create | OpenMode::CreateNew) { "open-create" } else { "open" };
        let fail = |kind| Err(FsError::new(kind, op, path));
        let place = self.walk(op, path)?;
        let ino = match place.ino {
            Some(_) if mode == OpenMode::CreateNew => return fail(ErrorKind::AlreadyExists),
            Some(ino) if self.tree.dir(ino).is_some() => return fail(ErrorKind::IsADirectory),
            Some(ino) => {
                if mode != OpenMode::Read {
                    self.writable(op, path)?;
                }
                if matches!(mode, OpenMode::Create) {
                    self.push(|| format!("{op} {path}"), || What::Effects(Vec::new()));
                }
                ino
            }
            None if op == "open" => return fail(ErrorKind::NotFound),
            None if self.tree.dir(place.dir).is_none() => return fail(ErrorKind::NotFound),
            None => {
                self.writable(op, path)?;
                let ino = self.tree.add(Node::empty(FileKind::File));
                let effect = self.dentry(place.dir, place.name, None, Some(ino));
                self.execute(|| format!("{op} {path}"), vec![effect]);
                ino
            }
        };
        self.open_handle(ino);
        Ok(ino)
    }

    pub(super) fn mkdir(&mut self, path: &str) -> Result<()> {
        let place = self.walk("mkdir", path)?;
        if place.ino.is_some() {
            return Err(FsError::new(ErrorKind::AlreadyExists, "mkdir", path));
        }
        self.writable("mkdir", path)?;
        let ino = self.tree.add(Node::empty(FileKind::Dir));
        let effect = self.dentry(place.dir, place.name, None, Some(ino));
        self.execute(|| format!("mkdir {path}"), vec![effect]);
        Ok(())
    }

    pub(super) fn hard_link(&mut self, existing: &str, new: &str) -> Result<()> {
        check_path("link", new)?;
        let source = self.existing("link", existing)?;
        let place = self.walk("link", new)?;
        if place.ino.is_some() {
            return Err(FsError::new(ErrorKind::AlreadyExists, "link", new));
        }
        if self.tree.dir(source).is_some() {
            return Err(FsError::new(ErrorKind::Denied, "link", existing));
        }
        self.writable("link", new)?;
        let effect = self.dentry(place.dir, place.name, None, Some(source));
        self.execute(|| format!("link {existing} -> {new}"), vec![effect]);
        Ok(())
    }

    fn listed(&mut self, dir: Ino) {
        self.reader.iter_mut().for_each(|reader| reader.listed(dir));
    }

    pub(super) fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>> {
        let ino = self.existing("readdir", path)?;
        if self.fires(FaultKind::ReadError) {
            return Err(FsError::new(ErrorKind::Io, "readdir", path));
        }
        self.listed(ino);
        let Some(entries) = self.tree.dir(ino) else {
            return Err(FsError::new(ErrorKind::NotADirectory, "readdir", path));
        };
        let kind = |ino: &Ino| if self.tree.dir(*ino).is_some() { FileKind::Dir } else { FileKind::File };
        Ok(entries.iter().map(|(name, ino)| DirEntry { name: name.to_string(), kind: kind(ino) }).collect())
    }
}
