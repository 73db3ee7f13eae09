-- The tables of the portal, as they stand where it runs.

create table chat_sessions (
    id uuid primary key,
    session_id varchar(255) unique not null,
    user_id varchar(255) not null,
    title varchar(500),
    first_message text,
    last_message text,
    message_count int,
    metadata jsonb,
    created_at timestamptz,
    updated_at timestamptz
);

create table chat_messages (
    id uuid primary key,
    message_id varchar(255) unique not null,
    session_id varchar(255) not null references chat_sessions (session_id) on delete cascade,
    role varchar(50) check (role in ('user', 'assistant')),
    content text not null,
    metadata jsonb,
    created_at timestamptz
);

create function set_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at = now();
    return new;
end
$$;

create trigger set_updated_at before update on chat_sessions
    for each row execute function set_updated_at();
