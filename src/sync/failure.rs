//! What may go wrong with the replica, and what is done about it.

use tokio_postgres::error::SqlState;

use crate::sessions::SessionError;
use crate::store::StoreError;

/// Why something was not sent or taken. No text holds a password or what a message says.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// PostgreSQL cannot be reached, or does not answer any more.
    #[error("{0}")]
    Unreachable(String),
    /// PostgreSQL refused a statement.
    #[error("PostgreSQL refused {what}: {message} ({state})")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its SQLSTATE.
        state: String,
        /// What it says, on one line.
        message: String,
    },
    /// It must be asked first.
    #[error("{0}")]
    Paused(String),
    /// Something cannot be done as things are.
    #[error("{0}")]
    Unable(String),
    /// Our own data could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The moment: the same is tried again.
    Moment,
    /// A row: it is set aside, and the others go on.
    Row,
    /// The tables, or what we may do: nothing goes on before somebody has looked at it.
    Tables,
}

impl SyncError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Refused { state, .. } => kind_of(state),
            Self::Paused(_) | Self::Unable(_) => Kind::Tables,
            Self::Unreachable(_) | Self::Store(_) => Kind::Moment,
        }
    }

    /// Whether a row is to be set aside for it.
    pub(super) fn is_of_row(&self) -> bool {
        self.kind() == Kind::Row || self.is_held()
    }

    /// Whether what was asked for took too long, or too much, so that less of it may be done.
    pub(super) fn is_too_much(&self) -> bool {
        let is_it = |state: &str| state == "57014" || state.starts_with("53");
        matches!(self, Self::Refused { state, .. } if is_it(state)) || self.is_held()
    }

    /// Whether somebody else holds a row.
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Refused { state, .. } if state == "55P03")
    }

    /// Names what was asked for.
    pub(super) fn about(self, what: &'static str) -> Self {
        match self {
            Self::Refused { state, message, .. } => Self::Refused { what, state, message },
            other => other,
        }
    }
}

/// What an SQLSTATE is about.
fn kind_of(state: &str) -> Kind {
    match state.get(..2).unwrap_or_default() {
        // A row twice in a statement (as of ids that are there once for all sessions), data, integrity,
        // limits of the program, and what somebody's trigger says.
        "21" | "22" | "23" | "54" | "P0" => Kind::Row,
        // Connection, a transaction that may only read, serialization, resources, locks, operator,
        // system.
        "08" | "25" | "40" | "53" | "55" | "57" | "58" => Kind::Moment,
        _ => Kind::Tables,
    }
}

impl From<tokio_postgres::Error> for SyncError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            return Self::Unreachable(format!(
                "the connection to PostgreSQL broke off: {error}{cause}"
            ));
        };
        let code = refusal.code();
        // Its detail may hold what a message says.
        let message = match refusal.column().or(refusal.constraint()) {
            Some(_) if *code == SqlState::CHECK_VIOLATION => {
                format!("it violates the check {}", refusal.constraint().unwrap_or_default())
            }
            _ => refusal.message().replace('\n', " "),
        };
        Self::Refused { what: "a statement", state: code.code().to_owned(), message }
    }
}

impl From<SessionError> for SyncError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => Self::Store(error),
            other => Self::Unable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_about_the_moment_the_row_or_the_tables() {
        let moments = "08000 08001 08003 08004 08006 25001 25006 25P02 25P03 40001 40P01 53000 53100\
            \x2053200 53300 55000 55006 55P03 57000 57014 57P01 57P02 57P03 58000 58030";
        let rows = "21000 22001 22003 22008 22021 22P02 22P05 23000 23502 23503 23505 23514 23P01 54000\
            \x2054001 P0001";
        let tables = "0A000 28000 28P01 3D000 3F000 42501 42703 42804 42883 42P01 XX000";
        for (kind, states) in [(Kind::Moment, moments), (Kind::Row, rows), (Kind::Tables, tables)] {
            for state in states.split(' ') {
                assert_eq!(kind_of(state), kind, "{state}");
            }
        }
        assert_eq!(kind_of(""), Kind::Tables);
    }
}
