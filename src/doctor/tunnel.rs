//! What comes of requests by a tunnel: its connector runs on this machine and passes them on with
//! headers of its own.

use std::path::Path;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};

use crate::model::UserId;

use super::Finding;
use super::answers::Answers;
use super::port::ask;

const CHECK: &str = "tunnel";

/// Where its packages look for what it passes on.
const CONFIGS: [&str; 2] = ["/etc/cloudflared/config.yml", "/usr/local/etc/cloudflared/config.yml"];

/// For whom nothing is stored.
const NOBODY: &str = "orion-chat-doctor";
/// How long the token for a question is good, in seconds.
const TOKEN_SECS: u64 = 30;

impl Answers<'_> {
    /// Asks as a tunnel does, and looks for one on this machine that leads to `port`.
    pub(super) async fn look_at_tunnel(&self, port: u16, tell: &mut dyn FnMut(Finding)) {
        let has_tunnel = is_running("cloudflared");
        let asked = Request::get(self.list_path());
        // As cloudflared passes on what it gets (RFC 5737 for the address of nobody).
        let asked = asked
            .header(HOST, "chat.example.org")
            .header("CF-Connecting-IP", "192.0.2.1")
            .header("CF-Ray", "8f0000000000aaaa-FRA")
            .header("X-Forwarded-For", "192.0.2.1")
            .header("X-Forwarded-Proto", "https");
        match ask(&self.peer, self.with_token(asked)).await {
            Ok(answer) => {
                let body: serde_json::Value =
                    serde_json::from_slice(answer.body()).unwrap_or_default();
                let code = body.get("code").and_then(serde_json::Value::as_str);
                tell(self.judge(answer.status(), code.unwrap_or("no code"), has_tunnel));
            }
            Err(error) => tell(Finding::wrong(CHECK, format!("no answer: {error}; see its log"))),
        }
        if has_tunnel {
            CONFIGS.iter().filter_map(|path| aim(Path::new(path), port)).for_each(tell);
        }
    }

    fn judge(&self, status: StatusCode, code: &str, has_tunnel: bool) -> Finding {
        match (status.as_u16(), code) {
            (200, _) if self.tokens.is_some() => {
                Finding::well(CHECK, "a request by a tunnel, with a token, is answered")
            }
            (200, _) => Finding::doubtful(
                CHECK,
                "a request by a tunnel is answered whoever sends it: \
                 set ORION_SHARED_JWT_SECRET unless all who reach the tunnel may read everything",
            ),
            (403, "local_only") => {
                let text = "a request by a tunnel gets 403 local_only: set ORION_SHARED_JWT_SECRET";
                // Without a tunnel that is as it should be.
                if has_tunnel {
                    Finding::wrong(CHECK, format!("{text}, as cloudflared runs here"))
                } else {
                    Finding::well(CHECK, format!("{text} before one is put in front"))
                }
            }
            (401, "missing_token") => Finding::wrong(
                CHECK,
                "the server asks for tokens, and no secret is known here: \
                 name its variables with --env-file",
            ),
            (401, _) => Finding::wrong(
                CHECK,
                "the server refuses a token by this secret, so it has another one, or another iss \
                 or aud: restart it, or name its variables with --env-file",
            ),
            _ => {
                let text =
                    format!("a request by a tunnel gets {status} {code}; see the server's log");
                Finding::wrong(CHECK, text)
            }
        }
    }

    /// Where a list is, of the token's user, or of nobody.
    pub(super) fn list_path(&self) -> String {
        let path = "/api/sessions/list";
        if self.tokens.is_some() { path.to_owned() } else { format!("{path}?userId={NOBODY}") }
    }

    /// A token of a user who is let in, if there are tokens.
    pub(super) fn token(&self) -> Option<String> {
        let tokens = self.tokens?;
        let allowed = tokens.allowed_users.as_ref().and_then(|allowed| allowed.first());
        let user = allowed.cloned().or_else(|| UserId::parse(NOBODY).ok())?;
        Some(tokens.mint(&user, self.clock.now(), Duration::from_secs(TOKEN_SECS)))
    }

    fn with_token(&self, request: Builder) -> Builder {
        match self.token() {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }
}

/// Whether the configuration of a tunnel at `path` leads to `port`; nothing if there is none.
fn aim(path: &Path, port: u16) -> Option<Finding> {
    let text = std::fs::read_to_string(path).ok()?;
    let shown = path.display();
    let lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
    let mut services = lines.filter_map(|line| line.strip_prefix("service:"));
    let finding = if services.any(|service| service.trim().ends_with(&format!(":{port}"))) {
        Finding::well(CHECK, format!("{shown} leads to port {port}"))
    } else {
        let text = format!(
            "{shown} does not lead to port {port}: \
             write service: http://localhost:{port} there, and systemctl restart cloudflared"
        );
        Finding::doubtful(CHECK, text)
    };
    Some(finding)
}

/// Whether a process of that name runs.
fn is_running(name: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut names = processes.filter_map(|process| std::fs::read(process.path().join("comm")).ok());
    names.any(|found| found.trim_ascii() == name.as_bytes())
}
