//! The local mode: whether a caller is on this very machine.

use std::sync::Arc;

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

use crate::http::{ApiError, Connection};

use super::is_loopback;

/// Headers by which a request tells that it was passed on. A tunnel's connector runs on this
/// machine too, so a loopback peer alone proves nothing.
const PASSED_ON: [&str; 4] = ["cf-connecting-ip", "cf-ray", "forwarded", "x-forwarded-for"];

/// Whether a request comes from this very machine.
///
/// # Errors
/// 403 `local_only` if that is not certain.
pub(super) fn check(parts: &Parts) -> Result<(), ApiError> {
    let connection = parts.extensions.get::<Arc<Connection>>();
    let is_loopback = connection.is_some_and(|connection| is_loopback(connection.peer.ip()));
    let names_us = names_this_machine(&parts.headers, &parts.uri);
    if is_loopback && !was_passed_on(&parts.headers) && names_us {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "local_only",
        "this server answers only callers on its own machine",
        "its operator sets ORION_SHARED_JWT_SECRET to let others in by token, \
         or --auth off on a trusted network",
    ))
}

/// Whether a request came by a proxy or tunnel.
pub(in crate::http) fn was_passed_on(headers: &HeaderMap) -> bool {
    PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

/// Whether every name that the request has for its server is this machine's: else a page of
/// another site, whose name was made to point here, could ask (DNS rebinding).
pub(in crate::http) fn names_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let in_header = host.to_str().ok().and_then(|host| host.parse().ok());
    // Of a request line with a whole URL, that one counts (RFC 9112, section 3.2.2).
    [in_header.as_ref(), uri.authority().or(in_header.as_ref())].iter().all(|authority| {
        authority.is_some_and(|authority: &Authority| {
            let host = authority.host();
            let is_named = ["localhost", "127.0.0.1", "[::1]"]
                .iter()
                .any(|name| host.eq_ignore_ascii_case(name));
            is_named && !authority.as_str().contains('@')
        })
    })
}
