//! `health`: whether a server is well.

use std::time::Duration;

use crate::cli::HealthArgs;
use crate::client::{Answer, AskError, Peer};

use super::{Failure, say};

/// Why a server is not taken to be well.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// It was not reached.
    #[error("{url}: {source}; see whether the server runs, and listens there")]
    Silent {
        /// What was asked.
        url: String,
        /// What came of it.
        source: AskError,
    },
    /// It did not answer in time.
    #[error(
        "{url}: no answer within {timeout:?}; see the server's log, or wait longer with --timeout"
    )]
    Slow {
        /// What was asked.
        url: String,
        /// How long.
        timeout: Duration,
    },
    /// It says that it is not well.
    #[error("{url}: {status}, {reason}; see the server's log")]
    Unwell {
        /// What was asked.
        url: String,
        /// Of its answer.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// Something else has its place.
    #[error("{url}: that is not orion-chat (it answered {status}); name the server with --url")]
    Stranger {
        /// What was asked.
        url: String,
        /// Of its answer.
        status: u16,
    },
}

/// Asks `server`, and says what it answered.
pub(super) fn health(server: &Peer, args: &HealthArgs) -> Result<(), Failure> {
    let (path, well) = if args.ready { ("/ready", "ready") } else { ("/health", "healthy") };
    let url = format!("http://{}{path}", server.name());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = async { tokio::time::timeout(args.timeout, server.get(path)).await };
    let answer = match runtime.block_on(asked) {
        Ok(Ok(answer)) => answer,
        Ok(Err(source)) => return Err(Unhealthy::Silent { url, source }.into()),
        Err(_) => return Err(Unhealthy::Slow { url, timeout: args.timeout }.into()),
    };
    if answer.text("status") != Some(well) || !answer.status.is_success() {
        return Err(unwell(url, &answer).into());
    }
    if !args.quiet {
        say(&format!("{url} is {well}"));
    }
    Ok(())
}

fn unwell(url: String, answer: &Answer) -> Unhealthy {
    let status = answer.status.as_u16();
    match (answer.text("error"), answer.text("code")) {
        (Some(error), Some(code)) => {
            Unhealthy::Unwell { url, status, reason: format!("{code}: {error}") }
        }
        _ => Unhealthy::Stranger { url, status },
    }
}
