//! How hard the secrets are to guess, without showing them.

use std::collections::HashMap;

use crate::http::auth::TokenConfig;

use super::Finding;

const CHECK: &str = "secret";
const MEND: &str = "take the output of `openssl rand -base64 48`, here and where tokens are made";

/// What a machine for the purpose tries out in days.
const BITS_MIN: f64 = 64.0;
/// What nobody does. Less than 128, as the estimate of random text is a little low.
const BITS_GOOD: f64 = 100.0;

/// What people leave standing where a secret should be.
const PLACEHOLDERS: [&str; 8] =
    ["changeme", "change-me", "change_me", "secret", "password", "example", "your-", "placeholder"];

/// Looks at each secret of `tokens`.
pub(super) fn strength(tokens: &TokenConfig) -> Vec<Finding> {
    let names = ["the secret", "the previous secret"];
    let judged = names.into_iter().zip(&tokens.secrets);
    let mut findings: Vec<_> = judged.map(|(name, secret)| judge(name, secret)).collect();
    if let [current, previous] = tokens.secrets.as_slice()
        && current == previous
    {
        let text = "the previous secret is the current one; unset ORION_SHARED_JWT_SECRET_PREVIOUS";
        findings.push(Finding::doubtful(CHECK, text));
    }
    findings
}

fn judge(name: &str, secret: &[u8]) -> Finding {
    let bytes = secret.len();
    let bits = bits(secret);
    let lower = String::from_utf8_lossy(secret).to_lowercase();
    if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        return Finding::wrong(CHECK, format!("{name} reads like a placeholder; {MEND}"));
    }
    if bits < BITS_MIN {
        let text = format!("{name} can be guessed: {bytes} bytes with little in them; {MEND}");
        return Finding::wrong(CHECK, text);
    }
    // That it is short is a warning of the configuration.
    if bits < BITS_GOOD {
        let text =
            format!("{name} is weak: {bytes} bytes, of which {bits:.0} bits are new; {MEND}");
        return Finding::doubtful(CHECK, text);
    }
    Finding::well(CHECK, format!("{name} has {bytes} bytes"))
}

/// How much there is to guess, in bits, if each byte is drawn as often as it occurs, and what is
/// said over and over counts once: no more than that, and less for words.
fn bits(secret: &[u8]) -> f64 {
    let once = once(secret);
    let mut counts = HashMap::new();
    for byte in once {
        *counts.entry(byte).or_insert(0_u32) += 1;
    }
    let all = f64::from(u32::try_from(once.len()).unwrap_or(u32::MAX));
    counts.values().map(|count| f64::from(*count) * (all / f64::from(*count)).log2()).sum()
}

/// The shortest beginning whose repetition gives the whole.
fn once(secret: &[u8]) -> &[u8] {
    let repeats =
        |length: &usize| secret.iter().zip(secret.iter().skip(*length)).all(|(a, b)| a == b);
    let length = (1..secret.len()).find(repeats).unwrap_or(secret.len());
    secret.get(..length).unwrap_or(secret)
}

#[cfg(test)]
mod tests {
    use super::super::State::{self, Doubtful, Well, Wrong};
    use super::judge;

    fn state(secret: &str) -> State {
        let finding = judge("the secret", secret.as_bytes());
        assert!(secret.is_empty() || !finding.to_string().contains(secret), "{finding}");
        finding.state
    }

    #[test]
    fn random_secrets_are_well() {
        for secret in [
            "KtqBh9yPvQ2mWzR5sXcE7uJnL4aTgD1oFiU8kVbM3eYpHxZs",
            "a3f1c09e5b7d2846f0e1d3c5b7a99c8e6f4a2b1d0e3c5a7f9b8d6e4c2a1f0b3d",
            "q8ZmT0xv7bLrYw2NfKe5HdUcGj4sPo1A",
        ] {
            assert_eq!(state(secret), Well, "{secret}");
        }
    }

    #[test]
    fn short_ones_are_doubtful() {
        for secret in ["KtqBh9yPvQ2mWzR5sXcE7u", "correct horse battery staple"] {
            assert_eq!(state(secret), Doubtful, "{secret}");
        }
    }

    #[test]
    fn what_can_be_guessed_is_wrong() {
        for secret in [
            "",
            "x",
            "hunter2",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc",
            "0123456789012345678901234567890123456789",
            "ChangeMe-KtqBh9yPvQ2mWzR5sXcE7uJnL4aTgD1oFiU8kVb",
            "your-256-bit-secret",
        ] {
            assert_eq!(state(secret), Wrong, "{secret}");
        }
    }
}
