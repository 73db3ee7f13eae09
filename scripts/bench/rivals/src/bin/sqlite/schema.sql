-- A history lies together, in the order in which it is read.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, user TEXT NOT NULL, title TEXT NOT NULL, first_message TEXT,
  last_message TEXT, message_count INTEGER NOT NULL, metadata TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user, updated DESC);
CREATE TABLE messages (
  session TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, role TEXT NOT NULL,
  content TEXT NOT NULL, metadata TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (session, number)
) WITHOUT ROWID;
