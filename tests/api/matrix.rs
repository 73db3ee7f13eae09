//! Every cell of (caller, route, session): who may do what to whose, on each route that
//! `/openapi.json` tells of, so that none is forgotten.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::live::upgrading;
use crate::support::{AUDIENCE, By, Call, ISSUER, Mode, Reply, SECRET, Setup, TestServer, mint};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// Without a token.
    Nobody,
    /// With one that has expired.
    Late,
    /// With one for another service.
    Strange,
    /// With one whose secret is another.
    Forger,
    /// A good one, of a user who is not let in.
    Carol,
    /// Whose sessions are others.
    Bob,
    /// Whose sessions they are.
    Ann,
}

const CALLERS: [Caller; 7] = [
    Caller::Nobody,
    Caller::Late,
    Caller::Strange,
    Caller::Forger,
    Caller::Carol,
    Caller::Bob,
    Caller::Ann,
];

/// Which session is meant; all names are as long as each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Anns,
    Bobs,
    Deleted,
    Never,
    /// What can be no id.
    Malformed,
}

const OBJECTS: [Object; 5] =
    [Object::Anns, Object::Bobs, Object::Deleted, Object::Never, Object::Malformed];

impl Object {
    fn id(self) -> &'static str {
        match self {
            Self::Anns => "anns-0001",
            Self::Bobs => "bobs-0001",
            Self::Deleted => "gone-0001",
            Self::Never => "none-0001",
            Self::Malformed => "none%0001",
        }
    }
}

/// What a route does with the session that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// It asks for no session, nor for a caller.
    Open,
    /// It asks for a caller alone.
    Mine,
    /// It begins the session.
    Begin,
    /// It reads or changes what is there.
    Touch,
    /// It ends it, so that its owner is the last to try.
    End,
    /// It is answered without an end, or by another protocol, as `live` tries.
    Stream,
}

/// Every route: method, path, what it does. `ID` is the session's; a POST or PATCH has it in its body.
const ROUTES: &[(&str, &str, Does)] = &[
    ("GET", "/", Does::Open),
    ("GET", "/health", Does::Open),
    ("GET", "/ready", Does::Open),
    ("GET", "/openapi.json", Does::Open),
    ("GET", "/api/sessions", Does::Mine),
    ("GET", "/api/sessions/list", Does::Mine),
    ("POST", "/api/events/ticket", Does::Mine),
    ("POST", "/api/sessions", Does::Begin),
    ("POST", "/api/sessions/create", Does::Begin),
    ("GET", "/api/events?sessionId=ID", Does::Stream),
    ("GET", "/api/ws?sessionId=ID", Does::Stream),
    ("GET", "/api/search?q=said&sessionId=ID", Does::Touch),
    ("GET", "/api/sessions/ID", Does::Touch),
    ("GET", "/api/sessions/get?sessionId=ID", Does::Touch),
    ("GET", "/api/sessions/messages?sessionId=ID", Does::Touch),
    ("GET", "/api/sessions/ID/messages", Does::Touch),
    ("GET", "/api/sessions/ID/messages/m1", Does::Touch),
    ("POST", "/api/sessions/ID/messages", Does::Touch),
    ("POST", "/api/sessions/save-message", Does::Touch),
    ("POST", "/api/sessions/update", Does::Touch),
    ("PATCH", "/api/sessions/ID", Does::Touch),
    ("PATCH", "/api/sessions/ID/messages/m1", Does::Touch),
    ("DELETE", "/api/sessions/ID/messages/m2", Does::Touch),
    ("POST", "/api/sessions/delete", Does::End),
    ("DELETE", "/api/sessions/ID", Does::End),
];

fn token(server: &TestServer, caller: Caller) -> Option<String> {
    let now = server.clock().load(Ordering::SeqCst) / 1_000_000;
    let (sub, aud, exp, secret) = match caller {
        Caller::Nobody => return None,
        Caller::Late => ("ann", AUDIENCE, now - 31, SECRET),
        Caller::Strange => ("ann", "another service", now + 60, SECRET),
        Caller::Forger => {
            ("ann", AUDIENCE, now + 60, &b"a secret that is not the server's one"[..])
        }
        Caller::Carol => ("carol", AUDIENCE, now + 60, SECRET),
        Caller::Bob => ("bob", AUDIENCE, now + 60, SECRET),
        Caller::Ann => ("ann", AUDIENCE, now + 60, SECRET),
    };
    let claims = json!({ "sub": sub, "iss": ISSUER, "aud": aud, "exp": exp });
    Some(mint(r#"{"alg":"HS256"}"#, &claims.to_string(), secret))
}

/// One call of a route. What others own stands in its body too, which nobody listens to.
fn call<'a>(
    server: &'a TestServer,
    caller: Caller,
    (method, path): (&str, &str),
    object: Object,
) -> Call<'a> {
    let (mut id, mut in_path) = (object.id().to_owned(), object.id().to_owned());
    if object == Object::Malformed {
        (id, in_path) = ("none\u{1}0001".to_owned(), "none%010001".to_owned());
    }
    let mut call = server.request(method, &path.replace("ID", &in_path));
    if method != "GET" && method != "DELETE" {
        let body = json!({
            "sessionId": id, "role": "user", "content": "said", "title": "t", "firstMessage": "said",
            "owner": "ann", "user_id": "ann", "createdAt": "2000-01-01T00:00:00Z", "admin": true,
        });
        call = call.header("content-type", "application/json").body(body.to_string());
    }
    match token(server, caller) {
        Some(token) => call.bearer(&token),
        None => call,
    }
}

async fn server_with_sessions() -> TestServer {
    let server = Setup::new(Mode::Jwt).allow_users(&["ann", "bob"]).start().await;
    for (user, object) in [("ann", Object::Anns), ("bob", Object::Bobs), ("ann", Object::Deleted)] {
        let user = server.user(user);
        user.create(json!({ "sessionId": object.id() })).await.expect(201);
        for id in ["m1", "m2"] {
            let message = json!({ "role": "user", "content": "said", "id": id });
            let path = format!("/api/sessions/{}/messages", object.id());
            user.post(&path, message).await.expect(201);
        }
    }
    server.user("ann").delete(Object::Deleted.id()).await.expect(200);
    server
}

/// What can be told apart of an answer: everything but its date, and the id that was asked for.
fn told(reply: &Reply, object: Object) -> (u16, Vec<String>, String) {
    let headers = reply.headers.iter().filter(|(name, _)| *name != "date");
    let headers = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    (reply.status.as_u16(), headers, reply.text().replace(object.id(), "ID"))
}

/// The status that a caller gets who is none of the two users, or names no session that can be.
fn refusal(caller: Caller, object: Object) -> Option<(u16, &'static str)> {
    match (caller, object) {
        (Caller::Nobody, _) => Some((401, "missing_token")),
        (Caller::Late | Caller::Strange | Caller::Forger, _) => Some((401, "invalid_token")),
        (Caller::Carol, _) => Some((403, "user_not_allowed")),
        (_, Object::Malformed) => Some((400, "invalid_session_id")),
        _ => None,
    }
}

#[tokio::test]
async fn each_route_is_in_the_table() {
    let server = TestServer::start().await;
    let doc = server.get("/openapi.json").send().await.expect(200);
    let mut told = BTreeSet::new();
    for (path, methods) in doc["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{sessionId}", "ID").replace("{messageId}", "m1");
            told.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let known = ROUTES.iter().map(|(method, path, _)| {
        let path = path.split('?').next().unwrap().replace("m2", "m1");
        format!("{method} {path}")
    });
    let known: BTreeSet<_> = known.collect();

    let forgotten: Vec<_> = told.difference(&known).collect();
    assert_eq!(forgotten, Vec::<&String>::new(), "add what is new to the table");
}

#[tokio::test]
async fn every_caller_gets_on_every_route_what_is_due_of_every_session() {
    let mut cells = 0;
    for (method, path, does) in ROUTES {
        let server = server_with_sessions().await;
        let mut of_others = Vec::new();
        let by = if path.starts_with(By::Socket.path()) { By::Socket } else { By::Stream };
        let cases = CALLERS.iter().flat_map(|caller| OBJECTS.map(|it| (*caller, it)));
        // Whoever may listen is answered without an end.
        let ends = |(caller, object)| *does != Does::Stream || !is_own(caller, object);
        for (caller, object) in cases.filter(|case| ends(*case)) {
            let what = format!("{caller:?}, {method} {path} of {object:?}");
            let call = upgrading(call(&server, caller, (method, path), object), by);
            let reply = call.header("x-request-id", "same").send().await;
            let is_of_others = judge(&reply, *does, (caller, object), &what);
            of_others.extend(is_of_others.then(|| (what, told(&reply, object))));
            cells += 1;
        }
        // One that is somebody else's, one that is deleted and one that never was: the same answer.
        for (what, seen) in &of_others {
            assert_eq!(*seen, of_others[0].1, "{what}, and {}", of_others[0].0);
        }
    }
    assert!(cells > 850, "{cells}");
}

fn is_own(caller: Caller, object: Object) -> bool {
    matches!((caller, object), (Caller::Ann, Object::Anns) | (Caller::Bob, Object::Bobs))
}

/// Checks what a caller got, and tells whether it is what others get of any session of whom else.
#[track_caller]
fn judge(reply: &Reply, does: Does, (caller, object): (Caller, Object), what: &str) -> bool {
    let status = reply.status.as_u16();
    let own = is_own(caller, object);
    match (does, refusal(caller, object)) {
        (Does::Open, _) => assert_eq!(status, 200, "{what}"),
        (Does::Mine, Some((400, _)) | None) => assert!(status < 300, "{what}"),
        (_, Some((status, code))) => check(reply, status, code, what),
        (Does::Begin, None) if own => assert_eq!(status, 200, "{what}"),
        (Does::Begin, None) if matches!(object, Object::Anns | Object::Bobs) => {
            check(reply, 409, "session_id_taken", what);
        }
        // Whoever is first has it.
        (Does::Begin, None) => assert!(matches!(status, 200 | 201 | 409), "{what}"),
        (Does::Touch | Does::End, None) if own => assert!(status < 300, "{what}"),
        (Does::Touch | Does::End | Does::Stream, None) => {
            check(reply, 404, "session_not_found", what);
            return true;
        }
    }
    false
}

#[track_caller]
fn check(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_eq!(reply.status.as_u16(), status, "{what}: {}", reply.text());
    reply.assert_error(status, code);
}
