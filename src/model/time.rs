//! Points in time, and where they come from.

use std::fmt;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::fmt::temporal::{DateTimePrinter, Pieces};
use jiff::tz::Offset;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::Invalid;
use super::invalid::excerpt;

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Earlier times count as that instant.
///
/// Shown as RFC 3339 in UTC with exactly three decimals, so two that differ by less than a
/// millisecond may look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, ToSchema)]
#[schema(
    description = "A point in time: RFC 3339 in UTC, with three decimals.",
    value_type = String,
    format = DateTime,
    pattern = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 9999-12-30T22:00:00Z, the last that jiff shows: the year is 9999 still in every zone.
    pub const MAX: Self = Self(253_402_207_200_000_000);

    /// The instant `micros` microseconds after 1970 began, at most [`Timestamp::MAX`].
    pub const fn from_micros(micros: u64) -> Self {
        if micros > Self::MAX.0 { Self::MAX } else { Self(micros) }
    }

    /// Microseconds since 1970 began.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970 began.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The instant one microsecond later.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::from_micros(self.0 + 1)
    }

    /// Takes the start of what `text` names: the instant of an RFC 3339 date-time, or midnight
    /// UTC of a plain date.
    ///
    /// # Errors
    /// [`Invalid`], naming `field`, when it is neither.
    pub fn parse_start(field: &'static str, text: &str) -> Result<Self, Invalid> {
        parse(field, text).map(|(micros, _)| Self::from_signed(micros))
    }

    /// Takes the end of what `text` names: the last microsecond of the millisecond of an RFC 3339
    /// date-time, or of a plain date's day in UTC.
    ///
    /// The whole millisecond, because times are shown in milliseconds: what a caller was shown
    /// lies within a bound of the same text.
    ///
    /// # Errors
    /// [`Invalid`], naming `field`, when it is neither.
    pub fn parse_end(field: &'static str, text: &str) -> Result<Self, Invalid> {
        parse(field, text).map(|(micros, is_day)| {
            Self::from_signed(if is_day {
                micros + 24 * 60 * 60 * 1_000_000 - 1
            } else {
                micros.div_euclid(1000) * 1000 + 999
            })
        })
    }

    /// It in full: RFC 3339 in UTC with six decimals.
    pub fn exact(self) -> impl fmt::Display {
        struct Exact(Timestamp);

        impl fmt::Display for Exact {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(6, f)
            }
        }

        Exact(self)
    }

    fn write(self, decimals: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = DateTimePrinter::new().precision(Some(decimals));
        let micros = i64::try_from(self.0).map_err(|_| fmt::Error)?;
        let time = jiff::Timestamp::from_microsecond(micros).map_err(|_| fmt::Error)?;
        printer.print_timestamp(&time, jiff::fmt::StdFmtWrite(f)).map_err(|_| fmt::Error)
    }

    fn from_signed(micros: i64) -> Self {
        Self::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// Microseconds since 1970 began, and whether `text` names a whole day.
///
/// By civil arithmetic, which has room for what callers write for ever: `9999-12-31`.
fn parse(field: &'static str, text: &str) -> Result<(i64, bool), Invalid> {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

    let parsed = Pieces::parse(text).ok().filter(|parsed| parsed.time_zone_annotation().is_none());
    let named = parsed.and_then(|parsed| match (parsed.time(), parsed.to_numeric_offset()) {
        (Some(time), Some(offset)) => Some((parsed.date().to_datetime(time), offset, false)),
        (None, None) => Some((parsed.date().at(0, 0, 0, 0), Offset::UTC, true)),
        _ => None,
    });
    let Some((civil, offset, is_day)) = named else {
        let problem = "it must be an RFC 3339 date-time or a date such as 2026-11-23";
        return Err(Invalid::wrong(field, format!("is {}; {problem}", excerpt(text))));
    };
    let since_epoch = civil.duration_since(EPOCH).as_micros();
    let micros = since_epoch - i128::from(offset.seconds()) * 1_000_000;
    Ok((i64::try_from(micros).unwrap_or(i64::MAX), is_day))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(3, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where the time comes from: the system, or whatever a test says.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of the system. It may step, backwards too.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the place the others take it from")]
        Self::new(|| {
            let since_1970 = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            Timestamp::from_micros(u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX))
        })
    }

    /// A clock that shows what `now` returns.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_with_three_decimals() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_875_937_622_999, "2025-11-23T05:32:17.622Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (u64::MAX, "9999-12-30T22:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), shown);
        }
        let exact = Timestamp::from_micros(1_763_875_937_622_900).exact().to_string();
        assert_eq!(exact, "2025-11-23T05:32:17.622900Z");
    }

    #[test]
    fn bounds_take_date_times_and_plain_dates() {
        let day = 1_763_856_000_000_000;
        for (text, start, end) in [
            ("2025-11-23", day, day + 86_399_999_999),
            ("2025-11-23T00:00:00Z", day, day + 999),
            ("2025-11-23T01:00:00.5+01:00", day + 500_000, day + 500_999),
            ("1901-01-01", 0, 0),
            ("9999-12-31", Timestamp::MAX.0, Timestamp::MAX.0),
            ("9999-12-31T23:59:59.999Z", Timestamp::MAX.0, Timestamp::MAX.0),
        ] {
            assert_eq!(Timestamp::parse_start("startDate", text).unwrap().as_micros(), start);
            assert_eq!(Timestamp::parse_end("endDate", text).unwrap().as_micros(), end);
        }
    }

    #[test]
    fn what_is_no_date_is_refused_by_name() {
        for text in ["", "yesterday", "2025-13-01", "2025-11-23T05:32", "2025-11-23x", "12345"]
            .into_iter()
            .chain(["2025-11-23T01:00:00[Europe/Paris]", "2025-11-23T01:00:00Z[UTC]", "05:32"])
        {
            let refused = Timestamp::parse_end("endDate", text).unwrap_err();
            assert_eq!(refused.field, "endDate", "{text}");
        }
    }
}
