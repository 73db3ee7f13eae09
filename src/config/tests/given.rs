//! What comes by files, and from a service manager.

use super::*;

const PREVIOUS_FILE: &str = "ORION_SHARED_JWT_SECRET_PREVIOUS_FILE";
const ORIGINS_FILE: &str = "ALLOWED_ORIGINS_FILE";

fn load_for(address: &str, flags: &[&str], variables: &[(&str, &str)]) -> Config {
    let cli = Cli::try_parse_from([&["orion-chat"], flags].concat()).unwrap();
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let address = Some(address.parse().unwrap());
    super::super::load_for(address, cli.serve, |name| variables.get(name).map(Into::into)).unwrap()
}

#[test]
fn the_file_of_the_previous_secret_may_be_empty() {
    for content in [&b""[..], b"\n"] {
        let (_folder, path) = file(content);
        let variables = [(SECRET, GOOD), (PREVIOUS_FILE, path.as_str())];

        let Auth::Jwt(tokens) = loaded(&[], &variables).server.auth else { panic!("not jwt") };

        assert_eq!(tokens.secrets(), 1, "a token that is signed with nothing is none");
    }
}

#[test]
fn origins_may_come_from_a_file_with_comments() {
    let text =
        b"# ours\nhttps://a.org\n\n  http://b.org:8080 , https://c.org # both\r\n#https://d.org";
    let (_folder, path) = file(text);

    let config = loaded(&[], &[(ORIGINS_FILE, &path)]);
    let by_flag = loaded(&["--allow-origin", "https://f.org"], &[(ORIGINS_FILE, "/nowhere")]);

    let origins = config.server.origins.to_string();
    assert_eq!(origins, "https://a.org, http://b.org:8080, https://c.org");
    assert_eq!(by_flag.server.origins.to_string(), "https://f.org");
}

#[test]
fn a_file_of_origins_that_is_no_good_is_an_error_that_says_why() {
    let (folder, bad) = file(b"https://a.org\nb.org\n");
    let (_blank_folder, blank) = file(b"\n# https://a.org\n");
    let missing = folder.path().join("missing").to_str().unwrap().to_owned();
    for (variables, expected) in [
        (&[(ORIGINS_FILE, bad.as_str())][..], "origin pattern \"b.org\" does not".to_owned()),
        // A file that was emptied by accident must not lock everybody out.
        (
            &[(ORIGINS_FILE, blank.as_str())],
            format!("the file {blank} that ALLOWED_ORIGINS_FILE names is empty"),
        ),
        (&[(ORIGINS_FILE, missing.as_str())], format!("cannot read the file {missing} that")),
        (
            &[(ORIGINS_FILE, bad.as_str()), ("ALLOWED_ORIGINS", "https://a.org")],
            "both ALLOWED_ORIGINS and ALLOWED_ORIGINS_FILE are set".to_owned(),
        ),
    ] {
        let error = refused(&[], variables);

        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_socket_that_was_handed_over_beats_the_address_that_is_asked_for() {
    let asked = [("ORION_CHAT_LISTEN", "127.0.0.1:4000")];

    let silent = load_for("127.0.0.1:5000", &[], &[]);
    let same = load_for("127.0.0.1:4000", &[], &asked);
    let other = load_for("127.0.0.1:5000", &[], &asked);

    assert_eq!(silent.server.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(silent.warnings, [""; 0]);
    assert_eq!(same.warnings, [""; 0]);
    assert_eq!(other.server.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(other.warnings.len(), 1);
    for address in ["127.0.0.1:4000", "127.0.0.1:5000"] {
        assert!(other.warnings[0].contains(address), "{:?}", other.warnings);
    }
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_none_of_ours() {
    let of = |variables: &[_]| loaded(&[], variables).manager.watchdog;
    let own = std::process::id().to_string();

    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("WATCHDOG_USEC", "5000000")]), Some(Duration::from_secs(5)));
    let meant = [("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", own.as_str())];
    assert_eq!(of(&meant), Some(Duration::from_secs(5)));
    for variables in [
        [("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", "1")],
        [("WATCHDOG_USEC", "0"), ("WATCHDOG_PID", "")],
        [("WATCHDOG_USEC", "soon"), ("WATCHDOG_PID", "")],
    ] {
        assert_eq!(of(&variables), None, "{variables:?}");
    }
}

#[test]
fn reloading_reads_the_files_again() {
    let (_secret_folder, secret) = file(GOOD.as_bytes());
    let (_origins_folder, origins) = file(b"https://a.org");
    let variables = [("ORION_SHARED_JWT_SECRET_FILE", secret.as_str()), (ORIGINS_FILE, &origins)];
    let variables: HashMap<_, _> = variables.into_iter().collect();
    let listen = "127.0.0.1:1".parse().unwrap();
    let again = || {
        reload(&ServeArgs::default(), listen, |name| variables.get(name).map(Into::into))
            .map_err(|error| error.to_string())
    };
    assert_eq!(again().unwrap().0.origins.to_string(), "https://a.org");

    std::fs::write(&origins, "https://b.org").unwrap();
    std::fs::write(&secret, "short").unwrap();
    let (access, warnings) = again().unwrap();

    assert_eq!(access.origins.to_string(), "https://b.org");
    assert!(warnings[0].contains("has 5 bytes"), "{warnings:?}");
    std::fs::write(&secret, "").unwrap();
    assert!(again().unwrap_err().contains("is empty"));
}
