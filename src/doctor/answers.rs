//! What a server answers to the pages of each origin.

use hyper::body::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use hyper::{Request, Response, StatusCode};

use crate::client::{AskError, Peer};
use crate::http::auth::TokenConfig;
use crate::http::cors::AllowedOrigins;
use crate::model::Clock;

use super::Finding;
use super::port::ask;

const CHECK: &str = "origin";

/// A server to ask, and what it should answer by.
pub(super) struct Answers<'a> {
    pub(super) peer: Peer,
    /// Whether it runs for this alone.
    pub(super) is_stand_in: bool,
    pub(super) origins: AllowedOrigins,
    pub(super) tokens: Option<&'a TokenConfig>,
    pub(super) clock: &'a Clock,
}

/// Pages that no configuration lets in.
const STRANGERS: [&str; 2] = ["null", "https://doctor.invalid"];

impl Answers<'_> {
    /// Asks for each pattern, as a browser does for a page of an origin that it covers.
    pub(super) async fn look_at_origins(&self, tell: &mut dyn FnMut(Finding)) {
        for (pattern, origin) in self.origins.examples() {
            tell(match self.lets_in(&origin).await {
                Ok(true) => Finding::well(CHECK, format!("{pattern}: a page of {origin} may call")),
                Ok(false) => self.refused(&pattern, &origin),
                Err(error) => failed(&error),
            });
        }
        for stranger in STRANGERS {
            match self.lets_in(stranger).await {
                Ok(true) => tell(let_in(stranger)),
                Ok(false) => {}
                Err(error) => tell(failed(&error)),
            }
        }
        if self.origins.examples().next().is_none() {
            tell(Finding::doubtful(CHECK, "no page may call; name origins in ALLOWED_ORIGINS"));
        }
    }

    /// Whether a page may read and write: by the browser's question before a write, and by a read.
    async fn lets_in(&self, origin: &str) -> Result<bool, AskError> {
        let preflight = Request::options("/api/sessions/save-message")
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type");
        let preflight = ask(&self.peer, preflight).await?;
        let read = ask(&self.peer, Request::get("/health").header(ORIGIN, origin)).await?;
        Ok(preflight.status() == StatusCode::NO_CONTENT
            && [&preflight, &read].iter().all(|answer| is_for(answer, origin)))
    }

    fn refused(&self, pattern: &str, origin: &str) -> Finding {
        let text = if self.is_stand_in {
            format!("{pattern}: a page of {origin} may not call; correct ALLOWED_ORIGINS")
        } else {
            format!(
                "{pattern}: the server refuses a page of {origin}, so it has another configuration: \
                 restart it, or name its variables with --env-file"
            )
        };
        Finding::wrong(CHECK, text)
    }
}

fn let_in(stranger: &str) -> Finding {
    let text = format!(
        "a page of {stranger} may call, which nothing here allows: \
         see what stands in front of the server and adds CORS headers"
    );
    Finding::wrong(CHECK, text)
}

/// Whether a browser shows `answer` to a page of `origin` that sends credentials.
pub(super) fn is_for(answer: &Response<Bytes>, origin: &str) -> bool {
    let has = |name, value: &str| {
        let mut values = answer.headers().get_all(name).iter();
        values.next().is_some_and(|found| found == value) && values.next().is_none()
    };
    has(ACCESS_CONTROL_ALLOW_ORIGIN, origin) && has(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
}

fn failed(error: &AskError) -> Finding {
    Finding::wrong(CHECK, format!("the server does not answer: {error}; see its log"))
}
