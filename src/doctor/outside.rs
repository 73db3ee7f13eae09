//! The server by the way that the world takes: through TLS, a tunnel and caches. Asked by curl,
//! which knows that way; what is secret reaches it by a pipe.

use std::io::Write as _;
use std::process::{Command, Stdio};

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, DATE, HeaderName, HeaderValue, ORIGIN, SERVER};
use hyper::{Response, StatusCode};
use jiff::fmt::rfc2822;

use crate::model::Timestamp;

use super::Finding;
use super::answers::{Answers, is_for};

const CHECK: &str = "url";

/// How far the clocks may be apart: the leeway of tokens.
const APART_SECS: u64 = 30;

/// Asks the server at `url` what the one here was asked.
pub(super) fn look(url: &str, answers: &Answers<'_>, tell: &mut dyn FnMut(Finding)) {
    let url = url.trim_end_matches('/');
    if !may_carry_a_token(url) {
        let text = format!("{url}: a token must not go there in the clear; write https://…");
        return tell(Finding::wrong(CHECK, text));
    }
    let origin = answers.origins.examples().next().map(|(_, origin)| origin);
    let by_page: Vec<_> = origin.iter().map(|origin| (ORIGIN, origin.as_str())).collect();
    let health = match get(&format!("{url}/health"), &by_page) {
        Ok(health) => health,
        Err(error) => return tell(Finding::wrong(CHECK, format!("{url}: {error}"))),
    };
    let is_ours = is_ours(&health);
    tell(reached(url, &health, is_ours));
    if !is_ours {
        return;
    }
    tell_clocks(&health, answers.clock.now(), tell);
    if origin.is_some_and(|origin| !is_for(&health, &origin)) {
        let text = format!(
            "{url}: the CORS headers of an answer were changed on the way; \
             remove the rule that sets or strips Access-Control headers"
        );
        tell(Finding::wrong(CHECK, text));
    }
    let token = answers.token().map(|token| format!("Bearer {token}"));
    let by_token: Vec<_> = token.iter().map(|token| (AUTHORIZATION, token.as_str())).collect();
    let list = format!("{url}{}", answers.list_path());
    match get(&list, &by_token) {
        Ok(answer) => tell(list_finding(url, &answer, token.is_some())),
        Err(error) => tell(Finding::wrong(CHECK, format!("{url}: {error}"))),
    }
}

/// Whether what is sent to `url` is encrypted, or stays on this machine.
fn may_carry_a_token(url: &str) -> bool {
    let is_local = url.strip_prefix("http://").is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = host.rsplit_once(':').unwrap_or((host, "80"));
        ["localhost", "127.0.0.1", "[::1]"].contains(&host) && port.parse::<u16>().is_ok()
    });
    is_local || url.starts_with("https://")
}

fn is_ours(health: &Response<Bytes>) -> bool {
    let body: serde_json::Value = serde_json::from_slice(health.body()).unwrap_or_default();
    health.status() == StatusCode::OK
        && body.get("service").is_some_and(|service| service == "orion-chat")
}

fn reached(url: &str, health: &Response<Bytes>, is_ours: bool) -> Finding {
    let status = health.status();
    let by = health.headers().get(SERVER).and_then(|by| by.to_str().ok());
    let by = by.map_or_else(String::new, |by| format!(" by {by}"));
    if is_ours {
        return Finding::well(CHECK, format!("{url} leads to orion-chat{by}"));
    }
    let mend = match status.as_u16() {
        502 => "the tunnel's connector does not reach this server: see the port in its service",
        530 => "no connector of the tunnel is there: systemctl status cloudflared",
        301..=308 => "write the URL that it leads to",
        _ => "see what this name leads to",
    };
    Finding::wrong(CHECK, format!("{url} answers {}{by}, not orion-chat: {mend}", status.as_u16()))
}

/// What came by the network has the network's time.
fn tell_clocks(health: &Response<Bytes>, now: Timestamp, tell: &mut dyn FnMut(Finding)) {
    let date = health.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::parse(date).ok());
    let secs = date.and_then(|date| u64::try_from(date.timestamp().as_second()).ok());
    let Some(apart) = secs.map(|secs| secs.abs_diff(now.as_secs())) else { return };
    if apart > APART_SECS {
        let text = format!(
            "the clock here and the one at that URL are {apart} s apart, \
             and tokens fail: timedatectl set-ntp true"
        );
        tell(Finding::wrong("clock", text));
    }
}

fn list_finding(url: &str, answer: &Response<Bytes>, has_token: bool) -> Finding {
    let cached = answer.headers().get("cf-cache-status").is_some_and(|status| status == "HIT");
    match answer.status().as_u16() {
        200 if cached => Finding::wrong(
            CHECK,
            format!("{url}: a user's list came from a cache; remove the cache rule for /api/*"),
        ),
        200 if has_token => Finding::well(CHECK, format!("{url}: a token is good there")),
        200 => Finding::wrong(
            CHECK,
            format!("{url}: the world can read everything there; set ORION_SHARED_JWT_SECRET"),
        ),
        403 if !has_token => {
            Finding::wrong(CHECK, format!("{url}: 403 local_only; set ORION_SHARED_JWT_SECRET"))
        }
        401 => Finding::wrong(
            CHECK,
            format!(
                "{url}: the server refuses what this secret signs: restart it, or name its \
                 variables with --env-file; see too that no rule strips Authorization"
            ),
        ),
        status => Finding::wrong(CHECK, format!("{url}: a list gets {status}; see the log")),
    }
}

/// What is at `url`, asked with these headers.
fn get(url: &str, headers: &[(HeaderName, &str)]) -> Result<Response<Bytes>, String> {
    let mut curl = Command::new("curl");
    // Its own file of options is left alone; what is asked comes by a pipe, as a token is in it.
    curl.args(["--disable", "--silent", "--show-error", "--include", "--max-time", "15"]);
    curl.args(["--config", "-", "--globoff", "--http1.1"]);
    let started = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("cannot run curl: {error}; install it"))?;
    let mut lines = format!("url = {url:?}\n");
    let headers = headers.iter().map(|(name, value)| format!("{name}: {value}"));
    lines.extend(headers.map(|header| format!("header = {header:?}\n")));
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() || sent.is_none_or(|sent| sent.is_err()) {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}; see its name, its certificate and the network", error.trim()));
    }
    parse(&output.stdout).ok_or_else(|| "curl gave no answer in HTTP".to_owned())
}

/// The last answer of those that curl shows, of which the others were on the way.
fn parse(shown: &[u8]) -> Option<Response<Bytes>> {
    let mut rest = shown;
    loop {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) = (rest.get(..end)?, rest.get(end + 4..)?);
        let answer = parse_head(std::str::from_utf8(head).ok()?)?;
        if !answer.status().is_informational() && !body.starts_with(b"HTTP/") {
            return Some(answer.map(|()| Bytes::copy_from_slice(body)));
        }
        rest = body;
    }
}

fn parse_head(head: &str) -> Option<Response<()>> {
    let mut lines = head.lines();
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Response::builder().status(status).body(()).ok()?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        answer.headers_mut().append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some(answer)
}
