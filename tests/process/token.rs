//! `token`: what an operator tries the service with.

use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::{Process, command};

const SECRET: &str = "KtqBh9yPvQ2mWzR5sXcE7uJnL4aTgD1oFiU8kVbM3eYpHxZs";
const SECRET_NAME: &str = "ORION_SHARED_JWT_SECRET";

fn token(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = command(folder, &["token"]);
    let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
    for stream in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(stream).contains(SECRET), "{output:?}");
    }
    output
}

/// The one line on stdout.
#[track_caller]
fn minted(output: &Output) -> String {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    stdout.trim_end().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn status_of_list(process: &Process, token: &str) -> u16 {
    let mut client = process.connect();
    let head = "GET /api/sessions/list HTTP/1.1\r\nHost: localhost\r\n";
    client.send(&format!("{head}Authorization: Bearer {token}\r\n\r\n")).unwrap();
    client.read_reply().unwrap().status
}

#[test]
fn a_minted_token_lets_its_user_in() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        (SECRET_NAME, SECRET),
        ("ORION_SHARED_JWT_ISS", "https://issuer.example"),
        ("ORION_SHARED_JWT_AUD", "elsewhere"),
        ("AUTHORIZED_USER_EMAIL", "ann@example.org"),
    ];
    let mut serving = command(folder.path(), &["--listen", "127.0.0.1:0"]);
    serving.envs(variables);
    let process = Process::start(serving);

    let ann = token(folder.path(), &["Ann@example.org"], &variables);
    let bob = token(folder.path(), &["bob"], &variables);
    let elsewhere = token(folder.path(), &["ann@example.org"], &variables[..2]);

    assert_eq!(String::from_utf8_lossy(&ann.stderr), "");
    assert_eq!(status_of_list(&process, &minted(&ann)), 200);
    assert!(String::from_utf8_lossy(&bob.stderr).contains("AUTHORIZED_USER_EMAIL"), "{bob:?}");
    assert_eq!(status_of_list(&process, &minted(&bob)), 403);
    assert_eq!(status_of_list(&process, &minted(&elsewhere)), 401);
    assert_eq!(claims(&minted(&ann))["sub"], "ann@example.org");
}

#[test]
fn it_is_good_for_as_long_as_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, secs) in [
        (&["ann"][..], 3600),
        (&["ann", "--expires", "90s"], 90),
        (&["ann", "--expires", "1h 30m"], 5400),
        (&["ann", "--expires", "7d"], 7 * 86400),
    ] {
        let output = token(folder.path(), arguments, &[(SECRET_NAME, SECRET)]);

        let claims = claims(&minted(&output));
        let time = |name: &str| claims[name].as_u64().unwrap();
        assert_eq!(time("exp") - time("iat"), secs, "{arguments:?}");
        assert_eq!(claims["iss"], "https://www.sidekickportal.com");
        assert_eq!(claims["aud"], "orion-core");
    }
}

#[test]
fn the_secret_may_come_from_the_file_that_systemd_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("# of the unit\n{SECRET_NAME}=\"{SECRET}\"\nPORT=0\n");
    std::fs::write(folder.path().join("env"), file).unwrap();
    let process = {
        let mut serving = command(folder.path(), &["--listen", "127.0.0.1:0"]);
        serving.env(SECRET_NAME, SECRET);
        Process::start(serving)
    };

    let output = token(folder.path(), &["ann", "--env-file", "env"], &[(SECRET_NAME, "another")]);

    assert_eq!(status_of_list(&process, &minted(&output)), 200);
}

#[test]
fn what_cannot_be_minted_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let secret = [(SECRET_NAME, SECRET)];
    for (arguments, variables, code, text) in [
        (&["ann"][..], &[][..], 78, "set ORION_SHARED_JWT_SECRET"),
        (&["ann", "--env-file", "none"], &secret, 78, "cannot read the file none of --env-file"),
        (&[], &secret, 2, "<USER>"),
        (&["a\u{1}b"], &secret, 2, "USER: "),
        (&[" "], &secret, 2, "USER: "),
        (&["ann", "--expires", "soon"], &secret, 2, "from 1s to 365d"),
        (&["ann", "--expires", "0s"], &secret, 2, "from 1s to 365d"),
        (&["ann", "--expires", "366d"], &secret, 2, "from 1s to 365d"),
        (&["ann", "--expires", "-1h"], &secret, 2, "'-1'"),
        (&["ann", "--expires=-1h"], &secret, 2, "from 1s to 365d"),
    ] {
        let output = token(folder.path(), arguments, variables);

        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
