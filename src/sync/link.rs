//! A connection with its statements: unnamed ones, so that a pooler may give each transaction
//! another connection of its own.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::SyncError;

/// How long a statement may take.
const STATEMENT: Duration = Duration::from_secs(10);
/// How long one may take that looks at everything.
const LONG: Duration = Duration::from_mins(10);
/// How long a row may be held by somebody else.
const LOCK: Duration = Duration::from_millis(500);
/// How much longer its answer may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// A parameter of a statement, with its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    /// Who we are, for triggers to know.
    node: String,
}

impl Link {
    pub(super) fn new(client: Client, node: String) -> Self {
        Self { client, node }
    }

    /// Who we are.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Begins a transaction of ours, whose statements end in time.
    pub(super) async fn begin(&self) -> Result<(), SyncError> {
        let (millis, lock, node) = (STATEMENT.as_millis(), LOCK.as_millis(), &self.node);
        // The node is hexadecimal: nothing in it needs quoting.
        self.run(&format!(
            "BEGIN; SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {lock}; \
             SET LOCAL orion_chat.node = '{node}'"
        ))
        .await
    }

    pub(super) async fn commit(&self) -> Result<(), SyncError> {
        self.run("COMMIT").await
    }

    /// Undoes the transaction; nothing is left to do where that fails.
    pub(super) async fn rollback(&self) {
        let _broken = self.run("ROLLBACK").await;
    }

    /// Runs statements without parameters.
    pub(super) async fn run(&self, statements: &str) -> Result<(), SyncError> {
        in_time(STATEMENT, async { Ok(self.client.batch_execute(statements).await?) }).await
    }

    /// The rows of a statement that looks at everything, and may take long.
    pub(super) async fn query_long(
        &self,
        what: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, SyncError> {
        let millis = LONG.as_millis();
        self.run(&format!("BEGIN; SET LOCAL statement_timeout = {millis}")).await?;
        let answer = async { Ok(self.client.query_typed(statement, parameters).await?) };
        let rows = in_time(LONG, answer).await.map_err(|error| error.about(what));
        match rows {
            Ok(rows) => self.commit().await.map(|()| rows),
            Err(error) => {
                self.rollback().await;
                Err(error)
            }
        }
    }

    /// The rows that `statement` gives, which is about `what`.
    pub(super) async fn query(
        &self,
        what: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, SyncError> {
        let answer = async { Ok(self.client.query_typed(statement, parameters).await?) };
        in_time(STATEMENT, answer).await.map_err(|error| error.about(what))
    }
}

async fn in_time<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, SyncError>>,
) -> Result<T, SyncError> {
    let limit = time + ON_ITS_WAY;
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let secs = limit.as_secs();
        Err(SyncError::Unreachable(format!("PostgreSQL did not answer within {secs} s")))
    })
}
