//! The data file, the disk that it is on, and the room there.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{Access, access, statfs, statvfs};

use crate::control::socket_path;
use crate::store::{OpenError, Snapshot};

use super::Finding;

const FILE: &str = "file";
const ROOM: &str = "space";

/// Below this, writes are about to fail.
const ROOM_MIN: u64 = 64 << 20;
/// Below this, an operator should know.
const ROOM_LOW: u64 = 1 << 30;

/// The file at `data`: whether it can be made or is sound, and who else can get at it.
pub(super) fn file(data: &Path) -> Vec<Finding> {
    let shown = data.display();
    let found = match data.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return vec![to_be_made(data)],
        Err(error) => {
            let text = format!("cannot look at {shown}: {error}; run this as the server's user");
            return vec![Finding::wrong(FILE, text)];
        }
    };
    let mut findings = vec![soundness(data)];
    if found.permissions().mode() & 0o077 != 0 {
        let text = format!("{shown} can be read or written by others: chmod 600 {shown}");
        findings.push(Finding::doubtful(FILE, text));
    }
    let user = rustix::process::geteuid().as_raw();
    if ![0, found.uid()].contains(&user) {
        let text = format!("{shown} belongs to user {}; run the server as that user", found.uid());
        findings.push(Finding::doubtful(FILE, text));
    }
    findings.extend(kind_of_disk(data));
    findings
}

/// Whether a server has it, else whether it can be opened.
fn soundness(data: &Path) -> Finding {
    let shown = data.display();
    if socket_path(data).and_then(UnixStream::connect).is_ok() {
        return Finding::well(FILE, format!("{shown} is in use by a server that answers"));
    }
    match Snapshot::open(data) {
        Ok(_) => Finding::well(FILE, format!("{shown} can be opened; verify looks at all of it")),
        Err(error @ OpenError::InUse { .. }) => Finding::doubtful(FILE, error.to_string()),
        Err(error) => Finding::wrong(FILE, error.to_string()),
    }
}

fn to_be_made(data: &Path) -> Finding {
    let (shown, folder) = (data.display(), folder_of(data));
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => kind_of_disk(folder).unwrap_or_else(|| {
            Finding::well(FILE, format!("{shown} is made when the server starts"))
        }),
        Err(error) => {
            let folder = folder.display();
            let text = format!(
                "{shown} cannot be made: {folder}: {error}; \
                 make a folder that the server's user may write, and name it with --data"
            );
            Finding::wrong(FILE, text)
        }
    }
}

/// The numbers of statfs(2) for what loses data, or only says that it has kept it.
fn kind_of_disk(path: &Path) -> Option<Finding> {
    let (kind, outcome) = match statfs(path).ok()?.f_type {
        0x0102_1994 | 0x8584_58f6 => ("memory", "it is gone after the next start of this machine"),
        0x794c_7630 => ("a container's own layer", "it goes with the container"),
        0x6969 => ("NFS", "a server elsewhere decides when it is on disk"),
        0xff53_4d42 | 0xfe53_4d42 => ("SMB", "a server elsewhere decides when it is on disk"),
        0x6573_5546 => ("FUSE", "a program decides when it is on disk"),
        _ => return None,
    };
    let text =
        format!("{} is on {kind}: {outcome}; choose a local disk with --data", path.display());
    Some(Finding::doubtful(FILE, text))
}

/// How much room there is beside the file at `data`.
pub(super) fn room(data: &Path) -> Finding {
    let folder = folder_of(data);
    let shown = folder.display();
    let disk = match statvfs(folder) {
        Ok(disk) => disk,
        Err(error) => {
            let text = format!("cannot look at {shown}: {error}; name another place with --data");
            return Finding::wrong(ROOM, text);
        }
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let size = data.metadata().map_or(0, |found| found.len());
    let room = format!("{} free in {shown}, and the data file has {}", mib(free), mib(size));
    if disk.f_files > 0 && disk.f_favail == 0 {
        let text = format!("no file can be made in {shown}: see df -i, and delete files there");
        return Finding::wrong(ROOM, text);
    }
    if free < ROOM_MIN {
        let text =
            format!("{room}: writes fail without; du -x {shown} | sort -n shows what takes it");
        return Finding::wrong(ROOM, text);
    }
    if free < ROOM_LOW {
        return Finding::doubtful(ROOM, format!("{room}: give it room in time"));
    }
    if free < size {
        return Finding::doubtful(ROOM, format!("{room}: a backup must go to another disk"));
    }
    Finding::well(ROOM, room)
}

fn folder_of(data: &Path) -> &Path {
    match data.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
