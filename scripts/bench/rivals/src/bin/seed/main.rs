//! Fills a rival with the data.
//!
//! seed orion ADDRESS USERS        by its own routes: there is no quicker way past its promises
//! seed wide ADDRESS SESSIONS, seed deep ADDRESS MESSAGES: one user's sessions, one session's messages
//! seed sqlite FILE USERS
//! seed pocketbase FILE USERS      its data.db, while nobody serves it, with the collections made
//! seed csv sessions|messages USERS    to stdout, for COPY of PostgreSQL

mod csv;
mod file;
mod orion;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rival, place, users] = arguments.first_chunk().expect("three arguments");
    let users = users.parse().expect("a number of users");
    match rival.as_str() {
        "orion" => orion::fill(place, users),
        "wide" => orion::fill_wide(place, users),
        "deep" => orion::fill_deep(place, users),
        "sqlite" => file::fill_sqlite(place, users),
        "pocketbase" => file::fill_pocketbase(place, users),
        "csv" => csv::write(place, users),
        other => panic!("no rival is called {other}"),
    }
}
