//! The extra schema: what tells us of every change there, and keeps what has no column.

use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::{SyncError, Target};

const INSTALL: &str = include_str!("install.sql");
const UNINSTALL: &str = include_str!("uninstall.sql");

/// Others' writes wait behind whoever waits for a table, so that is not for long; and it is the server
/// that ends it, when nobody waits for the answer any more.
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s';";

/// Adds the extra schema `orion_chat` and its triggers; where it is already, nothing changes.
///
/// # Errors
/// [`SyncError`], with which nothing was changed.
pub async fn install(target: &Target) -> Result<(), SyncError> {
    run(target, INSTALL, "the installation").await
}

/// Removes the extra schema and its triggers; where it is not, nothing changes.
///
/// # Errors
/// [`SyncError`], with which nothing was changed.
pub async fn uninstall(target: &Target) -> Result<(), SyncError> {
    run(target, UNINSTALL, "the removal").await
}

async fn run(target: &Target, statements: &str, what: &'static str) -> Result<(), SyncError> {
    let (client, connection) = target.connect().await?;
    let link = Link::new(client, String::new());
    let done = CancellationToken::new();
    let work = async {
        // In one transaction, all or nothing.
        let outcome = link.run(&format!("{BEGIN} {statements} COMMIT")).await;
        done.cancel();
        outcome.map_err(|error| error.about(what))
    };
    let connected = async {
        tokio::select! {
            () = done.cancelled() => {}
            _ended = connection => {}
        }
    };
    tokio::join!(work, connected).0
}
