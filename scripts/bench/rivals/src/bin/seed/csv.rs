//! Rows for PostgreSQL, in the order of its columns in `express/schema.sql`. Nothing in the data needs quotes.

use std::io::{BufWriter, Write as _};

use rivals::data::{sessions, user_id};

pub(super) fn write(table: &str, users: u32) {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    for session in sessions(users) {
        let id = session.id();
        if table == "sessions" {
            let (first, last) = (session.messages().next().expect("one"), session.last_message());
            let (count, user) = (last.number + 1, user_id(session.user));
            let (title, began) = (session.title(), time(session.created_ms()));
            let (first, ended) = (first.content(), time(last.created_ms()));
            let last = last.content();
            writeln!(out, "{id},{user},{title},{first},{last},{count},{{}},{began},{ended}")
                .expect("written");
        } else {
            for message in session.messages() {
                let (number, content) = (message.id(), message.content());
                let (role, at) = (message.role(), time(message.created_ms()));
                writeln!(out, "{number},{id},{role},{content},{{}},{at}").expect("written");
            }
        }
    }
    out.flush().expect("written");
}

fn time(millis: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis as i64).expect("a time");
    format!("{time:.3}")
}
