//! Giving room back, and having what can be had of a damaged file.

use serde_json::json;

use super::{DATA, create, done, flip_a_bit, folder_with, fs, refused, said};
use crate::support::{Process, server};

#[test]
fn a_file_whose_sessions_are_gone_gives_their_room_back() {
    let text = "lorem ipsum ".repeat(5000);
    let ids: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    let sessions: Vec<_> = ids.iter().map(|id| (id.as_str(), text.as_str())).collect();
    let folder = folder_with(&sessions);
    let mut process = Process::start(server(folder.path()));
    let mut client = process.connect();
    for id in &ids[1..] {
        let body = json!({ "userId": "ann", "sessionId": id });
        client.post("/api/sessions/delete", &body).unwrap().expect(200);
    }
    refused(folder.path(), &["compact"], 75, &[DATA, "in use"]);
    drop(client);
    process.signal("TERM");
    process.exit_code();
    let before = done(folder.path(), &["export", "-"]);

    let told = done(folder.path(), &["compact"]);

    let sizes: Vec<u64> = told.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    let [was, is] = sizes[..] else { panic!("no sizes in {told}") };
    assert_eq!(folder.path().join(DATA).metadata().unwrap().len(), is);
    assert!(is < was, "{told}");
    assert_eq!(done(folder.path(), &["export", "-"]), before);
    done(folder.path(), &["verify"]);
    let process = Process::start(server(folder.path()));
    create(&mut process.connect(), "new", "hello");
}

#[test]
fn listeners_go_on_after_a_file_was_compacted() {
    let folder = folder_with(&[("s", "hello")]);
    let mut process = Process::start(server(folder.path()));
    let ticket = json!({ "userId": "ann" });
    let ticket = process.connect().post("/api/events/ticket", &ticket).unwrap().expect(201);
    let cursor = ticket["cursor"].as_str().unwrap().to_owned();
    process.signal("TERM");
    process.exit_code();

    done(folder.path(), &["compact"]);

    let process = Process::start(server(folder.path()));
    let after = process.connect().post("/api/events/ticket", &json!({ "userId": "ann" })).unwrap();
    assert_eq!(after.expect(201)["cursor"], cursor.as_str(), "the log is the same");
}

#[test]
fn a_damaged_file_is_not_compacted_and_can_be_salvaged() {
    let folder = folder_with(&[("s", "What is a monad?"), ("t", "hello")]);
    flip_a_bit(&folder.path().join(DATA), "What is a monad?");
    let damaged = fs::read(folder.path().join(DATA)).unwrap();

    refused(folder.path(), &["compact"], 74, &["damaged", "salvage"]);
    let told = done(folder.path(), &["salvage", DATA, "out.redb"]);

    assert!(told.starts_with("out.redb holds 2 sessions"), "{told}");
    assert!(told.contains("could not be read"), "{told}");
    assert!(fs::read(folder.path().join(DATA)).unwrap() == damaged, "it is left as it was");
    refused(folder.path(), &["salvage", DATA, "out.redb"], 73, &["out.redb", "there already"]);
    done(folder.path(), &["verify", "out.redb"]);
    fs::rename(folder.path().join("out.redb"), folder.path().join(DATA)).unwrap();
    let process = Process::start(server(folder.path()));
    assert_eq!(said(&mut process.connect(), "t"), ["hello"]);
    refused(folder.path(), &["salvage", DATA, "again.redb"], 75, &["in use"]);
}
