mod given;

use std::collections::HashMap;
use std::path::Path;

use clap::Parser as _;
use tempfile::TempDir;

use crate::cli::Cli;
use crate::http::auth::Auth;
use crate::http::cors::AllowedOrigins;
use crate::model::UserId;

use super::access::{PREVIOUS, SECRET};
use super::*;

/// 48 bytes, which is long enough.
const GOOD: &str = "KtqBh9yPvQ2mWzR5sXcE7uJnL4aTgD1oFiU8kVbM3eYpHxZs";
const OTHER: &str = "aTgD1oFiU8kVbM3eYpHxZsKtqBh9yPvQ2mWzR5sXcE7uJnL4";

/// What `orion-chat FLAGS` makes of these variables.
fn load_with(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let cli = Cli::try_parse_from([&["orion-chat"], flags].concat()).unwrap();
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    load(cli.serve, |name| variables.get(name).map(Into::into))
}

#[track_caller]
fn loaded(flags: &[&str], variables: &[(&str, &str)]) -> Config {
    load_with(flags, variables).unwrap()
}

/// The text of the error, in which no secret may stand.
#[track_caller]
fn refused(flags: &[&str], variables: &[(&str, &str)]) -> String {
    let error = load_with(flags, variables).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(GOOD) && !shown.contains(OTHER), "{shown}");
    assert!(!error.to_string().contains('\n'), "more than one line: {error}");
    error.to_string()
}

/// A folder with a file of that content, and the file's path.
fn file(content: &[u8]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn mode(config: &Config) -> &'static str {
    match &config.server.auth {
        Auth::Jwt(_) => "jwt",
        Auth::Local => "local",
        Auth::Off => "off",
    }
}

#[test]
fn nothing_needs_to_be_configured() {
    let config = loaded(&[], &[]);

    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3002");
    assert_eq!(config.server.store.path, Path::new("orion-chat.redb"));
    assert_eq!(config.server.store.cache_bytes, 64 << 20);
    assert_eq!(mode(&config), "local");
    assert_eq!(config.server.origins, AllowedOrigins::defaults());
    assert_eq!((config.log_format, config.log_filter.as_str()), (None, "info"));
    assert_eq!(config.server.drain, Duration::from_secs(10));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_default() {
    type Shown = fn(&Config) -> String;
    let listen: Shown = |config| config.server.listen.to_string();
    let data: Shown = |config| config.server.store.path.display().to_string();
    let auth: Shown = |config| mode(config).to_owned();
    let origins: Shown = |config| config.server.origins.to_string();
    let cache: Shown = |config| (config.server.store.cache_bytes >> 20).to_string();
    let rate: Shown =
        |config| config.server.limits.rate.map_or(0, |rate| rate.requests.get()).to_string();
    let reserve: Shown = |config| {
        config.server.store.reserve_bytes.map_or(String::new(), |bytes| (bytes >> 20).to_string())
    };
    let sessions: Shown =
        |config| config.server.store.quota.sessions.map_or(0, std::num::NonZero::get).to_string();
    let bytes: Shown =
        |config| config.server.store.quota.bytes.map_or(0, std::num::NonZero::get).to_string();
    let days: Shown = |config| {
        let keep = config.server.retention.map_or(Duration::ZERO, |retention| retention.keep);
        (keep.as_secs() / (24 * 60 * 60)).to_string()
    };
    let proxy: Shown =
        |config| config.server.limits.proxy.map_or(String::new(), |proxy| format!("{proxy:?}"));
    let format: Shown =
        |config| config.log_format.map_or(String::new(), |format| format!("{format:?}"));
    for (flag, name, of_flag, of_variable, default, shown) in [
        ("--listen", "ORION_CHAT_LISTEN", "127.0.0.2:1", "[::1]:2", "127.0.0.1:3002", listen),
        ("--data", "ORION_CHAT_DATA", "/a/b", "c", "orion-chat.redb", data),
        ("--auth", "ORION_CHAT_AUTH", "local", "off", "local", auth),
        ("--allow-origin", "ALLOWED_ORIGINS", "https://a.org", "https://b.org", "", origins),
        ("--cache-mib", "ORION_CHAT_CACHE_MIB", "7", "8", "64", cache),
        ("--rate-limit", "RATE_LIMIT_MAX_REQUESTS", "0", "8", "6000", rate),
        ("--reserve-mib", "ORION_CHAT_RESERVE_MIB", "0", "9", "", reserve),
        ("--max-sessions", "ORION_CHAT_MAX_SESSIONS", "7", "9", "0", sessions),
        ("--max-bytes", "ORION_CHAT_MAX_BYTES", "5000000000", "9", "0", bytes),
        ("--retain-days", "ORION_CHAT_RETAIN_DAYS", "30", "9", "0", days),
        ("--trust-proxy", "ORION_CHAT_TRUST_PROXY", "cloudflare", "cloudflare", "", proxy),
        ("--log-format", "ORION_CHAT_LOG_FORMAT", "text", "json", "", format),
    ] {
        let default = match default {
            "" if name == "ALLOWED_ORIGINS" => AllowedOrigins::defaults().to_string(),
            default => default.to_owned(),
        };

        let both = loaded(&[flag, of_flag], &[(name, of_variable)]);
        let variable = loaded(&[], &[(name, of_variable)]);
        let empty = loaded(&[], &[(name, "")]);

        assert_eq!(shown(&both).to_lowercase(), of_flag, "{flag}");
        assert_eq!(shown(&variable).to_lowercase(), of_variable, "{name}");
        assert_eq!(shown(&empty), default, "an empty {name} counts as unset");
    }
}

#[test]
fn the_command_may_be_named() {
    let cli = Cli::try_parse_from(["orion-chat", "serve", "--cache-mib", "3"]).unwrap();

    let Some(crate::cli::Command::Serve(args)) = cli.command else { panic!("no command") };
    assert_eq!(args.cache_mib, Some(3));
}

#[test]
fn the_port_alone_can_be_changed() {
    for (flags, variables, expected) in [
        (&[][..], &[("PORT", "8080")][..], "127.0.0.1:8080"),
        (&[], &[("PORT", "0")], "127.0.0.1:0"),
        (&[], &[("PORT", "")], "127.0.0.1:3002"),
        (&[], &[("PORT", "8080"), ("ORION_CHAT_LISTEN", "127.0.0.1:1")], "127.0.0.1:1"),
        (&["--listen", "127.0.0.1:2"], &[("PORT", "8080")], "127.0.0.1:2"),
    ] {
        let config = loaded(flags, variables);

        assert_eq!(config.server.listen.to_string(), expected, "{flags:?} {variables:?}");
    }
    for bad in ["http", "-1", "65536", "80 ", "0x50"] {
        let error = refused(&[], &[("PORT", bad)]);

        assert_eq!(error, format!("PORT is {bad:?}; it must be a port from 0 to 65535"));
    }
}

#[test]
fn the_data_file_is_in_the_state_folder_if_there_is_one() {
    for (variables, expected) in [
        (&[("STATE_DIRECTORY", "/var/lib/chat")][..], "/var/lib/chat/orion-chat.redb"),
        (&[("STATE_DIRECTORY", "")], "orion-chat.redb"),
        (&[("STATE_DIRECTORY", "/var/lib/chat"), ("ORION_CHAT_DATA", "x")], "x"),
        (
            &[("STATE_DIRECTORY", "/var/lib/chat"), ("ORION_CHAT_DATA", "")],
            "/var/lib/chat/orion-chat.redb",
        ),
    ] {
        let config = loaded(&[], variables);

        assert_eq!(config.server.store.path, Path::new(expected), "{variables:?}");
    }
}

#[test]
fn a_path_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt as _;

    let name = OsString::from_vec(b"/data/\xff.redb".to_vec());
    let shown = name.clone();
    let config = load(ServeArgs::default(), |variable| {
        (variable == "ORION_CHAT_DATA").then(|| shown.clone())
    });

    assert_eq!(config.unwrap().server.store.path, Path::new(&name));
}

#[test]
fn an_address_that_makes_no_sense_is_named() {
    for bad in ["3002", "localhost", "127.0.0.1", "127.0.0.1:99999", ""] {
        let error = refused(&["--listen", bad], &[]);

        assert!(error.starts_with(&format!("cannot listen on {bad:?}: ")), "{error}");
        assert!(error.ends_with("write ADDRESS:PORT, such as 127.0.0.1:3002"), "{error}");
    }
    assert!(refused(&[], &[("ORION_CHAT_LISTEN", "nowhere")]).contains("\"nowhere\""));
}

#[test]
fn the_admin_listener_may_be_missing_only_if_nobody_asked_for_it() {
    let name = "ORION_CHAT_ADMIN_LISTEN";
    for (flags, variables, expected) in [
        (&[][..], &[][..], Some(("127.0.0.1:9302", false))),
        (&[], &[(name, "")], Some(("127.0.0.1:9302", false))),
        (&[], &[(name, "127.0.0.1:9302")], Some(("127.0.0.1:9302", true))),
        (&["--admin-listen", "[::1]:1"], &[(name, "off")], Some(("[::1]:1", true))),
        (&["--admin-listen", "off"], &[(name, "127.0.0.1:1")], None),
        (&[], &[(name, "off")], None),
    ] {
        let admin = loaded(flags, variables).server.admin;
        let shown = admin.map(|admin| (admin.listen.to_string(), admin.is_needed));
        assert_eq!(shown, expected.map(|(listen, needed)| (listen.to_owned(), needed)));
    }
    assert!(refused(&["--admin-listen", "nowhere"], &[]).contains("\"nowhere\""));
}

#[test]
fn a_secret_asks_for_tokens_and_off_must_be_asked_for() {
    let secret = (SECRET, GOOD);
    for (flags, variables, expected) in [
        (&[][..], &[secret][..], "jwt"),
        (&["--auth", "jwt"], &[secret], "jwt"),
        (&[], &[secret, ("ORION_CHAT_AUTH", "jwt")], "jwt"),
        (&[], &[], "local"),
        (&[], &[(SECRET, "")], "local"),
        (&[], &[(SECRET, "\n")], "local"),
        (&["--auth", "local"], &[], "local"),
        (&["--auth", "off"], &[], "off"),
        (&[], &[("ORION_CHAT_AUTH", "off")], "off"),
        (&["--listen", "0.0.0.0:80"], &[secret], "jwt"),
        (&["--listen", "0.0.0.0:80", "--auth", "off"], &[], "off"),
    ] {
        let config = loaded(flags, variables);

        assert_eq!(mode(&config), expected, "{flags:?} {variables:?}");
    }
}

#[test]
fn a_mode_that_contradicts_the_rest_is_refused() {
    for (flags, variables, expected) in [
        (&["--auth", "jwt"][..], &[][..], "--auth jwt needs a secret"),
        (&["--auth", "jwt"], &[(SECRET, "")], "--auth jwt needs a secret"),
        (&["--auth", "off"], &[(SECRET, GOOD)], "--auth off does not use ORION_SHARED_JWT_SECRET"),
        (&["--auth", "local"], &[(SECRET, GOOD)], "--auth local does not use"),
        (&[], &[("ORION_CHAT_AUTH", "none")], "ORION_CHAT_AUTH is \"none\"; it must be jwt, local"),
        (&[], &[("ORION_CHAT_AUTH", "OFF")], "ORION_CHAT_AUTH is \"OFF\""),
    ] {
        let error = refused(flags, variables);

        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn without_tokens_others_must_not_be_able_to_connect() {
    for address in ["0.0.0.0:3002", "[::]:3002", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        for flags in [&["--listen", address][..], &["--listen", address, "--auth", "local"]] {
            let error = refused(flags, &[]);

            assert!(error.contains(address), "{error}");
            assert!(error.contains("set ORION_SHARED_JWT_SECRET"), "says what to do: {error}");
        }
    }
    for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:3002", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(mode(&loaded(&["--listen", address], &[])), "local", "{address}");
    }
}

#[test]
fn a_secret_may_come_from_a_file() {
    let (_folder, path) = file(GOOD.as_bytes());

    let config = loaded(&[], &[("ORION_SHARED_JWT_SECRET_FILE", &path), (SECRET, "")]);

    assert_eq!(mode(&config), "jwt");
    assert_eq!(config.warnings, [""; 0]);
}

/// How long a secret is taken to be is seen in the warning about a short one.
#[test]
fn line_ends_behind_a_secret_are_not_part_of_it() {
    for (content, bytes) in [
        ("0123456789", 10),
        ("0123456789\n", 10),
        ("0123456789\r\n", 10),
        ("0123456789\n\n\r\n", 10),
        ("\n0123456789\n", 11),
        ("01234\n6789 \n", 11),
    ] {
        let (_folder, path) = file(content.as_bytes());

        let of_variable = loaded(&[], &[(SECRET, content)]);
        let of_file = loaded(&[], &[("ORION_SHARED_JWT_SECRET_FILE", &path)]);

        let start = format!("ORION_SHARED_JWT_SECRET has {bytes} bytes");
        for config in [of_variable, of_file] {
            assert!(config.warnings[0].starts_with(&start), "{content:?}: {:?}", config.warnings);
            assert!(!config.warnings[0].contains("0123"), "the secret: {:?}", config.warnings);
        }
    }
}

#[test]
fn a_secret_that_is_not_to_be_had_is_an_error_that_says_why() {
    let (folder, path) = file(GOOD.as_bytes());
    let (_empty_folder, empty) = file(b"");
    let (_blank_folder, blank) = file(b"\r\n\n");
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    let directory = folder.path().to_str().unwrap().to_owned();
    for name in [SECRET, PREVIOUS] {
        let name_file = &format!("{name}_FILE");
        // The previous secret is looked at when there is a current one.
        let current = if name == SECRET { ("", "") } else { (SECRET, OTHER) };
        for (variables, expected) in [
            (
                &[(name, GOOD), (name_file, path.as_str())][..],
                format!("both {name} and {name}_FILE are set"),
            ),
            (&[(name_file, missing.as_str())], format!("cannot read the file {missing} that")),
            (&[(name_file, directory.as_str())], format!("cannot read the file {directory} that")),
        ] {
            let error = refused(&[], &[&[current], variables].concat());

            assert!(error.starts_with(&expected), "{error}");
            assert!(error.contains(name), "{error}");
        }
    }
    for path in [empty, blank] {
        let error = refused(&[], &[("ORION_SHARED_JWT_SECRET_FILE", &path)]);

        assert!(error.starts_with(&format!("the file {path} that {SECRET}_FILE names")), "{error}");
    }
}

#[test]
fn a_previous_secret_is_no_secret_of_its_own() {
    let config = loaded(&[], &[(PREVIOUS, GOOD)]);
    assert_eq!(mode(&config), "local");

    let error = refused(&["--auth", "jwt"], &[(PREVIOUS, GOOD)]);
    assert!(error.starts_with("--auth jwt needs a secret"), "{error}");
}

#[test]
fn a_short_secret_works_and_is_warned_about() {
    let (_folder, path) = file(b"too short\n");
    for (variables, expected) in [
        (&[(SECRET, "short")][..], &["ORION_SHARED_JWT_SECRET has 5 bytes"][..]),
        (&[(SECRET, GOOD), (PREVIOUS, "short")], &["ORION_SHARED_JWT_SECRET_PREVIOUS has 5 bytes"]),
        (
            &[(SECRET, GOOD), ("ORION_SHARED_JWT_SECRET_PREVIOUS_FILE", &path)],
            &["ORION_SHARED_JWT_SECRET_PREVIOUS has 9 bytes"],
        ),
        (
            &[(SECRET, "a"), (PREVIOUS, "b")],
            &["ORION_SHARED_JWT_SECRET has 1 bytes", "ORION_SHARED_JWT_SECRET_PREVIOUS has 1 byte"],
        ),
        (&[(SECRET, &GOOD[..31])], &["ORION_SHARED_JWT_SECRET has 31 bytes"]),
        (&[(SECRET, &GOOD[..32]), (PREVIOUS, OTHER)], &[]),
    ] {
        let config = loaded(&[], variables);

        assert_eq!(mode(&config), "jwt");
        assert_eq!(config.warnings.len(), expected.len(), "{:?}", config.warnings);
        for (warning, expected) in config.warnings.iter().zip(expected) {
            assert!(warning.starts_with(expected), "{warning}");
        }
    }
}

#[test]
fn no_secret_is_shown() {
    let config = loaded(&[], &[(SECRET, GOOD), (PREVIOUS, OTHER)]);

    let shown = format!("{config:?}");
    for secret in [GOOD, OTHER] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!shown.contains(&format!("{:?}", secret.as_bytes())[1..20]), "{shown}");
    }
}

#[test]
fn whose_tokens_are_taken_has_defaults() {
    let (issuer, audience) = ("ORION_SHARED_JWT_ISS", "ORION_SHARED_JWT_AUD");
    for (variables, expected) in [
        (&[][..], ["https://www.sidekickportal.com", "orion-core"]),
        (&[(issuer, ""), (audience, "")], ["https://www.sidekickportal.com", "orion-core"]),
        (&[(issuer, "https://i.example"), (audience, "me")], ["https://i.example", "me"]),
    ] {
        let config = loaded(&[], &[&[(SECRET, GOOD)], variables].concat());

        let shown = format!("{:?}", config.server.auth);
        for text in expected {
            assert!(shown.contains(&format!("{text:?}")), "{shown}");
        }
    }
}

#[test]
fn only_user_ids_can_be_allowed_users() {
    const USERS: &str = "AUTHORIZED_USER_EMAIL";
    let with = |users| load_with(&[], &[(SECRET, GOOD), (USERS, users)]);
    let some = " Ann@Example.org ,,bob";

    let variables =
        |name: &str| [(SECRET, GOOD), (USERS, some)].into_iter().find(|(of, _)| *of == name);
    let tokens = tokens(|name| variables(name).map(|(_, value)| value.into())).unwrap().unwrap();
    let allowed = tokens.allowed_users.unwrap();
    assert_eq!(allowed.iter().map(UserId::as_str).collect::<Vec<_>>(), ["ann@example.org", "bob"]);

    let shown = format!("{:?}", with(some).unwrap().server.auth);
    assert!(shown.contains("allowed_users: Some(2)") && !shown.contains("example"), "{shown}");

    let error = with("ann@example.org,a\tb").unwrap_err().to_string();
    assert!(error.starts_with("AUTHORIZED_USER_EMAIL: "), "{error}");
}

#[test]
fn who_names_allowed_users_without_tokens_is_warned() {
    let users = ("AUTHORIZED_USER_EMAIL", "ann@example.org");
    for mode in ["local", "off"] {
        let config = loaded(&["--auth", mode], &[users]);
        let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
        assert!(warning.contains(users.0) && warning.contains(mode), "{warning}");
        assert!(!warning.contains(users.1), "{warning}");
    }
    assert_eq!(loaded(&[], &[(SECRET, GOOD), users]).warnings, [""; 0]);
}

#[test]
fn origins_are_a_list_with_commas_or_a_repeated_flag() {
    let of_variable = loaded(&[], &[("ALLOWED_ORIGINS", "https://a.org, http://b.org:8080 ,")]);
    let flags = ["--allow-origin", "https://a.org", "--allow-origin", "http://b.org:8080"];
    let of_flags = loaded(&flags, &[]);

    for config in [of_variable, of_flags] {
        assert_eq!(config.server.origins.to_string(), "https://a.org, http://b.org:8080");
    }
}

#[test]
fn an_origin_that_is_none_is_named() {
    for bad in
        ["*", "https://*", "a.org", "https://a.org/", "ftp://a.org", "https://a.*.org", "null"]
    {
        let list = format!("https://good.org,{bad}");

        for error in [
            refused(&["--allow-origin", "https://good.org", "--allow-origin", bad], &[]),
            refused(&[], &[("ALLOWED_ORIGINS", &list)]),
        ] {
            assert!(error.contains(&format!("{bad:?}")), "{bad} is not named: {error}");
        }
    }
}

#[test]
fn a_number_that_is_none_is_named() {
    for bad in ["64MiB", "-1", "1.5", "99999999999", " "] {
        let error = refused(&[], &[("ORION_CHAT_CACHE_MIB", bad)]);

        assert_eq!(error, format!("ORION_CHAT_CACHE_MIB is {bad:?}; it must be a whole number"));
    }
    let error = refused(&[], &[("ORION_CHAT_LOG_FORMAT", "xml")]);
    assert_eq!(error, "ORION_CHAT_LOG_FORMAT is \"xml\"; it must be text or json");
}
