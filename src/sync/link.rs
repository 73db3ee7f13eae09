//! A connection with its statements: unnamed ones, so that a pooler may give each transaction
//! another connection of its own.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::sync::OnceCell;
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
    /// Whether a commit of ours was seen.
    committed: AtomicBool,
    /// The type of roles there, as SQL writes it.
    role_type: OnceCell<String>,
}

impl Link {
    pub(super) fn new(client: Client, node: String) -> Self {
        Self { client, node, committed: AtomicBool::new(false), role_type: OnceCell::new() }
    }

    /// Who we are.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// The type of roles there, as SQL writes it: text, or an enumeration.
    pub(super) async fn role_type(&self) -> Result<&str, SyncError> {
        let ask = async || {
            let statement = "select a.atttypid::regtype::text from pg_attribute a\
                \x20where a.attrelid = 'chat_messages'::regclass and a.attname = 'role'";
            let rows = self.query("the tables", statement, &[]).await?;
            Ok(rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or("text".to_owned()))
        };
        self.role_type.get_or_try_init(ask).await.map(String::as_str)
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
        self.run("COMMIT").await?;
        self.committed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a commit of ours was seen: then something was sent, whatever happened next.
    pub(super) fn has_committed(&self) -> bool {
        self.committed.load(Ordering::Relaxed)
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
        let mut rows = Vec::new();
        let keep = |row| {
            rows.push(row);
            Ok(())
        };
        self.each_long(what, (statement, parameters), keep).await?;
        Ok(rows)
    }

    /// Shows `each` such rows as they arrive: a million of them take more memory than what is kept of
    /// them.
    pub(super) async fn each_long(
        &self,
        what: &'static str,
        (statement, parameters): (&str, &[Parameter<'_>]),
        mut each: impl FnMut(Row) -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        let millis = LONG.as_millis();
        self.run(&format!("BEGIN; SET LOCAL statement_timeout = {millis}")).await?;
        let answer = async {
            let parameters = parameters.iter().map(|(value, kind)| (*value, kind.clone()));
            let mut rows = pin!(self.client.query_typed_raw(statement, parameters).await?);
            while let Some(row) = rows.try_next().await? {
                each(row)?;
            }
            Ok(())
        };
        match in_time(LONG, answer).await {
            Ok(()) => self.run("COMMIT").await,
            Err(error) => {
                self.rollback().await;
                Err(error.about(what))
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
