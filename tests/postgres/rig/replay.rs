//! Says again to PostgreSQL what a node said to it before.

use std::io::{BufReader, Write as _};
use std::os::unix::net::UnixStream;

use super::cluster::{Cluster, DATABASE};
use super::wire::Frame;

/// Sends each transaction as it was recorded on a [`Link`](super::Link), over a connection of its
/// own, and waits for its end, whatever it is. Gives how many were not refused.
pub(crate) fn replay<'a>(
    cluster: &Cluster,
    transactions: impl IntoIterator<Item = &'a Vec<u8>>,
) -> usize {
    transactions.into_iter().filter(|transaction| say(cluster, transaction)).count()
}

fn say(cluster: &Cluster, transaction: &[u8]) -> bool {
    let mut server = UnixStream::connect(cluster.socket()).unwrap();
    server.write_all(&Frame::startup("postgres", DATABASE)).unwrap();
    let mut answers = BufReader::new(server.try_clone().unwrap());
    while Frame::read(&mut answers).unwrap().ready().is_none() {}
    server.write_all(transaction).unwrap();
    // Terminate, behind which the server says nothing more.
    server.write_all(b"X\0\0\0\x04").unwrap();
    let (mut is_good, mut is_answered) = (true, false);
    while let Ok(frame) = Frame::read(&mut answers) {
        is_good &= !frame.undoes();
        is_answered |= frame.ready().is_some();
    }
    is_good && is_answered
}
