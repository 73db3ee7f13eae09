create schema if not exists orion_chat;

-- What changed: which rows, and in which transaction. Rows that a node wrote itself are told to
-- other nodes alone.
create table if not exists orion_chat.outbox (
    xid xid8 not null default pg_current_xact_id(),
    id bigint generated always as identity,
    -- s, m: a session or message was put; S, M: it was deleted; t: all were
    kind "char" not null,
    session_id text not null,
    message_id text,
    -- of a session that was deleted, whose it was
    user_id text,
    at bigint not null,
    node text not null,
    primary key (xid, id)
);

alter table orion_chat.outbox add column if not exists user_id text;

-- When a session's title or metadata changed last, and what has no column of the portal's.
create table if not exists orion_chat.versions (
    session_id text primary key,
    own_at bigint not null,
    node text not null,
    marks jsonb
);

-- Who follows, and how far; a mark that only grows tells a restored copy from what it is of.
create table if not exists orion_chat.nodes (
    node text primary key,
    mark bigint not null,
    followed text,
    seen_at timestamptz not null
);

create or replace function orion_chat.is_told(node text) returns boolean
language sql stable as $$
    select node = '' or exists (select from orion_chat.nodes n where n.node <> is_told.node)
$$;

create or replace function orion_chat.note_sessions() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    writer text := coalesce(current_setting('orion_chat.node', true), '');
    micros bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
begin
    if tg_op = 'TRUNCATE' then
        insert into orion_chat.outbox (kind, session_id, at, node) values ('t', '', micros, writer);
        return null;
    end if;
    if tg_op = 'UPDATE' and writer = '' then
        insert into orion_chat.versions as v (session_id, own_at, node)
            select n.session_id, micros, '' from new_rows n join old_rows o using (session_id)
            where (n.title, n.metadata) is distinct from (o.title, o.metadata)
            on conflict (session_id) do update
                set own_at = greatest(excluded.own_at, v.own_at + 1), node = '';
    end if;
    if tg_op = 'DELETE' then
        delete from orion_chat.versions v using old_rows o where v.session_id = o.session_id;
    end if;
    if not orion_chat.is_told(writer) then
        return null;
    end if;
    if tg_op = 'DELETE' then
        insert into orion_chat.outbox (kind, session_id, user_id, at, node)
            select 'S', o.session_id, o.user_id,
                greatest(micros, (extract(epoch from greatest(o.created_at, o.updated_at))
                    * 1000000)::bigint), writer
            from old_rows o;
    else
        insert into orion_chat.outbox (kind, session_id, at, node)
            select 's', n.session_id, micros, writer from new_rows n;
    end if;
    return null;
end $$;

create or replace function orion_chat.note_messages() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    writer text := coalesce(current_setting('orion_chat.node', true), '');
    micros bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
begin
    if tg_op = 'TRUNCATE' then
        insert into orion_chat.outbox (kind, session_id, at, node) values ('t', '', micros, writer);
        return null;
    end if;
    if not orion_chat.is_told(writer) then
        return null;
    end if;
    if tg_op = 'DELETE' then
        insert into orion_chat.outbox (kind, session_id, message_id, at, node)
            select 'M', o.session_id, o.message_id,
                greatest(micros, (extract(epoch from o.created_at) * 1000000)::bigint), writer
            from old_rows o;
    else
        insert into orion_chat.outbox (kind, session_id, message_id, at, node)
            select 'm', n.session_id, n.message_id, micros, writer from new_rows n;
    end if;
    return null;
end $$;

do $$
declare
    rows text;
begin
    foreach rows in array array['sessions', 'messages'] loop
        execute format('create or replace trigger orion_chat_insert after insert on chat_%1$s
            referencing new table as new_rows
            for each statement execute function orion_chat.note_%1$s()', rows);
        execute format('create or replace trigger orion_chat_update after update on chat_%1$s
            referencing old table as old_rows new table as new_rows
            for each statement execute function orion_chat.note_%1$s()', rows);
        execute format('create or replace trigger orion_chat_delete after delete on chat_%1$s
            referencing old table as old_rows
            for each statement execute function orion_chat.note_%1$s()', rows);
        execute format('create or replace trigger orion_chat_truncate after truncate on chat_%1$s
            for each statement execute function orion_chat.note_%1$s()', rows);
    end loop;
end $$;
