//! Why a command failed, in one line, and the number that the process ends with.

use std::path::PathBuf;

use crate::care::CareError;
use crate::config::ConfigError;
use crate::model::Invalid;
use crate::server::StartError;
use crate::store::{OpenError, StoreError};
use crate::systemd::HandedOverError;

use super::{ReplicaFailure, Unhealthy};

/// Why the process ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `ORION_CHAT_LOG` makes no sense.
    #[error("ORION_CHAT_LOG is {0:?}: {1}; write a level such as info or debug")]
    LogFilter(String, tracing_subscriber::filter::ParseError),
    /// Nobody can be the user whose token was asked for.
    #[error("USER: {0}; write the id that the portal has for the user")]
    TokenUser(Invalid),
    /// Nobody can be the user whose data was asked for.
    #[error("--user: {0}; write it as the service shows it")]
    User(Invalid),
    /// `doctor` found something wrong.
    #[error("checks that failed: {failed}; do what their lines say, and run doctor again")]
    Unwell {
        /// How many.
        failed: usize,
    },
    /// What a service manager handed over cannot be served.
    #[error(transparent)]
    HandedOver(#[from] HandedOverError),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The data file failed while it was served.
    #[error("{0}; stopped, so that a new process can open the data file again")]
    Store(#[from] StoreError),
    /// The data could not be looked after.
    #[error(transparent)]
    Care(#[from] CareError),
    /// The replica could not be looked after.
    #[error(transparent)]
    Replica(#[from] ReplicaFailure),
    /// A server is not well.
    #[error(transparent)]
    Unhealthy(#[from] Unhealthy),
    /// A manual page cannot be written.
    #[error("cannot write {path}: {source}; name a folder that is there and can be written", path = path.display())]
    ManPage {
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system refused what every process needs.
    #[error("cannot start: {0}; see the system's limits on threads and descriptors")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// The numbers of sysexits.h where it has one, and EADDRINUSE.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TokenUser(_) | Self::User(_) => 2,
            Self::Unhealthy(_)
            | Self::Unwell { .. }
            | Self::Care(CareError::NoServer { .. })
            | Self::Replica(ReplicaFailure::Failed(_) | ReplicaFailure::NotWell(_)) => 1,
            Self::Config(_)
            | Self::Replica(ReplicaFailure::NotConfigured)
            | Self::LogFilter(..)
            | Self::HandedOver(_)
            | Self::Start(StartError::Listen { .. } | StartError::Store(OpenError::Newer { .. })) => {
                78
            }
            Self::Start(StartError::AddressInUse { .. }) => 98,
            Self::Start(StartError::Store(error)) | Self::Care(CareError::Open(error)) => {
                match error {
                    OpenError::Create { .. } | OpenError::Access { .. } => 73,
                    OpenError::InUse { .. } => 75,
                    OpenError::Newer { .. } | OpenError::Damaged { .. } | OpenError::Io(_) => 74,
                }
            }
            Self::Care(
                CareError::Copy { .. } | CareError::Itself { .. } | CareError::InUse { .. },
            )
            | Self::ManPage { .. } => 73,
            Self::Care(CareError::Refused { .. }) => 65,
            Self::Care(CareError::Lines { .. }) => 66,
            Self::Care(CareError::Ask { .. }) | Self::Replica(ReplicaFailure::Ask(_)) => 75,
            Self::Care(
                CareError::Damaged { .. }
                | CareError::BrokenOff(_)
                | CareError::Unreadable { .. }
                | CareError::Unfinished { .. }
                | CareError::Prune { .. },
            )
            | Self::Store(_)
            | Self::System(_) => 74,
        }
    }
}
