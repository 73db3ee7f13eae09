//! Variables that look like ours and are not: a secret under a name with a slip in it would leave the
//! server in another mode, without a word.

/// What is read, beside what other services share (`PORT`, `DB_HOST` and the like).
const KNOWN: [&str; 23] = [
    "ALLOWED_ORIGINS",
    "ALLOWED_ORIGINS_FILE",
    "AUTHORIZED_USER_EMAIL",
    "ORION_CHAT_ADMIN_LISTEN",
    "ORION_CHAT_AUTH",
    "ORION_CHAT_CACHE_MIB",
    "ORION_CHAT_DATA",
    "ORION_CHAT_LISTEN",
    "ORION_CHAT_LOG",
    "ORION_CHAT_LOG_FORMAT",
    "ORION_CHAT_MAX_BYTES",
    "ORION_CHAT_MAX_SESSIONS",
    "ORION_CHAT_POSTGRES",
    "ORION_CHAT_RESERVE_MIB",
    "ORION_CHAT_RETAIN_DAYS",
    "ORION_CHAT_TRUST_PROXY",
    "ORION_SHARED_JWT_AUD",
    "ORION_SHARED_JWT_ISS",
    "ORION_SHARED_JWT_SECRET",
    "ORION_SHARED_JWT_SECRET_FILE",
    "ORION_SHARED_JWT_SECRET_PREVIOUS",
    "ORION_SHARED_JWT_SECRET_PREVIOUS_FILE",
    "RATE_LIMIT_MAX_REQUESTS",
];

/// How names of ours begin.
const OURS: [&str; 2] = ["ORION_CHAT_", "ORION_SHARED_"];

/// A warning for each of `names` that looks like one of ours and is none.
pub fn unknown_variables(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_unknown = |name: &String| {
        OURS.iter().any(|ours| name.starts_with(ours)) && !KNOWN.contains(&name.as_str())
    };
    let mut unknown: Vec<_> = names.into_iter().filter(is_unknown).collect();
    unknown.sort_unstable();
    let warning = |name: String| {
        let nearest = KNOWN.iter().map(|known| (strsim::levenshtein(known, &name), known)).min();
        let hint = nearest.filter(|(changes, _)| *changes <= 4);
        let hint = hint.map_or(String::new(), |(_, known)| format!("; is {known} meant?"));
        format!("{name} is no variable of this release, and nothing goes by it{hint}")
    };
    unknown.into_iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use crate::cli::Cli;
    use crate::config;

    use super::*;

    #[test]
    fn whatever_is_asked_for_is_known_and_the_other_way_round() {
        let asked = RefCell::new(BTreeSet::new());
        let variable = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            // Without one, nobody asks for the one before it, nor for whose tokens are good.
            (name == "ORION_SHARED_JWT_SECRET").then(|| "0123456789abcdef0123456789abcdef".into())
        };
        let cli = Cli::try_parse_from(["orion-chat"]).unwrap();
        config::load(cli.serve, variable).unwrap();

        let asked = asked.into_inner();
        let others = ["PORT", "STATE_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
        let is_other = |name: &&String| others.contains(&name.as_str()) || name.starts_with("DB_");
        let ours: Vec<_> = asked.iter().filter(|name| !is_other(name)).collect();
        assert_eq!(ours, KNOWN.iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_slip_in_a_name_is_told_with_the_name_that_was_meant() {
        let names = ["ORION_CHAT_RETAIN_DAY", "ORION_CHAT_AUTH", "HOME", "ORION_CORE_URL"];
        let names = names.into_iter().chain(["ORION_SHARED_JWT_SECRT", "ORION_CHAT_COLOUR_OF_IT"]);

        let told = unknown_variables(names.map(str::to_owned));

        let is_none = "is no variable of this release, and nothing goes by it";
        assert_eq!(
            told,
            [
                format!("ORION_CHAT_COLOUR_OF_IT {is_none}"),
                format!("ORION_CHAT_RETAIN_DAY {is_none}; is ORION_CHAT_RETAIN_DAYS meant?"),
                format!("ORION_SHARED_JWT_SECRT {is_none}; is ORION_SHARED_JWT_SECRET meant?"),
            ]
        );
    }
}
