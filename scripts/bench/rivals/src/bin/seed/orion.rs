//! By the routes of orion-chat, over as many connections as share a sync well.

use rivals::client::{Client, in_threads};
use rivals::data::{DEEP, Message, SESSIONS, Session, WIDE, user_id};
use rivals::token::token;

const CONNECTIONS: u32 = 256;

pub(super) fn fill(address: &str, users: u32) {
    in_threads(CONNECTIONS, users, |share| {
        let mut client = Client::connect(address).expect("a server");
        for user in share {
            let token = token(&user_id(user));
            for number in 0..SESSIONS {
                fill_session(&mut client, &token, Session { user, number });
            }
        }
    });
}

/// One user with `sessions` sessions of one message.
pub(super) fn fill_wide(address: &str, sessions: u32) {
    let token = token(&user_id(WIDE));
    in_threads(CONNECTIONS, sessions, |share| {
        let mut client = Client::connect(address).expect("a server");
        for number in share {
            let session = Session { user: WIDE, number };
            fill_message(&mut client, &token, Message { session, number: 0 });
        }
    });
}

/// One session with `messages` messages.
pub(super) fn fill_deep(address: &str, messages: u32) {
    let (token, session) = (token(&user_id(DEEP)), Session { user: DEEP, number: 0 });
    let mut client = Client::connect(address).expect("a server");
    fill_message(&mut client, &token, Message { session, number: 0 });
    in_threads(CONNECTIONS, messages - 1, |share| {
        let mut client = Client::connect(address).expect("a server");
        for number in share {
            fill_message(&mut client, &token, Message { session, number: number + 1 });
        }
    });
}

fn fill_session(client: &mut Client, token: &str, session: Session) {
    session.messages().for_each(|message| fill_message(client, token, message));
}

fn fill_message(client: &mut Client, token: &str, message: Message) {
    let (id, content, role) = (message.session.id(), message.content(), message.role());
    if message.number == 0 {
        let body = format!(r#"{{"sessionId":"{id}","firstMessage":"{content}"}}"#);
        post(client, "/api/sessions/create", token, &body);
    } else {
        let body = format!(r#"{{"sessionId":"{id}","role":"{role}","content":"{content}"}}"#);
        post(client, "/api/sessions/save-message", token, &body);
    }
}

fn post(client: &mut Client, path: &str, token: &str, body: &str) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = client.ask(request.as_bytes()).expect("an answer");
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 201, "{path}: {text}");
}
