drop trigger if exists orion_chat_insert on chat_sessions;
drop trigger if exists orion_chat_update on chat_sessions;
drop trigger if exists orion_chat_delete on chat_sessions;
drop trigger if exists orion_chat_truncate on chat_sessions;
drop trigger if exists orion_chat_insert on chat_messages;
drop trigger if exists orion_chat_update on chat_messages;
drop trigger if exists orion_chat_delete on chat_messages;
drop trigger if exists orion_chat_truncate on chat_messages;
drop schema if exists orion_chat cascade;
