use super::TokenError::{
    self, Algorithm, Audience, Expired, IllTyped, ImplausibleExpiry, Issuer, Malformed, Missing,
    NotYetValid, Segments, Signature, SignatureText, Subject, TooLong, Unsupported,
};
use super::Verifier;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{self, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use std::collections::{BTreeMap, BTreeSet};

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"the secret that is in use at present";
const PREVIOUS: &[u8] = b"the secret that was in use before it";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A payload that is good at `NOW`, but with `json` as the text of `claim`, and without that
/// claim if `json` is empty.
fn payload_with(claim: &str, json: &str) -> String {
    let mut claims = BTreeMap::from([
        ("iss", r#""https://issuer.test""#),
        ("aud", r#""orion-core""#),
        ("sub", r#""alice""#),
        ("exp", "1800000600"),
    ]);
    claims.insert(claim, json);
    claims.retain(|_, json| !json.is_empty());
    let members: Vec<_> = claims.iter().map(|(name, json)| format!("\"{name}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}

fn good_payload() -> String {
    payload_with("iat", "1799999990")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs whatever stands before the last dot, be it well formed or not.
fn sign(signed: &str, algorithm: hmac::Algorithm, secret: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag))
}

fn mint(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    sign(&format!("{}.{}", encode(header), encode(payload)), HMAC_SHA256, SECRET)
}

fn verifier_with(secrets: &[&[u8]]) -> Verifier {
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.to_vec()).collect();
    Verifier::new(&secrets, "https://issuer.test".to_owned(), "orion-core".to_owned())
}

#[track_caller]
fn assert_outcome(row: &str, token: &str, refusal: Option<TokenError>) {
    let verdict = verifier_with(&[SECRET, PREVIOUS]).verify(token, NOW);

    assert_eq!(verdict.as_ref().err(), refusal.as_ref(), "{row}: {verdict:?}");
}

/// The key and the token of RFC 7515, appendix A.1. Its payload lacks most of our claims, so
/// the refusal that is expected is one that only a good signature leads to.
#[test]
fn the_token_of_rfc_7515_passes_the_signature_and_fails_by_its_claims() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T\
               -1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
                 .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                 cGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
                 .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let secret = URL_SAFE_NO_PAD.decode(key).unwrap();
    let verify = |secret: &[u8], now| {
        Verifier::new(&[secret.to_vec()], "joe".to_owned(), String::new()).verify(token, now)
    };

    assert_eq!(verify(&secret, 1_300_819_409), Err(Missing("aud")));
    assert_eq!(verify(&secret, 1_300_819_410), Err(Expired));
    assert_eq!(verify(&secret[1..], 1_300_819_409), Err(Signature));
}

#[test]
fn a_good_token_yields_its_subject_and_expiry() {
    let claims = verifier_with(&[SECRET]).verify(&mint(HEADER, good_payload()), NOW).unwrap();

    assert_eq!((claims.sub.as_str(), claims.exp), ("alice", NOW + 600));
}

#[test]
fn no_algorithm_but_hs256_is_accepted_however_it_is_signed() {
    let others = "none None NONE nOnE hs256 HS384 HS512 RS256 PS256 ES256 EdDSA A128KW dir";
    for alg in others.split(' ') {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        let signed = format!("{}.{}", encode(header), encode(good_payload()));
        assert_outcome(alg, &format!("{signed}."), Some(Segments));
        assert_outcome(alg, &format!("{signed}.AA"), Some(Algorithm));
        for algorithm in [HMAC_SHA256, HMAC_SHA384, HMAC_SHA512] {
            assert_outcome(alg, &sign(&signed, algorithm, SECRET), Some(Algorithm));
        }
    }

    let signed = format!("{}.{}", encode(HEADER), encode(good_payload()));
    assert_outcome("SHA-256", &sign(&signed, HMAC_SHA256, SECRET), None);
    assert_outcome("SHA-384", &sign(&signed, HMAC_SHA384, SECRET), Some(Signature));
    assert_outcome("SHA-512", &sign(&signed, HMAC_SHA512, SECRET), Some(Signature));
}

#[test]
fn a_header_that_asks_for_more_than_a_plain_jwt_is_refused() {
    let long_kid = format!(r#","kid":"{}""#, "k".repeat(5000));
    let rows = [
        ("", None),
        (r#","typ":"JWT""#, None),
        (r#","typ":"jwt""#, None),
        (r#","typ":"AT+JWT""#, None),
        (r#","typ":"logout+jwt""#, Some(Unsupported("typ"))),
        (r#","typ":"JWE""#, Some(Unsupported("typ"))),
        (r#","typ":"""#, Some(Unsupported("typ"))),
        (r#","typ":null"#, Some(Malformed("header"))),
        (r#","typ":["JWT"]"#, Some(Malformed("header"))),
        (r#","typ":"JWT","typ":"JWT""#, Some(Malformed("header"))),
        (r#","cty":"json""#, None),
        (r#","cty":"JWT""#, Some(Unsupported("cty"))),
        (r#","cty":"Application/jwt""#, Some(Unsupported("cty"))),
        (r#","cty":["JWT"]"#, Some(Malformed("header"))),
        (r#","crit":["x"],"x":1"#, Some(Unsupported("crit"))),
        (r#","crit":[]"#, Some(Unsupported("crit"))),
        (r#","crit":null"#, Some(Unsupported("crit"))),
        (r#","b64":false,"crit":["b64"]"#, Some(Unsupported("crit"))),
        (r#","b64":false"#, Some(Unsupported("b64"))),
        (r#","b64":true"#, Some(Unsupported("b64"))),
        (r#","zip":"DEF""#, Some(Unsupported("zip"))),
        (r#","enc":"A128GCM""#, Some(Unsupported("enc"))),
        (r#","alg":"HS256""#, Some(Malformed("header"))),
        (r#","alg":"none""#, Some(Malformed("header"))),
        (r#","\u0061lg":"HS256""#, Some(Malformed("header"))),
        (r#","jwk":{"kty":"oct","k":"AAAA"}"#, None),
        (r#","jku":"https://evil.test/jwks","x5u":"file:///dev/null""#, None),
        (r#","x5c":["AAAA"]"#, None),
        (r#","kid":"../../dev/null""#, None),
        (r#","kid":"' OR 1=1--""#, None),
        (r#","kid":"|id""#, None),
        (r#","kid":"\u0000""#, None),
        (r#","kid":"""#, None),
        (r#","kid":7"#, None),
        (&long_kid, None),
    ];
    for (members, refusal) in rows {
        let header = format!(r#"{{"alg":"HS256"{members}}}"#);
        assert_outcome(members, &mint(header, good_payload()), refusal);
    }

    let rows = [
        ("{}", Algorithm),
        (r#"{"ALG":"HS256"}"#, Algorithm),
        (r#"{"alg":null}"#, Algorithm),
        (r#"{"alg":""}"#, Algorithm),
        (r#"{"alg":"HS256 "}"#, Algorithm),
        (r#"{"alg":"HS256\u0000"}"#, Algorithm),
        (r#"{"alg":256}"#, Malformed("header")),
        (r#"{"alg":["HS256"]}"#, Malformed("header")),
        (r#"{"alg":{"HS256":1}}"#, Malformed("header")),
    ];
    for (header, refusal) in rows {
        assert_outcome(header, &mint(header, good_payload()), Some(refusal));
    }
}

#[test]
fn what_is_not_three_segments_of_strict_base64url_is_refused() {
    let good = mint(HEADER, good_payload());
    let segments: Vec<&str> = good.split('.').collect();
    let (header, payload, tag) = (segments[0], segments[1], segments[2]);
    let resigned = |payload: &str| sign(&format!("{header}.{payload}"), HMAC_SHA256, SECRET);
    // The text of 32 bytes ends in two spare bits, that of 4 bytes in four.
    let loose_tag = format!("{}{}", &tag[..42], char::from(tag.as_bytes()[42] + 1));
    let loose_payload = format!("{}B", &encode("{}  ")[..5]);
    // Wherever it falls, "???" gives a `_`, which is `/` in the other alphabet of base64.
    let slashed = encode(payload_with("x", r#""???""#)).replace('_', "/");
    assert!(slashed.contains('/'));

    let rows = [
        ("nothing", String::new(), Segments),
        ("one segment", header.to_owned(), Segments),
        ("two segments", format!("{header}.{payload}"), Segments),
        ("four segments", format!("{good}.{tag}"), Segments),
        ("five segments", format!("{good}.{tag}.{tag}"), Segments),
        ("dot behind", format!("{good}."), Segments),
        ("dot in front", format!(".{good}"), Segments),
        ("only dots", "..".to_owned(), Segments),
        ("no header", format!(".{payload}.{tag}"), Segments),
        ("no payload", sign(&format!("{header}."), HMAC_SHA256, SECRET), Segments),
        ("no signature", format!("{header}.{payload}."), Segments),
        ("space in front", format!(" {good}"), Malformed("header")),
        ("newline behind", format!("{good}\n"), SignatureText),
        ("padded signature", format!("{good}="), SignatureText),
        ("signature with spare bits", format!("{header}.{payload}.{loose_tag}"), SignatureText),
        ("not ASCII", format!("{header}.{payload}.\u{e9}"), SignatureText),
        ("padded header", format!("{header}=.{payload}.{tag}"), Malformed("header")),
        ("padded payload", resigned(&format!("{}==", encode("{}  "))), Malformed("payload")),
        ("payload with spare bits", resigned(&loose_payload), Malformed("payload")),
        ("standard base64", resigned(&slashed), Malformed("payload")),
        ("space inside", resigned(&format!("{} ", encode("{ }"))), Malformed("payload")),
        ("bad payload, bad signature", format!("{header}.{header}=.{tag}"), Signature),
    ];
    for (row, token, refusal) in rows {
        assert_outcome(row, &token, Some(refusal));
    }
}

#[test]
fn what_is_not_a_json_object_is_refused() {
    let good = good_payload();
    // In the order in which the verifier happens to name the members.
    let array_of_claims = br#"["https://issuer.test","alice","orion-core",1800000600,null]"#;
    let mut nul_inside = good.clone().into_bytes();
    nul_inside[2] = 0;
    let mut nul_behind = good.clone().into_bytes();
    nul_behind.push(0);
    let rows: [(&str, &[u8]); 13] = [
        ("array", b"[]"),
        ("array of claims", array_of_claims),
        ("array of a header", br#"["HS256"]"#),
        ("string", br#""alice""#),
        ("number", b"1"),
        ("null", b"null"),
        ("not JSON", b"alice"),
        ("cut short", &good.as_bytes()[..good.len() - 1]),
        ("two objects", b"{}{}"),
        ("byte order mark", b"\xef\xbb\xbf{}"),
        ("NUL inside", &nul_inside),
        ("NUL behind", &nul_behind),
        ("not UTF-8", b"{\"x\":\"\xff\"}"),
    ];
    for (row, json) in rows {
        assert_outcome(row, &mint(json, &good), Some(Malformed("header")));
        assert_outcome(row, &mint(HEADER, json), Some(Malformed("payload")));
    }
}

#[test]
fn a_token_may_have_8_kib_and_no_byte_more() {
    let padding = "x".repeat(6083 - payload_with("x", r#""""#).len());
    let longest = mint(HEADER, payload_with("x", &format!(r#""{padding}""#)));
    let too_long = mint(HEADER, payload_with("x", &format!(r#""{padding}x""#)));

    assert_eq!((longest.len(), too_long.len()), (8192, 8193));
    assert_outcome("longest", &longest, None);
    assert_outcome("too long", &too_long, Some(TooLong { bytes: 8193 }));
    assert_outcome("1 MiB", &".".repeat(1 << 20), Some(TooLong { bytes: 1 << 20 }));
}

#[test]
fn the_times_hold_to_the_second_with_30_seconds_of_leeway() {
    let rows = [
        ("exp", "1799999969", Some(Expired)),
        ("exp", "1799999970", Some(Expired)),
        ("exp", "1799999970.0", Some(Expired)),
        ("exp", "1799999970.5", None),
        ("exp", "1799999971", None),
        ("exp", "1.8e9", None),
        ("exp", "253402300799", None),
        ("exp", "253402300800", Some(ImplausibleExpiry)),
        ("exp", "9999999999999", Some(ImplausibleExpiry)),
        ("exp", "18446744073709551616", Some(ImplausibleExpiry)),
        ("exp", "0", Some(Expired)),
        ("exp", "-1", Some(ImplausibleExpiry)),
        ("exp", "-0.5", Some(ImplausibleExpiry)),
        ("exp", "", Some(Missing("exp"))),
        ("exp", "null", Some(Missing("exp"))),
        ("exp", r#""1800000600""#, Some(IllTyped("exp"))),
        ("exp", "true", Some(IllTyped("exp"))),
        ("exp", "[1800000600]", Some(IllTyped("exp"))),
        ("exp", "1,\"exp\":1800000600", Some(Malformed("payload"))),
        ("nbf", "1800000030", None),
        ("nbf", "1800000029.5", None),
        ("nbf", "1800000030.5", Some(NotYetValid)),
        ("nbf", "1800000031", Some(NotYetValid)),
        ("nbf", "1e300", Some(NotYetValid)),
        ("nbf", "-1", None),
        ("nbf", "null", None),
        ("nbf", r#""0""#, Some(IllTyped("nbf"))),
        ("nbf", "{}", Some(IllTyped("nbf"))),
        ("nbf", "1900000000,\"nbf\":0", Some(Malformed("payload"))),
        ("iat", "1900000000", None),
        ("iat", r#""yesterday""#, None),
    ];
    for (claim, json, refusal) in rows {
        let row = format!("{claim} {json}");
        assert_outcome(&row, &mint(HEADER, payload_with(claim, json)), refusal);
    }

    // JSON readers differ in what such a number is; here it is enough that it is no expiry.
    let infinite = mint(HEADER, payload_with("exp", "1e400"));
    assert!(verifier_with(&[SECRET]).verify(&infinite, NOW).is_err());
}

#[test]
fn the_time_is_the_callers() {
    let verifier = verifier_with(&[SECRET]);
    let token = mint(HEADER, payload_with("nbf", "1000"));
    let refusal_at = |now| verifier.verify(&token, now).err();

    assert_eq!(refusal_at(i64::MIN), Some(NotYetValid));
    assert_eq!(refusal_at(969), Some(NotYetValid));
    assert_eq!(refusal_at(970), None);
    assert_eq!(refusal_at(NOW + 629), None);
    assert_eq!(refusal_at(NOW + 630), Some(Expired));
    assert_eq!(refusal_at(i64::MAX), Some(Expired));
    let early = verifier.verify(&mint(HEADER, payload_with("exp", "-5")), 0);
    assert_eq!(early, Err(ImplausibleExpiry), "the leeway does not reach before 1970");
    let halves = verifier.verify(&mint(HEADER, payload_with("exp", "1800000000.5")), NOW);
    assert_eq!(halves.map(|claims| claims.exp), Ok(NOW + 1));
}

#[test]
fn only_our_issuer_and_our_audience_are_accepted() {
    let rows = [
        ("iss", "", Some(Missing("iss"))),
        ("iss", "null", Some(Missing("iss"))),
        ("iss", r#""""#, Some(Issuer)),
        ("iss", r#""https://evil.test""#, Some(Issuer)),
        ("iss", r#""https://issuer.test/""#, Some(Issuer)),
        ("iss", r#""https://Issuer.test""#, Some(Issuer)),
        ("iss", r#""https://issuer.test\u0000""#, Some(Issuer)),
        ("iss", r#"["https://issuer.test"]"#, Some(IllTyped("iss"))),
        ("iss", r#""x","iss":"https://issuer.test""#, Some(Malformed("payload"))),
        ("aud", r#"["orion-core"]"#, None),
        ("aud", r#"["other","orion-core"]"#, None),
        ("aud", "", Some(Missing("aud"))),
        ("aud", "null", Some(Missing("aud"))),
        ("aud", r#""""#, Some(Audience)),
        ("aud", r#""other""#, Some(Audience)),
        ("aud", r#""orion""#, Some(Audience)),
        ("aud", r#""orion-core2""#, Some(Audience)),
        ("aud", r#""Orion-Core""#, Some(Audience)),
        ("aud", r#""other orion-core""#, Some(Audience)),
        ("aud", "[]", Some(Audience)),
        ("aud", r#"["orion","other"]"#, Some(Audience)),
        ("aud", "[1,2]", Some(IllTyped("aud"))),
        ("aud", r#"["orion-core",1]"#, Some(IllTyped("aud"))),
        ("aud", r#"["orion-core",null]"#, Some(IllTyped("aud"))),
        ("aud", r#"[["orion-core"]]"#, Some(IllTyped("aud"))),
        ("aud", r#"{"orion-core":1}"#, Some(IllTyped("aud"))),
        ("aud", "7", Some(IllTyped("aud"))),
        ("aud", r#""x","aud":"orion-core""#, Some(Malformed("payload"))),
        ("azp", r#""another-client""#, None),
    ];
    for (claim, json, refusal) in rows {
        let row = format!("{claim} {json}");
        assert_outcome(&row, &mint(HEADER, payload_with(claim, json)), refusal);
    }
}

#[test]
fn a_subject_that_cannot_be_a_user_is_refused() {
    let rows = [
        ("", Missing("sub")),
        ("null", Missing("sub")),
        ("7", IllTyped("sub")),
        (r#"["alice"]"#, IllTyped("sub")),
        (r#""""#, Subject),
        (r#""  ""#, Subject),
        (r#""\u00a0\u3000""#, Subject),
        (r#""a\u0000""#, Subject),
        (r#""a\nb""#, Subject),
        (r#""a\u007f""#, Subject),
        (r#""a\u0085b""#, Subject),
        (r#""\ud800""#, Malformed("payload")),
        (r#""alice","sub":"admin""#, Malformed("payload")),
        (r#"null,"sub":"admin""#, Malformed("payload")),
        (r#""alice","\u0073ub":"admin""#, Malformed("payload")),
        (&format!("\"{}\"", "a".repeat(256)), Subject),
        (&format!("\"{}\"", "\u{e9}".repeat(256)), Subject),
    ];
    for (json, refusal) in rows {
        assert_outcome(json, &mint(HEADER, payload_with("sub", json)), Some(refusal));
    }
}

#[test]
fn subjects_that_look_alike_stay_different_users() {
    let longest = "\u{1f600}".repeat(255);
    // Other case, spaces, full width, Cyrillic, zero width; composed and decomposed.
    let alike = "alice|Alice|alice | alice|\u{ff41}lice|\u{430}lice|ali\u{200b}ce|\
                 ren\u{e9}|rene\u{301}|admin|a@b.test|A@B.test|a\"b\\";
    let subjects: Vec<&str> = alike.split('|').chain([longest.as_str()]).collect();
    let verifier = verifier_with(&[SECRET]);
    let users: BTreeSet<String> = subjects
        .iter()
        .map(|sub| mint(HEADER, payload_with("sub", &serde_json::to_string(sub).unwrap())))
        .map(|token| verifier.verify(&token, NOW).unwrap().sub)
        .collect();

    assert_eq!(users, subjects.iter().map(ToString::to_string).collect());
}

#[test]
fn the_current_and_the_previous_secret_sign_and_no_other() {
    let signed = format!("{}.{}", encode(HEADER), encode(good_payload()));
    let verdict = |accepted: &[&[u8]], used: &[u8]| {
        verifier_with(accepted).verify(&sign(&signed, HMAC_SHA256, used), NOW).err()
    };

    assert_eq!(verdict(&[SECRET, PREVIOUS], SECRET), None);
    assert_eq!(verdict(&[SECRET, PREVIOUS], PREVIOUS), None);
    assert_eq!(verdict(&[SECRET], PREVIOUS), Some(Signature));
    assert_eq!(verdict(&[SECRET, PREVIOUS], b"a third secret"), Some(Signature));
    assert_eq!(verdict(&[SECRET], &[SECRET, b"\n"].concat()), Some(Signature));
    assert_eq!(verdict(&[b"c2VjcmV0"], b"secret"), Some(Signature), "a secret is not decoded");
    assert_eq!(verdict(&[], b""), Some(Signature));
    assert_eq!(verdict(&[SECRET, b""], b""), Some(Signature), "an empty secret opens nothing");
    assert_eq!(verdict(&[SECRET, b""], SECRET), None);
}

#[test]
fn a_signature_is_accepted_whole_and_unchanged_only() {
    let good = mint(HEADER, good_payload());
    let (signed, text) = good.rsplit_once('.').unwrap();
    let tag = URL_SAFE_NO_PAD.decode(text).unwrap();
    let signed_by = |tag: &[u8]| format!("{signed}.{}", encode(tag));

    assert_outcome("unchanged", &signed_by(&tag), None);
    for bit in 0..256 {
        let mut flipped = tag.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_outcome(&format!("bit {bit}"), &signed_by(&flipped), Some(Signature));
    }
    for len in 1..32 {
        assert_outcome(&format!("{len} bytes"), &signed_by(&tag[..len]), Some(Signature));
    }
    assert_outcome("33 bytes", &signed_by(&[&tag[..], b"\0"].concat()), Some(Signature));
    assert_outcome("twice", &signed_by(&[&tag[..], &tag[..]].concat()), Some(Signature));
    let (header, payload) = signed.split_once('.').unwrap();
    let other = format!("{}.{payload}.{text}", encode(r#"{"alg":"HS256"}"#));
    assert_outcome("other header", &other, Some(Signature));
    let bob = format!("{header}.{}.{text}", encode(payload_with("sub", r#""bob""#)));
    assert_outcome("other payload", &bob, Some(Signature));
}

#[test]
fn neither_secrets_nor_claims_show_in_what_is_printed() {
    let shown = format!("{:?}", verifier_with(&[b"hunter2"]));
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");

    let ill = [r#""hunter2\u0000""#, r#"["hunter2",1]"#, r#"{"hunter2":1}"#, r#""hunter2"#];
    for claim in ["iss", "aud", "exp", "nbf", "sub"] {
        for json in ill {
            let token = mint(HEADER, payload_with(claim, json));
            let refusal = verifier_with(&[SECRET]).verify(&token, NOW).unwrap_err();
            let shown = format!("{refusal} {refusal:?}");
            assert!(!shown.contains("hunter2") && !shown.contains(&token), "{shown}");
        }
    }
}
