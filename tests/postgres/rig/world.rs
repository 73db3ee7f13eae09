//! What a side holds, as the other would have to hold it.

use std::collections::BTreeMap;
use std::fmt;

use postgres::Client;
use serde_json::Value;

use super::node::Node;

/// Sessions by their ids.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct World(pub(crate) BTreeMap<String, Session>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) title: String,
    pub(crate) metadata: Value,
    pub(crate) created: String,
    /// As it is counted there, which must be how many there are.
    pub(crate) count: i64,
    pub(crate) last: String,
    /// In their order.
    pub(crate) messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) content: String,
    pub(crate) metadata: Value,
    pub(crate) at: String,
}

/// Milliseconds, as the API shows them.
const SESSIONS: &str = "
select session_id, user_id, coalesce(title, ''), coalesce(metadata, '{}')::text,
    coalesce(to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), ''),
    coalesce(message_count, 0), coalesce(last_message, '')
from public.chat_sessions";
const MESSAGES: &str = "
select session_id, message_id, coalesce(role::text, ''), content, coalesce(metadata, '{}')::text,
    coalesce(to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), '')
from public.chat_messages order by session_id, created_at, message_id";

impl World {
    /// What the tables hold.
    pub(crate) fn there(client: &mut Client) -> Self {
        let mut work = client.build_transaction();
        work = work.isolation_level(postgres::IsolationLevel::RepeatableRead);
        let mut work = work.start().unwrap();
        let sessions = work.query(SESSIONS, &[]).unwrap();
        let mut world: BTreeMap<String, Session> = sessions
            .iter()
            .map(|row| {
                let session = Session {
                    user: row.get(1),
                    title: row.get(2),
                    metadata: json(row.get(3)),
                    created: row.get(4),
                    count: i64::from(row.get::<_, i32>(5)),
                    last: row.get(6),
                    messages: Vec::new(),
                };
                (row.get(0), session)
            })
            .collect();
        for row in work.query(MESSAGES, &[]).unwrap() {
            let message = Message {
                id: row.get(1),
                role: row.get(2),
                content: row.get(3),
                metadata: json(row.get(4)),
                at: row.get(5),
            };
            world.get_mut(row.get::<_, &str>(0)).unwrap().messages.push(message);
        }
        Self(world)
    }

    /// What a node has of these users.
    pub(crate) fn here(node: &Node, users: impl IntoIterator<Item = String>) -> Self {
        let mut world = BTreeMap::new();
        for user in users {
            for session in node.sessions(&user) {
                let id = text(&session["sessionId"]);
                let session = Session::of(&session, &node.messages(&user, &id));
                world.insert(id, session);
            }
        }
        Self(world)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = String> {
        self.0.values().map(|session| session.user.clone())
    }

    /// Leaves out a message, which the other side refused.
    pub(crate) fn without(mut self, refused: &[&str]) -> Self {
        for (id, session) in &mut self.0 {
            session.messages.retain(|message| !refused.contains(&message.id.as_str()));
            if refused.contains(&id.as_str()) {
                session.messages.clear();
            }
        }
        self.0.retain(|id, _| !refused.contains(&id.as_str()));
        self
    }

    /// The first thing in which they differ.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        let ids: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        ids.into_iter().find_map(|id| match (self.0.get(id), other.0.get(id)) {
            (Some(one), Some(other)) if one == other => None,
            (Some(one), Some(other)) => Some(format!("{id}: {}", one.differs(other))),
            (one, other) => Some(format!("{id}: here {} there {}", one.is_some(), other.is_some())),
        })
    }
}

impl Session {
    fn of(session: &Value, messages: &[Value]) -> Self {
        let message = |message: &Value| Message {
            id: text(&message["id"]),
            role: text(&message["role"]),
            content: text(&message["content"]),
            metadata: message["metadata"].clone(),
            at: text(&message["timestamp"]),
        };
        let messages: Vec<_> = messages.iter().map(message).collect();
        Self {
            user: text(&session["userId"]),
            title: text(&session["title"]),
            metadata: session["metadata"].clone(),
            created: text(&session["createdAt"]),
            count: session["messageCount"].as_i64().unwrap(),
            // The API shows the beginning of a long one.
            last: messages.last().map_or_else(String::new, |last| last.content.clone()),
            messages,
        }
    }

    fn differs(&self, other: &Self) -> String {
        let place = self.messages.iter().zip(&other.messages).position(|(one, other)| one != other);
        let lengths = (self.messages.len(), other.messages.len());
        let bare = |session: &Self| Self { messages: Vec::new(), ..session.clone() };
        let message = place.map(|place| (&self.messages[place], &other.messages[place]));
        let heads = (bare(self), bare(other));
        let first_more = self.messages.get(lengths.1).or_else(|| other.messages.get(lengths.0));
        format!(
            "{heads:?} have {lengths:?} messages, of which differ {message:?}, more {first_more:?}"
        )
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: usize = self.0.values().map(|session| session.messages.len()).sum();
        write!(f, "{} sessions with {messages} messages", self.0.len())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
