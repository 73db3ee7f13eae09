//! Users and their verbs.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{AUDIENCE, Call, ISSUER, Mode, Reply, SECRET, TestServer};

/// Somebody who uses the service.
#[derive(Clone)]
pub(crate) struct User<'a> {
    pub(super) server: &'a TestServer,
    pub(crate) id: String,
}

impl<'a> User<'a> {
    /// Begins a request without a body as this user; `send` sends it.
    pub(crate) fn request(&self, method: &str, path: &str) -> Call<'a> {
        if self.server.mode == Mode::Jwt {
            return self.server.request(method, path).bearer(&self.token());
        }
        let separator = if path.contains('?') { '&' } else { '?' };
        self.server.request(method, &format!("{path}{separator}userId={}", encode(&self.id)))
    }

    /// Begins a POST of a JSON object as this user; `send` sends it.
    pub(crate) fn posting(&self, path: &str, mut body: Value) -> Call<'a> {
        if self.server.mode == Mode::Jwt {
            return self.server.post(path, body.to_string()).bearer(&self.token());
        }
        body["userId"] = json!(self.id);
        self.server.post(path, body.to_string())
    }

    /// Begins a PATCH of a JSON object as this user; `send` sends it.
    pub(crate) fn patching(&self, path: &str, body: Value) -> Call<'a> {
        let call = self.request("PATCH", path).header("content-type", "application/json");
        call.body(body.to_string())
    }

    /// A GET as this user.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send().await
    }

    /// A POST of a JSON object as this user.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.posting(path, body).send().await
    }

    /// A PATCH of a JSON object as this user.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.patching(path, body).send().await
    }

    /// Begins a session with what `body` says of it.
    pub(crate) async fn create(&self, body: Value) -> Reply {
        self.post("/api/sessions/create", body).await
    }

    /// Begins a session with a first message, and gives its id.
    pub(crate) async fn create_session(&self, first_message: &str) -> String {
        let session = self.create(json!({ "firstMessage": first_message })).await.expect(201);
        session["sessionId"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn save_message(&self, session: &str, role: &str, content: &str) -> Reply {
        let body = json!({ "sessionId": session, "role": role, "content": content });
        self.post("/api/sessions/save-message", body).await
    }

    /// Saves a message of this user's under an id of their choice.
    pub(crate) async fn say(&self, session: &str, id: &str, content: &str) -> Reply {
        let body = json!({ "role": "user", "content": content, "id": id });
        self.post(&format!("/api/sessions/{}/messages", encode(session)), body).await
    }

    pub(crate) async fn message(&self, session: &str, id: &str) -> Reply {
        self.get(&message_path(session, id)).await
    }

    pub(crate) async fn edit(&self, session: &str, id: &str, body: Value) -> Reply {
        self.patch(&message_path(session, id), body).await
    }

    pub(crate) async fn delete_message(&self, session: &str, id: &str) -> Reply {
        self.request("DELETE", &message_path(session, id)).send().await
    }

    /// The first page of this user's sessions.
    pub(crate) async fn sessions(&self) -> Vec<Value> {
        let list = self.get("/api/sessions/list").await.expect(200);
        list["sessions"].as_array().unwrap().clone()
    }

    pub(crate) async fn session(&self, session: &str) -> Reply {
        self.get(&format!("/api/sessions/{}", encode(session))).await
    }

    pub(crate) async fn history(&self, session: &str) -> Reply {
        self.get(&format!("/api/sessions/messages?sessionId={}", encode(session))).await
    }

    /// The texts of a session, oldest first.
    pub(crate) async fn texts(&self, session: &str) -> Vec<String> {
        let history = self.history(session).await.expect(200);
        let messages = history["messages"].as_array().unwrap();
        assert_eq!(history["count"], messages.len());
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn delete(&self, session: &str) -> Reply {
        self.post("/api/sessions/delete", json!({ "sessionId": session })).await
    }

    /// A token of this user, good for an hour.
    pub(crate) fn token(&self) -> String {
        let now = self.server.micros.load(Ordering::SeqCst) / 1_000_000;
        let claims = json!({ "sub": self.id, "iss": ISSUER, "aud": AUDIENCE, "exp": now + 3600 });
        mint(&json!({ "alg": "HS256", "typ": "JWT" }).to_string(), &claims.to_string(), SECRET)
    }
}

/// Where a message is found.
pub(crate) fn message_path(session: &str, id: &str) -> String {
    format!("/api/sessions/{}/messages/{}", encode(session), encode(id))
}

/// A token of any header and payload, signed by HMAC-SHA256.
pub(crate) fn mint(header: &str, payload: &str, secret: &[u8]) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Percent-encodes everything but letters and digits.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            let is_plain = byte.is_ascii_alphanumeric();
            if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
        })
        .collect()
}
