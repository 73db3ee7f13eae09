-- After the rows, as they are made quicker then.
CREATE INDEX chat_sessions_of_user ON chat_sessions (user_id, updated_at DESC);
CREATE INDEX chat_messages_of_session ON chat_messages (session_id, created_at);
VACUUM ANALYZE;
CHECKPOINT;
