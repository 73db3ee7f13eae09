CREATE TABLE chat_sessions (
  session_id text PRIMARY KEY,
  user_id text NOT NULL,
  title text NOT NULL,
  first_message text,
  last_message text,
  message_count integer NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE chat_messages (
  message_id text PRIMARY KEY,
  session_id text NOT NULL REFERENCES chat_sessions ON DELETE CASCADE,
  role text NOT NULL,
  content text NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now()
);
