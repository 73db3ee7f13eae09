//! The other writer: does to the tables what the portal's Express service does.

use postgres::{Client, GenericClient};

use super::cluster::Cluster;

/// The service, with a connection of its own.
pub(crate) struct Express(pub(crate) Client);

impl Express {
    pub(crate) fn at(cluster: &Cluster) -> Self {
        Self(cluster.connect_as_owner())
    }

    /// Creates a session. The first message is counted, and never stored.
    pub(crate) fn create(&mut self, user: &str, session: &str, first: &str) {
        create(&mut self.0, user, session, first).unwrap();
    }

    /// Has so many messages, a hundred in each session, of users whose names end with a number.
    pub(crate) fn fill(&mut self, messages: usize, users: usize) {
        let sessions = messages / 100;
        let sql = format!(
            "insert into chat_sessions select gen_random_uuid(), 's' || n, 'user-' || n % {users},
                'title', null, 'm', 100, '{{}}', now() - interval '1 day', now()
                from generate_series(1, {sessions}) as n;
            insert into chat_messages select gen_random_uuid(), 'm' || n,
                's' || (n % {sessions} + 1), 'user', repeat('words ', 40) || n, '{{}}',
                now() - interval '1 day' + n * interval '1 millisecond'
                from generate_series(1, {messages}) as n;
            analyze"
        );
        self.0.batch_execute(&sql).unwrap();
    }

    /// Saves a message, and counts it.
    pub(crate) fn save(&mut self, session: &str, id: &str, content: &str) {
        let mut work = self.0.transaction().unwrap();
        save(&mut work, session, id, content).unwrap();
        work.commit().unwrap();
    }

    /// Changes the text of a message.
    pub(crate) fn edit(&mut self, id: &str, content: &str) {
        let sql = "update chat_messages set content = $1 where message_id = $2";
        assert_eq!(self.0.execute(sql, &[&content, &id]).unwrap(), 1);
    }

    pub(crate) fn rename(&mut self, session: &str, title: &str) {
        let sql = "update chat_sessions set title = $1 where session_id = $2";
        assert_eq!(self.0.execute(sql, &[&title, &session]).unwrap(), 1);
    }

    /// Deletes a session with its messages, without a trace.
    pub(crate) fn delete(&mut self, session: &str) {
        let sql = "delete from chat_sessions where session_id = $1";
        assert_eq!(self.0.execute(sql, &[&session]).unwrap(), 1);
    }

    pub(crate) fn delete_message(&mut self, id: &str) {
        let sql = "delete from chat_messages where message_id = $1";
        assert_eq!(self.0.execute(sql, &[&id]).unwrap(), 1);
    }

    /// The texts of a session's messages.
    pub(crate) fn said(&mut self, session: &str) -> Vec<String> {
        let sql = "select content from chat_messages where session_id = $1
            order by created_at, message_id";
        self.0.query(sql, &[&session]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// The ids of a session's messages.
    pub(crate) fn ids(&mut self, session: &str) -> Vec<String> {
        let sql = "select message_id from chat_messages where session_id = $1 order by created_at";
        self.0.query(sql, &[&session]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// A user's sessions, the newest first.
    pub(crate) fn list(&mut self, user: &str) -> Vec<String> {
        let sql = "select session_id from chat_sessions where user_id = $1
            order by updated_at desc";
        self.0.query(sql, &[&user]).unwrap().iter().map(|row| row.get(0)).collect()
    }
}

/// The same within a transaction.
pub(crate) fn create(
    db: &mut impl GenericClient,
    user: &str,
    session: &str,
    first: &str,
) -> Result<(), postgres::Error> {
    let sql = "insert into chat_sessions (id, session_id, user_id, title, first_message,
        last_message, message_count, metadata, created_at, updated_at)
        values (gen_random_uuid(), $1, $2, left($3, 50), $3, $3, 1, '{}', now(), now())";
    db.execute(sql, &[&session, &user, &first]).map(drop)
}

/// The same within a transaction.
pub(crate) fn save(
    db: &mut impl GenericClient,
    session: &str,
    id: &str,
    content: &str,
) -> Result<(), postgres::Error> {
    let insert = "insert into chat_messages (id, message_id, session_id, role, content, metadata,
        created_at) values (gen_random_uuid(), $1, $2, 'user', $3, '{}', clock_timestamp())";
    db.execute(insert, &[&id, &session, &content])?;
    let update = "update chat_sessions set message_count = message_count + 1, last_message = $2
        where session_id = $1";
    db.execute(update, &[&session, &content]).map(drop)
}
